"""Ops of this package, each in the place of several nodes: see `fusion`."""

import functools
import importlib
from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from keras_hub_layers._src.executors.interpreter.fusion import DROPOUT, GELU, LAYER_NORM
from keras_hub_layers._src.executors.interpreter.ops.control import Context
from keras_hub_layers._src.executors.interpreter.ops.reduction import mean
from keras_hub_layers._src.executors.interpreter.ops.table import Table
from keras_hub_layers._src.executors.interpreter.values import integers, shape_of, tensor

ops: Any = keras.ops  # the hints of some functions say that they may return nothing

SPECIAL = Table()


@SPECIAL(GELU)
def gelu(context: Context, inputs: list[Any]) -> tuple[Any, ...]:
    return (ops.gelu(tensor(inputs[0]), approximate=context.node["approximate"]),)


@SPECIAL(DROPOUT)
def dropout(context: Context, inputs: list[Any]) -> tuple[Any, ...]:
    return (keras.random.dropout(tensor(inputs[0]), context.node["rate"], seed=context.state.seed),)


@SPECIAL(LAYER_NORM)
def layer_norm(context: Context, inputs: list[Any]) -> tuple[Any, ...]:
    """The input is seen in a shape of four axes, and normalized along all of them but the second."""
    x, wide, scale, offset = tensor(inputs[0]), integers(inputs[1]), *map(tensor, inputs[2:])
    epsilon, tail = context.node["epsilon"], tuple(scale.shape)
    is_of_last_axes = tail and shape_of(x)[-len(tail) :] == tail == tuple(offset.shape)
    is_plain = is_of_last_axes and wide == [1, wide[1], int(np.prod(tail)), 1]
    if keras.backend.backend() == "torch" and is_plain:
        torch: Any = importlib.import_module("torch")
        return (torch.nn.functional.layer_norm(x, tail, scale, offset, eps=epsilon),)
    if is_plain:  # XLA computes along the last axes faster than in the shape of four axes
        return (_of_last_axes()(x, scale, offset, epsilon),)
    normalized = _normalized(ops.reshape(x, wide), (0, 2, 3), 1.0, epsilon)
    return (ops.reshape(normalized, shape_of(x)) * scale + offset,)


def _normalized(x: Any, axes: tuple[int, ...], scale: Any, epsilon: float) -> Any:
    centered = x - mean(x, axes, True)
    return centered * (ops.rsqrt(mean(ops.square(centered), axes, True) + epsilon) * scale)


@functools.cache
def _of_last_axes() -> Callable[[Any, Any, Any, float], Any]:
    """Layer normalization along the axes that the scale has; in JAX a function that is traced once for each shape."""

    def compute(x: Any, scale: Any, offset: Any, epsilon: float) -> Any:
        return _normalized(x, tuple(range(-len(scale.shape), 0)), scale, epsilon) + offset

    is_jax = keras.backend.backend() == "jax"
    return importlib.import_module("jax").jit(compute, static_argnums=3) if is_jax else compute
