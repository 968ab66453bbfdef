"""Processes are killed and limits are hit for real: the previous export stays whole, and nothing is left over."""

import os
import signal
import subprocess
import sys
import tempfile

import numpy as np
import producers
import pytest
import tensorflow as tf

import keras_hub_layers as khl
from keras_hub_layers import layers
from keras_hub_layers._src.export import verification

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="no SIGKILL, no resource limits")

PREAMBLE = """
import os, signal, sys
source, destination, argument = sys.argv[1:]
import keras
import numpy as np
import tensorflow as tf
import keras_hub_layers as khl
from keras_hub_layers import callbacks, errors, layers

def hub():
    return layers.HubLayer(source, trainable=True)

def changed():
    layer = hub()
    layer.trainable_weights[0].assign(layer.trainable_weights[0] + 1.0)
    return layer

def model():
    x = keras.Input((4,), name="x")
    return keras.Model(x, keras.layers.Dense(2, kernel_initializer="ones", name="y")(x))
"""

# Dies when the n-th of these functions is entered: every step of writing, verifying and swapping.
KILLED = (
    PREAMBLE
    + """
import shutil
from keras_hub_layers._src.export import model_card, verification
from keras_hub_layers._src.files import atomic, work_directories
from keras_hub_layers._src.savedmodel.checkpoints import compare, rewrite
left = int(argument)

def mortal(owner, name):
    whole = getattr(owner, name)
    def step(*args, **kwargs):
        global left
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return whole(*args, **kwargs)
    setattr(owner, name, step)

layer = changed()
for owner, name in [(tf.io.gfile, "copy"), (rewrite, "_write"), (rewrite, "_renew_fingerprint"),
                    (verification, "check_files"), (compare, "different_keys"), (model_card, "write_card"),
                    (atomic, "_keep_files_of_user"), (atomic, "_swap"), (atomic, "_exchange"),
                    (work_directories, "remove")]:
    mortal(owner, name)
khl.export(layer, destination)
"""
)

FULL = (
    PREAMBLE
    + """
import resource
target = changed() if argument == "hub" else model()
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
try:
    khl.export(target, destination)
except errors.ExportWriteError as err:
    assert "File too large" in str(err), err
    sys.exit(7)
"""
)

SAVED = (
    PREAMBLE
    + """
import resource
target = model()
target.compile("adam", "mse")
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
try:
    khl.save(target, destination)
except errors.ExportWriteError:
    assert target.compiled
    sys.exit(7)
"""
)


def run(script, *arguments):
    return subprocess.run([sys.executable, "-c", script, *map(str, arguments)], check=False, timeout=120,
                          capture_output=True, text=True)  # fmt: skip


@pytest.fixture
def source(tmp_path):
    return producers.text_classifier(tmp_path / "source")


def is_good(directory):
    """Whether a directory is a whole export: it loads, with its table, and answers."""
    return layers.HubLayer(str(directory))(tf.constant(["hello world"])).numpy().tolist()


@pytest.mark.parametrize("step", [2, 4, 9, 11])
def test_after_kill_9_at_any_step_a_whole_export_is_there_and_the_next_writer_sweeps(source, tmp_path, step):
    places = tmp_path / "places"
    before = is_good(khl.export(layers.HubLayer(source), places / "out"))
    after = [[before[0][0] + 1.0, before[0][1] + 1.0]]
    done = run(KILLED, source, places / "out", step)
    assert done.returncode in (-signal.SIGKILL, 0), done.stderr[-2000:]
    assert done.returncode == -signal.SIGKILL or step == 11
    assert is_good(places / "out") in (before, after)
    khl.export(layers.HubLayer(source), places / "out")
    assert os.listdir(places) == ["out"]
    assert is_good(places / "out") == before


@pytest.mark.parametrize("kind", ["hub", "keras"])
def test_a_full_disk_keeps_the_previous_export_and_leaves_nothing(source, tmp_path, kind):
    places = tmp_path / "places"
    before = is_good(khl.export(layers.HubLayer(source), places / "out"))
    done = run(FULL, source, places / "out", kind)
    assert done.returncode == 7, done.stderr[-2000:]
    assert os.listdir(places) == ["out"]
    assert is_good(places / "out") == before


def test_a_full_disk_keeps_the_previous_keras_file(source, tmp_path):
    places = tmp_path / "places"
    places.mkdir()
    (places / "model.keras").write_bytes(b"the old one")
    done = run(SAVED, source, places / "model.keras", "")
    assert done.returncode == 7, done.stderr[-2000:]
    assert os.listdir(places) == ["model.keras"]
    assert (places / "model.keras").read_bytes() == b"the old one"


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="gives up root's rights, so needs them")
def test_a_place_that_is_not_writable_is_an_error_that_names_it(source):
    script = (
        PREAMBLE
        + """
target = changed()
os.setuid(65534)
try:
    khl.export(target, destination)
except errors.ExportWriteError as err:
    assert "Permission denied" in str(err) and destination in str(err), err
    sys.exit(7)
"""
    )
    with tempfile.TemporaryDirectory() as places:
        os.chmod(places, 0o755)
        done = run(script, source, os.path.join(places, "out"), "")
        assert done.returncode == 7, done.stderr[-2000:]
        assert os.listdir(places) == []


def test_two_processes_that_export_to_one_place_leave_one_whole_export(source, tmp_path):
    script = PREAMBLE + "\nfor _ in range(5): khl.export(changed(), destination)\n"
    places = tmp_path / "places"
    running = [
        subprocess.Popen([sys.executable, "-c", script, source, str(places / "out"), ""], stderr=subprocess.PIPE)
        for _ in range(2)
    ]
    for process in running:
        _, stderr = process.communicate(timeout=120)
        assert process.returncode == 0, stderr[-2000:]
    assert os.listdir(places) == ["out"]
    assert np.isfinite(is_good(places / "out")).all()


@pytest.mark.parametrize("is_default", [True, False])
@pytest.mark.parametrize("refuses", [False, True])
def test_an_export_is_compared_with_what_a_gpu_computes_in_float32_proper(is_default, refuses):
    # TensorFloat-32, the default on a GPU, differs by more than a sound export may.
    seen = []

    class Signature:
        structured_input_signature = ((), {"x": tf.TensorSpec((2,), tf.float32)})

        def __call__(self, x):
            seen.append(tf.config.experimental.tensor_float_32_execution_enabled())
            if refuses:
                raise ValueError("these inputs are made up")
            return {"y": x}

    before = tf.config.experimental.tensor_float_32_execution_enabled()
    tf.config.experimental.enable_tensor_float_32_execution(is_default)
    try:
        verification.run_here("serve", Signature(), [])
        assert tf.config.experimental.tensor_float_32_execution_enabled() == is_default
    finally:
        tf.config.experimental.enable_tensor_float_32_execution(before)
    assert set(seen) == {False}
