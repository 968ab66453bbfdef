"""doctor tells what is installed, what does not fit together, and the line that mends it."""

import json
import sys
from importlib import metadata

import pytest

from keras_hub_layers._src.cli.doctor import import_check, installation
from keras_hub_layers._src.cli.doctor.finding import OK, PROBLEM, WARNING
from keras_hub_layers._src.cli.doctor.import_check import ImportResult

FINE = {
    "tensorflow": "2.21.0",
    "keras": "3.15.1",
    "tf_keras": "2.21.0",
    "tensorflow-hub": "0.16.1",
    "tensorflow-text": "2.21.0",
}


@pytest.fixture
def check(monkeypatch, tmp_path):
    """What is found where these distributions are installed and this happens on import: check(versions, **probe)."""
    for name in ("KERAS_BACKEND", "TF_USE_LEGACY_KERAS", "CUDA_VISIBLE_DEVICES"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    monkeypatch.setattr(installation, "_has_nvidia_driver", lambda: False)

    def run(versions=FINE, **seen):
        def version(name):
            if name not in versions:
                raise metadata.PackageNotFoundError(name)
            return versions[name]

        monkeypatch.setattr(installation.metadata, "version", version)
        found = installation.check(lambda modules: ImportResult(**seen))
        return {finding.topic: finding for finding in found}

    return run


def test_an_installation_that_fits_has_no_problem(check):
    found = check()
    assert {finding.level for finding in found.values()} == {OK}
    assert found["TensorFlow"].text == "2.21.0, tested with 2.18 to 2.21"
    assert found["backend"].text == "tensorflow (Keras' default)"
    assert found["GPU"].text == "none; the CPU computes"
    assert 'pip install "keras-hub-layers[kaggle]"' in found["kagglehub"].text


@pytest.mark.parametrize(
    ("change", "topic", "level", "fix"),
    [
        ({"tensorflow": None}, "TensorFlow", PROBLEM, 'pip install "tensorflow>=2.18,<2.22"'),
        ({"tensorflow": "2.17.1"}, "TensorFlow", PROBLEM, 'pip install "tensorflow>=2.18,<2.22"'),
        ({"tensorflow": "2.22.0rc1"}, "TensorFlow", WARNING, 'pip install "tensorflow>=2.18,<2.22"'),
        ({"keras": None}, "Keras", PROBLEM, 'pip install "keras>=3.8,<3.16"'),
        ({"keras": "2.15.0"}, "Keras", PROBLEM, 'pip install "keras>=3.8,<3.16"'),
        ({"keras": "3.16.0"}, "Keras", WARNING, 'pip install "keras>=3.8,<3.16"'),
        ({"tf_keras": "2.19.0"}, "Keras", WARNING, 'pip install "tf_keras==2.21.*"'),
        ({"tensorflow-text": "2.20.1"}, "tensorflow-text", PROBLEM, 'pip install "tensorflow-text==2.21.*"'),
    ],
)
def test_versions_that_do_not_fit_come_with_the_line_that_mends_them(check, change, topic, level, fix):
    found = check({name: version for name, version in {**FINE, **change}.items() if version})
    assert (found[topic].level, found[topic].fix) == (level, fix)


def test_two_tensorflows_are_noticed(check):
    versions = {**FINE, "tensorflow-cpu": "2.20.0"}
    assert check(versions)["TensorFlow"].level == OK  # the last finding of this topic, the version's
    found = [finding for finding in installation.check(lambda modules: ImportResult()) if finding.topic == "TensorFlow"]
    assert [finding.level for finding in found] == [WARNING, OK]
    assert "tensorflow 2.21.0, tensorflow-cpu 2.20.0" in found[0].text


@pytest.mark.parametrize(
    ("seen", "topic", "level", "text"),
    [
        ({"crash": "signal 4"}, "TensorFlow", PROBLEM, "ends the process that imports it: signal 4"),
        (
            {"errors": {"tensorflow": "ImportError: libx"}},
            "TensorFlow",
            PROBLEM,
            "cannot be imported: ImportError",
        ),
        ({"errors": {"keras": "ImportError: h5py"}}, "Keras", PROBLEM, "cannot be imported: ImportError: h5py"),
        ({"errors": {"keras_hub_layers.layers": "E: x"}}, "this package", PROBLEM, "cannot be imported: E: x"),
        (
            {"errors": {"tensorflow_hub": "E: No module named 'pkg_resources'"}},
            "tensorflow_hub",
            WARNING,
            "pkg_resources",
        ),
        ({"gpus": ("/physical_device:GPU:0",)}, "GPU", OK, "1 visible: /physical_device:GPU:0"),
    ],
)
def test_what_cannot_be_imported_is_reported_with_its_reason(check, seen, topic, level, text):
    found = check(**seen)[topic]
    assert found.level == level
    assert text in found.text


def test_an_old_tensorflow_hub_is_mended_by_an_older_setuptools(check):
    found = check(errors={"tensorflow_hub": "ModuleNotFoundError: No module named 'pkg_resources'"})
    assert found["tensorflow_hub"].fix == 'pip install "setuptools<82"'


def test_a_tensorflow_hub_that_lacks_keras_for_the_backend_s_sake_needs_no_advice(check, monkeypatch):
    monkeypatch.setenv("KERAS_BACKEND", "jax")
    found = check(errors={"tensorflow_hub": "ImportError: Keras cannot be imported. Check that it is installed."})
    assert (found["tensorflow_hub"].level, found["tensorflow_hub"].fix) == (OK, "")


def test_another_backend_is_told_with_its_limits_and_its_source(check, monkeypatch, tmp_path):
    (tmp_path / "keras").mkdir()
    (tmp_path / "keras" / "keras.json").write_text(json.dumps({"backend": "torch"}))
    found = check()["backend"]
    assert found.level == WARNING
    assert f"'torch' ({tmp_path / 'keras' / 'keras.json'})" in found.text
    monkeypatch.setenv("KERAS_BACKEND", "jax")
    found = check(errors={"keras": "ModuleNotFoundError: No module named 'jax'"})
    assert "'jax' (KERAS_BACKEND)" in found["backend"].text
    assert found["backend"].fix.splitlines()[0] == "export KERAS_BACKEND=tensorflow"
    assert found["Keras"].level == OK  # it is the backend that is missing
    monkeypatch.setenv("KERAS_BACKEND", "nosuch")
    error = "ValueError: Unable to import backend : nosuch"
    found = check(errors={"tensorflow": error, "keras": error, "tensorflow_hub": error})
    assert {topic for topic in found if found[topic].level != OK} == {"backend"}
    assert check(errors={"keras": "ImportError: h5py"})["Keras"].level == PROBLEM


def test_legacy_keras_is_noticed(check, monkeypatch):
    assert "tf.keras" not in check()
    monkeypatch.setenv("TF_USE_LEGACY_KERAS", "1")
    assert check()["tf.keras"].fix == "unset TF_USE_LEGACY_KERAS"


def test_a_gpu_that_is_there_and_not_seen_is_noticed(check, monkeypatch):
    monkeypatch.setattr(installation, "_has_nvidia_driver", lambda: True)
    assert check(built_with_cuda=True)["GPU"].fix == 'pip install "tensorflow[and-cuda]"'
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "-1")
    assert check()["GPU"].fix == "unset CUDA_VISIBLE_DEVICES"


