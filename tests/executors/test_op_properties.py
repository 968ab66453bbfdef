"""Families of ops with drawn parameters: the interpreter computes what TensorFlow's kernels compute, and its gradient.

The examples are the same in each run. To look further, ask for more of them: PROPERTY_EXAMPLES=20 draws twenty times
as many.
"""

import os
from contextlib import nullcontext
from functools import partial

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from op_comparison import compare, in_64_bits

MORE = int(os.environ.get("PROPERTY_EXAMPLES", "1"))
EPSILON = {"float32": 1e-5, "float64": 1e-10}
raw = tf.raw_ops


def drawn(examples, dtypes=("float32", "float64")):
    """A test of a few drawn examples for each dtype of the numbers."""

    def decorate(test):
        test = given(data=st.data())(test)
        test = settings(
            max_examples=examples * MORE, derandomize=True, database=None, deadline=None,
            report_multiple_bugs=False, suppress_health_check=list(HealthCheck),
        )(test)  # fmt: skip
        return pytest.mark.parametrize("dtype", dtypes)(test)

    return decorate


def floats(*shape, dtype, seed=0):
    """Numbers of the full precision of their dtype."""
    return np.random.default_rng([seed, *shape]).normal(size=shape).astype(dtype)


def steps(*shape, dtype, seed=0):
    """Whole numbers from -2 to 2, so many are the same."""
    return np.random.default_rng([seed, *shape]).integers(-2, 3, shape).astype(dtype)


def near(value, known, tolerance):
    """All numbers are as near to the known ones as the largest of them allows."""
    value, known = np.float64(value), np.float64(known)
    size = np.max(np.abs(known), initial=0.0, where=np.isfinite(known))
    np.testing.assert_allclose(value, known, rtol=0, atol=tolerance * (size or 1))


def each_near(value, known, tolerance, least):
    """Each number is near to the known one, however small that is, down to a least one."""
    np.testing.assert_allclose(np.float64(value), np.float64(known), rtol=tolerance, atol=least)


def conforms(function, inputs, dtype, *, check=None, batches=1, tolerance=None, **options):
    """Compare as `op_comparison.compare` does; of float32, on TensorFlow, in a graph where the batch is unknown."""
    is_single = dtype == "float32"
    check = check or partial(near, tolerance=EPSILON[dtype] if tolerance is None else tolerance)
    with nullcontext() if is_single else in_64_bits():
        compare(function, inputs, check, batches=batches, in_graph=is_single, **options)


def a(data, *values):
    return data.draw(st.sampled_from(values))


def subset(data, count, least=0):
    """Some of the numbers below `count`, in an order that is drawn too."""
    return data.draw(st.lists(st.sampled_from(range(count)), unique=True, min_size=least, max_size=count))


def signs(data, axes, rank):
    """The same axes, some of them counted from the end."""
    return [axis - rank if a(data, False, True) else axis for axis in axes]


# -- images ------------------------------------------------------------------------------------------------------------

TO_LAST, TO_FIRST = (0, 2, 3, 1), (0, 3, 1, 2)


def channels_first(function):
    """What a function of NCHW has to compute, by the one of NHWC: TensorFlow has no kernels of NCHW on CPUs."""
    return lambda x, *others: tf.transpose(function(tf.transpose(x, TO_LAST), *others), TO_FIRST)


def four(format, height, width):
    return [1, 1, height, width] if format == "NCHW" else [1, height, width, 1]


def dilated(kernel, rates):
    """A kernel with zeros between its values."""
    for axis, rate in enumerate(rates):
        size = kernel.shape[axis]
        spread = np.zeros(((size - 1) * rate + 1, size))
        spread[np.arange(size) * rate, np.arange(size)] = 1
        kernel = tf.tensordot(tf.constant(spread, kernel.dtype), tf.experimental.numpy.moveaxis(kernel, axis, 0), 1)
        kernel = tf.experimental.numpy.moveaxis(kernel, 0, axis)
    return kernel


def explicit(data, format):
    pairs = [0, 0] if format == "NHWC" else [0, 0, 0, 0]
    pairs += [a(data, 0, 1, 2) for _ in range(4)]
    return [*pairs, 0, 0][:8]


def to_nhwc(paddings, format):
    return [*paddings[:2], *paddings[4:], *paddings[2:4]] if format == "NCHW" and paddings else paddings


