"""The benchmarks run: on a tiny model, once, in this process."""

import importlib
import json
import sys
import warnings
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def script(monkeypatch, tmp_path):
    """A script of the benchmarks as a module, with its models in a folder of its own."""
    before = set(sys.modules)
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    monkeypatch.setattr(importlib.import_module("common"), "MODELS", tmp_path / "models")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the other contestants' own
        yield importlib.import_module
    for name in set(sys.modules) - before:
        if str(BENCHMARKS) in (getattr(sys.modules[name], "__file__", None) or ""):
            del sys.modules[name]


def test_the_runner_measures_all_contestants_and_writes_tables_and_a_picture(script, tmp_path, capsys, monkeypatch):
    page = (BENCHMARKS / "README.md").read_text("utf-8")
    (tmp_path / "page").mkdir()
    (tmp_path / "page" / "README.md").write_text(page, encoding="utf-8")
    monkeypatch.setattr(script("run"), "README", tmp_path / "page" / "README.md")
    assert script("run").main(["--quick", "--write", "--out", str(tmp_path)]) == 0
    results = json.loads((tmp_path / "results.json").read_text())
    sides, loaded_only = results["tables"].values()
    assert list(loaded_only) == ["raw", "ours"]
    rows = {side: set(rounds[0]) for side, rounds in sides.items()}
    assert list(sides) == ["raw", "keras_layer", "tfsm_layer", "ours"]
    assert rows["tfsm_layer"] < rows["keras_layer"] < rows["raw"]
    assert {"load", "second load", "load memory", "first step", "step", "frozen step", "predict"} <= rows["ours"]
    assert {"re-export", "export", "export bytes", ".keras", "training memory"} <= rows["ours"]
    [ours], [raw] = sides["ours"], sides["raw"]
    assert min(ours["step"], raw["step"], ours["load"]) > 0
    assert 0 < ours["step operations"] < raw["step operations"]
    assert set(results["curves"]) == {"layers", "variables", "hub_layers", "trials"}
    text = (tmp_path / "results.md").read_text()
    assert "| training step |" in text
    assert "### Other SavedModels" in text
    assert text in capsys.readouterr().out
    assert (tmp_path / "results.svg").read_text().count("<path") > 50
    written = (tmp_path / "page" / "README.md").read_text("utf-8")
    assert text in written
    assert written.partition("<!-- run.py -->")[0] == page.partition("<!-- run.py -->")[0]
    assert written.partition("<!-- end of run.py -->")[2] == page.partition("<!-- end of run.py -->")[2]
    assert (tmp_path / "page" / "results.svg").exists()
