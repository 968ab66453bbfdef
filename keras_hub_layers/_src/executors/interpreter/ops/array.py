"""Shapes and places: reshape, transpose, slice, join, pad, gather, scatter."""

import math
from typing import Any

import keras
import numpy as np

from keras_hub_layers._src.executors.interpreter.ops.table import Table
from keras_hub_layers._src.executors.interpreter.values import (
    UnsupportedOp,
    dtype_of,
    integer,
    integers,
    is_static,
    known,
    shape_of,
    tensor,
)

ops: Any = keras.ops  # the hints of some functions say that they may return nothing

OPS = Table()


@OPS("Reshape")
def reshape(node: Any, x: Any, shape: Any) -> Any:
    return ops.reshape(tensor(x), integers(shape))


@OPS("Transpose")
def transpose(node: Any, x: Any, order: Any) -> Any:
    return ops.transpose(x, integers(order))


@OPS("ExpandDims")
def expand_dims(node: Any, x: Any, axis: Any) -> Any:
    return ops.expand_dims(x, integer(axis))


@OPS("Squeeze")
def squeeze(node: Any, x: Any) -> Any:
    return ops.squeeze(x, tuple(node["squeeze_dims"]) or None)


@OPS("Concat")
def concat(node: Any, axis: Any, *parts: Any) -> Any:
    return ops.concatenate([tensor(part) for part in parts], axis=integer(axis))


@OPS("ConcatV2")
def concat_v2(node: Any, *parts_and_axis: Any) -> Any:
    return concat(node, parts_and_axis[-1], *parts_and_axis[:-1])


@OPS("Pack")
def pack(node: Any, *parts: Any) -> Any:
    return ops.stack([tensor(part) for part in parts], axis=node["axis"])


@OPS("Unpack")
def unpack(node: Any, x: Any) -> Any:
    return list(ops.unstack(x, num=node["num"], axis=node["axis"]))


@OPS("Split")
def split(node: Any, axis: Any, x: Any) -> Any:
    return list(ops.split(x, node["num_split"], axis=integer(axis)))


@OPS("SplitV")
def split_by_sizes(node: Any, x: Any, sizes: Any, axis: Any) -> Any:
    lengths, place = integers(sizes), integer(axis)
    if -1 in lengths:
        lengths[lengths.index(-1)] = shape_of(x)[place] - sum(lengths) - 1
    return list(ops.split(x, np.cumsum(lengths)[:-1].tolist(), axis=place)) if len(lengths) > 1 else [x]


@OPS("Tile")
def tile(node: Any, x: Any, repeats: Any) -> Any:
    return ops.tile(x, integers(repeats))


@OPS("BroadcastTo")
def broadcast_to(node: Any, x: Any, shape: Any) -> Any:
    return ops.broadcast_to(x, integers(shape))


@OPS("Fill")
def fill(node: Any, shape: Any, value: Any) -> Any:
    return ops.broadcast_to(tensor(value), integers(shape))


@OPS("Range")
def count(node: Any, start: Any, limit: Any, step: Any) -> Any:
    if "int" in dtype_of(start):
        return ops.arange(integer(start), integer(limit), integer(step), dtype=dtype_of(start))
    first, last, by = (float(known(value)) for value in (start, limit, step))
    return ops.arange(max(math.ceil((last - first) / by), 0), dtype=dtype_of(start)) * by + first


@OPS("Pad", "PadV2")
def pad(node: Any, x: Any, widths: Any, value: Any = None) -> Any:
    """As in TensorFlow, no gradient passes to the value."""
    pairs = np.reshape(integers(widths), (-1, 2)).tolist()
    x = tensor(x)
    if value is None or is_static(value):
        return ops.pad(x, pairs, constant_values=0 if value is None else value.item())
    is_inside = np.pad(np.ones(shape_of(x), "bool"), pairs)
    return ops.where(tensor(is_inside), ops.pad(x, pairs), ops.stop_gradient(value))


@OPS("MirrorPad")
def mirror_pad(node: Any, x: Any, widths: Any) -> Any:
    """Padding by gathering, because PyTorch can reflect only the last axes."""
    mode = node["mode"].lower()
    for axis, (before, after) in enumerate(np.reshape(integers(widths), (-1, 2)).tolist()):
        if before or after:
            places = np.pad(np.arange(shape_of(x)[axis]), (before, after), mode=mode)
            x = ops.take(x, tensor(places.astype("int32")), axis=axis)
    return x


