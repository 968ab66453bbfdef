"""What users do with a HubLayer on JAX and on PyTorch, from end to end.

`python3 dev.py backends` runs these tests, each backend in an environment of its own.
"""

import os
import subprocess
import sys

import keras
import numpy as np
import producers
import pytest
import tensorflow as tf
from searches import X as ROWS
from searches import Y as TARGETS
from searches import hypermodel_of, scale, search, tuner_of

import keras_hub_layers as khl
from keras_hub_layers import callbacks, errors, finetuning, layers

pytestmark = pytest.mark.skipif(
    keras.backend.backend() == "tensorflow", reason="for KERAS_BACKEND=jax or torch: python3 dev.py backends"
)

ONE, ZERO = np.ones((1, 1), "float32"), np.zeros((1, 1), "float32")


def values_of(layer):
    """Name of each weight, without the layer -> its value."""
    return {
        weight.path.partition("/")[2].replace("-", ".").replace("/", "."): keras.ops.convert_to_numpy(weight.value)
        for weight in layer.weights
    }


def model_of(*parts, shape=(1,), rate=0.1, optimizer=None):
    model = keras.Sequential([keras.Input(shape), *parts])
    model.compile(optimizer or keras.optimizers.SGD(rate), "mse")
    return model


def fit(model, x=ONE, y=ZERO, **given):
    return model.fit(x, y, batch_size=len(x), verbose=0, **given)


def test_a_classifier_of_images_is_tuned_exported_and_tuned_again(produced, tmp_path):
    random = np.random.default_rng(0)
    images = random.normal(size=(32, 8, 8, 1)).astype("float32")
    images[:16] += 1.0
    labels = np.repeat([0, 1], 16)
    core = layers.HubLayer(produced(producers.small_image_model), trainable=True)
    model = keras.Sequential([keras.Input((8, 8, 1)), core, keras.layers.Dense(2)])
    model.compile(
        keras.optimizers.Adam(0.01), keras.losses.SparseCategoricalCrossentropy(from_logits=True), metrics=["accuracy"]
    )
    before = values_of(core)
    tuned, whole = str(tmp_path / "tuned"), str(tmp_path / "whole")
    history = model.fit(
        images, labels, epochs=30, verbose=0, callbacks=[callbacks.ExportFinetuned(tuned, verbose=0)]
    ).history
    assert history["loss"][-1] < 0.5 * history["loss"][0]
    after = values_of(core)
    assert len(after) == 6
    assert all((after[name] != value).any() for name, value in before.items())
    known = keras.ops.convert_to_numpy(core(images))
    np.testing.assert_allclose(tf.saved_model.load(tuned)(tf.constant(images)), known, rtol=1e-4, atol=1e-5)
    again = layers.HubLayer(tuned, trainable=True)
    np.testing.assert_allclose(keras.ops.convert_to_numpy(again(images)), known, rtol=1e-5, atol=1e-6)
    assert [float(loss) for loss in again.losses] == pytest.approx([float(loss) for loss in core.losses])
    khl.export(model, whole)
    logits = tf.saved_model.load(whole)(tf.constant(images))
    np.testing.assert_allclose(logits, model.predict(images, verbose=0), rtol=1e-4, atol=1e-4)
    assert len(layers.HubLayer(whole, trainable=True).trainable_weights) == len(model.trainable_weights)


def test_each_group_has_its_own_rate(produced):
    """(a·b)² with a = 0.5 and b = 1: da = 2·a·b² = 1, db = 2·a²·b = 0.5; the rates are 0.1/4 and 0.1/2."""
    core = layers.HubLayer(produced(scale), trainable=True)
    model = model_of(core)
    model.compile(finetuning.layerwise(model, keras.optimizers.SGD(0.1), decay=0.5), "mse")
    fit(model)
    assert values_of(core) == {"bottom.a": pytest.approx(0.475), "top.b": pytest.approx(0.975)}


@pytest.mark.parametrize(
    "make",
    [
        lambda rate: keras.optimizers.SGD(rate, momentum=0.9, nesterov=True, weight_decay=0.1),
        lambda rate: keras.optimizers.RMSprop(rate, momentum=0.5),
        lambda rate: keras.optimizers.AdamW(rate, weight_decay=0.1),
        keras.optimizers.Nadam,
        keras.optimizers.Adamax,
        keras.optimizers.Adagrad,
        keras.optimizers.Lion,
        keras.optimizers.Adafactor,
    ],
)
def test_a_factor_of_a_variable_does_what_a_lower_rate_of_the_whole_optimizer_does_to_it(make):
    def after(optimizer):
        variables = [keras.Variable([1.0, 2.0], name=name) for name in ("a", "b")]
        for step in range(3):
            gradients = [
                keras.ops.convert_to_tensor([0.5 + step, -1.0]),
                keras.ops.convert_to_tensor([-0.3, 0.7 - step]),
            ]
            optimizer.apply(gradients, variables)
        return [keras.ops.convert_to_numpy(variable.value) for variable in variables]

    ours = after(finetuning.LayerwiseOptimizer(make(0.1), {"b": 0.5}))
    np.testing.assert_allclose(ours[0], after(make(0.1))[0], rtol=1e-6)
    np.testing.assert_allclose(ours[1], after(make(0.05))[1], rtol=1e-6)
    assert (ours[1] != after(make(0.1))[1]).all()


