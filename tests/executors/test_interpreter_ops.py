# ruff: noqa: B008
"""Each op of the interpreter against TensorFlow's own kernel: what it computes, and its gradient.

They run on the backend that Keras runs on, such as that of KERAS_BACKEND=jax.
"""

from functools import partial

import keras
import numpy as np
import pytest
import tensorflow as tf
from op_comparison import as_array, compare, concrete_of, in_64_bits

from keras_hub_layers._src.executors.interpreter import host
from keras_hub_layers._src.executors.interpreter.graph import Node, make_graph
from keras_hub_layers._src.executors.interpreter.program import TABLE, Program, State
from keras_hub_layers._src.executors.interpreter.values import UnsupportedOp, tensor
from keras_hub_layers._src.savedmodel.graphs.concrete import body_of_concrete

RANDOM = np.random.default_rng(7)
IMAGE = RANDOM.normal(size=(2, 7, 6, 4)).astype("float32")
MATRIX = RANDOM.normal(size=(3, 4)).astype("float32")
POSITIVE = np.abs(MATRIX) + 0.5
SMALL = np.clip(MATRIX / 3, -0.9, 0.9)
ROWS = np.array([2, 0, 2], "int32")
BLOCK = np.array([[[0, 0], [0, 1]], [[1, 2], [2, 3]]], "int32")
KERNEL = RANDOM.normal(size=(3, 2, 4, 5)).astype("float32")
SQUARE = (MATRIX @ MATRIX.T + 3 * np.eye(3)).astype("float32")
PLACES = np.array([[0, 3], [1, 1], [2, 0]], "int32")
TRUE = np.array([True, False, True])
raw = tf.raw_ops