@drawn(7)
def test_a_convolution_computes_what_tensorflow_computes(data, dtype):
    size, kernel = [[a(data, *range(3, 8)) for _ in range(2)], [a(data, 1, 2, 3) for _ in range(2)]]
    strides, rates = [a(data, 1, 2, 3) for _ in range(2)], [a(data, 1, 1, 2) for _ in range(2)]
    padding, format, groups = a(data, "SAME", "VALID", "EXPLICIT"), a(data, "NHWC", "NCHW"), a(data, 1, 1, 2)
    assume(padding != "VALID" or all((k - 1) * r < n for k, r, n in zip(kernel, rates, size, strict=True)))
    paddings = explicit(data, format) if padding == "EXPLICIT" else []
    if padding == "EXPLICIT":
        wide = to_nhwc(paddings, format)
        lengths = [size[0] + wide[2] + wide[3], size[1] + wide[4] + wide[5]]
        assume(all((k - 1) * r < n for k, r, n in zip(kernel, rates, lengths, strict=True)))

    def convolve(x, k):
        return raw.Conv2D(
            input=x, filter=k, strides=four(format, *strides), padding=padding, explicit_paddings=paddings,
            data_format=format, dilations=four(format, *rates),
        )  # fmt: skip

    def known(x, k):
        parts = zip(tf.split(x, groups, -1), tf.split(dilated(k, rates), groups, -1), strict=True)
        results = [
            raw.Conv2D(input=part, filter=own, strides=[1, *strides, 1], padding=padding,
                       explicit_paddings=to_nhwc(paddings, format)) for part, own in parts
        ]  # fmt: skip
        return tf.concat(results, -1)

    x, k = floats(2, *size, 2 * groups, dtype=dtype), floats(*kernel, 2, 2 * groups, dtype=dtype, seed=1)
    if format == "NCHW":
        x, known = x.transpose(TO_FIRST), channels_first(known)
    conforms(convolve, [x, k], dtype, reference=known)


@drawn(5)
def test_a_depthwise_convolution_computes_what_tensorflow_computes(data, dtype):
    size, kernel = [a(data, *range(3, 8)) for _ in range(2)], [a(data, 1, 2, 3) for _ in range(2)]
    stride, rate, multiplier = a(data, 1, 2), a(data, 1, 1, 2), a(data, 1, 2)
    padding, format = a(data, "SAME", "VALID", "EXPLICIT"), a(data, "NHWC", "NCHW")
    assume(stride == 1 or rate == 1)
    paddings = explicit(data, format) if padding == "EXPLICIT" else []
    assume(padding == "SAME" or all((k - 1) * rate < n for k, n in zip(kernel, size, strict=True)))

    def convolve(x, k):
        return raw.DepthwiseConv2dNative(
            input=x, filter=k, strides=four(format, stride, stride), padding=padding, explicit_paddings=paddings,
            data_format=format, dilations=four(format, rate, rate),
        )  # fmt: skip

    def known(x, k):
        return raw.DepthwiseConv2dNative(
            input=x, filter=dilated(k, (rate, rate)), strides=[1, stride, stride, 1], padding=padding,
            explicit_paddings=to_nhwc(paddings, format),
        )  # fmt: skip

    x, k = floats(2, *size, 3, dtype=dtype), floats(*kernel, 3, multiplier, dtype=dtype, seed=1)
    if format == "NCHW":
        x, known = x.transpose(TO_FIRST), channels_first(known)
    conforms(convolve, [x, k], dtype, reference=known)


