"""Learning rates fall from the output to the input by known factors, whatever the optimizer."""

import json
import subprocess
import sys

import keras
import numpy as np
import producers
import pytest
import tensorflow as tf

from keras_hub_layers import callbacks, errors, finetuning, layers
from keras_hub_layers._src.finetuning import layerwise

X, Y = np.ones((4, 1), "float32"), np.zeros((4, 1), "float32")


def three(directory):
    """y = x + a + b + c, named `block_1/a`, `block_2/b` and `block_3/c`: the same gradient for each."""
    root = tf.train.Checkpoint()
    root.all = [tf.Variable(0.0, name=name) for name in ("block_1/a", "block_2/b", "block_3/c")]
    root.__call__ = tf.function(lambda x: x + tf.add_n(root.all), input_signature=[tf.TensorSpec((None, 1))])
    root.variables = root.trainable_variables = root.all
    return producers.save(root, directory)


def model_of(handle, **kwargs):
    """y = hub(x) + bias; all four variables have the gradient 2·y."""
    head = keras.layers.Dense(1, kernel_initializer="ones", name="head")
    model = keras.Sequential([keras.Input((1,)), layers.HubLayer(handle, trainable=True, name="hub"), head])
    head.kernel.trainable = False
    return model


def moved(model):
    weights = [*model.get_layer("hub").weights, model.get_layer("head").bias]
    return np.array([float(np.ravel(weight.numpy())[0]) for weight in weights])


def fit(model, *extra, epochs=1):
    return model.fit(X, Y, batch_size=4, epochs=epochs, verbose=0, callbacks=list(extra))


def test_each_group_has_its_factor_of_the_learning_rate(produced):
    model = model_of(produced(three))
    model.compile(finetuning.layerwise(model, keras.optimizers.SGD(0.1), decay=0.5), "mse")
    fit(model)
    np.testing.assert_allclose(moved(model), -0.2 * np.array([0.125, 0.25, 0.5, 1.0]), rtol=1e-6)


MUON = [("Muon", {"adam_weight_decay": 0.4}), ("Muon", {"weight_decay": None, "adam_weight_decay": 0.4})]
KINDS = [(kind, {}) for kind in ("Adam", "AdamW", "RMSprop", "Adagrad", "Nadam", "Lion", "Adafactor", "Ftrl")]


@pytest.mark.parametrize(("kind", "kwargs"), KINDS + (MUON if hasattr(keras.optimizers, "Muon") else []))
def test_with_every_optimizer_a_factor_equals_a_smaller_learning_rate(kind, kwargs):
    def make(rate):
        return getattr(keras.optimizers, kind)(rate, clipvalue=0.7, **kwargs)

    scaled = layerwise.LayerwiseOptimizer(make(0.1), {"slow": 0.25})
    fast, slow = make(0.1), make(0.025)
    ours = [keras.Variable([1.0, -2.0], name="slow"), keras.Variable([1.0, -2.0], name="fast")]
    theirs = [keras.Variable([1.0, -2.0], name="slow"), keras.Variable([1.0, -2.0], name="fast")]
    for gradient in ([0.5, 3.0], [-1.0, 0.2], [0.1, 0.1]):
        scaled.apply([tf.constant(gradient)] * 2, ours)
        slow.apply([tf.constant(gradient)], theirs[:1])
        fast.apply([tf.constant(gradient)], theirs[1:])
    for one, other in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(one.numpy(), other.numpy(), rtol=1e-6)
    assert int(scaled.iterations.numpy()) == 3


def test_clipping_by_the_global_norm_is_over_all_variables():
    optimizer = layerwise.LayerwiseOptimizer(keras.optimizers.SGD(1.0, global_clipnorm=1.0), {"slow": 0.5})
    variables = [keras.Variable(0.0, name="slow"), keras.Variable(0.0, name="fast")]
    optimizer.apply([tf.constant(3.0), tf.constant(4.0)], variables)
    assert [float(v.numpy()) for v in variables] == pytest.approx([-0.3, -0.8])


def test_the_loss_is_scaled_once(produced):
    for scale in ({"loss_scale_factor": 1024.0}, {}):
        model = model_of(produced(three))
        optimizer = finetuning.layerwise(model, keras.optimizers.SGD(0.1, **scale), decay=0.5)
        model.compile(optimizer if scale else keras.optimizers.LossScaleOptimizer(optimizer), "mse")
        fit(model)
        np.testing.assert_allclose(moved(model), -0.2 * np.array([0.125, 0.25, 0.5, 1.0]), rtol=1e-6)


def test_mixed_precision_wraps_it_by_itself(produced):
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_float16")
    try:
        model = model_of(produced(three))
        model.compile(finetuning.layerwise(model, keras.optimizers.SGD(0.1), decay=0.5), "mse")
        fit(model, epochs=2)  # the first step overflows with the scale that Keras begins with, and is skipped
    finally:
        keras.config.set_dtype_policy(before)
    assert isinstance(model.optimizer, keras.optimizers.LossScaleOptimizer)
    np.testing.assert_allclose(moved(model), -0.2 * np.array([0.125, 0.25, 0.5, 1.0]), rtol=1e-3)


def test_callbacks_set_the_learning_rate_that_the_factors_multiply(produced):
    model = model_of(produced(three))
    model.compile(finetuning.layerwise(model, keras.optimizers.SGD(9.0), decay=0.5), "mse")
    fit(model, keras.callbacks.LearningRateScheduler(lambda epoch: 0.1))
    np.testing.assert_allclose(moved(model), -0.2 * np.array([0.125, 0.25, 0.5, 1.0]), rtol=1e-6)