def layer_norm(x, parts=1):
    """Layer normalization without scale and offset, in the operations of Keras 2, and of each part of a row."""
    size = tf.shape(x)
    rows = tf.reduce_prod(size[:-1]) * parts
    wide = tf.reshape(x, tf.stack([1, rows, size[-1] // parts, 1]))
    norm = raw.FusedBatchNormV3(
        x=wide, scale=tf.fill([rows], 1.0), offset=tf.fill([rows], 0.0), mean=tf.constant([], "float32"),
        variance=tf.constant([], "float32"), epsilon=1e-3, data_format="NCHW", is_training=True,
    )  # fmt: skip
    return tf.reshape(norm[0], size)


# name -> (function of TensorFlow, its inputs); floats are differentiated
CASES = {
    **{name: (getattr(tf, name), [SMALL]) for name in ("abs", "acos", "asin", "asinh", "atan", "atanh", "cos", "cosh",
        "exp", "identity", "negative", "ones_like", "sigmoid", "sign", "sin", "sinh", "square", "tan", "tanh",
        "zeros_like", "stop_gradient", "rank", "shape", "size")},
    **{name: (getattr(tf.math, name), [SMALL]) for name in ("ceil", "erf", "erfc", "erfinv", "expm1", "floor",
        "is_finite", "is_inf", "is_nan", "log1p", "rint", "softplus")},
    **{name: (getattr(tf.math, name), [POSITIVE]) for name in ("log", "reciprocal", "rsqrt", "sqrt")},
    **{name: (getattr(tf.nn, name), [MATRIX]) for name in ("elu", "relu", "relu6", "selu", "softsign", "softmax",
        "log_softmax", "l2_loss", "leaky_relu")},
    "acosh": (tf.acosh, [POSITIVE + 1]),
    "round": (tf.round, [np.array([-1.5, -0.5, 0.5, 1.5, 2.5], "float32")]),
    **{name: (getattr(tf, name), [MATRIX, POSITIVE[0]]) for name in ("add", "divide", "equal", "greater",
        "greater_equal", "less", "less_equal", "maximum", "minimum", "multiply", "not_equal", "subtract")},
    **{name: (getattr(tf.math, name), [MATRIX, POSITIVE]) for name in ("atan2", "divide_no_nan", "floordiv",
        "floormod", "squared_difference", "xlogy", "multiply_no_nan")},
    "maximum of equal numbers": (tf.maximum, [MATRIX, np.where(MATRIX > 0, MATRIX, 0)]),
    "minimum of equal numbers": (tf.minimum, [MATRIX, np.where(MATRIX > 0, MATRIX, 0)]),
    "clip at the limits": (lambda x: tf.clip_by_value(x, -1.0, 1.0), [np.array([-2, -1, 0, 1, 2], "float32")]),
    "add a column": (tf.add, [SQUARE, SQUARE[:, :1]]),
    "add to channels": (tf.add, [IMAGE[:, :4], IMAGE[0, :4, :1, :1]]),
    "bias of channels first": (lambda x, b: tf.nn.bias_add(x, b[:, 0], "NCHW"), [IMAGE[:, :4], IMAGE[0, :4, :1, 0]]),
    **{f"{name} of zero": (getattr(tf.nn, name), [np.array([-1, 0, 1], "float32")])
        for name in ("leaky_relu", "selu", "relu6")},
    "abs of zero": (tf.abs, [np.array([-1, 0, 1], "float32")]),
    "product with zero": (tf.math.multiply_no_nan, [MATRIX, np.where(MATRIX > 0, MATRIX, 0)]),
    "erfc of large numbers": (lambda x: 1e12 * tf.math.erfc(x), [np.array([4.5, 5, 5.5], "float32")]),
    "divide by zero": (tf.math.divide_no_nan, [MATRIX, np.zeros_like(MATRIX)]),
    "pow": (tf.pow, [POSITIVE, MATRIX]),
    "truncatediv": (tf.truncatediv, [np.array([7, -7, 7], "int32"), np.array([2, 2, -2], "int32")]),
    "truncatemod": (tf.truncatemod, [np.array([7, -7, 7], "int32"), np.array([2, 2, -2], "int32")]),
    "floor of integers": (tf.math.floordiv, [np.array([7, -7, 7], "int32"), np.array([2, 2, -2], "int32")]),
    "bits": (lambda a, b: [tf.bitwise.bitwise_and(a, b), tf.bitwise.bitwise_or(a, b), tf.bitwise.bitwise_xor(a, b),
        tf.bitwise.invert(a), tf.bitwise.left_shift(a, b), tf.bitwise.right_shift(a, b)],
        [np.array([6, 5], "int32"), np.array([3, 1], "int32")]),
    "logic": (lambda a: [tf.logical_and(a, ~a), tf.logical_or(a, ~a), tf.logical_not(a)], [TRUE]),
    "add_n": (lambda a, b: tf.add_n([a, b, a]), [MATRIX, POSITIVE]),
    "clip": (lambda x: tf.clip_by_value(x, -0.5, 0.5), [MATRIX]),
    "cast": (lambda x: [tf.cast(x, "int32"), tf.cast(x, "float16"), tf.cast(x, "bool")], [MATRIX * 3]),
    "where": (lambda c, a, b: tf.where(c[:, None], a, b), [TRUE, MATRIX, POSITIVE]),
    "select rows": (lambda c, a, b: raw.Select(condition=c, x=a, y=b), [TRUE, MATRIX, POSITIVE]),
    # shapes and places
    "reshape": (lambda x: tf.reshape(x, (2, -1)), [MATRIX]),
    "reshape by its own shape": (lambda x: tf.reshape(x, (tf.shape(x)[0] * 2, -1)), [MATRIX]),
    "transpose": (lambda x: tf.transpose(x, (2, 0, 3, 1)), [IMAGE]),
    "expand and squeeze": (lambda x: tf.squeeze(tf.expand_dims(x, 1), 1), [MATRIX]),
    "concat": (lambda a, b: tf.concat([a, b], -1), [MATRIX, POSITIVE]),
    "stack and unstack": (lambda a, b: tf.unstack(tf.stack([a, b], 1), axis=1), [MATRIX, POSITIVE]),
    "split": (lambda x: tf.split(x, 2, axis=1), [MATRIX]),
    "split by sizes": (lambda x: tf.split(x, [1, -1], axis=1), [MATRIX]),
    "tile": (lambda x: tf.tile(x, (2, 1)), [MATRIX]),
    "broadcast_to": (lambda x: tf.broadcast_to(x, (2, 3, 4)), [MATRIX]),
    "fill": (lambda x: tf.fill((2, 2), x[0, 0]), [MATRIX]),
    "pad": (lambda x: tf.pad(x, [[1, 0], [0, 2]], constant_values=3.0), [MATRIX]),
    "pad by a value": (lambda x: tf.pad(x, [[1, 0], [0, 2]], constant_values=x[0, 0]), [MATRIX]),
    "reflect": (lambda x: tf.pad(x, [[0, 0], [2, 1], [1, 1], [0, 0]], "REFLECT"), [IMAGE]),
    "symmetric": (lambda x: tf.pad(x, [[2, 1], [1, 1]], "SYMMETRIC"), [MATRIX]),
    "slice": (lambda x: tf.slice(x, (1, 0), (-1, 2)), [MATRIX]),
    "strided slice": (lambda x: x[:, 1:6:2, ..., tf.newaxis, 0], [IMAGE]),
    "backwards": (lambda x: x[::-1, ..., 3:0:-2], [IMAGE]),
    "bytes": (lambda x: [tf.bitcast(x, "uint8"), tf.bitcast(x[0, 0], "uint8")], [MATRIX]),
    "words of bytes": (lambda x: [tf.bitcast(x, "int32"), tf.bitcast(x, "float32"), tf.bitcast(x[0], "int32")],
        [np.arange(24, dtype="uint8").reshape(2, 3, 4)]),
    "backwards from nothing": (lambda x: x[:, 4:, ::-1], [IMAGE[:, :4]]),
    "reverse": (lambda x: tf.reverse(x, [1]), [MATRIX]),
    "roll": (lambda x: tf.roll(x, [1, -2], [0, 1]), [MATRIX]),
    "gather": (lambda x, i: tf.gather(x, i), [MATRIX, ROWS]),
    "gather columns": (lambda x, i: tf.gather(x, i, axis=1), [MATRIX, ROWS]),
    "gather in batches": (lambda x, i: tf.gather(x, i, batch_dims=1), [MATRIX, PLACES]),
    "gather_nd": (lambda x, i: tf.gather_nd(x, i), [IMAGE, np.array([[0, 1, 2], [1, 6, 5]], "int32")]),
    "scatter_nd": (lambda i, u: tf.scatter_nd(i, u, (5, 4)), [ROWS[:, None], MATRIX]),
    "scatter update": (lambda x, u: tf.tensor_scatter_nd_update(x, [[1]], u[:1]), [MATRIX, POSITIVE]),
    "scatter update of a block": (
        lambda x, i, u: tf.tensor_scatter_nd_update(x, i, u[:2, :2]), [MATRIX, BLOCK, POSITIVE],
    ),
    "scatter add": (lambda x, i, u: tf.tensor_scatter_nd_add(x, i, u), [MATRIX, ROWS[:, None], POSITIVE]),
    "one_hot": (lambda i: tf.one_hot(i, 4, 2.0, -1.0), [ROWS]),
    "one_hot of 300": (lambda i: tf.one_hot(tf.cast(i, "uint8"), 300), [ROWS]),
    "invert_permutation": (tf.math.invert_permutation, [np.array([2, 0, 1], "int32")]),
    "band_part": (lambda x: tf.linalg.band_part(x, 1, 0), [MATRIX]),
    "space_to_depth": (lambda x: tf.nn.space_to_depth(x[:, :6], 2), [IMAGE]),
    "depth_to_space": (lambda x: tf.nn.depth_to_space(x, 2), [IMAGE]),
    # along axes
    **{name: (lambda x, f=getattr(tf, name): [f(x, 1), f(x, (0, 1), keepdims=True)], [POSITIVE])
        for name in ("reduce_sum", "reduce_mean", "reduce_max", "reduce_min", "reduce_prod")},
    "mean of integers": (lambda x: tf.reduce_mean(x), [np.array([1, 2, 5], "int32")]),
    "any and all": (lambda c: [tf.reduce_any(c), tf.reduce_all(c)], [TRUE]),
    "euclidean norm along no axes": (lambda x: tf.math.reduce_euclidean_norm(x, []), [MATRIX]),
    "euclidean norm": (lambda x: tf.math.reduce_euclidean_norm(x, 1), [MATRIX]),
    "argmax": (lambda x: [tf.argmax(x, 1, output_type="int32"), tf.argmin(x, 1, output_type="int32")], [MATRIX]),
    "top_k of equal numbers": (lambda x: list(tf.math.top_k(x, 3)), [np.tile(np.array([0, 1, 1, 0], "float32"), 20)]),
    "top_k": (lambda x: list(tf.math.top_k(x, 2)), [MATRIX]),
    "cumsum": (lambda x: [tf.cumsum(x, 1), tf.cumsum(x, 1, exclusive=True), tf.cumsum(x, 1, reverse=True)], [MATRIX]),
    "cumprod": (lambda x: tf.math.cumprod(x, 1), [POSITIVE]),
    "segments": (lambda x, i: tf.math.unsorted_segment_sum(x, i, 4), [MATRIX, ROWS]),
    "segments below zero": (lambda x, i: tf.math.unsorted_segment_sum(x, i, 3), [MATRIX, ROWS - 1]),
    # products
    "matmul": (lambda a, b: tf.matmul(a, b, transpose_b=True), [MATRIX, POSITIVE]),
    "batch matmul": (lambda a: tf.matmul(a, a, transpose_a=True), [IMAGE]),
    "einsum": (lambda a, b: tf.einsum("bhwc,oc->bwho", a, b), [IMAGE, MATRIX]),
    "cholesky": (tf.linalg.cholesky, [SQUARE]),
    "inverse": (tf.linalg.inv, [SQUARE]),
    "solve": (tf.linalg.solve, [SQUARE, MATRIX]),
    "triangular": (lambda a, b: tf.linalg.triangular_solve(a, b, adjoint=True), [SQUARE, MATRIX]),
    # images
    **{f"conv {padding} {strides} {rate}": (
        lambda x, k, p=padding, s=strides, r=rate: tf.nn.conv2d(x, k, s, p, dilations=r), [IMAGE, KERNEL])
        for padding, strides, rate in (("SAME", 1, 1), ("SAME", 2, 1), ("VALID", 2, 1))},
    # TensorFlow has no gradient of it on CPUs
    "conv dilated": (
        lambda x, k: tf.nn.conv2d(tf.stop_gradient(x), tf.stop_gradient(k), 1, "SAME", dilations=2),
        [IMAGE, KERNEL],
    ),
    "space to batch": (lambda x: tf.space_to_batch(x, [2, 3], [[1, 0], [0, 0]]), [IMAGE]),
    "batch to space": (lambda x: tf.batch_to_space(tf.tile(x, (3, 1, 1, 1)), [2, 3], [[1, 0], [0, 2]]), [IMAGE]),
    "conv explicit": (lambda x, k: tf.nn.conv2d(x, k, 2, [[0, 0], [1, 2], [0, 1], [0, 0]]), [IMAGE, KERNEL]),
    **{f"depthwise {padding} {stride}": (
        lambda x, k, p=padding, s=stride: tf.nn.depthwise_conv2d(x, k[..., :2], (1, s, s, 1), p), [IMAGE, KERNEL])
        for padding, stride in (("SAME", 1), ("SAME", 2), ("VALID", 1))},
    **{f"transposed {padding}": (
        lambda y, k, p=padding, n=size: tf.nn.conv2d_transpose(y, tf.transpose(k, (0, 1, 3, 2)), (2, *n, 5), 2, p),
        [IMAGE, KERNEL]) for padding, size in (("SAME", (13, 12)), ("VALID", (15, 12)))},
    **{f"{name} {padding}": (lambda x, f=getattr(tf.nn, name), p=padding: f(x, 3, 2, p), [IMAGE])
        for name in ("max_pool2d", "avg_pool2d") for padding in ("SAME", "VALID")},
    "bias": (lambda x, b: tf.nn.bias_add(x, b[0]), [IMAGE, MATRIX]),
    **{f"batch norm {mode}": (
        lambda x, s, mode=mode: list(raw.FusedBatchNormV3(
            x=x, scale=s[0], offset=s[1], mean=s[2], variance=s[0], epsilon=1e-2, is_training=mode)[:3]),
        [IMAGE, POSITIVE]) for mode in (False, True)},
    "batch norm of axes of length 1": (
        lambda x, s: raw.FusedBatchNormV3(
            x=tf.transpose(x, (0, 3, 2, 1)), scale=s[0], offset=s[1], mean=s[2], variance=s[0], is_training=True,
            data_format="NCHW")[0],
        [IMAGE[:1, :2, :1].copy(), POSITIVE]),
    # several nodes that are computed as one
    **{f"gelu {'by tanh' if rough else 'by erfc'}": (lambda x, rough=rough: tf.nn.gelu(x, rough), [3 * MATRIX])
        for rough in (False, True)},
    "gelu by erf": (lambda x: 0.5 * x * (1.0 + tf.math.erf(x / tf.constant(2**0.5, x.dtype))), [3 * MATRIX]),
    "gelu by erfc of a factor below zero": (
        lambda x: 0.5 * x * tf.math.erfc(x * tf.constant(-(0.5**0.5), x.dtype)), [3 * MATRIX],
    ),
    "nearly gelu": (lambda x: 0.5 * x * (1.001 + tf.math.erf(x / tf.constant(2**0.5, x.dtype))), [3 * MATRIX]),
    "batch norm of rows": (lambda x, s: layer_norm(x) * s[0] + s[1], [IMAGE, POSITIVE]),
    "batch norm of rows, scaled by numbers": (lambda x: layer_norm(x) * 3.0 + tf.ones((4,)), [IMAGE]),
    "batch norm of columns": (lambda x, s: layer_norm(x, 2) * s[0] + s[1], [IMAGE, POSITIVE]),
    "cross entropy": (lambda x, y: tf.nn.softmax_cross_entropy_with_logits(y, x), [MATRIX, POSITIVE]),
    **{f"resize {method} {new} {options}": (
        lambda x, f=getattr(raw, f"Resize{method}"), n=new, o=options: f(images=x, size=n, **o), [IMAGE])
        for method in ("Bilinear", "NearestNeighbor") for new in ((3, 11), (7, 4))
        for options in ({"half_pixel_centers": True}, {"align_corners": True}, {})},
    # branches and loops
    "known branch": (lambda x: tf.cond(tf.shape(x)[0] > 2, lambda: x + 1, lambda: x), [MATRIX]),
    "branch by a value": (lambda x: tf.cond(x[0, 0] > 0, lambda: x + 1, lambda: 2 * x), [MATRIX]),
    "another branch": (lambda x: tf.switch_case(tf.cast(x[0, 0] > 9, "int32"), [lambda: x, lambda: 3 * x]), [MATRIX]),
    "known loop": (lambda x: tf.while_loop(lambda i, y: i < 3, lambda i, y: (i + 1, y * x), (0, x))[1], [SMALL]),
}  # fmt: skip


@pytest.fixture
def float64():
    """Have JAX compute in 64 bits within a test."""
    with in_64_bits():
        yield


def check(value, known, tolerance):
    np.testing.assert_allclose(np.float64(value), np.float64(known), rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("name", CASES)
def test_an_op_computes_what_tensorflow_computes_and_so_does_its_gradient(name):
    compare(*CASES[name], partial(check, tolerance=2e-5), partial(check, tolerance=1e-4))


@pytest.mark.skipif(keras.backend.backend() == "tensorflow", reason="the other backends are what may differ")
@pytest.mark.parametrize("name", [name for name in CASES if not name.startswith(("batch norm", "resize Bilinear"))])
def test_an_op_has_the_precision_of_float64(name, float64):
    """But for those that TensorFlow computes in float32."""
    function, inputs = CASES[name]
    wide = [x.astype("float64") if x.dtype == "float32" else x for x in inputs]
    compare(function, wide, partial(check, tolerance=1e-10))


@pytest.mark.skipif(keras.backend.backend() == "tensorflow", reason="TensorFlow fuses nodes itself")
@pytest.mark.parametrize(
    ("name", "fused"),
    [("gelu by erfc", "FusedGelu"), ("gelu by erf", "FusedGelu"),
     ("gelu by erfc of a factor below zero", "FusedGelu"), ("gelu by tanh", "FusedGelu"), ("nearly gelu", None),
        ("batch norm of rows", "FusedLayerNorm")],
)  # fmt: skip
def test_nodes_that_are_one_function_become_one_node(name, fused):
    body = body_of_concrete(concrete_of(*CASES[name]))
    graph = make_graph(body.nodes, body.inputs, body.outputs, body.library)
    assert [node.op for node in graph.nodes if node.op.startswith("Fused")] == ([fused] if fused else [])


@pytest.mark.skipif(keras.backend.backend() == "tensorflow", reason="TensorFlow fuses nodes itself")
@pytest.mark.parametrize(("rate", "is_fused"), [(0.25, True), (0.2, False)])
def test_dropout_is_computed_as_keras_computes_it(rate, is_fused):
    """A quarter is dropped, the rest is divided by 3/4. With another scale than that, it is no dropout."""

    def compute(x):
        return tf.where(tf.random.uniform(tf.shape(x)) >= rate, x * tf.constant(4 / 3), 0.0)

    x = np.ones((100, 100), "float32")
    body = body_of_concrete(concrete_of(compute, [x]))
    graph = make_graph(body.nodes, body.inputs, body.outputs, body.library)
    assert any(node.op == "FusedDropout" for node in graph.nodes) == is_fused
    seed = keras.random.SeedGenerator(0)
    values = [as_array(Program(body, {})([keras.ops.convert_to_tensor(x)], State([], seed))[0]) for _ in range(2)]
    assert set(np.unique(values[0])) == {np.float32(0), np.float32(4 / 3)}
    assert abs((values[0] == 0).mean() - rate) < 0.02
    assert (values[0] != values[1]).any()


@pytest.mark.parametrize("share", ["mask", "numbers"])
def test_random_numbers_that_are_used_twice_are_the_same(share):
    """Two tensors are dropped in the same places."""

    def compute(x):
        numbers = tf.random.uniform(tf.shape(x))
        masks = [numbers >= 0.25] * 2 if share == "mask" else [numbers >= 0.25, numbers >= 0.25]
        return [tf.where(mask, x * tf.constant(4 / 3), 0.0) for mask in masks]

    body = body_of_concrete(concrete_of(compute, [np.ones((30, 30), "float32")]))
    inputs = [keras.ops.ones((30, 30))]
    first, second = map(as_array, Program(body, {})(inputs, State([], keras.random.SeedGenerator(0))))
    assert set(np.unique(first)) == {np.float32(0), np.float32(4 / 3)}
    np.testing.assert_array_equal(first, second)


def test_each_op_of_the_table_is_an_op_of_tensorflow():
    assert [name for name in TABLE if not hasattr(tf.raw_ops, name)] == []


@pytest.mark.skipif(keras.backend.backend() == "tensorflow", reason="there TensorFlow computes it itself")
def test_an_op_that_is_in_no_table_is_named_with_its_node():
    concrete = concrete_of(lambda x: tf.math.lgamma(x, name="odd"), [MATRIX])
    with pytest.raises(UnsupportedOp) as caught:
        Program(body_of_concrete(concrete), {})([keras.ops.convert_to_tensor(MATRIX)], State([]))
    assert caught.value.args == ("the op Lgamma", "Lgamma", "odd")


def test_what_is_known_is_computed_by_tensorflow_whatever_the_op():
    concrete = concrete_of(lambda x: x * tf.math.lgamma(3.5) + float(len("abc")), [MATRIX])
    (value,) = Program(body_of_concrete(concrete), {})([keras.ops.convert_to_tensor(MATRIX)], State([]))
    np.testing.assert_allclose(as_array(value), MATRIX * 1.2009736 + 3, rtol=1e-5)


def test_what_is_known_is_computed_also_by_ops_whose_arguments_have_other_names_in_python():
    def compute(x):
        known = tf.constant([[1.0, 2.0], [3.0, 4.0]])
        return x + tf.reduce_mean(known) * tf.where([False, True], [1.0, 2.0], [3.0, 4.0])[0] + tf.expand_dims(9.0, 0)

    (value,) = Program(body_of_concrete(concrete_of(compute, [MATRIX])), {})(
        [keras.ops.convert_to_tensor(MATRIX)], State([])
    )
    np.testing.assert_allclose(as_array(value), MATRIX + 2.5 * 3.0 + 9.0, rtol=1e-5)


def test_small_numbers_that_are_known_are_computed_once_and_random_numbers_each_time():
    def stacked(axis: int, values: list, op="Pack"):
        node = Node("a", op, (), {"axis": axis, "N": 2, "T": "int32"})
        return host.compute(node, [np.array(value, "int32") for value in values])[0]

    first = stacked(0, [[1, 2], [3, 4]])
    assert stacked(0, [[1, 2], [3, 4]]) is first
    np.testing.assert_array_equal(first, [[1, 2], [3, 4]])
    np.testing.assert_array_equal(stacked(1, [[1, 2], [3, 4]]), [[1, 3], [2, 4]])  # another attribute
    np.testing.assert_array_equal(stacked(0, [[1, 2], [3, 5]]), [[1, 2], [3, 5]])  # other numbers
    np.testing.assert_array_equal(stacked(0, [[[1, 2]], [[3, 4]]]), [[[1, 2]], [[3, 4]]])  # another shape
    large = np.zeros((2, 100), "int32")
    assert stacked(0, large) is not stacked(0, large)

    node = Node("a", "RandomUniform", (), {"seed": 0, "seed2": 0, "dtype": "float32", "T": "int32"})
    draws = [host.compute(node, [np.array([3], "int32")])[0] for _ in range(2)]
    assert (draws[0] != draws[1]).any()


@pytest.mark.skipif(keras.backend.backend() == "jax", reason="the length of the result would depend on values")
@pytest.mark.parametrize("step", [1.0, 0.5, -0.7])
def test_a_range_of_floats_has_as_many_numbers_as_in_tensorflow(step):
    concrete = concrete_of(lambda x: tf.range(0.25, tf.reduce_max(x) * step, step), [POSITIVE + 3])
    (value,) = Program(body_of_concrete(concrete), {})([keras.ops.convert_to_tensor(POSITIVE + 3)], State([]))
    np.testing.assert_allclose(as_array(value), concrete(tf.constant(POSITIVE + 3)), rtol=1e-6)


def test_a_loop_whose_number_of_steps_depends_on_values_is_computed():
    """Doubled until the sum is over 100, and counted."""

    def compute(x):
        return tf.while_loop(lambda i, y: tf.reduce_sum(y) < 100.0, lambda i, y: (i + 1, 2.0 * y), (0, x))

    program = Program(body_of_concrete(concrete_of(compute, [POSITIVE])), {})

    def run(x):
        return [tensor(value) for value in program([x], State([]))]

    if keras.backend.backend() == "jax":
        import jax

        run = jax.jit(run)
    steps, values = run(keras.ops.convert_to_tensor(POSITIVE))
    count = int(np.ceil(np.log2(100 / POSITIVE.sum())))
    assert int(steps) == count
    np.testing.assert_allclose(as_array(values), POSITIVE * 2**count, rtol=1e-6)


@pytest.mark.skipif(keras.backend.backend() != "jax", reason="JAX computes all steps and branches in one way")
def test_random_numbers_in_a_branch_by_a_value_are_refused_on_jax():
    import jax

    def compute(x):
        return tf.cond(x[0, 0] > 0, lambda: x + tf.random.uniform([1]), lambda: x)

    program = Program(body_of_concrete(concrete_of(compute, [MATRIX])), {})
    with pytest.raises(UnsupportedOp, match="random numbers in a branch"):
        jax.eval_shape(lambda x: program([x], State([], keras.random.SeedGenerator(0))), MATRIX)
