"""In inference, einsums with a weight are products of matrices, and GELU uses `erf`. The numbers stay the same."""

import collections
import math

import numpy as np
import producers
import pytest
import tensorflow as tf

from keras_hub_layers import layers

RANDOM = np.random.default_rng(0)
TOKENS = RANDOM.normal(size=(2, 5, 6)).astype("float32")
WEIGHT = RANDOM.normal(size=(6, 3, 4)).astype("float32")
BIAS = RANDOM.normal(size=(3, 4)).astype("float32")
SPEC = tf.TensorSpec((None, None, 6))


@pytest.fixture
def layer_of(tmp_path):
    """A function that saves a function of one argument and some variables, and makes a layer of it."""

    def make(function, *variables, spec=SPEC, **arguments):
        root = tf.train.Checkpoint()
        root.__call__ = producers.traced(function, (spec, {}))
        root.variables = list(variables)
        path = tmp_path / f"model_{len(list(tmp_path.iterdir()))}"
        return layers.HubLayer(producers.save(root, path), **{"optimize": True, **arguments})

    return make


def ops(layer, spec=SPEC):
    """How often each op is in a prediction."""
    graph = tf.function(lambda x: layer(x, training=False)).get_concrete_function(spec).graph.as_graph_def()
    nodes = [node for part in (graph.node, *(f.node_def for f in graph.library.function)) for node in part]
    return collections.Counter(node.op for node in nodes)


@pytest.mark.parametrize("has_bias", [False, True])
def test_an_einsum_with_a_weight_is_a_product_of_matrices_and_gives_numpys_numbers(layer_of, has_bias):
    weight, bias = tf.Variable(WEIGHT), tf.Variable(BIAS)
    add = {False: lambda y: 2 * y, True: lambda y: y + bias}[has_bias]
    layer = layer_of(lambda x: add(tf.einsum("abc,cde->abde", x, weight)), weight, bias)
    for factor in (1, 3):  # the values of the weights count at each call
        layer.set_weights([factor * value for value in (WEIGHT, BIAS)])
        product = factor * np.einsum("abc,cde->abde", TOKENS.astype("float64"), WEIGHT)
        expected = product + factor * BIAS if has_bias else 2 * product
        for x in (TOKENS, TOKENS[:, :1], TOKENS[:0], TOKENS[:, :0]):
            np.testing.assert_allclose(layer(x), expected[: len(x), : x.shape[1]], rtol=1e-5, atol=1e-5)
    counted = ops(layer)
    assert (counted["Einsum"], counted["MatMul"], counted["BiasAdd"]) == (0, 1, has_bias)
    with tf.GradientTape() as tape:
        inputs = tf.constant(TOKENS)
        tape.watch(inputs)
        loss = tf.reduce_sum(layer(inputs))
    slope = 3 * WEIGHT.sum((1, 2)) * (1 if has_bias else 2)
    np.testing.assert_allclose(tape.gradient(loss, inputs), np.broadcast_to(slope, TOKENS.shape), rtol=1e-4)


def test_several_axes_may_meet_the_weight(layer_of):
    weight = tf.Variable(RANDOM.normal(size=(5, 6, 7)).astype("float32"))
    layer = layer_of(lambda x: tf.einsum("abc,bcd->ad", x, weight), weight, spec=tf.TensorSpec((None, 5, 6)))
    np.testing.assert_allclose(layer(TOKENS), np.tensordot(TOKENS, weight, 2), rtol=1e-4, atol=1e-5)
    assert (ops(layer, tf.TensorSpec((None, 5, 6)))["Einsum"], layer(TOKENS).shape) == (0, (2, 7))


@pytest.mark.parametrize(
    ("equation", "shape"),
    [("abc,cde->abed", (6, 3, 4)), ("abc,dec->abde", (3, 4, 6)), ("abc,bcd->abd", (5, 6, 3)),
     ("abc,acd->abd", (2, 6, 3)), ("abc,cd->adb", (6, 3)), ("...c,cd->...d", (6, 3)), ("abc,ce->ae", (6, 3)),
     ("abc,c->ab", (6,))],
)  # fmt: skip
def test_any_other_einsum_stays(layer_of, equation, shape):
    value = RANDOM.normal(size=shape).astype("float32")
    weight = tf.Variable(value)
    layer = layer_of(lambda x: tf.einsum(equation, x, weight), weight)
    np.testing.assert_allclose(layer(TOKENS), np.einsum(equation, TOKENS, value), rtol=1e-4, atol=1e-5)
    assert ops(layer)["Einsum"] == 1


def test_an_einsum_of_two_tensors_or_of_another_dtype_stays(layer_of):
    weight = tf.Variable(WEIGHT.astype("float64"))

    def call(x):
        scores = tf.einsum("abc,adc->abd", x, x)
        return tf.einsum("abc,cde->abde", tf.cast(x, tf.float64), weight), scores

    layer = layer_of(call, weight)
    np.testing.assert_allclose(layer(TOKENS)[0], np.einsum("abc,cde->abde", TOKENS, weight), rtol=1e-10)
    assert ops(layer)["Einsum"] == 2


def test_a_sum_that_something_else_needs_too_is_computed_apart(layer_of):
    weight, bias = tf.Variable(WEIGHT), tf.Variable(BIAS)

    def call(x):
        product = tf.einsum("abc,cde->abde", x, weight)
        return product, product + bias

    layer = layer_of(call, weight, bias)
    product = np.einsum("abc,cde->abde", TOKENS, WEIGHT)
    for output, expected in zip(layer(TOKENS), (product, product + BIAS), strict=True):
        np.testing.assert_allclose(output, expected, rtol=1e-5, atol=1e-5)
    assert (ops(layer)["MatMul"], ops(layer)["BiasAdd"]) == (1, 0)