@OPS("Slice")
def slice_(node: Any, x: Any, begin: Any, size: Any) -> Any:
    lengths = integers(size)
    if not is_static(begin):
        if -1 in lengths:
            raise UnsupportedOp("a slice to the end from a place that depends on the inputs' values")
        return ops.slice(tensor(x), begin, lengths)
    places = zip(integers(begin), lengths, strict=True)
    return tensor(x)[tuple(slice(first, None if length == -1 else first + length) for first, length in places)]


@OPS("StridedSlice")
def strided_slice(node: Any, x: Any, begin: Any, end: Any, strides: Any) -> Any:
    x = tensor(x)
    if not is_static(begin) and shape_of(begin) == (1,) and node["shrink_axis_mask"] == 1:
        return ops.take(x, begin[0], axis=0)
    keys = _keys(node, integers(begin), integers(end), integers(strides))
    return _reverse(x, keys)


def _keys(node: Any, begin: list[int], end: list[int], strides: list[int]) -> list[Any]:
    """The index as Python writes it in brackets: a slice, a number, `None` or `...` for each entry."""
    keys: list[Any] = []
    for place, (first, last, step) in enumerate(zip(begin, end, strides, strict=True)):
        bit = 1 << place
        if node["ellipsis_mask"] & bit:
            keys.append(Ellipsis)
        elif node["new_axis_mask"] & bit:
            keys.append(None)
        elif node["shrink_axis_mask"] & bit:
            keys.append(first)
        else:
            first_or_none = None if node["begin_mask"] & bit else first
            keys.append(slice(first_or_none, None if node["end_mask"] & bit else last, step))
    return keys


def _reverse(x: Any, keys: list[Any]) -> Any:
    """A slice. On PyTorch, which has no negative steps, they are computed by gathering."""
    is_backwards = any(isinstance(key, slice) and key.step < 0 for key in keys)
    if not is_backwards or keras.backend.backend() != "torch":
        return x[tuple(keys)]
    taken = sum(key is not None and key is not Ellipsis for key in keys)
    if Ellipsis in keys:
        place = keys.index(Ellipsis)
        keys = [*keys[:place], *[slice(None, None, 1)] * (len(x.shape) - taken), *keys[place + 1 :]]
    axis = 0
    for place, key in enumerate(keys):
        if isinstance(key, slice) and key.step < 0:
            rows = np.arange(shape_of(x)[axis])[key]
            x = ops.take(x, tensor(rows.astype("int32")), axis=axis)
            keys[place] = slice(None, None, 1)
        axis += key is not None
    return x[tuple(keys)]


@OPS("ReverseV2")
def reverse(node: Any, x: Any, axes: Any) -> Any:
    return ops.flip(x, tuple(integers(axes))) if np.size(axes) else x


@OPS("Roll")
def roll(node: Any, x: Any, shifts: Any, axes: Any) -> Any:
    for shift, axis in zip(integers(shifts), integers(axes), strict=True):
        x = ops.roll(x, shift, axis=axis)
    return x


@OPS("GatherV2", "Gather")
def gather(node: Any, x: Any, indices: Any, axis: Any = None) -> Any:
    x, indices, place = tensor(x), tensor(indices), 0 if axis is None else integer(axis)
    batch = node["batch_dims"] if node.op == "GatherV2" else 0
    if not batch:
        return ops.take(x, indices, axis=place)
    batch += len(indices.shape) if batch < 0 else 0
    if place not in (batch, batch - len(x.shape)):
        raise UnsupportedOp("GatherV2 with batch_dims and a later axis")
    rows, rest = shape_of(x)[:batch], shape_of(x)[batch + 1 :]
    count, length = int(np.prod(rows)), shape_of(x)[batch]
    starts = tensor((np.arange(count) * length).astype("int32").reshape(-1, 1))
    places = ops.reshape(ops.cast(indices, "int32"), (count, -1)) + starts
    taken = ops.take(ops.reshape(x, (count * length, *rest)), places, axis=0)
    return ops.reshape(taken, (*rows, *shape_of(indices)[batch:], *rest))


@OPS("GatherNd")
def gather_nd(node: Any, x: Any, indices: Any) -> Any:
    x, indices = tensor(x), tensor(indices)
    if node.attributes.get("batch_dims"):
        raise UnsupportedOp("GatherNd with batch_dims")
    depth, shape = shape_of(indices)[-1], shape_of(x)
    weights = np.cumprod([1, *shape[1:depth][::-1]])[::-1].astype("int32") if depth else np.zeros(0, "int32")
    places = ops.sum(ops.cast(indices, "int32") * tensor(weights.copy()), axis=-1)
    return ops.take(ops.reshape(x, (int(np.prod(shape[:depth])), *shape[depth:])), places, axis=0)


@OPS("ScatterNd")
def scatter_nd(node: Any, indices: Any, updates: Any, shape: Any) -> Any:
    return ops.scatter(tensor(indices), tensor(updates), tuple(integers(shape)))


