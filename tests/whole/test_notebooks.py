"""The notebooks tell the truth: each runs from start to end in a fresh kernel, offline, and what it asserts holds."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from keras_hub_layers._src.resolve import handles

ROOT = Path(__file__).resolve().parents[2] / "notebooks"
NOTEBOOKS = sorted(ROOT.glob("*.ipynb"))
MARK = "  # the public handle"
MACHINE = re.compile(r"/(home|root|tmp|Users|work|var|opt|usr)/|site-packages|[A-Z]:\\\\|ipykernel_\d")


def run(*arguments, **kwargs):
    """`notebooks/run.py` in a process of its own: a kernel does not mind our warnings filters."""
    command = [sys.executable, str(ROOT / "run.py"), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, **kwargs)


def cells(path, kind):
    """(source, outputs) of each cell of one kind."""
    for cell in json.loads(path.read_text("utf-8"))["cells"]:
        if cell["cell_type"] == kind:
            yield "".join(cell["source"]), cell.get("outputs", [])


def each(function):
    return pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)(function)


def test_there_are_six():
    assert [path.stem for path in NOTEBOOKS] == [
        "01_text_classification",
        "02_image_fine_tuning",
        "03_share_a_piece",
        "04_search_with_keras_tuner",
        "05_inspect_before_you_load",
        "06_your_own_hub",
    ]


@each
def test_it_runs_in_a_fresh_kernel_and_its_claims_hold(path, tmp_path):
    done = run(path, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert list(tmp_path.iterdir()) in ([], [tmp_path / "cache"])  # it cleans up behind itself


@pytest.mark.parametrize(
    ("code", "complaint"),
    [
        ("assert 1 + 1 == 3", "AssertionError"),
        ("import sys\nprint('careful', file=sys.stderr)", "writes to stderr: careful"),
        ("import os\nprint(os.getcwd())", "cell 0 shows"),
    ],
    ids=["a claim that is false", "a warning", "a path of this machine"],
)
def test_what_is_wrong_fails_the_run_and_is_not_saved(code, complaint, tmp_path):
    cell = {"cell_type": "code", "id": "a", "source": code, "metadata": {}, "outputs": [], "execution_count": None}
    path = tmp_path / "wrong.ipynb"
    path.write_text(json.dumps({"cells": [cell], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}))
    before = path.read_bytes()
    done = run(path, "--save")
    assert done.returncode == 1
    assert complaint in done.stderr
    assert path.read_bytes() == before


@each
def test_its_outputs_are_kept_small_and_say_nothing_about_a_machine(path):
    assert path.stat().st_size < 300_000
    outputs = [output for _, found in cells(path, "code") for output in found]
    assert outputs
    for output in outputs:
        assert output["output_type"] != "error"
        assert output.get("name") != "stderr"
        for kind, data in output.get("data", {}).items():
            assert kind != "image/png" or len(data) < 40_000 * 4 / 3, "a picture of more than 40 kB"
        texts = [output.get("text", ""), *(v for k, v in output.get("data", {}).items() if k != "image/png")]
        assert not MACHINE.search(json.dumps(texts)), texts


@each
def test_one_marked_line_names_a_public_handle_beside_the_local_one(path):
    lines = [line for source, _ in cells(path, "code") for line in source.splitlines()]
    marked = [index for index, line in enumerate(lines) if line.endswith(MARK)]
    assert len(marked) == 1
    public = re.fullmatch(r'# handle = "(.+)"', lines[marked[0]].removesuffix(MARK))
    assert public
    assert lines[marked[0] - 1].startswith("handle = ")
    assert handles.parse(public.group(1)).kaggle or "tfhub.dev" in public.group(1)


@each
def test_it_asks_a_question_asserts_and_says_what_to_try_next(path):
    prose = [source for source, _ in cells(path, "markdown")]
    assert prose[0].startswith("# ")
    assert "**Question.**" in prose[0]
    assert prose[-1].startswith("## What to try next")
    assert sum(source.count("\nassert ") for source, _ in cells(path, "code")) >= 3


@each
def test_the_readme_lists_it(path):
    assert f"[{path.stem}]({path.name})" in (ROOT / "README.md").read_text("utf-8")
