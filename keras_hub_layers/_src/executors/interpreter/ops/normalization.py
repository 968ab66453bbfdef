"""Batch normalization."""

import functools
import importlib
from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from keras_hub_layers._src.executors.interpreter.ops.reduction import mean
from keras_hub_layers._src.executors.interpreter.ops.table import Table
from keras_hub_layers._src.executors.interpreter.values import dtype_of, shape_of, tensor

ops: Any = keras.ops  # the hints of some functions say that they may return nothing

OPS = Table()


@OPS("FusedBatchNorm", "FusedBatchNormV2", "FusedBatchNormV3")
def batch_norm(node: Any, x: Any, scale: Any, offset: Any, running_mean: Any, running_variance: Any) -> Any:
    """Batch normalization, in float32 for half-precision inputs. The returned variance is that of a sample (n - 1).

    As in TensorFlow, no gradient passes to the running mean and variance.
    """
    x, dtype = tensor(x), dtype_of(x)
    x = ops.cast(x, "float32") if dtype in ("float16", "bfloat16") else x
    axis = 1 if node["data_format"] in ("NCHW", "NCDHW") else len(x.shape) - 1
    olds = [ops.stop_gradient(tensor(value)) for value in (running_mean, running_variance)]
    number = int(np.prod(shape_of(x))) // int(x.shape[axis])
    backend = keras.backend.backend()
    normalize = _normalize_in_jax() if backend == "jax" else _normalize
    normalize = _normalize_in_torch if backend == "torch" and number > 1 else normalize
    y, center, spread = normalize(x, axis, tensor(scale), tensor(offset), olds, node["is_training"], node["epsilon"])
    results = olds
    if node["is_training"]:
        results = [ops.stop_gradient(center), ops.stop_gradient(spread) * (number / max(number - 1, 1))]
        share = node.attributes.get("exponential_avg_factor", 1.0)
        if share != 1.0:
            results = [old * (1 - share) + new * share for old, new in zip(olds, results, strict=True)]
    return [ops.cast(y, dtype), *results, center, spread, spread]


def _normalize(
    x: Any, axis: int, scale: Any, offset: Any, olds: list[Any], is_training: bool, epsilon: float
) -> list[Any]:
    """The normalized values, and the mean and the variance that they were normalized with."""
    wide = [1] * len(x.shape)
    wide[axis] = -1
    center, spread = olds
    if not is_training:
        center, spread = ops.reshape(center, wide), ops.reshape(spread, wide)
    else:
        axes = tuple(place for place in range(len(x.shape)) if place != axis)
        center = mean(x, axes, True)
        spread = mean(ops.square(x - center), axes, True)
    factor = ops.rsqrt(spread + epsilon) * ops.reshape(scale, wide)
    y = (x - center) * factor + ops.reshape(offset, wide)
    return [y, ops.reshape(center, (-1,)), ops.reshape(spread, (-1,))]


@functools.cache
def _normalize_in_jax() -> Callable[..., list[Any]]:
    """The same as one function of `jax.lax`.

    An eager call compiles it once for each shape, and not each operation. Functions of `jax.numpy`, which `keras.ops`
    uses, would take several times as long to trace, and that is what a construction of a layer does.
    """
    jax: Any = importlib.import_module("jax")
    lax = jax.lax

    def normalize(
        x: Any, axis: int, scale: Any, offset: Any, olds: list[Any], is_training: bool, epsilon: float
    ) -> list[Any]:
        axes = [place for place in range(len(x.shape)) if place != axis]
        count = x.dtype.type(np.prod([x.shape[place] for place in axes]))
        wide = functools.partial(lax.broadcast_in_dim, shape=x.shape, broadcast_dimensions=(axis,))

        def mean_of(values: Any) -> Any:
            total = lax.reduce(values, x.dtype.type(0), lax.add, axes)
            return lax.div(total, lax.full_like(total, count))

        center, spread = olds
        if is_training:
            center = mean_of(x)
            spread = mean_of(lax.square(lax.sub(x, wide(center))))
        factor = lax.mul(lax.rsqrt(lax.add(spread, lax.full_like(spread, epsilon))), scale)
        y = lax.add(lax.mul(lax.sub(x, wide(center)), wide(factor)), wide(offset))
        return [y, center, spread]

    return jax.jit(normalize, static_argnums=(1, 5, 6))


def _normalize_in_torch(
    x: Any, axis: int, scale: Any, offset: Any, olds: list[Any], is_training: bool, epsilon: float
) -> list[Any]:
    """The same by one function of PyTorch, which is several times as fast as one operation after another.

    An input with an axis of length 1 is seen as a matrix. Otherwise the gradient of PyTorch 2.13 is wrong on CPUs, for
    some orders of the axes in memory.
    """
    torch: Any = importlib.import_module("torch")
    x = x.movedim(axis, -1)
    shape = x.shape
    x = x.reshape(-1, shape[-1]) if 1 in shape else x
    center, spread = (torch.zeros_like(value) for value in (scale, scale)) if is_training else olds
    y = torch.nn.functional.batch_norm(
        x.movedim(-1, 1), center, spread, scale, offset, training=is_training, momentum=1.0, eps=epsilon
    )  # fmt: skip
    if is_training:  # the function has put the batch's mean and its variance of a sample into these
        number = x.numel() // shape[-1]
        spread = spread * ((number - 1) / number)
    return [y.movedim(1, -1).reshape(shape).movedim(-1, axis), center, spread]