def test_it_goes_together_with_a_schedule_and_keeps_its_slots(produced):
    model = model_of(produced(three))
    inner = keras.optimizers.SGD(0.1, momentum=0.9)
    model.compile(finetuning.layerwise(model, inner, decay=0.5), "mse")
    fit(model, callbacks.Unfreeze({0: None, 1: 1}, verbose=0), epochs=2)
    # Epoch 1: the bias alone, y = 1, momentum -0.2. Epoch 2: y = 0.8; the bias goes on with its momentum.
    np.testing.assert_allclose(moved(model), [0, 0, -0.5 * 0.16, -0.2 - 0.9 * 0.2 - 0.16], rtol=1e-6)
    assert int(model.optimizer.iterations.numpy()) == 2


def test_averaged_weights_are_those_of_the_optimizer_inside(produced):
    model = model_of(produced(three))
    inner = keras.optimizers.SGD(0.1, use_ema=True, ema_momentum=0.5)
    model.compile(finetuning.layerwise(model, inner, decay=0.5), "mse")
    fit(model, epochs=2)
    averages = [float(np.ravel(v.numpy())[0]) for v in inner._model_variables_moving_average]
    assert averages == pytest.approx([float(np.ravel(v.numpy())[0]) for v in model.trainable_variables])


def test_it_is_saved_and_restored_with_its_slots(produced, tmp_path):
    model = model_of(produced(three))
    model.get_layer("head").kernel.trainable = True  # a flag of a single weight is in no file
    model.compile(finetuning.layerwise(model, keras.optimizers.Adam(0.1), decay=0.5), "mse")
    fit(model, epochs=2)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras", safe_mode=False)
    assert loaded.optimizer.factors == model.optimizer.factors
    fit(loaded), fit(model)
    np.testing.assert_array_equal(moved(loaded), moved(model))


def test_a_group_counts_only_if_something_of_it_can_be_trained(produced):
    layer = layers.HubLayer(produced(producers.half_plus_one), trainable=True, name="hub")
    model = keras.Sequential([keras.Input((1,)), layer])
    assert finetuning.layerwise(model, "sgd", 0.5).factors == {layer.trainable_weights[0].path: 0.5}


@pytest.mark.parametrize("decay", [0.0, 1.5])
def test_a_decay_that_is_none_is_refused(produced, decay):
    with pytest.raises(errors.TrainingError, match=r"above 0 and at most 1[\s\S]*decay=0.8"):
        finetuning.layerwise(model_of(produced(three)), "sgd", decay)


def test_a_wrapper_inside_is_refused_with_the_right_order():
    with pytest.raises(errors.TrainingError, match=r"LossScaleOptimizer\(LayerwiseOptimizer"):
        layerwise.LayerwiseOptimizer(keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD()), {})


@pytest.mark.skipif(not hasattr(keras.optimizers, "MultiOptimizer"), reason="Keras 3.15 has it")
def test_an_optimizer_of_several_is_refused():
    several = keras.optimizers.MultiOptimizer(lambda variable: keras.optimizers.SGD(0.1))
    with pytest.raises(errors.TrainingError, match=r"Received: MultiOptimizer"):
        layerwise.LayerwiseOptimizer(several, {"slow": 0.1})


def test_hub_layers_of_one_name_in_nested_models_are_refused(produced, tmp_path):
    root = tf.train.Checkpoint()
    root.all = [tf.Variable(0.0, name="block_1/a")]
    root.__call__ = tf.function(lambda x: x + root.all[0], input_signature=[tf.TensorSpec((None, 1))])
    root.variables = root.trainable_variables = root.all
    inputs = outputs = keras.Input((1,))
    for handle in (produced(three), producers.save(root, tmp_path / "model")):
        outputs = keras.Sequential([keras.Input((1,)), layers.HubLayer(handle, name="hub")])(outputs)
    with pytest.raises(errors.TrainingError, match=r"same name[\s\S]*name='hub_2'"):
        finetuning.layerwise(keras.Model(inputs, outputs), "sgd")


DECAYED = """
import json, sys
import keras, numpy as np, tensorflow as tf
from keras_hub_layers import finetuning, layers

cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
with tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"]).scope():
    hub = layers.HubLayer(sys.argv[1], trainable=True)
    model = keras.Sequential([keras.Input((1,)), hub])
    inner = keras.optimizers.SGD(0.5, weight_decay=0.1)
    model.compile(finetuning.layerwise(model, inner, decay=0.5), "mse")
    hub.set_weights([np.float32(1.0)] * 3)
zero = np.zeros((4, 1), "float32")
model.fit(zero - 3, zero, batch_size=4, epochs=2, verbose=0)   # y = x + a + b + c: no gradient at first
print(json.dumps([float(weight.numpy()) for weight in hub.weights] + [inner.weight_decay]))
"""


def test_two_replicas_decay_each_weight_by_its_factor(produced):
    command = [sys.executable, "-c", DECAYED, produced(three)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    *weights, decay = json.loads(done.stdout.splitlines()[-1])
    factors, expected = 0.5 * np.array([0.125, 0.25, 0.5]), np.ones(3)
    for _ in range(2):
        gradient = 2 * (expected.sum() - 3)
        expected = expected * (1 - factors * 0.1) - factors * gradient
    assert weights == pytest.approx(expected, rel=1e-6)
    assert decay == 0.1
