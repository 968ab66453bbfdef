"""Gradients of tables: each row once, so that optimizers move a frequent token as far as dense gradients would."""

import json
import subprocess
import sys

import keras
import numpy as np
import producers
import pytest
import tensorflow as tf

from keras_hub_layers import finetuning, layers

FREQUENT = np.array([[3, 3, 3, 7], [3, 9, 7, 3]] * 2, "int32")  # 3 ten times, 7 four times, 9 twice
TARGETS = np.linspace(-1, 1, 4 * 4 * 4).reshape(4, 4, 4).astype("float32")
OPTIMIZERS = ["Adadelta", "Adafactor", "Adagrad", "Adam", "Adamax", "AdamW", "Ftrl", "Lamb", "Lion", "Muon", "Nadam"]
OPTIMIZERS = [name for name in [*OPTIMIZERS, "RMSprop", "SGD"] if hasattr(keras.optimizers, name)]
OPTIONS = [
    {"clipnorm": 0.01},
    {"global_clipnorm": 0.01},
    {"clipvalue": 0.001},
    {"use_ema": True, "ema_momentum": 0.5, "ema_overwrite_frequency": 1},
    {"gradient_accumulation_steps": 2},
    {"weight_decay": 0.1},
]


def step(optimizer, variable, rows_of, is_dense=False):
    with tf.GradientTape() as tape:
        loss = optimizer.scale_loss(tf.reduce_mean((rows_of() - TARGETS) ** 2))
    gradient = tape.gradient(loss, variable)
    optimizer.apply([tf.convert_to_tensor(gradient) if is_dense else gradient], [variable])


def tables(path, make_optimizer, wrap=lambda layer, optimizer: optimizer):
    """The table of a layer after two steps, and one whose gradients TensorFlow has made dense."""
    layer = layers.HubLayer(path, trainable=True)
    table = keras.Variable(layer.weights[0].numpy(), name="table")
    ours, dense = wrap(layer, make_optimizer()), make_optimizer()
    for _ in range(2):
        step(ours, layer.trainable_variables[0], lambda: layer(FREQUENT, training=True))
        step(dense, table, lambda: tf.gather(table.value, FREQUENT), is_dense=True)
    return layer.weights[0].numpy(), table.numpy()


