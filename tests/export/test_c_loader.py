"""TensorFlow's loader in C++, which TensorFlow Serving uses, loads exports in a process without TensorFlow's Python."""

import json
import subprocess
import sys

import c_loader
import keras
import numpy as np
import producers
import pytest

import keras_hub_layers as khl
from keras_hub_layers import layers

pytestmark = pytest.mark.skipif(not (c_loader.ROOT / c_loader.LIBRARY).exists(), reason="no library of TensorFlow")

X = np.array([[0.0], [10.0]], "float32")
TEXTS = ["hello world", "good", "grüße"]
ASK = """
import json, sys
import numpy as np
from c_loader import LoadedModel

folder, texts = sys.argv[1], np.array([text.encode() for text in sys.argv[2:]], object)
answers = {}
for name in ("raw", "keras2", "model", "texts"):
    model = LoadedModel(f"{folder}/{name}")
    for signature in sorted({"serving_default", "serve"} & set(model.signatures)):
        inputs, outputs = model.signatures[signature]
        values = texts if name == "texts" else np.array([[0.0], [10.0]], "float32")
        (output,) = model.run({next(iter(inputs)): values}, signature).values()
        answers[f"{name} {signature}"] = [list(inputs), list(outputs), output.tolist()]
answers["python"] = [name for name in sys.modules if name.startswith(("tensorflow.python", "keras"))]
try:
    LoadedModel(f"{folder}/nothing")
except RuntimeError as error:
    answers["error"] = str(error)
print(json.dumps(answers))
"""


@pytest.fixture(scope="module")
def answers(produced, tmp_path_factory):
    """What the loader computes with exports that were moved after they were written."""
    folder = tmp_path_factory.mktemp("exports")
    for name, is_keras_2 in (("raw", False), ("keras2", True)):
        hub = layers.HubLayer(produced(producers.half_plus_one, is_keras_2), trainable=True)
        hub.trainable_weights[0].assign(hub.trainable_weights[0] * 4)
        khl.export(hub, folder / "written" / name)
    head = keras.layers.Dense(1, kernel_initializer="ones", name="y")
    khl.export(keras.Sequential([keras.Input((1,), name="x"), hub, head]), folder / "written" / "model")
    khl.export(layers.HubLayer(produced(producers.text_classifier)), folder / "written" / "texts")
    (folder / "written").rename(folder / "moved")
    command = [sys.executable, "-c", ASK, str(folder / "moved"), *TEXTS]
    done = subprocess.run(command, cwd=c_loader.SUPPORT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize(
    "name", ["raw serving_default", "keras2 serving_default", "model serving_default", "model serve"]
)
def test_an_export_computes_what_was_trained(answers, name):
    assert answers[name][2] == (2 * X + 1).tolist()  # y = w·x + 1 with w = 4·0.5
    if name.startswith("model"):
        assert answers[name][:2] == [["x"], ["y"]]


def test_texts_are_looked_up_in_the_vocabulary_of_the_export(answers):
    rows = [0.5, 2, 4]  # means of the rows of its words; an unknown word has the last one
    assert answers["texts serving_default"][2] == [[row, -row] for row in rows]


def test_neither_python_of_tensorflow_nor_keras_took_part(answers):
    assert answers["python"] == []
    assert "Could not find SavedModel" in answers["error"]
