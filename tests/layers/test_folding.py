"""In inference convolutions do the batch normalization behind them. What a layer computes and writes stays the same."""

import collections

import keras
import numpy as np
import producers
import pytest
import tensorflow as tf
import tf_keras

import keras_hub_layers as khl
from keras_hub_layers import errors, layers
from keras_hub_layers._src.savedmodel.folding import folded_functions

IMAGES = np.random.default_rng(0).normal(size=(3, 6, 6, 2)).astype("float32")
SPEC = tf.TensorSpec((None, 6, 6, 2))
CHANGES = {  # name -> factor and shift of variables, so that no statistic is 0 or 1
    "gamma": (0.5, 0.3),
    "beta": (0.7, -0.2),
    "mean": (0.9, 0.4),
    "variance": (1.5, 0.6),
}


def change(variables, number=0):
    """Give each variable other values; variances stay positive."""
    for variable in variables:
        factor, shift = next(
            (pair for name, pair in CHANGES.items() if name in variable.name), (1.0 + 0.1 * number, 0.0)
        )
        variable.assign(variable * factor + shift + 0.01 * number)


def raw_network(directory):
    """A convolution with a bias, a depthwise one with 2 outputs for each input; a fused and an affine normalization."""
    random = np.random.default_rng(1)
    root = tf.train.Checkpoint()
    shapes = {"kernel": (3, 3, 2, 3), "bias": (3,), "depthwise": (3, 3, 3, 2)}
    shapes |= {f"{name}_{number}": (channels,) for number, channels in ((1, 3), (2, 6)) for name in CHANGES}
    v = {
        name: tf.Variable(random.uniform(0.5, 1.5, shape).astype("float32"), name=name)
        for name, shape in shapes.items()
    }

    def call(x, training=False):
        x = tf.nn.bias_add(tf.nn.conv2d(x, v["kernel"], 1, "SAME"), v["bias"])
        statistics = {"mean": v["mean_1"], "variance": v["variance_1"]} if not training else {}
        x = tf.compat.v1.nn.fused_batch_norm(
            x, v["gamma_1"], v["beta_1"], **statistics, epsilon=0.01, is_training=training
        )[0]
        x = tf.nn.depthwise_conv2d(tf.nn.relu(x), v["depthwise"], [1, 1, 1, 1], "VALID")
        return tf.nn.batch_normalization(x, v["mean_2"], v["variance_2"], v["beta_2"], v["gamma_2"], 0.01)

    root.__call__ = producers.traced(call, (SPEC, {"training": True}), (SPEC, {"training": False}))
    root.variables = list(v.values())
    root.trainable_variables = [v["kernel"], v["bias"], v["depthwise"], v["gamma_1"], v["beta_2"]]
    return producers.save(root, directory)


def keras2_network(directory):
    """The same kinds of layers, saved by Keras 2."""
    L = tf_keras.layers
    convolutions = [L.Conv2D(3, 3, padding="same"), L.DepthwiseConv2D(3, depth_multiplier=2, use_bias=False)]
    stack = [convolutions[0], L.BatchNormalization(scale=False), L.ReLU(), convolutions[1], L.BatchNormalization()]
    model = tf_keras.Sequential([tf_keras.Input((6, 6, 2)), *stack, L.Conv2D(2, 1)])
    change(model.variables)
    return producers.save(model, directory)


def keras3_network(directory):
    """The same kinds of layers, exported from Keras 3."""
    L = keras.layers
    stack = [L.Conv2D(3, 3), L.BatchNormalization(), L.ReLU(), L.DepthwiseConv2D(3, use_bias=False)]
    model = keras.Sequential([keras.Input((6, 6, 2)), *stack, L.BatchNormalization()])
    change([variable.value for variable in model.variables])
    return khl.export(model, directory)


NETWORKS = pytest.mark.parametrize("network", [raw_network, keras2_network, keras3_network])


def ops(layer):
    """How often each op runs in a frozen prediction."""
    concrete = tf.function(lambda x: layer(x, training=False)).get_concrete_function(SPEC)
    graph = concrete.graph.as_graph_def()
    nodes = [node for part in (graph.node, *(f.node_def for f in graph.library.function)) for node in part]
    return collections.Counter(node.op for node in nodes)


def is_folded(layer):
    """Whether the layer does not normalize pixels: the last batch normalization is an addition of a bias."""
    raw = ops(layers.HubLayer(layer.handle, optimize=False))
    return ops(layer)["BiasAdd"] > raw["BiasAdd"]