@pytest.mark.parametrize("keras2", [False, True])
def test_a_token_that_occurs_a_thousand_times_moves_one_learning_rate(produced, keras2):
    layer = layers.HubLayer(produced(producers.lookup, keras2=keras2), trainable=True)
    model = keras.Sequential([keras.Input((None,), dtype="int32"), layer])
    model.compile(keras.optimizers.Adam(1e-3), "mse")
    model.fit(np.zeros((32, 32), "int32"), np.ones((32, 32, 4)), batch_size=32, verbose=0)
    np.testing.assert_allclose(layer.weights[0].numpy()[0], 1e-3, rtol=1e-3)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_optimizers_do_what_they_do_with_dense_gradients(produced, name):
    ours, dense = tables(produced(producers.lookup), lambda: getattr(keras.optimizers, name)(0.01))
    np.testing.assert_allclose(ours, dense, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_options_of_an_optimizer_do_what_they_do_with_dense_gradients(produced, options):
    ours, dense = tables(produced(producers.lookup), lambda: keras.optimizers.Adam(0.01, **options))
    np.testing.assert_allclose(ours, dense, rtol=1e-5, atol=1e-7)


def test_loss_scaling_and_layerwise_rates_see_each_row_once(produced):
    def scaled():
        return keras.optimizers.LossScaleOptimizer(keras.optimizers.Adam(0.01), initial_scale=8.0)

    def with_rates(layer, optimizer):
        return finetuning.layerwise(keras.Sequential([layer]), optimizer, decay=1.0)

    for make, wrap in ((scaled, lambda layer, optimizer: optimizer), (lambda: keras.optimizers.Adam(0.01), with_rates)):
        ours, dense = tables(produced(producers.lookup), make, wrap)
        np.testing.assert_allclose(ours, dense, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("in_graph", [False, True])
def test_a_loop_of_ones_own_gets_each_row_once_over_all_calls_gathers_and_losses(produced, in_graph):
    layer = layers.HubLayer(produced(producers.two_lookups), trainable=True)
    start = layer.weights[0].numpy()
    optimizer = keras.optimizers.Adam(0.01, global_clipnorm=0.5)
    optimizer.build(layer.trainable_variables)

    def step():
        with tf.GradientTape() as tape:
            outputs = layer(FREQUENT, training=True) + layer(FREQUENT[:, :1], training=True)
            loss = tf.reduce_mean((outputs - TARGETS) ** 2) + tf.add_n(layer.losses)
        gradients = tape.gradient(loss, layer.trainable_variables)
        optimizer.apply(gradients, layer.trainable_variables)
        return gradients[0].indices, gradients[0].values

    rows, values = (tf.function(step) if in_graph else step)()
    table = tf.Variable(start)
    with tf.GradientTape() as tape:
        outputs = tf.gather(table, FREQUENT) + 2 * tf.gather(table, FREQUENT[:, ::-1]) + 3 * gathered_first(table)
        loss = tf.reduce_mean((outputs - TARGETS) ** 2) + 0.1 * tf.reduce_sum(tf.gather(table, [1, 1, 7]) ** 2)
    dense = tf.convert_to_tensor(tape.gradient(loss, table))
    assert sorted(rows.numpy()) == [1, 3, 7, 9]
    np.testing.assert_allclose(values, tf.gather(dense, rows), rtol=1e-5)
    reference = keras.optimizers.Adam(0.01, global_clipnorm=0.5)
    reference.build([table])
    reference.apply([dense], [table])
    np.testing.assert_allclose(layer.weights[0].numpy(), table.numpy(), rtol=1e-5)


def gathered_first(table):
    return tf.gather(table, FREQUENT[:, :1])


def test_gradients_of_gradients_tf_gradients_and_jacobians_are_those_of_the_variable(produced):
    layer = layers.HubLayer(produced(producers.two_lookups), trainable=True)
    weight, ids = layer.weights[0], FREQUENT[:1]
    table = tf.Variable(weight.numpy())

    def rows(of):
        return layer(ids, training=True) if of is weight else tf.gather(of, ids) + 2 * tf.gather(of, ids[:, ::-1])

    def twice(of):
        with tf.GradientTape() as outer:
            with tf.GradientTape() as inner:
                loss = tf.reduce_sum(rows(of) ** 3)
            norm = tf.reduce_sum(tf.convert_to_tensor(inner.gradient(loss, of)) ** 2)
        return tf.convert_to_tensor(outer.gradient(norm, of))

    np.testing.assert_allclose(twice(weight), twice(table), rtol=1e-5)

    def jacobian(of):
        with tf.GradientTape() as tape:
            first = tf.reduce_sum(rows(of) ** 2, axis=-1)[0]
        return tape.jacobian(first, of)

    np.testing.assert_allclose(jacobian(weight), jacobian(table), rtol=1e-5)

    @tf.function
    def symbolic():
        return [tf.convert_to_tensor(tf.gradients(rows(of) ** 2, of)[0]) for of in (weight, table)]

    np.testing.assert_allclose(*symbolic(), rtol=1e-5)


def test_dense_gradients_and_missing_ones_are_left_alone(produced):
    layer = layers.HubLayer(produced(producers.half_plus_one), trainable=True)
    with tf.GradientTape(persistent=True) as tape:
        loss = tf.reduce_sum(layer(np.ones((2, 1)), training=True))
        other = tf.constant(0.0)
    assert isinstance(tape.gradient(loss, layer.trainable_variables)[0], tf.Tensor)
    assert tape.gradient(other, layer.trainable_variables) == [None]


TWO_REPLICAS = """
import json, sys
import keras, numpy as np, tensorflow as tf
from keras_hub_layers import layers

cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
ids = np.array([[3, 3, 3, 7], [3, 9, 7, 3]] * 2, "int32")
targets = np.linspace(-1, 1, 4 * 4 * 4).reshape(4, 4, 4).astype("float32")

def with_fit(strategy, make):
    with strategy.scope():
        layer = layers.HubLayer(sys.argv[1], trainable=True)
        model = keras.Sequential([keras.Input((None,), dtype="int32"), layer])
        model.compile(make(), "mse")
    model.fit(ids, targets, batch_size=4, epochs=2, shuffle=False, verbose=0)
    return layer.weights[0].numpy().tolist()

def with_a_loop(strategy, make):
    with strategy.scope():
        layer = layers.HubLayer(sys.argv[1], trainable=True)
        optimizer = make()
        optimizer.build(layer.trainable_variables)

    @tf.function
    def step(x, y):
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean((layer(x, training=True) - y) ** 2) / strategy.num_replicas_in_sync
        optimizer.apply(tape.gradient(loss, layer.trainable_variables), layer.trainable_variables)

    data = tf.data.Dataset.from_tensor_slices((ids, targets)).batch(4).repeat(2)
    for batch in strategy.experimental_distribute_dataset(data):
        strategy.run(step, args=batch)
    return layer.weights[0].numpy().tolist()

def adam():
    return keras.optimizers.Adam(0.01)

def scaled():
    return keras.optimizers.LossScaleOptimizer(keras.optimizers.RMSprop(0.01), initial_scale=8.0)

one, two = tf.distribute.get_strategy(), tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
ways = ((with_fit, adam), (with_a_loop, scaled))
print(json.dumps([[way(which, make) for which in (one, two)] for way, make in ways]))
"""


def test_two_replicas_move_rows_that_both_have_as_one_would(produced):
    command = [sys.executable, "-c", TWO_REPLICAS, produced(producers.two_lookups)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    for alone, mirrored in json.loads(done.stdout.splitlines()[-1]):
        np.testing.assert_allclose(mirrored, alone, rtol=1e-5, atol=1e-7)
