"""A process on TensorFlow: what it answers, and what is left of it when its time is over."""

import subprocess

import keras
import producers
import pytest

from keras_hub_layers import errors, layers
from keras_hub_layers._src import tensorflow_process
from keras_hub_layers._src.export.other_backends import rebuilt_export
from keras_hub_layers._src.layers import jit

ECHO = """
import json, os, sys
request = json.load(sys.stdin)
print("no JSON", json.dumps([1]), json.dumps({**request, "backend": os.environ["KERAS_BACKEND"]}), sep="\\n")
sys.exit("first line\\nlast line")
"""


def test_a_process_answers_a_request_and_keeps_what_it_said():
    reply = tensorflow_process.run(ECHO, {"text": "ä"}, seconds=100)
    assert reply.answers == [{"text": "ä", "backend": "tensorflow"}]
    assert (reply.status, reply.last_error) == (1, "last line")


@pytest.fixture
def processes(monkeypatch):
    """The processes that the test starts."""
    started = []

    class Recorded(subprocess.Popen):
        def __init__(self, *args, **kwargs):
            super().__init__(*args, **kwargs)
            started.append(self)

    monkeypatch.setattr(subprocess, "Popen", Recorded)
    return started


def test_a_process_whose_time_is_over_is_killed(processes):
    with pytest.raises(subprocess.TimeoutExpired, match="0 seconds"):
        tensorflow_process.run("import signal; signal.pause()", {}, seconds=0)
    assert [process.returncode for process in processes] == [-9]


def test_a_trial_of_xla_that_takes_too_long_is_an_error_of_the_layer(produced, monkeypatch, processes):
    monkeypatch.setattr(jit, "_SECONDS", 0)
    monkeypatch.setattr(jit, "_known", {})
    with pytest.raises(errors.InterfaceError, match=r"(?s)XLA cannot be used.*Received: .*took more than 0 s.*What to"):
        layers.HubLayer(produced(producers.scaled), jit=True)
    assert [process.returncode for process in processes] == [-9]


def test_an_export_by_another_process_that_takes_too_long_leaves_nothing(tmp_path, monkeypatch, processes):
    monkeypatch.setattr(rebuilt_export, "_SECONDS", 0)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    with pytest.raises(errors.ExportError, match=r"(?s)Received: .*took more than 0 s.*keras_hub_layers\.save"):
        rebuilt_export.RebuiltExport(model).write(str(tmp_path / "export"))
    assert [process.returncode for process in processes] == [-9]
    assert not list(tmp_path.iterdir())
