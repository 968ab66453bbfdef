"""The README tells the truth: its code runs, its links lead somewhere, and its names exist."""

import inspect
import re

import prose
import pytest

from keras_hub_layers import layers

README = (prose.ROOT / "README.md").read_text("utf-8")
BLOCKS = prose.blocks_of(prose.ROOT / "README.md")
CODE = [block for block in BLOCKS if block.language == "python"]
HANDLE = '"path/or/url/of/a/saved_model"'


@pytest.mark.filterwarnings("ignore:.*weights are frozen")  # the best of two trials may be the frozen one
@pytest.mark.filterwarnings("ignore:(currentThread|getName):DeprecationWarning")  # KerasTuner 1.4.8
@pytest.mark.parametrize("block", CODE, ids=range(len(CODE)))
def test_each_piece_of_python_runs_by_itself_with_a_handle_of_ones_own(produced, tmp_path, monkeypatch, block):
    assert HANDLE in block.code
    prose.place_handles(tmp_path, produced, monkeypatch)
    assert prose.run([block], prose.namespace(), monkeypatch) == 1
    if "ExportFinetuned" in block.code:
        assert layers.HubLayer("my_tuned_model")(["good"]).shape == (1, 2)


def test_every_block_is_python_or_commands_that_exist(produced, tmp_path, monkeypatch):
    prose.place_handles(tmp_path, produced, monkeypatch)
    commands = [block for block in BLOCKS if block.language == "console"]
    assert len(CODE) + len(commands) == len(BLOCKS) == README.count("\n```") / 2
    assert prose.run(commands, {}, monkeypatch) == len(commands)


def test_links_lead_to_files_of_the_repository():
    for target in re.findall(r"\]\(([^)#]+)\)", README):
        assert target.startswith("https://") or (prose.ROOT / target).exists(), target


def test_arguments_named_as_those_of_hub_keraslayer_are_arguments_of_hublayer():
    row = next(line for line in README.splitlines() if "the same names" in line)
    names = re.findall(r"`(\w+)`", row.split("|")[1])
    assert len(names) == 8
    assert set(names) <= set(inspect.signature(layers.HubLayer.__init__).parameters)


def test_the_two_commands_are_commands_of_dev_py():
    commands = re.findall(r"\$ python3 dev.py (\w+)", README)
    assert commands == ["demo", "test"]
    assert "python3 dev.py test" in (prose.ROOT / ".ci" / "run").read_text("utf-8")


def test_each_pattern_of_the_core_of_the_tests_matches_files():
    core = re.search(r"CORE = \((.*?)\)", (prose.ROOT / "dev.py").read_text("utf-8"), re.DOTALL)
    patterns = re.findall('"(.+)"', core[1])
    assert len(patterns) > 5
    for pattern in patterns:
        assert list((prose.ROOT / "tests").glob(pattern)), pattern


def test_contributing_names_files_and_folders_that_exist():
    text = (prose.ROOT / "CONTRIBUTING.md").read_text("utf-8")
    inside = set(re.findall(r"`(\w+/\w+\.py)`", text)) - {"tests/whole"}
    inside |= {name for line in re.findall(r"^(?:\w+/ ?)+", text, re.MULTILINE) for name in line.split()}
    assert len(inside) > 20
    for name in inside:
        assert (prose.ROOT / "keras_hub_layers" / "_src" / name).exists(), name
    packages = [
        path.name for path in (prose.ROOT / "keras_hub_layers" / "_src").iterdir() if (path / "__init__.py").exists()
    ]
    assert not [name for name in packages if f"{name}/" not in inside]