def check_computes(layer, raw):
    """Outputs, and gradients of the inputs, are those of the loaded object."""
    results = []
    for call in (lambda x: layer(x, training=False), lambda x: raw(x, training=False)):
        inputs = tf.constant(IMAGES)
        with tf.GradientTape() as tape:
            tape.watch(inputs)
            outputs = call(inputs)
            loss = tf.reduce_sum(outputs**2)
        results.append((outputs.numpy(), tape.gradient(loss, inputs).numpy()))
    for ours, theirs in zip(*results, strict=True):
        assert np.abs(theirs).max() > 0.01
        np.testing.assert_allclose(ours, theirs, rtol=2e-5, atol=1e-5 * np.abs(theirs).max())


# -- what it computes


def test_the_numbers_can_be_worked_out_by_hand(tmp_path):
    """(2x + 1 - 1)·0.5/sqrt(3.75 + 0.25) + 1 = x/2 + 1."""
    kernel, bias = tf.Variable(tf.fill((1, 1, 1, 1), 2.0)), tf.Variable([1.0])
    gamma, beta, mean, variance = (tf.Variable([value]) for value in (0.5, 1.0, 1.0, 3.75))

    def call(x):
        x = tf.nn.bias_add(tf.nn.conv2d(x, kernel, 1, "SAME"), bias)
        return tf.compat.v1.nn.fused_batch_norm(x, gamma, beta, mean, variance, 0.25, is_training=False)[0]

    root = tf.train.Checkpoint()
    root.__call__ = producers.traced(call, (tf.TensorSpec((None, 1, 1, 1)), {}))
    root.variables = [kernel, bias, gamma, beta, mean, variance]
    layer = layers.HubLayer(producers.save(root, tmp_path / "model"))
    pixels = np.array([-2.0, 0.0, 3.0], "float32").reshape(3, 1, 1, 1)
    np.testing.assert_allclose(layer(pixels), pixels / 2 + 1, rtol=1e-6)
    layer.set_weights([2 * w for w in layer.get_weights()])  # (4x + 2 - 2)·1/sqrt(7.75) + 2
    np.testing.assert_allclose(layer(pixels), 4 * pixels / np.sqrt(7.75) + 2, rtol=1e-6)


@NETWORKS
def test_outputs_and_gradients_of_inputs_are_those_of_the_loaded_object(produced, network):
    path = produced(network)
    layer, raw = layers.HubLayer(path), tf.saved_model.load(path)
    assert is_folded(layer)
    assert "FusedBatchNormV3" not in ops(layer)
    assert len(tf.function(layer).get_concrete_function(SPEC).variables) == len(raw.variables)
    check_computes(layer, raw)
    inner = keras.Sequential([keras.Input((6, 6, 2)), layer])
    np.testing.assert_allclose(inner.predict(IMAGES, verbose=0), raw(IMAGES, training=False), rtol=1e-4, atol=1e-4)


@NETWORKS
def test_values_that_change_in_any_way_count_at_once(produced, network, tmp_path):
    path = produced(network)
    layer, raw = layers.HubLayer(path), tf.saved_model.load(path)
    model = keras.Sequential([keras.Input((6, 6, 2)), layer])
    model.predict(IMAGES, verbose=0)
    model.save_weights(tmp_path / "before.weights.h5")

    def check():
        """The loaded object gets the values that the layer has now, and computes the same."""
        pairs = list(zip(raw.variables, layer.resolved_object.variables, strict=True))
        assert any(np.abs(variable - own).max() > 0 for variable, own in pairs)
        for variable, own in pairs:
            variable.assign(own)
        check_computes(layer, raw)
        np.testing.assert_allclose(model.predict(IMAGES, verbose=0), layer(IMAGES), rtol=1e-4, atol=1e-5)

    layer.set_weights([1.1 * weight + 0.01 for weight in layer.get_weights()])
    check()
    change(layer.resolved_object.variables, 2)
    check()
    model.load_weights(tmp_path / "before.weights.h5")
    check()
    layer.trainable = True
    model.compile(keras.optimizers.SGD(1e-3), "mse")
    model.fit(IMAGES, model.predict(IMAGES, verbose=0) + 1, verbose=0)
    layer.trainable = False
    model.compile("sgd", "mse")
    check()


@NETWORKS
def test_a_layer_that_is_not_optimized_runs_the_own_operations(produced, network):
    path = produced(network)
    plain, raw = layers.HubLayer(path, optimize=False), tf.saved_model.load(path)
    assert not is_folded(plain)
    np.testing.assert_array_equal(plain(IMAGES), raw(IMAGES, training=False))
    assert is_folded(layers.HubLayer(path, optimize=True))


