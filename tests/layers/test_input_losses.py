"""Losses that depend on inputs: those that a Keras 2 file holds count as tf_keras counts them, while trainable."""

import json
import subprocess
import sys

import keras
import numpy as np
import producers
import pytest
import tensorflow as tf
import tf_keras

import keras_hub_layers as khl
from keras_hub_layers import errors, layers

X = np.random.default_rng(0).normal(size=(4, 6)).astype("float32")
PRODUCERS = [producers.input_losses, producers.activity_regularizer, producers.nested_losses]


def around(layer):
    return keras.Sequential([keras.Input((6,)), layer])


def kept(path):
    """The model as tf_keras loads it; its own saving warns of formats."""
    return tf_keras.models.load_model(path)


def numbers(losses):
    return sorted(round(float(loss), 5) for loss in losses)


@pytest.mark.parametrize("producer", PRODUCERS)
@pytest.mark.parametrize("training", [False, True])
def test_a_trainable_layer_has_the_losses_of_tf_keras_in_both_modes(produced, producer, training):
    path = produced(producer)
    old, layer = kept(path), layers.HubLayer(path, trainable=True)
    model = around(layer)
    expected = old(X, training=training)
    np.testing.assert_allclose(model(X, training=training), expected, rtol=1e-5)
    assert numbers(model.losses) == numbers(old.losses)
    model(X, training=training)
    assert numbers(model.losses) == numbers(old.losses)  # those of the last call
    layer(X, training=training)
    assert numbers(layer.losses) == numbers(old.losses)


@pytest.mark.parametrize("producer", PRODUCERS)
def test_fit_and_evaluate_count_them_once_per_step(produced, producer):
    path = produced(producer)
    old, model = kept(path), around(layers.HubLayer(path, trainable=True))
    old.compile(tf_keras.optimizers.SGD(0.01), "mse")
    model.compile(keras.optimizers.SGD(0.01), "mse")
    targets = np.zeros((4, old.output_shape[-1]), "float32")
    expected = old.fit(X, targets, batch_size=4, epochs=2, verbose=0, validation_data=(X, targets)).history
    history = model.fit(X, targets, batch_size=4, epochs=2, verbose=0, validation_data=(X, targets)).history
    np.testing.assert_allclose(history["loss"], expected["loss"], rtol=1e-5)
    np.testing.assert_allclose(history["val_loss"], expected["val_loss"], rtol=1e-5)
    assert all(hasattr(loss, "numpy") for loss in model.losses)  # none of the graph of a step that has ended


def test_a_layer_that_is_called_twice_counts_each_call(produced):
    path = produced(producers.input_losses)
    old, layer = kept(path), layers.HubLayer(path, trainable=True)
    inputs = keras.Input((6,))
    model = keras.Model(inputs, layer(layer(inputs) * 2.0))
    rebuilt = keras.models.clone_model(model, clone_function=lambda same: same)  # the graph of the same layers
    old(X, training=True)
    first = old.losses[0]
    old(2.0 * X, training=True)
    expected = numbers([first, *old.losses])
    built = [model, rebuilt, around(model)]
    assert numbers(built[-1].losses) == [0.06]  # building leaves none behind, only the published loss is there
    for one in built:
        one(X, training=True)
        assert numbers(one.losses) == expected


def test_frozen_none_partly_frozen_all_and_pinned_to_inference_those_of_inference(produced):
    path = produced(producers.input_losses)
    old = kept(path)
    frozen, none_left = layers.HubLayer(path), layers.HubLayer(path, trainable=True)
    frozen(X, training=True)
    assert frozen.losses == []
    none_left(X, training=True)
    none_left.trainable = False
    assert none_left.losses == []
    none_left(X, training=True)
    assert none_left.losses == []
    pinned = layers.HubLayer(path, trainable=True, arguments={"training": False})
    pinned(X, training=True)
    old(X, training=False)
    assert numbers(pinned.losses) == numbers(old.losses)
    path = produced(producers.activity_regularizer)
    part = layers.HubLayer(path, trainable=True, unfreeze="bias")
    old = kept(path)
    old(X)
    part(X, training=True)
    assert numbers(part.losses) == numbers(old.losses)


def test_a_tensor_decides_the_mode_of_the_losses_too(produced):
    layer = layers.HubLayer(produced(producers.input_losses), trainable=True)

    @tf.function
    def losses(training):
        layer(X, training=training)
        return layer.losses

    mean = float(np.mean(X**2))
    np.testing.assert_allclose(losses(tf.constant(True)), [mean, 0.06], rtol=1e-5)
    np.testing.assert_allclose(losses(tf.constant(False)), [mean / 2, 0.06], rtol=1e-5)


def test_an_export_of_the_layer_is_the_same_file_and_tells_the_same(produced, tmp_path):
    path = produced(producers.input_losses)
    layer = layers.HubLayer(path, trainable=True)
    layer(X, training=True)
    exported = khl.export(layer, tmp_path / "export")
    assert khl.inspect(exported).regularization_losses == khl.inspect(path).regularization_losses == 1
    again = layers.HubLayer(exported, trainable=True)
    again(X, training=True)
    np.testing.assert_allclose(again.losses, layer.losses)


def test_losses_that_nothing_returns_are_told(produced):
    path = produced(producers.lost_losses)
    with pytest.warns(errors.HubWarning, match=r"(?s)not counted.*ActivityRegularization\(l2=0.01\)\(layer\(x\)\)"):
        layer = layers.HubLayer(path, trainable=True)
    x = keras.Input((6,))
    advised = keras.Model(x, keras.layers.ActivityRegularization(l2=0.01)(layer(x)))
    outputs = advised(X)
    own = keras.layers.ActivityRegularization(l2=1.0)
    own(np.ones((2, 1)))  # 2 in Keras 3.8, which takes the sum; 1 in 3.15, which divides by the batch
    examples = 4 if float(own.losses[0]) == 1.0 else 1
    np.testing.assert_allclose(advised.losses, [0.01 * np.sum(outputs.numpy() ** 2) / examples], rtol=1e-5)
    for told in (khl.inspect(path), layer.interface):
        assert "losses that depend on inputs" in told.reason
    counted = khl.inspect(produced(producers.input_losses))
    assert "losses that depend on inputs" not in counted.reason
    assert layers.HubLayer(path).losses == []  # frozen, in silence


TWO_REPLICAS = """
import json, sys
import keras, numpy as np, tensorflow as tf, tf_keras
from keras_hub_layers import layers

cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
x = np.random.default_rng(0).normal(size=(4, 6)).astype("float32")

def losses(of, make):
    with tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"]).scope():
        model = make()
        model.compile(of.optimizers.SGD(0.01), "mse")
    return model.fit(x, np.zeros((4, 6), "float32"), batch_size=4, epochs=2, verbose=0).history["loss"]

ours = losses(keras, lambda: keras.Sequential([keras.Input((6,)), layers.HubLayer(sys.argv[1], trainable=True)]))
print(json.dumps([ours, losses(tf_keras, lambda: tf_keras.models.load_model(sys.argv[1]))]))
"""


def test_two_replicas_count_them_as_tf_keras_does(produced):
    command = [sys.executable, "-c", TWO_REPLICAS, produced(producers.input_losses)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    ours, expected = json.loads(done.stdout.splitlines()[-1])
    np.testing.assert_allclose(ours, expected, rtol=1e-5)
