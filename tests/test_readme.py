"""The README tells the truth: its code runs, its links lead somewhere, and its names exist."""

import inspect
import re
from pathlib import Path

import producers
import pytest
import tensorflow as tf

from keras_hub_layers import layers

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text("utf-8")
HANDLE = '"path/or/url/of/a/saved_model"'
BLOCKS = re.findall(r"```python\n(.*?)```", README, re.DOTALL)


@pytest.mark.filterwarnings("ignore:.*weights are frozen")  # the best of two trials may be the frozen one
@pytest.mark.filterwarnings("ignore:(currentThread|getName):DeprecationWarning")  # KerasTuner 1.4.8
@pytest.mark.parametrize("block", BLOCKS, ids=range(len(BLOCKS)))
def test_python_runs_with_a_handle_of_ones_own(produced, tmp_path, monkeypatch, block):
    assert HANDLE in block
    monkeypatch.chdir(tmp_path)
    texts, labels = tf.constant(["good world", "bad world"]), tf.constant([[1.0], [0.0]])
    exec(block.replace(HANDLE, repr(produced(producers.text_classifier))), {"texts": texts, "labels": labels})
    if "ExportFinetuned" in block:
        assert layers.HubLayer("my_tuned_model")(["good"]).shape == (1, 2)


def test_links_lead_to_files_of_the_repository():
    for target in re.findall(r"\]\(([^)#]+)\)", README):
        assert target.startswith("https://") or (ROOT / target).exists(), target


def test_arguments_named_as_those_of_hub_keraslayer_are_arguments_of_hublayer():
    row = next(line for line in README.splitlines() if "the same names" in line)
    names = re.findall(r"`(\w+)`", row.split("|")[1])
    assert len(names) == 8
    assert set(names) <= set(inspect.signature(layers.HubLayer.__init__).parameters)


def test_the_two_commands_are_commands_of_dev_py():
    commands = re.findall(r"\$ python3 dev.py (\w+)", README)
    assert commands == ["demo", "test"]
    assert "python3 dev.py test" in (ROOT / ".ci" / "run").read_text("utf-8")