@NETWORKS
def test_a_trained_layer_trains_with_the_own_operations_and_predicts_like_a_frozen_one(produced, network):
    path = produced(network)
    layer, raw = layers.HubLayer(path, trainable=True), tf.saved_model.load(path)
    np.testing.assert_array_equal(layer(IMAGES), layers.HubLayer(path)(IMAGES))
    for training in (False, True):
        results = []
        for call, variables in (layer, [w.value for w in layer.trainable_weights]), (raw, raw.trainable_variables):
            with tf.GradientTape() as tape:
                loss = tf.reduce_sum(call(IMAGES, training=training) ** 2)
            results.append([loss, *tape.gradient(loss, variables)])
        for ours, theirs in zip(*results, strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=2e-4, atol=1e-5 * (1 + np.abs(theirs).max()))
            assert not training or np.array_equal(ours, theirs)


def test_with_a_gpu_the_own_operations_run_unless_asked_otherwise(produced, monkeypatch):
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: ["one"])
    path = produced(raw_network)
    assert [is_folded(layers.HubLayer(path, optimize=optimize)) for optimize in ("auto", True)] == [False, True]


def test_under_a_strategy_and_where_folding_fails_the_own_operations_run(produced, monkeypatch, caplog):
    path = produced(raw_network)
    expected = tf.saved_model.load(path)(IMAGES, training=False)
    strategy = tf.distribute.OneDeviceStrategy("/cpu:0")
    with strategy.scope():
        np.testing.assert_array_equal(layers.HubLayer(path, optimize=True)(IMAGES), expected)
    monkeypatch.setattr(folded_functions, "find_folds", lambda *args: {}["an unknown kind of graph"])
    with caplog.at_level("DEBUG"):
        np.testing.assert_array_equal(layers.HubLayer(path)(IMAGES), expected)
    assert "folding it failed" in caplog.text


def test_a_graph_without_convolutions_is_not_taken_apart(produced, monkeypatch):
    monkeypatch.setattr(folded_functions, "inline", lambda graph: pytest.fail("taken apart"))
    layer = layers.HubLayer(produced(producers.half_plus_one))
    np.testing.assert_allclose(layer(np.array([[2.0]], "float32")), [[2.0]])


def test_a_frozen_layer_below_a_trained_one_gives_the_same_step(produced):
    """The step of a head, and of a layer before, whose gradient goes through the frozen layer."""
    results = []
    for optimize in ("auto", False):
        keras.utils.set_random_seed(0)
        hub = layers.HubLayer(produced(keras2_network), optimize=optimize)
        stack = [keras.layers.Conv2D(2, 1), hub, keras.layers.Flatten(), keras.layers.Dense(1)]
        model = keras.Sequential([keras.Input((6, 6, 2)), *stack])
        model.compile(keras.optimizers.SGD(1e-3), "mse")
        model.fit(IMAGES, np.ones((3, 1)), epochs=2, shuffle=False, verbose=0)
        results.append(model.get_weights())
    for ours, theirs in zip(*results, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-6)


# -- what it leaves as it is


def shared_convolution(x, v):
    values = tf.nn.conv2d(x, v["kernel"], 1, "SAME")
    return normalized(values, v) + values


def returned_convolution(x, v):
    values = tf.nn.conv2d(x, v["kernel"], 1, "SAME")
    return {"normalized": normalized(values, v), "values": values}


def factor_of_the_inputs(x, v):
    values = tf.nn.conv2d(x, v["kernel"], 1, "SAME")
    return values * tf.reduce_mean(x, [0, 1, 2]) + v["beta"]


def factor_for_each_row(x, v):
    values = tf.nn.conv2d(x, v["kernel"], 1, "SAME")
    return values * tf.reshape(tf.tile(v["gamma"], [3]), (1, 6, 1, 1)) + v["beta"]


def activation_between(x, v):
    return normalized(tf.nn.relu(tf.nn.conv2d(x, v["kernel"], 1, "SAME")), v)


def statistics_of_the_batch(x, v):
    x = tf.nn.conv2d(x, v["kernel"], 1, "SAME")
    return tf.compat.v1.nn.fused_batch_norm(x, v["gamma"], v["beta"], is_training=True)[0]


def with_an_effect(x, v):
    v["mean"].assign(v["mean"] + 0.0)
    return normalized(tf.nn.conv2d(x, v["kernel"], 1, "SAME"), v)


