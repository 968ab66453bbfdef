"""Convolutions, pooling, blocks of images, losses of neural networks."""

from collections.abc import Callable, Sequence
from typing import Any

import keras

from keras_hub_layers._src.executors.interpreter.ops.table import Table
from keras_hub_layers._src.executors.interpreter.values import (
    UnsupportedOp,
    dtype_of,
    integers,
    shape_of,
    tensor,
)

ops: Any = keras.ops  # the hints of some functions say that they may return nothing

OPS = Table()

Pairs = list[tuple[int, int]]


def _is_channels_first(node: Any) -> bool:
    return node["data_format"] in ("NCHW", "NCDHW")


def _channels_last(compute: Callable[..., Any]) -> Callable[..., Any]:
    """Make a computation for channels-last inputs work for channels-first inputs too."""

    def of_any_order(node: Any, x: Any, *others: Any) -> Any:
        x = tensor(x)
        if not _is_channels_first(node):
            return compute(node, x, *others)
        rank = len(x.shape)
        to_last, to_first = (0, *range(2, rank), 1), (0, rank - 1, *range(1, rank - 1))
        result = compute(node, ops.transpose(x, to_last), *others)
        if isinstance(result, list):
            return [ops.transpose(result[0], to_first), *result[1:]]
        return ops.transpose(result, to_first)

    return of_any_order


def _spatial(node: Any, name: str) -> list[int]:
    """The entries of an attribute that belong to height, width and depth."""
    values = list(node[name])
    return values[2:] if _is_channels_first(node) else values[1:-1]


def _explicit(node: Any) -> Pairs:
    flat = node["explicit_paddings"]
    pairs = list(zip(flat[::2], flat[1::2], strict=True))
    return pairs[2:] if _is_channels_first(node) else pairs[1:-1]


def _lengths(x: Any) -> tuple[int, ...]:
    """Height, width and depth. The length of the batch need not be known."""
    if None in x.shape[1:-1]:
        raise UnsupportedOp("a length that is not known before the graph runs")
    return tuple(map(int, x.shape[1:-1]))