def test_inputs_of_one_dtype_are_not_taken_for_each_other(layer_of):
    """A dict whose keys are in another order than the function uses them."""
    weight = tf.Variable(WEIGHT)
    spec = {key: SPEC for key in ("zero", "more", "all")}

    def call(x):
        y = x["zero"] - 10 * x["more"] + 100 * x["all"]
        return {"second": tf.einsum("abc,cde->abde", y, weight), "first": y}

    layer = layer_of(call, weight, spec=spec)
    x = {"more": TOKENS, "all": 2 * TOKENS, "zero": 3 * TOKENS}
    outputs = layer(x)
    np.testing.assert_allclose(outputs["first"], 193 * TOKENS, rtol=1e-5)
    np.testing.assert_allclose(
        outputs["second"], 193 * np.einsum("abc,cde->abde", TOKENS, WEIGHT), rtol=1e-4, atol=1e-3
    )
    assert ops(layer, spec)["Einsum"] == 0


def test_a_signature_with_several_inputs_runs_its_own_operations(tmp_path):
    weight, root = tf.Variable(WEIGHT), tf.train.Checkpoint()
    root.weight = weight
    specs = {name: tf.TensorSpec((None, None, 6), name=name) for name in ("zero", "more")}
    call = tf.function(lambda zero, more: {"y": tf.einsum("abc,cde->abde", zero - 10 * more, weight)})
    path = producers.save(root, tmp_path / "model", signatures=call.get_concrete_function(**specs))
    layer = layers.HubLayer(path, signature="serving_default", output_key="y", optimize=True)
    expected = -7 * np.einsum("abc,cde->abde", TOKENS, WEIGHT)
    np.testing.assert_allclose(layer({"more": TOKENS, "zero": 3 * TOKENS}), expected, rtol=1e-4, atol=1e-4)


def gelu(x):
    return 0.5 * x * tf.math.erfc(-x * tf.constant(0.5**0.5))


def test_a_gelu_uses_erf_and_gives_the_numbers_of_pythons_erf(layer_of):
    layer = layer_of(gelu)
    x = np.linspace(-9, 9, 60, dtype="float32").reshape(1, 10, 6)
    expected = np.vectorize(lambda value: 0.5 * value * (1 + math.erf(value / 2**0.5)))(x.astype("float64"))
    np.testing.assert_allclose(layer(x), expected, rtol=1e-6, atol=1e-6)
    assert (ops(layer)["Erfc"], ops(layer)["Erf"]) == (0, 1)
    own = ops(layers.HubLayer(layer.handle, optimize=False))
    assert (own["Erfc"], own["Erf"]) == (1, 0)


def nearly_gelu(x):
    return 0.5 * x * tf.math.erfc(-x * tf.constant(0.7))


def of_another_tensor(x):
    return 0.5 * x * tf.math.erfc(-(x + 1.0) * tf.constant(0.5**0.5))


def twice(x):
    tail = tf.math.erfc(-x * tf.constant(0.5**0.5))
    return 0.5 * x * tail + tail


def a_tail(x):
    return tf.math.erfc(x + 4.0) * 2.0


def in_float64(x):
    x = tf.cast(x, tf.float64)
    return 0.5 * x * tf.math.erfc(-x * tf.constant(0.5**0.5, tf.float64))


@pytest.mark.parametrize("function", [nearly_gelu, of_another_tensor, twice, a_tail, in_float64])
def test_what_is_no_gelu_keeps_its_small_values(layer_of, function):
    layer = layer_of(function)
    np.testing.assert_allclose(layer(TOKENS), function(tf.constant(TOKENS)), rtol=1e-5)
    assert ops(layer)["Erfc"] == 1


def test_a_transformer_of_keras_2_gives_the_same_outputs_and_trains_with_its_own_operations(tmp_path):
    import tf_keras

    tf_keras.utils.set_random_seed(0)
    ids = tf_keras.Input((7,), dtype="int32", name="ids")
    mask = tf_keras.Input((7,), dtype="int32", name="mask")
    x = tf_keras.layers.Embedding(50, 16)(ids)
    visible = tf_keras.layers.Reshape((1, 7))(mask)
    attended = tf_keras.layers.MultiHeadAttention(2, 8)(x, x, attention_mask=visible)
    x = tf_keras.layers.LayerNormalization()(x + attended)
    x = tf_keras.layers.Dense(16, activation="gelu")(x)
    path = producers.save(tf_keras.Model({"ids": ids, "mask": mask}, x), tmp_path / "model")
    inputs = {"ids": RANDOM.integers(0, 50, (3, 7)), "mask": np.array([[1] * 5 + [0] * 2] * 3)}
    inputs = {key: value.astype("int32") for key, value in inputs.items()}
    raw = tf.saved_model.load(path)
    layer = layers.HubLayer(path, trainable=True, optimize=True)
    np.testing.assert_allclose(layer(inputs), raw(inputs, training=False), rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(layer(inputs, training=True), raw(inputs, training=True))
    spec = {key: tf.TensorSpec((None, 7), tf.int32) for key in inputs}
    assert 0 < ops(layer, spec)["Einsum"] < ops(layers.HubLayer(path, optimize=False), spec)["Einsum"]