def test_the_ranges_are_those_that_are_tested():
    from pathlib import Path

    folder = Path(__file__).resolve().parents[2] / "requirements"
    for place, name in enumerate(("floor.txt", "newest.txt")):
        pins = dict(line.split("==") for line in (folder / name).read_text().splitlines() if "==" in line)
        assert installation._minor(pins["keras"]) == installation.KERAS[place]
        assert installation._minor(pins["tensorflow"]) == installation.TENSORFLOW[place]


def test_a_probe_imports_in_a_process_of_its_own(tmp_path, monkeypatch):
    (tmp_path / "fine_module.py").write_text("__version__ = '1.2'\nprint('chatter')\n")
    (tmp_path / "broken_module.py").write_text("raise ImportError('no luck')\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    seen = import_check.try_imports(("fine_module", "broken_module"))
    assert (seen.versions, seen.errors) == ({"fine_module": "1.2"}, {"broken_module": "ImportError: no luck"})
    assert "fine_module" not in sys.modules


def test_a_probe_survives_an_import_that_ends_the_process(tmp_path, monkeypatch):
    (tmp_path / "deadly_module.py").write_text(
        "import os, sys\nprint('bad CPU', file=sys.stderr, flush=True)\nos.abort()\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    assert import_check.try_imports(("deadly_module",)).crash == "signal 6: bad CPU"
