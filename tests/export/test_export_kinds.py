"""Every kind of Keras 3 model becomes a SavedModel that every kind of consumer can use, each in a fresh process."""

import json
import os
import pickle
import subprocess
import sys
import warnings
from pathlib import Path

import keras
import keras_models
import numpy as np
import pytest
import tensorflow as tf

import keras_hub_layers as khl
from keras_hub_layers._src.export import keras_export, signature_names, signatures

CONSUMERS = ["tensorflow", "session", "tf_keras", "tfsm_layer"]
pytestmark = pytest.mark.xdist_group("kinds")  # they share what is made once in a process
LOOSE = {"mixed_float16": 2e-2, "mixed_bfloat16": 5e-2}


def make_case(name, folder):
    """Export one model, and note beside it what its consumers should find."""
    keras.utils.set_random_seed(0)
    model, inputs = keras_models.KINDS[name](folder)
    options = keras_models.EXPORT.get(name, {})
    khl.export(model, folder / "out", **options)
    components = [part.numpy() for part in tf.nest.flatten(_tensors(inputs), expand_composites=True)]
    takes_training = "training" in model.call.__code__.co_varnames
    outputs = model(_tensors(inputs), **({"training": False} if takes_training else {}))
    flat = signatures.flatten_outputs(outputs, signature_names.output_layers(model))
    case = {
        "inputs": components,
        "arguments": keras_export.KerasExport(model, **options).arguments,
        "outputs": {name: part.numpy() for name, part in flat.items()},
        "losses": [float(loss) for loss in model.losses],
        "counts": (len(model.variables), len(model.trainable_variables)),
        "dense": not any(isinstance(i, (tf.RaggedTensor, tf.SparseTensor)) for i in tf.nest.flatten(inputs)),
        "tolerance": LOOSE.get(name, 1e-4),
    }  # fmt: skip
    (folder / "case.pickle").write_bytes(pickle.dumps(case))


def _tensors(inputs):
    return tf.nest.map_structure(lambda x: tf.constant(x) if isinstance(x, np.ndarray) else x, inputs)


@pytest.fixture(scope="session")
def results(tmp_path_factory):
    """{(kind, consumer): problem or ""}; the consumers run side by side."""
    folder = tmp_path_factory.mktemp("kinds")
    problems = {}
    for name in keras_models.KINDS:
        (folder / name).mkdir()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            make_case(name, folder / name)
    script = str(Path(__file__).parents[1] / "support" / "consumers.py")
    running = {
        consumer: subprocess.Popen([sys.executable, script, consumer, str(folder)], stdout=subprocess.PIPE,
                                   stderr=subprocess.PIPE, text=True, env={**os.environ, "PYTHONWARNINGS": "ignore"})
        for consumer in CONSUMERS
    }  # fmt: skip
    for consumer, process in running.items():
        stdout, stderr = process.communicate(timeout=300)
        assert process.returncode == 0, stderr[-3000:]
        found = json.loads(stdout.splitlines()[-1])
        problems |= {(name, consumer): found[name] for name in keras_models.KINDS}
    return problems


def test_there_are_at_least_thirty_kinds():
    assert len(keras_models.KINDS) >= 30


@pytest.mark.parametrize("consumer", CONSUMERS)
@pytest.mark.parametrize("kind", keras_models.KINDS)
def test_a_kind_of_model_is_whole_for_a_consumer(results, kind, consumer):
    assert results[kind, consumer] == ""