def _same(x: Any, kernel: Sequence[int], strides: Sequence[int], dilations: Sequence[int]) -> Pairs:
    """The widths of TensorFlow's padding SAME. If the total is odd, the larger part is at the end."""
    pairs = []
    for length, size, stride, dilation in zip(_lengths(x), kernel, strides, dilations, strict=True):
        reach = (size - 1) * dilation + 1
        total = max((-(-length // stride) - 1) * stride + reach - length, 0)
        pairs.append((total // 2, total - total // 2))
    return pairs


def _padded(
    node: Any, x: Any, kernel: Sequence[int], strides: Sequence[int], dilations: Sequence[int], value: Any
) -> Any:
    """An input with its padding. The op after it then needs no padding, so all backends agree."""
    if node["padding"] == "VALID":
        return x
    pairs = _explicit(node) if node["padding"] == "EXPLICIT" else _same(x, kernel, strides, dilations)
    if not any(map(any, pairs)):
        return x
    return ops.pad(x, [(0, 0), *pairs, (0, 0)], constant_values=value)


def _convolution(function: Callable[..., Any], spatial: slice) -> Callable[..., Any]:
    def compute(node: Any, x: Any, kernel: Any) -> Any:
        kernel, strides = tensor(kernel), _spatial(node, "strides")
        dilations, padding = _spatial(node, "dilations") or [1] * len(strides), "valid"
        if node["padding"] == "SAME" and keras.backend.backend() == "jax":
            padding = "same"  # XLA's is TensorFlow's, and it takes less time than an op that pads before this one
        else:
            x = _padded(node, x, shape_of(kernel)[spatial], strides, dilations, 0)
        if keras.backend.backend() == "tensorflow" and max(strides) > 1 < max(dilations):  # which Keras 3.15 refuses
            for axis, rate in enumerate(dilations):
                kernel = _spread(kernel, axis, rate)
            dilations = [1] * len(dilations)
        return function(
            x, kernel, strides=tuple(strides), padding=padding, data_format="channels_last",
            dilation_rate=tuple(dilations),
        )  # fmt: skip

    return _channels_last(compute)


OPS["Conv2D"] = OPS["Conv3D"] = _convolution(ops.conv, slice(0, -2))
OPS["DepthwiseConv2dNative"] = _convolution(ops.depthwise_conv, slice(0, 2))


@OPS("Conv2DBackpropInput")
def conv2d_transpose(node: Any, shape: Any, kernel: Any, gradient: Any) -> Any:
    """A transposed convolution: put zeros between the values, then convolve with the reversed kernel."""
    if _is_channels_first(node) or node["padding"] == "EXPLICIT":
        raise UnsupportedOp(f"Conv2DBackpropInput in {node['data_format']} with the padding {node['padding']}")
    kernel, y, lengths = tensor(kernel), tensor(gradient), integers(shape)[1:3]
    strides, dilations = _spatial(node, "strides"), _spatial(node, "dilations") or [1, 1]
    sizes = [(size - 1) * dilation + 1 for size, dilation in zip(shape_of(kernel)[:2], dilations, strict=True)]
    before = [0, 0]
    if node["padding"] == "SAME":
        spans = zip(shape_of(y)[1:3], strides, sizes, lengths, strict=True)
        before = [max((count - 1) * stride + size - length, 0) // 2 for count, stride, size, length in spans]
    for axis, stride in zip((1, 2), strides, strict=True):
        y = _spread(y, axis, stride)
    widths = [
        (size - 1 - first, length + first - count)
        for size, first, length, count in zip(sizes, before, lengths, shape_of(y)[1:3], strict=True)
    ]
    y = ops.pad(y, [(0, 0), *[(max(a, 0), max(b, 0)) for a, b in widths], (0, 0)])
    cut = tuple(slice(max(-a, 0), -max(-b, 0) or None) for a, b in widths)
    reverse = ops.swapaxes(ops.flip(kernel, (0, 1)), -1, -2)
    return ops.conv(
        y[(slice(None), *cut)], reverse, strides=(1, 1), padding="valid", data_format="channels_last",
        dilation_rate=tuple(dilations),
    )  # fmt: skip


def _spread(x: Any, axis: int, stride: int) -> Any:
    """Put zeros between the entries of an axis."""
    if stride == 1:
        return x
    shape = list(shape_of(x))
    zeros = ops.zeros([*shape[: axis + 1], stride - 1, *shape[axis + 1 :]], dtype=dtype_of(x))
    wide = ops.concatenate([ops.expand_dims(x, axis + 1), zeros], axis=axis + 1)
    count, shape[axis] = shape[axis], shape[axis] * stride
    wide = ops.reshape(wide, shape)
    return wide[(slice(None),) * axis + (slice(0, (count - 1) * stride + 1),)]


def _pooled(node: Any, x: Any, function: Callable[..., Any], value: Any) -> Any:
    kernel, strides = _spatial(node, "ksize"), _spatial(node, "strides")
    x = _padded(node, x, kernel, strides, [1] * len(kernel), value)
    return function(x, tuple(kernel), strides=tuple(strides), padding="valid", data_format="channels_last")


@OPS("MaxPool", "MaxPool3D")
@_channels_last
def max_pool(node: Any, x: Any) -> Any:
    return _pooled(node, x, ops.max_pool, -float("inf"))


@OPS("AvgPool", "AvgPool3D")
@_channels_last
def average_pool(node: Any, x: Any) -> Any:
    """The mean of the values inside the input. The padding does not count."""
    total = _pooled(node, x, ops.average_pool, 0)
    if node["padding"] == "VALID":
        return total
    ones = ops.ones((1, *_lengths(x), 1), dtype=dtype_of(x))
    return total / _pooled(node, ones, ops.average_pool, 0)


@OPS("SpaceToDepth")
@_channels_last
def space_to_depth(node: Any, x: Any) -> Any:
    size = node["block_size"]
    (height, width), channels = _lengths(x), x.shape[-1]
    blocks = ops.reshape(x, (-1, height // size, size, width // size, size, channels))
    return ops.reshape(
        ops.transpose(blocks, (0, 1, 3, 2, 4, 5)), (-1, height // size, width // size, size * size * channels)
    )


@OPS("DepthToSpace")
@_channels_last
def depth_to_space(node: Any, x: Any) -> Any:
    size = node["block_size"]
    (height, width), channels = _lengths(x), x.shape[-1]
    blocks = ops.reshape(x, (-1, height, width, size, size, channels // size**2))
    return ops.reshape(
        ops.transpose(blocks, (0, 1, 3, 2, 4, 5)), (-1, height * size, width * size, channels // size**2)
    )


@OPS("BiasAdd", "BiasAddV1")
def bias_add(node: Any, x: Any, bias: Any) -> Any:
    x, bias = tensor(x), tensor(bias)
    if node.attributes.get("data_format") == "NCHW":
        bias = ops.reshape(bias, (1, -1) + (1,) * (len(x.shape) - 2))
    return x + bias


@OPS("SoftmaxCrossEntropyWithLogits")
def softmax_cross_entropy(node: Any, logits: Any, labels: Any) -> Any:
    """The cross-entropy. Its gradient is that of TensorFlow, which assumes that the labels of a row sum to 1."""
    logits, labels = tensor(logits), tensor(labels)
    slope = ops.stop_gradient(ops.softmax(logits, axis=-1) - labels)
    terms = ops.stop_gradient(ops.log_softmax(logits, axis=-1))
    by_labels, by_logits = -ops.sum(labels * terms, axis=-1), ops.sum(slope * logits, axis=-1)
    return [by_labels + by_logits - ops.stop_gradient(by_logits), slope]
