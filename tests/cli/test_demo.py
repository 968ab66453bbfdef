"""The demo runs from start to end, says only what is true, and leaves an export that works."""

import os
import re
import subprocess
import sys

import numpy as np
import pytest

from keras_hub_layers import errors, layers
from keras_hub_layers._src.cli import main
from keras_hub_layers._src.cli.demo import digits, new_process, settings

CLAIMS = [
    "it computes what was exported",
    "a frozen layer stays as it is",
    "its predictions for 518 images are those of the fine-tuned model",
    "it was tuned",
    "the regularization losses came along",
    "it can be fine-tuned again",
    "its graph is that of its source",
]


pytestmark = pytest.mark.xdist_group("demo")  # they share what is made once in a process


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """The finished process, on a machine whose settings say that there is no network; and its directory."""
    directory = tmp_path_factory.mktemp("demo") / "here"
    hostile = {"KERAS_HUB_LAYERS_OFFLINE": "1", "HTTP_PROXY": "http://127.0.0.1:9", "KERAS_HUB_LAYERS_MIRRORS": "x"}
    environment = {name: value for name, value in os.environ.items() if name != "TFHUB_CACHE_DIR"}
    process = subprocess.run(
        [sys.executable, "-m", "keras_hub_layers", "demo", str(directory)],
        env={**environment, **hostile, "KERAS_HUB_LAYERS_CACHE": str(directory.parent / "cache")},
        capture_output=True,
        text=True,
        check=False,
    )
    return process, directory


@pytest.fixture
def short(monkeypatch):
    """The same steps in a few seconds."""
    for name, value in (("PRETRAINING", 1), ("EPOCHS", 1), ("SEEDS", (0,))):
        monkeypatch.setattr(settings, name, value)


def test_it_finishes_without_a_word_on_stderr(done):
    process, _ = done
    assert process.returncode == 0, process.stderr
    assert process.stderr == ""


@pytest.mark.parametrize("claim", CLAIMS)
def test_each_claim_was_checked_and_is_true(done, claim):
    assert f"   ok      {claim}: " in done[0].stdout


def test_the_table_is_what_the_runs_gave(done):
    runs = re.findall(r"run \d: frozen (.+)%, fine-tuned (.+)%, from scratch (.+)%", done[0].stdout)
    assert len(runs) == len(settings.SEEDS)
    for name, column in zip(("frozen", "fine-tuned", "from scratch"), zip(*runs, strict=True), strict=True):
        values = [float(value) for value in column]
        row = re.search(rf"^ +{name} .* (\S+)% +(\S+)% – (\S+)%", done[0].stdout, re.MULTILINE)
        assert row
        mean, lowest, highest = map(float, row.groups())
        assert mean == pytest.approx(np.mean(values), abs=0.11)  # the mean was rounded once, the values before
        assert (lowest, highest) == (min(values), max(values))
        assert lowest > 50  # guessing gives 33 %


def test_the_predictions_agree_to_the_tolerance(done):
    found = re.search(r"those of the fine-tuned model: max abs difference (\S+)", done[0].stdout)
    assert found
    assert float(found.group(1)) <= settings.TOLERANCE


def test_it_leaves_two_savedmodels_and_nothing_else(done):
    _, directory = done
    assert sorted(os.listdir(directory)) == ["export", "models"]
    assert os.listdir(directory.parent) == ["here"]  # the user's cache was not written


def test_the_export_loads_and_computes_features(done):
    layer = layers.HubLayer(str(done[1] / "export"), trainable=True)
    images = digits.load(settings.OLD)[1].images[:4]
    assert layer(images).shape == (4, 256)
    assert len(layer.losses) == 4


def test_the_last_lines_are_python_that_builds_a_model(done):
    code = done[0].stdout[done[0].stdout.index("import keras\n") :]
    names = {}
    exec(code, names)
    assert names["model"](digits.load(settings.OLD)[1].images[:2]).shape == (2, 3)


def test_it_runs_again_in_the_same_directory(done, short, capsys):
    before = (done[1] / "export" / "variables" / "variables.data-00000-of-00001").read_bytes()
    environment = dict(os.environ)
    assert main.main(["demo", str(done[1])]) == 0
    assert "Done in" in capsys.readouterr().out
    assert (done[1] / "export" / "variables" / "variables.data-00000-of-00001").read_bytes() != before
    assert sorted(os.listdir(done[1])) == ["export", "models"]
    assert dict(os.environ) == environment


def test_a_claim_that_is_not_true_is_printed_as_failed_and_leaves_with_1(tmp_path, short, capsys, monkeypatch):
    real = new_process.run_in_new_process

    def differing(*args, **kwargs):
        there = dict(real(*args, **kwargs))
        return {**there, "logits": there["logits"] + 1, "losses": there["losses"][1:], "moved": 0, "trainable": 0}

    monkeypatch.setattr(new_process, "run_in_new_process", differing)
    assert main.main(["demo", str(tmp_path)]) == 1
    said = capsys.readouterr().out
    for claim in CLAIMS[2:6]:
        assert f"   FAILED  {claim}: " in said
    assert "Not everything is as it should be" in said
    assert "The export is yours" not in said


@pytest.mark.parametrize(
    ("in_the_way", "problem"),
    [("", "cannot write to its directory"), ("export", "destination"), ("models/digits/1", "destination")],
)
def test_a_file_in_the_way_is_an_error_before_anything_is_written(tmp_path, in_the_way, problem, capsys):
    path = tmp_path / "demo" / in_the_way
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("mine")
    assert main.main(["demo", str(tmp_path / "demo")]) == 1
    said = capsys.readouterr()
    assert said.out == ""
    assert problem in said.err
    assert "Traceback" not in said.err
    assert path.read_text() == "mine"


def test_an_export_that_a_new_process_cannot_use_is_an_error(tmp_path):
    with pytest.raises(errors.LoadError, match="could not be used in a new process"):
        new_process.run_in_new_process(str(tmp_path / "nothing"), str(tmp_path))


def test_the_digits_are_1797_images_in_two_parts():
    old, new = digits.load(7)
    assert (len(old), len(new)) == (1264, 533)
    assert new.images.shape == (533, 8, 8, 1)
    assert sorted(set(new.labels)) == [0, 1, 2]
    assert (new.images.min(), new.images.max()) == (0, 1)
    few, others = digits.split_off_few(new, 5, seed=0)
    assert np.bincount(few.labels).tolist() == [5, 5, 5]
    assert len(few) + len(others) == len(new)
