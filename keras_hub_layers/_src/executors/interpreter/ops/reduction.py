"""Ops along axes: sums, means, extremes, running sums, segments."""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from keras_hub_layers._src.executors.interpreter.ops.math import truncate_divide
from keras_hub_layers._src.executors.interpreter.ops.table import Table
from keras_hub_layers._src.executors.interpreter.values import (
    dtype_of,
    integer,
    integers,
    precise,
    shape_of,
    tensor,
)

ops: Any = keras.ops  # the hints of some functions say that they may return nothing

OPS = Table()


def mean(x: Any, axis: tuple[int, ...], keepdims: bool) -> Any:
    """The mean. That of integers is rounded towards zero.

    `keras.ops.mean` is not used, because on PyTorch it computes float64 in float32 (Keras 3.15).
    """
    number = int(np.prod([shape_of(x)[place] for place in axis]))
    total = ops.sum(x, axis=axis, keepdims=keepdims)
    if "int" in dtype_of(x):
        return truncate_divide(None, total, np.array(number, dtype_of(total)))
    return total / ops.cast(number, dtype_of(x))


_REDUCTIONS: dict[str, Callable[..., Any]] = {
    "All": ops.all, "Any": ops.any, "Max": ops.max, "Mean": mean, "Min": ops.min, "Sum": ops.sum,
    "Prod": lambda x, axis, keepdims: ops.prod(x, axis=axis, keepdims=keepdims, dtype=dtype_of(x)),
    "EuclideanNorm": lambda x, axis, keepdims: ops.sqrt(ops.sum(ops.square(x), axis=axis, keepdims=keepdims)),
}  # fmt: skip


def _reduction(function: Callable[..., Any]) -> Callable[..., Any]:
    def compute(node: Any, x: Any, axes: Any) -> Any:
        places = tuple(integers(axes))
        if not places:
            return ops.abs(x) if node.op == "EuclideanNorm" else x
        return ops.cast(function(x, axis=places, keepdims=node["keep_dims"]), dtype_of(x))

    return compute


OPS.update({name: _reduction(function) for name, function in _REDUCTIONS.items()})


@OPS("ArgMax")
def arg_max(node: Any, x: Any, axis: Any) -> Any:
    return ops.cast(ops.argmax(x, axis=integer(axis)), node["output_type"])


@OPS("ArgMin")
def arg_min(node: Any, x: Any, axis: Any) -> Any:
    return ops.cast(ops.argmin(x, axis=integer(axis)), node["output_type"])


@OPS("TopKV2")
def top_k(node: Any, x: Any, k: Any) -> Any:
    """The largest values and their places; of equal ones the first, which PyTorch's `topk` does not assure."""
    if keras.backend.backend() == "torch":
        ordered = x.sort(dim=-1, descending=True, stable=True)
        values, places = ordered.values[..., : integer(k)], ordered.indices[..., : integer(k)]
    else:
        values, places = ops.top_k(x, integer(k), sorted=True)
    return [values, ops.cast(places, "int32")]


def _running(function: str, neutral: int) -> Callable[..., Any]:
    def compute(node: Any, x: Any, axis: Any) -> Any:
        place = integer(axis) % len(x.shape)
        if node["reverse"]:
            x = ops.flip(x, place)
        if node["exclusive"]:
            first = ops.full_like(ops.take(x, tensor(np.array([0])), axis=place), neutral)
            x = ops.concatenate([first, x[(slice(None),) * place + (slice(0, -1),)]], axis=place)
        result = precise(function, x)(x, axis=place)
        return ops.cast(ops.flip(result, place) if node["reverse"] else result, dtype_of(x))

    return compute


OPS.update({"Cumsum": _running("cumsum", 0), "Cumprod": _running("cumprod", 1)})


@OPS("UnsortedSegmentSum")
def segment_sum(node: Any, x: Any, segments: Any, number: Any) -> Any:
    x, segments = tensor(x), tensor(segments)
    if len(segments.shape) > 1:
        x = ops.reshape(x, (-1, *shape_of(x)[len(segments.shape) :]))
        segments = ops.reshape(segments, (-1,))
    count = integer(number)
    if keras.backend.backend() == "torch" and dtype_of(x) == "float64":  # Keras 3.15 computes it in float32
        places = ops.where(ops.less(segments, 0), count, segments)  # a row with a negative segment is left out
        return ops.scatter(ops.expand_dims(places, -1), x, (count + 1, *shape_of(x)[1:]))[:count]
    return ops.segment_sum(x, segments, num_segments=count)