def in_half_precision(x, v):
    half = tf.nn.conv2d(tf.cast(x, tf.float16), tf.cast(v["kernel"], tf.float16), 1, "SAME")
    return tf.cast(normalized(half, v), tf.float32)


def kernel_of_the_inputs(x, v):
    return normalized(tf.nn.conv2d(x, v["kernel"] * tf.reduce_mean(x), 1, "SAME"), v)


def normalized(values, v):
    return tf.compat.v1.nn.fused_batch_norm(
        values, v["gamma"], v["beta"], v["mean"], v["variance"], 0.01, is_training=False
    )[0]


@pytest.mark.parametrize(
    "function",
    [
        shared_convolution, returned_convolution, factor_of_the_inputs, factor_for_each_row, activation_between,
        statistics_of_the_batch, with_an_effect, in_half_precision, kernel_of_the_inputs,
    ],
)  # fmt: skip
def test_what_is_no_pair_of_convolution_and_normalization_stays(tmp_path, function):
    v = {name: tf.Variable([0.5, 1.5], name=name) for name in ("gamma", "beta", "mean", "variance")}
    v["kernel"] = tf.Variable(tf.reshape(tf.range(4.0), (1, 1, 2, 2)) - 1.2, name="kernel")
    root = tf.train.Checkpoint()
    root.__call__ = producers.traced(lambda x: function(x, v), (SPEC, {}))
    root.variables = list(v.values())
    layer = layers.HubLayer(producers.save(root, tmp_path / "model"), optimize=True)
    expected = tf.saved_model.load(layer.handle)(IMAGES)
    for ours, theirs in zip(tf.nest.flatten(layer(IMAGES)), tf.nest.flatten(expected), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert not is_folded(layer)


# -- what it writes, and what it is told


@NETWORKS
def test_files_and_exports_are_those_of_a_layer_that_is_not_optimized(produced, network, tmp_path):
    path = produced(network)
    outputs, graphs = [], []
    for optimize in ("auto", False):
        layer = layers.HubLayer(path, optimize=optimize)
        model = keras.Sequential([keras.Input((6, 6, 2)), layer])
        model.predict(IMAGES, verbose=0)
        model.save(tmp_path / "model.keras")
        again = keras.saving.load_model(tmp_path / "model.keras", safe_mode=False)
        exported = khl.export(layer, tmp_path / str(optimize))
        outputs.append([again.predict(IMAGES, verbose=0), tf.saved_model.load(exported)(IMAGES, training=False)])
        graphs.append((tmp_path / str(optimize) / "saved_model.pb").read_bytes())
        assert again.layers[0].get_config().get("optimize") == (None if optimize else False)
    for ours, theirs in zip(*outputs, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-4)
    assert graphs[0] == graphs[1]


@pytest.mark.parametrize("trainable", [False, True])
def test_an_export_of_a_model_around_it_computes_the_same(produced, tmp_path, trainable):
    model = keras.Sequential([keras.Input((6, 6, 2)), layers.HubLayer(produced(keras2_network))])
    model.predict(IMAGES, verbose=0)
    layer = layers.HubLayer(khl.export(model, tmp_path / "out", trainable=trainable), trainable=trainable)
    np.testing.assert_allclose(layer(IMAGES), model(IMAGES), rtol=1e-4, atol=1e-5)
    assert len(layer.trainable_weights) == (8 if trainable else 0)  # 3 kernels, 2 biases, gamma, 2 beta


@pytest.mark.parametrize("optimize", ["fast", None, 1])
def test_an_unknown_value_is_refused(produced, optimize):
    with pytest.raises(errors.InterfaceError, match=r'optimize has an unknown value(?s:.*)"auto", True or False'):
        layers.HubLayer(produced(raw_network), optimize=optimize)


def test_the_keyword_spotting_network_computes_the_same(zoo):
    """An independent SavedModel of Keras 2: 9 normalizations behind convolutions."""
    path = str(zoo / "mlperf_tiny_kws")
    sounds = np.random.default_rng(0).normal(size=(4, 49, 10, 1)).astype("float32")
    folded, plain = layers.HubLayer(path), layers.HubLayer(path, optimize=False)
    np.testing.assert_allclose(folded(sounds), plain(sounds), rtol=1e-4, atol=1e-6)
    assert not np.array_equal(folded(sounds), plain(sounds))
    by_name = {"signature": "serving_default", "signature_outputs_as_dict": True}
    (ours,) = layers.HubLayer(path, **by_name)(sounds).values()
    np.testing.assert_allclose(ours, plain(sounds), rtol=1e-4, atol=1e-6)