def test_a_schedule_unfreezes_within_one_fit(produced):
    """The first epoch trains nothing of the layer, the second `b` alone: 1 - 0.1·2·a²·b = 0.95."""
    core = layers.HubLayer(produced(scale))
    model = model_of(core, keras.layers.Dense(1, use_bias=False, kernel_initializer="ones"), rate=0.0)
    schedule = callbacks.Unfreeze({0: None, 1: 1}, learning_rates={1: 0.1}, verbose=0)
    history = fit(model, epochs=2, callbacks=[schedule])
    assert [(phase["epoch"], phase["parameters"]) for phase in history.phases] == [(0, 1), (1, 2)]
    assert values_of(core) == {"bottom.a": pytest.approx(0.5), "top.b": pytest.approx(0.95)}


def test_a_model_of_mixed_precision_is_tuned_in_the_dtypes_of_the_savedmodel(produced):
    keras.mixed_precision.set_global_policy("mixed_float16")
    try:
        core = layers.HubLayer(produced(scale), trainable=True)
        model = model_of(core, keras.layers.Dense(1, use_bias=False, kernel_initializer="ones"))
        assert (str(model.layers[-1].compute_dtype), model.outputs[0].dtype) == ("float16", "float16")
        fit(model)
    finally:
        keras.mixed_precision.set_global_policy("float32")
    assert {value.dtype.name for value in values_of(core).values()} == {"float32"}
    assert values_of(core) == {"bottom.a": pytest.approx(0.4, rel=1e-3), "top.b": pytest.approx(0.95, rel=1e-3)}


def test_a_piece_becomes_a_keras_file_and_a_savedmodel(produced, tmp_path):
    core = layers.HubLayer(produced(scale), trainable=True)
    piece = keras.Sequential([keras.Input((1,)), core], name="piece")
    model = model_of(piece, keras.layers.Dense(1))
    file, directory = tmp_path / "piece.keras", str(tmp_path / "piece")
    fit(model, callbacks=[callbacks.ExportPiece(path, layer="piece", verbose=0) for path in (file, directory)])
    assert values_of(core)["bottom.a"] != 0.5
    known = piece.predict(ROWS, verbose=0)
    again = keras.saving.load_model(file, safe_mode=False)
    np.testing.assert_allclose(again.predict(ROWS, verbose=0), known, rtol=1e-6)
    np.testing.assert_allclose(tf.saved_model.load(directory)(ROWS), known, rtol=1e-5)
    assert len(layers.HubLayer(directory, trainable=True).trainable_weights) == 2


def test_a_piece_that_is_no_model_is_refused_before_the_training(produced, tmp_path):
    core = layers.HubLayer(produced(scale), trainable=True)
    model = model_of(core, keras.layers.Dense(1, name="head"))
    with pytest.raises(errors.BackendError, match=r"(?s)a Dense, which is no keras.Model.*What to do:"):
        fit(model, callbacks=[callbacks.ExportPiece(tmp_path / "head", layer="head")])
    assert values_of(core)["bottom.a"] == 0.5
    assert not (tmp_path / "head").exists()


def test_weights_that_are_not_finite_do_not_replace_a_file(produced, tmp_path):
    core = layers.HubLayer(produced(scale), trainable=True)
    model, path = model_of(core), tmp_path / "model.keras"
    path.write_text("before")
    with pytest.raises(errors.ExportError, match=r"(?s)NaN or infinite.*bottom"):
        fit(model, ONE * np.nan, callbacks=[callbacks.ExportPiece(path, verbose=0)])
    assert path.read_text() == "before"


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_search_tries_the_layer_frozen_and_trainable(produced, tmp_path):
    tuner = tuner_of(hypermodel_of(produced(scale)), tmp_path, trials=3)
    search(tuner)
    tried = [trial.hyperparameters.values for trial in tuner.oracle.trials.values()]
    assert {values["trainable"] for values in tried} == {True, False}
    assert all(np.isfinite(trial.score) for trial in tuner.oracle.trials.values())
    best = tuner.get_best_models()[0]
    assert best.predict(ROWS, verbose=0).shape == TARGETS.shape


ON_TENSORFLOW = """
import sys, keras, numpy as np
from keras_hub_layers import layers
handle, weights, whole, back = sys.argv[1:]
model = keras.Sequential([keras.Input((1,)), layers.HubLayer(handle, trainable=True, name="hub")])
model.load_weights(weights)
loaded = keras.saving.load_model(whole, safe_mode=False)
assert keras.backend.backend() == "tensorflow"
for each in (model, loaded):
    print(float(each.predict(np.ones((1, 1), "float32"), verbose=0)[0, 0]))
for weight in model.weights:
    weight.assign(weight * 2)
model.save_weights(back + ".weights.h5")
model.save(back + ".keras")
"""


def test_files_of_weights_and_of_models_go_to_tensorflow_and_back(produced, tmp_path):
    """0.4·0.95 after one step; twice of both is four times the product."""
    handle, weights, whole = produced(scale), tmp_path / "model.weights.h5", tmp_path / "model.keras"
    model = model_of(layers.HubLayer(handle, trainable=True, name="hub"))
    fit(model)
    model.save_weights(weights)
    khl.save(model, whole)
    settings = {**os.environ, "KERAS_BACKEND": "tensorflow", "TF_CPP_MIN_LOG_LEVEL": "3"}
    command = [sys.executable, "-W", "ignore", "-c", ON_TENSORFLOW, handle, weights, whole, tmp_path / "back"]
    written = subprocess.run(command, env=settings, capture_output=True, text=True, check=True).stdout.split()
    assert [float(text) for text in written] == [pytest.approx(0.38, rel=1e-5)] * 2
    model.load_weights(tmp_path / "back.weights.h5")
    again = keras.saving.load_model(tmp_path / "back.keras", safe_mode=False)
    for each in (model, again):
        np.testing.assert_allclose(each.predict(ONE, verbose=0), [[4 * 0.38]], rtol=1e-5)
