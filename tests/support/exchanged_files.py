"""Files that one version of Keras and TensorFlow writes and another reads; `python3 dev.py test-matrix` runs it.

python exchanged_files.py write|read FOLDER
"""

import json
import sys
import warnings
from pathlib import Path

import keras
import numpy as np
import producers
import tensorflow as tf

import keras_hub_layers as khl
from keras_hub_layers import layers

X = np.linspace(-1, 1, 8, dtype="float32")[:, None]
TEXTS = tf.constant(["hello world", "good", "bad bad", "hello"] * 2)
Y = np.ones((8, 1), "float32")
SOURCES = {
    "raw": (lambda path: producers.half_plus_one(path), X),
    "keras2": (lambda path: producers.half_plus_one(path, keras2=True), X),
    "norm": (lambda path: producers.batch_norm(path, keras2=True), X),
    "texts": (producers.text_classifier, TEXTS),
}


def compiled(hub, inputs):
    given = keras.Input(inputs.shape[1:], dtype=inputs.dtype if isinstance(inputs.dtype, tf.DType) else "float32")
    model = keras.Model(given, keras.layers.Dense(1, kernel_initializer="ones")(hub(given)))
    model.compile(keras.optimizers.SGD(0.01), "mse")
    return model


def version_of(text):
    return [int(number) for number in text.split(".")[:2]]


def fit(model, inputs):
    model.fit(tf.data.Dataset.from_tensor_slices((inputs, Y)).batch(8), verbose=0)


def rows(function, inputs):
    return np.asarray(function(tf.convert_to_tensor(inputs))).ravel().tolist()


def write(folder):
    """Fine-tune each source, write it in every format, and write down what it computes."""
    expected = {}
    for name, (producer, inputs) in SOURCES.items():
        hub = layers.HubLayer(producer(folder / name / "source"), trainable=True, name="hub")
        model = compiled(hub, inputs)
        fit(model, inputs)
        khl.export(hub, folder / name / "tuned")
        khl.export(model, folder / name / "whole")
        khl.save(keras.Model(model.input, hub.output), folder / name / "hub.keras")
        khl.save(model, folder / name / "model.keras")
        khl.save(model, folder / name / "model.weights.h5")
        expected[name] = {"hub": rows(hub, inputs), "model": rows(model, inputs), "trained": len(hub.trainable_weights)}
    (folder / "expected.json").write_text(json.dumps({"keras": keras.__version__, "expected": expected}))


def read(folder):
    """Load each file, compare what it computes with what was written down, and train it further.

    A `Dense` of Keras 3.15 has an argument in its config that Keras 3.8 does not know, so no older Keras reads a
    `.keras` file with one. A `HubLayer` has none.
    """
    written = json.loads((folder / "expected.json").read_text())
    is_older = version_of(keras.__version__) < version_of(written["keras"])
    for name, (_, inputs) in SOURCES.items():
        expected = written["expected"][name]
        tuned = layers.HubLayer(folder / name / "tuned", trainable=True)
        whole = layers.HubLayer(folder / name / "whole", trainable=True)
        loaded = keras.models.load_model(folder / name / "hub.keras", safe_mode=False)
        weighted = compiled(layers.HubLayer(folder / name / "source", trainable=True, name="hub"), inputs)
        weighted.load_weights(folder / name / "model.weights.h5")
        assert len(tuned.trainable_weights) == expected["trained"], name
        functions = [(tuned, "hub"), (loaded, "hub"), (whole, "model"), (weighted, "model")]
        if not is_older:
            functions.append((keras.models.load_model(folder / name / "model.keras", safe_mode=False), "model"))
        for function, kind in functions:
            np.testing.assert_allclose(rows(function, inputs), expected[kind], rtol=1e-5, atol=1e-6, err_msg=name)
        fit(compiled(tuned, inputs), inputs)
        loaded.compile("sgd", "mse")
        fit(loaded, inputs)
        assert not np.allclose(rows(loaded, inputs), expected["hub"]), name
    return f"{len(SOURCES)} models that Keras {written['keras']} wrote were read by Keras {keras.__version__}"


if __name__ == "__main__":
    warnings.simplefilter("ignore")  # of other packages
    done = {"write": write, "read": read}[sys.argv[1]](Path(sys.argv[2]))
    if done:
        sys.stdout.write(done + "\n")