@drawn(6)
def test_a_transposed_convolution_computes_what_tensorflow_computes(data, dtype):
    kernel, strides = [a(data, 1, 2, 3, 4) for _ in range(2)], [a(data, 1, 2, 3) for _ in range(2)]
    rates, padding = [a(data, 1, 1, 2) for _ in range(2)], a(data, "SAME", "VALID")
    size = [a(data, *range(3, 9)) for _ in range(2)]  # of the result
    reach = [(k - 1) * r + 1 for k, r in zip(kernel, rates, strict=True)]
    assume(padding == "SAME" or all(n >= r for n, r in zip(size, reach, strict=True)))
    lengths = [
        -(-(n if padding == "SAME" else n - r + 1) // s) for n, r, s in zip(size, reach, strides, strict=True)
    ]  # fmt: skip

    def convolve(y, k, rates=rates):
        shape = tf.stack([tf.shape(y)[0], *size, 2])
        return raw.Conv2DBackpropInput(
            input_sizes=shape, filter=k, out_backprop=y, strides=[1, *strides, 1], padding=padding,
            dilations=[1, *rates, 1],
        )  # fmt: skip

    inputs = [floats(2, *lengths, 3, dtype=dtype), floats(*kernel, 2, 3, dtype=dtype, seed=1)]
    conforms(convolve, inputs, dtype, reference=lambda y, k: convolve(y, dilated(k, rates), (1, 1)))


@drawn(4)
def test_a_convolution_of_volumes_computes_what_tensorflow_computes(data, dtype):
    size, kernel = [a(data, 2, 3, 4) for _ in range(3)], [a(data, 1, 2) for _ in range(3)]
    strides, padding = [1, *(a(data, 1, 2) for _ in range(3)), 1], a(data, "SAME", "VALID")
    inputs = [floats(2, *size, 2, dtype=dtype), floats(*kernel, 2, 3, dtype=dtype, seed=1)]
    conforms(lambda x, k: tf.nn.conv3d(x, k, strides, padding), inputs, dtype)


@drawn(7)
def test_pooling_computes_what_tensorflow_computes(data, dtype):
    size, kernel = [a(data, *range(3, 8)) for _ in range(2)], [a(data, 1, 2, 3) for _ in range(2)]
    strides, format = [a(data, 1, 2, 3) for _ in range(2)], a(data, "NHWC", "NCHW")
    op, padding, values = a(data, "MaxPool", "AvgPool"), a(data, "SAME", "VALID", "EXPLICIT"), a(data, floats, steps)
    assume(padding != "EXPLICIT" or op == "MaxPool")
    paddings = [0, 0] * 4
    if padding == "EXPLICIT":
        pads = [a(data, *range(min(2, k))) for k in kernel for _ in range(2)]
        paddings = [0, 0, *pads, 0, 0] if format == "NHWC" else [0, 0, 0, 0, *pads]

    def pool(x, format=format, paddings=paddings):
        explicit_paddings = {"explicit_paddings": paddings} if padding == "EXPLICIT" else {}
        name = "input" if op == "MaxPool" else "value"
        return getattr(raw, op)(
            **{name: x}, ksize=four(format, *kernel), strides=four(format, *strides), padding=padding,
            data_format=format, **explicit_paddings,
        )  # fmt: skip

    x, known = values(2, *size, 3, dtype=dtype), pool
    if format == "NCHW":
        x, known = (
            x.transpose(TO_FIRST),
            channels_first(partial(pool, format="NHWC", paddings=to_nhwc(paddings, format))),
        )
    conforms(pool, [x], dtype, reference=known)


@drawn(4, ("float32",))
def test_pooling_of_volumes_computes_what_tensorflow_computes(data, dtype):
    size, kernel = [a(data, 3, 4) for _ in range(3)], [1, *(a(data, 1, 2, 3) for _ in range(3)), 1]
    strides, padding = [1, *(a(data, 1, 2) for _ in range(3)), 1], a(data, "SAME", "VALID")
    function = a(data, tf.nn.max_pool3d, tf.nn.avg_pool3d)
    conforms(lambda x: function(x, kernel, strides, padding), [floats(2, *size, 2, dtype=dtype)], dtype)


@drawn(8, ("float32",))
def test_batch_normalization_computes_what_tensorflow_computes(data, dtype):
    """TensorFlow has no kernel of float64."""
    is_training, format, epsilon = a(data, True, False), a(data, "NHWC", "NCHW"), a(data, 1e-5, 1e-3, 1.0)
    size, factor = [a(data, 1, 2, 5) for _ in range(3)], a(data, 1.0, 0.25)
    assume(np.prod(size) > 1)

    def normalize(x, scale, offset, mean, variance, format=format):
        results = raw.FusedBatchNormV3(
            x=x, scale=scale, offset=offset, mean=mean, variance=variance, epsilon=epsilon, data_format=format,
            is_training=is_training, exponential_avg_factor=factor,
        )  # fmt: skip
        return [*map(tf.stop_gradient, results[1:3]), results[0]]

    def known(x, *others):
        mean, variance, y = normalize(tf.transpose(x, TO_LAST) if format == "NCHW" else x, *others, format="NHWC")
        return [mean, variance, tf.transpose(y, TO_FIRST) if format == "NCHW" else y]

    x = floats(*size, 3, dtype=dtype) * 3 + 1
    others = [floats(3, dtype=dtype, seed=seed) for seed in range(4)]
    others[3] = np.abs(others[3])
    if format == "NCHW":
        x = x.transpose(TO_FIRST)
    conforms(normalize, [x, *others], "float32", reference=known, tolerance=1e-4)


@drawn(6)
def test_resizing_computes_what_tensorflow_computes(data, dtype):
    old, new = [[a(data, *range(1, 8)) for _ in range(2)] for _ in range(2)]
    options = a(data, {}, {"align_corners": True}, {"half_pixel_centers": True})
    method = a(data, raw.ResizeBilinear, raw.ResizeNearestNeighbor)
    # bilinear resizing is of float32 whatever the input is
    tolerance = 1e-5 if method is raw.ResizeBilinear else EPSILON[dtype]
    inputs = [floats(2, *old, 2, dtype=dtype)]
    conforms(lambda x: method(images=x, size=new, **options), inputs, dtype, tolerance=tolerance)


@drawn(4)
def test_blocks_become_channels_as_in_tensorflow_and_back(data, dtype):
    block, format, lengths = a(data, 2, 3), a(data, "NHWC", "NCHW"), [a(data, 1, 2) for _ in range(2)]
    is_back = a(data, False, True)
    op = raw.DepthToSpace if is_back else raw.SpaceToDepth
    size = [*lengths, 2 * block**2] if is_back else [*(length * block for length in lengths), 3]

    def known(x):
        return op(input=x, block_size=block)

    x = floats(2, *size, dtype=dtype)
    if format == "NCHW":
        x, known = x.transpose(TO_FIRST), channels_first(known)
    conforms(lambda x: op(input=x, block_size=block, data_format=format), [x], dtype, reference=known)


@drawn(3)
def test_a_bias_is_added_as_in_tensorflow(data, dtype):
    format = a(data, "NHWC", "NCHW")
    x = floats(*[2, 3, 4, 5, 3][: a(data, 3, 4, 5) if format == "NCHW" else a(data, 2, 3, 4, 5)], dtype=dtype)
    bias = floats(x.shape[1 if format == "NCHW" else -1], dtype=dtype, seed=1)
    conforms(lambda x, b: tf.nn.bias_add(x, b, data_format=format), [x, bias], dtype)


# -- elements ----------------------------------------------------------------------------------------------------------

SPECIAL = [0.0, -0.0, 1e-30, -1e-30, 1e-6, -1e-6, 0.3, -0.3, 0.5, -0.5, 1.0, -1.0, 1.5, -1.5, 2.5, 6.0, -6.0]
LARGE = [*SPECIAL, 20.5, -20.5, 99.0, -99.0, 1e6, -1e6, 1e30, -1e30, float("inf"), -float("inf"), float("nan")]
UNARY = {
    **{name: (getattr(tf, name), LARGE) for name in ("abs", "negative", "sign", "square", "atan", "tanh", "sigmoid",
        "round", "exp", "ones_like", "zeros_like")},
    **{name: (getattr(tf.math, name), LARGE) for name in ("ceil", "floor", "rint", "is_finite", "is_inf", "is_nan",
        "expm1", "softplus", "rsqrt", "sqrt", "log", "log1p", "reciprocal")},
    **{name: (getattr(tf.nn, name), LARGE) for name in ("elu", "relu", "relu6", "softsign", "leaky_relu")},
    **{name: (getattr(tf, name), [x for x in LARGE if not abs(x) > 1e3]) for name in ("sin", "cos", "tan", "asinh",
        "cosh", "sinh")},
    **{name: (getattr(tf.math, name), [*SPECIAL[:10], 1.0, -1.0, 2.0]) for name in ("acos", "asin", "atanh",
        "erfinv", "acosh")},
    "selu": (tf.nn.selu, [x for x in LARGE if abs(x) != 1e-30]),  # TensorFlow takes the negative one for zero
    **{name: (getattr(tf.math, name), SPECIAL) for name in ("erf", "erfc")},
}  # fmt: skip


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", UNARY)
def test_a_function_of_special_values_computes_what_tensorflow_computes(name, dtype):
    function, values = UNARY[name]
    values = np.array(values, dtype)
    tolerance = 2e-5 if dtype == "float32" else 1e-10
    check = partial(each_near, tolerance=tolerance, least=2 * np.finfo(dtype).eps)

    def of_gradients(value, known):
        """At an edge of what a function is defined for, and beyond it, gradients may differ."""
        is_defined = np.isfinite(values) & np.isfinite(function(values)) & np.isfinite(known)
        check(np.where(is_defined, value, 0), np.where(is_defined, known, 0))

    conforms(function, [values], dtype, check=check, of_gradients=of_gradients)


BINARY = {
    **{name: (getattr(tf, name), floats) for name in ("add", "subtract", "multiply", "divide", "maximum", "minimum",
        "equal", "not_equal", "less", "less_equal", "greater", "greater_equal")},
    **{name: (getattr(tf.math, name), floats) for name in ("squared_difference", "atan2", "floordiv", "floormod",
        "divide_no_nan", "multiply_no_nan", "xlogy")},
    "pow": (lambda a, b: tf.pow(tf.abs(a) + 0.1, b), floats),
    "truncatemod": (lambda a, b: tf.stop_gradient(tf.truncatemod(a, b)), floats),
    "where": (lambda a, b: tf.where(a > 0, a, b), floats),
    "where one is greater": (lambda a, b: tf.where(a > b, a, b), floats),
}  # fmt: skip
WITH_EQUALS = ("maximum", "minimum", "equal", "not_equal", "less", "less_equal", "greater", "greater_equal",
    "squared_difference", "divide_no_nan", "multiply_no_nan")  # fmt: skip


@drawn(24)
def test_a_function_of_two_tensors_broadcasts_them_as_tensorflow_does(data, dtype):
    name = a(data, *BINARY)
    function, values = BINARY[name]
    values = a(data, floats, steps) if name in WITH_EQUALS else values
    shape = a(data, [3, 2, 4], [3, 3, 3])
    one, other = (
        [a(data, 1, length) for length in shape][a(data, 0, 0, 1, 2, 3) :] for _ in range(2)
    )  # fmt: skip
    if name == "xlogy":
        function = lambda a, b: tf.math.xlogy(a, tf.abs(b))  # noqa: E731
    if data.draw(st.booleans()):
        one, other = other, one
    inputs = [values(*one, dtype=dtype), values(*other, dtype=dtype, seed=1)]
    conforms(function, inputs, dtype, batches=2)


INTEGERS = ("int8", "int16", "int32", "int64", "uint8")
LONG = ("int32", "int64")
OF_INTEGERS = {
    **{name: (getattr(tf, name), INTEGERS) for name in ("add", "subtract", "multiply", "less", "equal")},
    **{name: (getattr(tf.bitwise, f"bitwise_{name}"), INTEGERS) for name in ("and", "or", "xor")},
    **{name: (getattr(tf, name), INTEGERS) for name in ("maximum", "minimum", "truncatediv")},
    **{name: (getattr(tf.math, name), INTEGERS if name == "floordiv" else LONG) for name in ("floordiv", "floormod")},
    "truncatemod": (tf.truncatemod, LONG),
    "invert": (lambda x, y: tf.bitwise.invert(x), INTEGERS),
    "left shift": (lambda x, y: tf.bitwise.left_shift(x, y & 3), INTEGERS),
    "right shift": (lambda x, y: tf.bitwise.right_shift(x, y & 3), INTEGERS),
    "div": (lambda x, y: raw.Div(x=x, y=y), INTEGERS),
    "abs and sign": (lambda x, y: tf.abs(x) + tf.sign(y), LONG),
    "square": (lambda x, y: tf.square(x) - y, LONG),
    "pow": (lambda x, y: tf.pow(x, tf.abs(y)), LONG),
    "clip": (lambda x, y: tf.clip_by_value(x, y, 3), LONG),
}


@pytest.mark.parametrize("dtype", INTEGERS)
def test_arithmetic_of_integers_computes_what_tensorflow_computes(dtype):
    """With all signs. TensorFlow refuses a zero as a divisor."""
    one, other = np.meshgrid(np.arange(-7, 8), [-7, -3, -2, -1, 1, 2, 3, 7])
    if dtype == "uint8":
        one, other = np.abs(one), np.abs(other)
    functions = [function for function, dtypes in OF_INTEGERS.values() if dtype in dtypes]
    conforms(
        lambda x, y: [function(x, y) for function in functions], [one.astype(dtype), other.astype(dtype)], "float32"
    )


DTYPES = ("float16", "bfloat16", "float32", "float64", "int8", "uint8", "int16", "int32", "int64", "bool")


@pytest.mark.parametrize("is_signed", [True, False])
@pytest.mark.parametrize("dtype", DTYPES)
def test_a_cast_computes_what_tensorflow_computes(dtype, is_signed):
    """To all dtypes, of numbers that fit them."""
    values = np.array([0.0, 0.4, 0.6, 1.0, 1.5, 1.9, 2.5, 99.9, 126.5])
    if is_signed and dtype != "uint8":
        values = np.concatenate([values, -values])
    targets = [target for target in DTYPES if target != "uint8" or not is_signed]
    conforms(
        lambda x: [tf.cast(x, target) for target in targets], [values.astype(tf.as_dtype(dtype).as_numpy_dtype)],
        "float64", tolerance=0, of_gradients=partial(near, tolerance=1e-2),
    )  # fmt: skip


@drawn(5)
def test_clipping_computes_what_tensorflow_computes(data, dtype):
    """Also of numbers that lie on the limits."""
    low, high = a(data, (-1.0, 1.0), (0.0, 2.0), (-0.3, 0.7))
    is_drawn = a(data, False, True)
    inputs = [a(data, floats, steps)(4, 5, dtype=dtype)]
    if is_drawn:
        inputs += [np.full((), low, dtype), np.full((), high, dtype)]
        conforms(lambda x, low, high: raw.ClipByValue(t=x, clip_value_min=low, clip_value_max=high), inputs, dtype)
    else:
        conforms(lambda x: tf.clip_by_value(x, low, high), inputs, dtype)


# -- along axes --------------------------------------------------------------------------------------------------------

REDUCTIONS = {
    **{name: getattr(tf, f"reduce_{name}") for name in ("sum", "mean", "max", "min", "prod")},
    "euclidean norm": tf.math.reduce_euclidean_norm,
    "variance": tf.math.reduce_variance,
    "logsumexp": tf.reduce_logsumexp,
}


@drawn(12)
def test_a_reduction_computes_what_tensorflow_computes(data, dtype):
    name, rank = a(data, *REDUCTIONS), a(data, 1, 2, 3, 4)
    axes, keeps = signs(data, subset(data, rank), rank), a(data, False, True)
    axes = a(data, axes, axes, None)
    values = steps if name in ("max", "min") and a(data, False, True) else floats
    inputs = [values(*[2, 3, 4, 2][:rank], dtype=dtype)]
    conforms(lambda x: REDUCTIONS[name](x, axes, keepdims=keeps), inputs, dtype)


@drawn(6, ("int8", "uint8", "int32", "int64", "bool"))
def test_a_reduction_of_integers_computes_what_tensorflow_computes(data, dtype):
    rank, keeps = a(data, 1, 2, 3), a(data, False, True)
    axes = signs(data, subset(data, rank), rank)
    functions = [tf.reduce_sum, tf.reduce_mean, tf.reduce_max, tf.reduce_min, tf.reduce_prod]
    function = a(data, *([tf.reduce_any, tf.reduce_all] if dtype == "bool" else functions))
    inputs = [steps(*[2, 3, 4][:rank], dtype="int64").astype(dtype)]
    conforms(lambda x: function(x, axes, keepdims=keeps), inputs, "float32")


@drawn(7)
def test_places_of_extremes_are_those_of_tensorflow(data, dtype):
    """Of equal numbers the first is taken."""
    values, shape = a(data, floats, steps), [a(data, 2, 3), a(data, 3, 40)]
    axis, k, kind = a(data, 0, 1, -1), a(data, 1, 2, 3), a(data, "int32", "int64")
    name = a(data, "argmax", "argmin", "top_k", "in order")
    functions = {
        "argmax": lambda x: tf.argmax(x, axis, kind), "argmin": lambda x: tf.argmin(x, axis, kind),
        "top_k": lambda x: list(tf.math.top_k(x, k)), "in order": lambda x: tf.sort(x, -1),
    }  # fmt: skip
    numbers = values(*shape, dtype=dtype)
    if values is steps and a(data, False, True):
        numbers = numbers.astype("int32")
    conforms(functions[name], [numbers], dtype)


@drawn(5)
def test_a_running_sum_or_product_computes_what_tensorflow_computes(data, dtype):
    axis, exclusive, reverse = a(data, 0, 1, 2, -1, -2), a(data, False, True), a(data, False, True)
    function, shape = a(data, tf.cumsum, tf.math.cumprod), [a(data, 1, 2), a(data, 1, 3), 4]
    numbers = floats(*shape, dtype=dtype)
    if a(data, False, False, True):
        numbers = steps(*shape, dtype="int32")
    conforms(lambda x: function(x, axis, exclusive, reverse), [numbers], dtype)


@drawn(4)
def test_a_softmax_computes_what_tensorflow_computes(data, dtype):
    """Also of numbers far apart."""
    function, shape = a(data, tf.nn.softmax, tf.nn.log_softmax), [2, 3, 4][a(data, 0, 1, 2) :]
    axis, scale = a(data, 0, -1), a(data, 1, 20)
    tolerance = EPSILON[dtype] * scale
    conforms(lambda x: function(x, axis=axis), [floats(*shape, dtype=dtype) * scale], dtype, tolerance=tolerance)


@drawn(4)
def test_sums_of_segments_are_those_of_tensorflow(data, dtype):
    """Rows with a negative segment are left out."""
    shape, rank = [4, 2, 3], a(data, 1, 2)
    ids = (
        np.random.default_rng(a(data, 1, 2)).integers(a(data, 0, -1), 5, shape[:rank]).astype(a(data, "int32", "int64"))
    )
    shape = shape[: a(data, rank, 3)]
    conforms(lambda x, i: tf.math.unsorted_segment_sum(x, i, 5), [floats(*shape, dtype=dtype), ids], dtype, batches=2)


# -- products ----------------------------------------------------------------------------------------------------------


@drawn(5)
def test_a_product_of_matrices_is_that_of_tensorflow(data, dtype):
    first, second = a(data, False, True), a(data, False, True)
    rows, inner, columns = a(data, 1, 3), a(data, 1, 4), a(data, 1, 2)
    one, other = a(data, ([], []), ([2], [2]), ([3, 2], [3, 2]), ([3, 1], [2]), ([], [2]))
    one = floats(*one, *((inner, rows) if first else (rows, inner)), dtype=dtype)
    other = floats(*other, *((columns, inner) if second else (inner, columns)), dtype=dtype, seed=1)
    if a(data, False, False, True):
        one, other = (10 * one).astype("int32"), (10 * other).astype("int32")
    is_dynamic = one.ndim > 2 or not first
    conforms(
        lambda x, y: tf.matmul(x, y, transpose_a=first, transpose_b=second), [one, other], dtype,
        batches=int(is_dynamic),
    )  # fmt: skip


EQUATIONS = {
    "ij,jk->ik": (2, 2), "bij,bkj->bik": (3, 3), "ij,ij->": (2, 2), "i,j->ji": (1, 1), "bij->bji": (3,),
    "bij->b": (3,), "...ij,jk->...ik": (3, 2), "bhwc,oc->bwho": (4, 2), "abc,cde->abde": (3, 3), "ii->i": (2,),
    "ij,jk,kl->il": (2, 2, 2), "...i,...i->...": (3, 3), "bi,bj->bij": (2, 2), "b...i,i->b...": (4, 1),
}  # fmt: skip


@drawn(6)
def test_an_einsum_computes_what_tensorflow_computes(data, dtype):
    equation = a(data, *EQUATIONS)
    inputs = [floats(*[3] * rank, dtype=dtype, seed=seed) for seed, rank in enumerate(EQUATIONS[equation])]
    conforms(lambda *values: tf.einsum(equation, *values), inputs, dtype)


# -- shapes and places -------------------------------------------------------------------------------------------------


@drawn(14)
def test_a_strided_slice_is_that_of_tensorflow(data, dtype):
    shape = [3, 4, 5]
    keys, is_open = [], True
    for length in shape[: a(data, 1, 2, 3)]:
        if is_open and a(data, False, False, False, True):
            keys, is_open = [*keys, ...], False
        if a(data, False, False, False, True):
            keys.append(tf.newaxis)
        step = a(data, 1, 1, 2, -1, -2, 3)
        limits = (None, *range(-length - 2, length + 3))
        if a(data, False, False, True):
            keys.append(a(data, *range(-length, length)))
        else:
            keys.append(slice(a(data, *limits), a(data, *limits), step))
    conforms(lambda x: x[tuple(keys)], [floats(*shape, dtype=dtype)], dtype)


@drawn(4)
def test_a_slice_is_that_of_tensorflow(data, dtype):
    shape = [3, 4, 5]
    begin = [a(data, *range(length)) for length in shape]
    size = [a(data, -1, *range(length - first + 1)) for length, first in zip(shape, begin, strict=True)]
    begins = np.array(begin, "int32")
    is_drawn = -1 not in size and a(data, False, True)
    if is_drawn:
        conforms(lambda x: tf.slice(x, begins, size), [floats(*shape, dtype=dtype)], dtype)
    else:
        conforms(lambda x: tf.slice(x, begin, size), [floats(*shape, dtype=dtype)], dtype)


@drawn(6)
def test_gathered_rows_are_those_of_tensorflow(data, dtype):
    batch = a(data, 0, 0, 1, 2)
    axis, rank = batch or a(data, 0, 1, 2), a(data, 0, 1, 2) + batch
    shape = [2, 3, 4]
    size = [*shape[:batch], *[2, 3][: rank - batch]]
    indices = np.random.default_rng(rank).integers(0, shape[axis], size).astype(a(data, "int32", "int64"))
    given = axis - 3 if a(data, False, True) else axis
    inputs = [floats(*shape, dtype=dtype), indices]
    conforms(lambda x, i: tf.gather(x, i, axis=given, batch_dims=batch), inputs, dtype, batches=2 if batch else 1)


@drawn(5)
def test_gathered_and_scattered_entries_are_those_of_tensorflow(data, dtype):
    shape, depth, size = [3, 4, 2], a(data, 1, 2, 3), a(data, [1], [4], [2, 3])
    rng = np.random.default_rng(depth)
    columns = [rng.integers(0, length, size) for length in shape[:depth]]
    indices = np.stack(columns, -1).astype(a(data, "int32", "int64"))
    x, updates = floats(*shape, dtype=dtype), floats(*size, *shape[depth:], dtype=dtype, seed=1)
    name = a(data, "gather", "scatter", "add", "update")
    if name == "gather":
        conforms(tf.gather_nd, [x, indices], dtype)
    elif name == "scatter":
        conforms(lambda i, u: tf.scatter_nd(i, u, shape), [indices, updates], dtype, batches=0)
    elif name == "add":
        conforms(tf.tensor_scatter_nd_add, [x, indices, updates], dtype, batches=0)
    else:  # each place once: which of two updates wins is not defined
        flat = indices.reshape(-1, depth)
        assume(len(np.unique(flat, axis=0)) == len(flat))
        conforms(tf.tensor_scatter_nd_update, [x, indices, updates], dtype, batches=0)


@drawn(5, ("uint8", "int32", "int64"))
def test_a_one_hot_code_is_that_of_tensorflow(data, dtype):
    """An index outside is a row of zeros."""
    depth, axis = a(data, 1, 3, 4, 300), a(data, -1, 0, 1)
    on, off, kind = a(data, (1.0, 0.0, "float32"), (2.0, -1.0, "float32"), (7, 1, "int32"), (True, False, "bool"))
    low = 0 if dtype == "uint8" else -1
    indices = np.random.default_rng(depth).integers(low, 5, [2, 3][a(data, 0, 1) :]).astype(dtype)
    axis = min(axis, indices.ndim)
    conforms(lambda i: tf.one_hot(i, depth, on, off, axis, kind), [indices], "float32")


@drawn(6)
def test_padding_computes_what_tensorflow_computes(data, dtype):
    shape, mode = [2, 3, 4], a(data, "CONSTANT", "CONSTANT", "REFLECT", "SYMMETRIC")
    most = {"CONSTANT": 3, "REFLECT": -1, "SYMMETRIC": 0}[mode]
    widths = [
        [a(data, *range((length + most if mode != "CONSTANT" else most) + 1)) for _ in range(2)] for length in shape
    ]  # fmt: skip
    constant = a(data, 0.0, 1.5)
    inputs = [floats(*shape, dtype=dtype)]
    if mode == "CONSTANT" and a(data, False, True):
        inputs.append(np.full((), constant, dtype))
        conforms(lambda x, c: tf.pad(x, widths, constant_values=c), inputs, dtype)
    else:
        conforms(lambda x: tf.pad(x, widths, mode, constant), inputs, dtype)


@drawn(10)
def test_shapes_and_places_change_as_in_tensorflow(data, dtype):
    order, rank = subset(data, 3, 3), 3
    axis, repeats = a(data, 0, 1, 2, -1, -2, -3), [a(data, 1, 2, 0) for _ in range(3)]
    shape = a(data, [-1], [4, -1], [2, 3, 4], [2, -1, 1, 2], [-1, 4])
    name = a(
        data, "transpose", "reshape", "tile", "reverse", "roll", "broadcast", "expand", "squeeze", "band", "diagonal"
    )
    axes, shifts = subset(data, rank), [a(data, -3, -1, 1, 2) for _ in range(3)]
    low, high = a(data, -1, 0, 1), a(data, -1, 0, 2)
    functions = {
        "transpose": lambda x: tf.transpose(x, order), "reshape": lambda x: tf.reshape(x, shape),
        "tile": lambda x: tf.tile(x, repeats), "reverse": lambda x: tf.reverse(x, axes),
        "roll": lambda x: tf.roll(x, shifts[: len(axes)], axes),
        "broadcast": lambda x: tf.broadcast_to(x, (3, 2, 3, 4)),
        "expand": lambda x: tf.expand_dims(x, axis), "squeeze": lambda x: tf.squeeze(tf.expand_dims(x, axis), axis),
        "band": lambda x: tf.linalg.band_part(x, low, high), "diagonal": lambda x: tf.squeeze(x[:, :1, :1]),
    }  # fmt: skip
    conforms(functions[name], [floats(2, 3, 4, dtype=dtype)], dtype)


@drawn(6)
def test_tensors_are_joined_and_parted_as_in_tensorflow(data, dtype):
    axis, lengths = a(data, 0, 1, 2, -1, -2, -3), [a(data, 1, 2, 3) for _ in range(a(data, 1, 2, 3))]
    shape, place = [2, 3, 4], axis % 3
    name = a(data, "concat", "stack", "unstack", "split", "split by sizes")
    if name == "concat":
        parts = [
            floats(*shape[:place], length, *shape[place + 1 :], dtype=dtype, seed=seed)
            for seed, length in enumerate(lengths)
        ]
        conforms(lambda *parts: tf.concat(parts, axis), parts, dtype, batches=0)
    elif name == "stack":
        parts = [floats(*shape, dtype=dtype, seed=seed) for seed in range(len(lengths))]
        conforms(lambda *parts: tf.stack(parts, axis), parts, dtype, batches=len(parts))
    elif name == "unstack":
        conforms(lambda x: tf.unstack(x, axis=axis), [floats(*shape, dtype=dtype)], dtype, batches=int(place > 0))
    elif name == "split":
        x = floats(*shape[:place], 2 * len(lengths), *shape[place + 1 :], dtype=dtype)
        conforms(lambda x: tf.split(x, len(lengths), axis), [x], dtype, batches=int(place > 0))
    else:
        x = floats(*shape[:place], sum(lengths), *shape[place + 1 :], dtype=dtype)
        given = [*lengths[:-1], -1] if a(data, False, True) else lengths
        conforms(lambda x: tf.split(x, given, axis), [x], dtype, batches=int(place > 0))


@drawn(3)
def test_batches_of_blocks_are_those_of_tensorflow(data, dtype):
    blocks, lengths = [a(data, 1, 2, 3) for _ in range(2)], [a(data, 2, 3, 5) for _ in range(2)]
    first = [a(data, 0, 1) for _ in range(2)]
    pads = [[f, -(n + f) % b] for f, n, b in zip(first, lengths, blocks, strict=True)]
    if a(data, False, True):
        conforms(lambda x: tf.space_to_batch(x, blocks, pads), [floats(2, *lengths, 2, dtype=dtype)], dtype)
    else:
        x = floats(2 * int(np.prod(blocks)), *lengths, 2, dtype=dtype)
        crops = [[a(data, 0, 1), 0] for _ in range(2)]
        conforms(lambda x: tf.batch_to_space(x, blocks, crops), [x], dtype)