@OPS("TensorScatterUpdate")
def scatter_update(node: Any, x: Any, indices: Any, updates: Any) -> Any:
    """By a list of indices: on JAX and PyTorch, `keras.ops.scatter_update` turns a block of them (Keras 3.15)."""
    x, indices, updates = tensor(x), tensor(indices), tensor(updates)
    depth = shape_of(indices)[-1]
    rows = ops.reshape(updates, (-1, *shape_of(x)[depth:]))
    return ops.scatter_update(x, ops.reshape(indices, (-1, depth)), rows)


@OPS("TensorScatterAdd")
def scatter_add(node: Any, x: Any, indices: Any, updates: Any) -> Any:
    return tensor(x) + ops.scatter(tensor(indices), tensor(updates), shape_of(x))


@OPS("OneHot")
def one_hot(node: Any, indices: Any, depth: Any, on: Any, off: Any) -> Any:
    """A code of many places has numbers that do not fit the integers of 8 bits, which the indices may be."""
    indices, length = tensor(indices), integer(depth)
    indices = ops.cast(indices, "int32") if dtype_of(indices) in ("int8", "uint8") else indices
    rank = len(indices.shape) + 1
    axis = node["axis"] % rank
    shape = [1] * rank
    shape[axis] = length
    numbers = ops.reshape(ops.arange(length, dtype=dtype_of(indices)), shape)
    return ops.where(ops.equal(ops.expand_dims(indices, axis), numbers), tensor(on), tensor(off))


@OPS("InvertPermutation")
def invert_permutation(node: Any, x: Any) -> Any:
    return ops.cast(ops.argsort(x), dtype_of(x))


@OPS("MatrixBandPart")
def band_part(node: Any, x: Any, lower: Any, upper: Any) -> Any:
    rows, columns = shape_of(x)[-2:]
    below = np.arange(rows)[:, None] - np.arange(columns)[None]
    low, high = integer(lower), integer(upper)
    keeps = ((low < 0) | (below <= low)) & ((high < 0) | (-below <= high))
    return ops.where(tensor(keeps), x, ops.zeros_like(x))


@OPS("SpaceToBatchND")
def space_to_batch(node: Any, x: Any, blocks: Any, widths: Any) -> Any:
    """A part of dilated convolutions: each block of places becomes rows of the batch."""
    sizes = integers(blocks)
    count = len(sizes)
    pairs = [(0, 0), *np.reshape(integers(widths), (-1, 2)).tolist()]
    x = ops.pad(x, pairs + [(0, 0)] * (len(x.shape) - len(pairs)))
    batch, *lengths = shape_of(x)
    outer = [length // size for length, size in zip(lengths, sizes, strict=False)]
    both = [number for pair in zip(outer, sizes, strict=True) for number in pair]
    order = [*range(2, 2 * count + 1, 2), 0, *range(1, 2 * count, 2)]
    split = ops.reshape(x, (batch, *both, *lengths[count:]))
    turned = ops.transpose(split, (*order, *range(2 * count + 1, len(split.shape))))
    return ops.reshape(turned, (batch * int(np.prod(sizes)), *outer, *lengths[count:]))


@OPS("BatchToSpaceND")
def batch_to_space(node: Any, x: Any, blocks: Any, crops: Any) -> Any:
    sizes = integers(blocks)
    count = len(sizes)
    batch, *lengths = shape_of(x)
    rows = batch // int(np.prod(sizes))
    split = ops.reshape(x, (*sizes, rows, *lengths))
    order = [count, *(number for place in range(count) for number in (count + 1 + place, place))]
    turned = ops.transpose(split, (*order, *range(2 * count + 1, len(split.shape))))
    wide = [length * size for length, size in zip(lengths, sizes, strict=False)]
    joined = ops.reshape(turned, (rows, *wide, *lengths[count:]))
    pairs = zip(wide, np.reshape(integers(crops), (-1, 2)).tolist(), strict=True)
    return joined[(slice(None), *(slice(first, length - last) for length, (first, last) in pairs))]


@OPS("Bitcast")
def bitcast(node: Any, x: Any) -> Any:
    """Of an entry that is wider than a new one become several, along a new axis, and the other way round."""
    shape, new = shape_of(x), keras.backend.standardize_dtype(node["type"])
    old_size, new_size = (np.dtype(name).itemsize for name in (dtype_of(x), new))
    if old_size > new_size:
        shape = (*shape, old_size // new_size)
    elif old_size < new_size:
        shape = shape[:-1]
    return ops.reshape(ops.view(ops.reshape(x, shape_of(x) or (1,)), dtype=new), shape)
