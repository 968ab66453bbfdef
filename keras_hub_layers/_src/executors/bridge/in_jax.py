"""The bridge from JAX: a callback for the outputs and one for the gradients."""

import importlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from keras_hub_layers._src.executors.bridge.host_function import HostFunction
from keras_hub_layers._src.executors.interpreter.values import UnsupportedOp, check_fits_int32, tensor

jax: Any = importlib.import_module("jax")


def call(host: HostFunction, values: Sequence[Any], wanted: Sequence[int]) -> list[Any]:
    """The outputs of a function of the host for tensors of JAX.

    Args:
        host: The function.
        values: What it takes.
        wanted: Places of the values that have gradients. As on TensorFlow, frozen weights have none.
    """
    if not any(isinstance(value, jax.core.Tracer) for value in values):
        return list(map(tensor, host.outputs(values)))
    specs = [_spec(*pair) for pair in host.specs([tuple(value.shape) for value in values])]
    places = [place for place in range(len(values)) if place not in wanted]

    def join(trained: Sequence[Any], others: Sequence[Any]) -> list[Any]:
        joined = dict(zip([*wanted, *places], [*trained, *others], strict=True))
        return [joined[place] for place in range(len(values))]

    def compute(trained: Sequence[Any], others: Sequence[Any]) -> list[Any]:
        return list(map(_result, host.outputs(join(trained, others)), specs))

    def differentiate(trained: Sequence[Any], others: Sequence[Any], upstream: Sequence[Any]) -> list[Any]:
        waiting = iter(upstream)
        given = [next(waiting) if is_float else None for is_float in floats]
        return list(map(_result, host.gradients(join(trained, others), wanted, given), trained))

    def forward(trained: Sequence[Any], others: Sequence[Any]) -> tuple[Any, Any]:
        return function(trained, others), (trained, others)

    def backward(saved: tuple[Any, Any], upstream: Sequence[Any]) -> tuple[Any, None]:
        given = [gradient for gradient, is_float in zip(upstream, floats, strict=True) if is_float]
        shapes = [_spec(tuple(value.shape), value.dtype) for value in saved[0]]
        return jax.pure_callback(differentiate, shapes, *saved, given), None

    floats = [jax.dtypes.issubdtype(spec.dtype, np.inexact) for spec in specs]
    function = jax.custom_vjp(lambda trained, others: jax.pure_callback(compute, specs, trained, others))
    function.defvjp(forward, backward)
    return function([values[place] for place in wanted], [values[place] for place in places])


def _spec(shape: tuple[int, ...], dtype: Any) -> Any:
    """JAX holds 64-bit numbers as 32-bit ones by default."""
    return jax.ShapeDtypeStruct(shape, jax.dtypes.canonicalize_dtype(dtype))


def _result(array: np.ndarray, spec: Any) -> np.ndarray:
    """An array as JAX waits for it."""
    if array.shape != tuple(spec.shape):
        raise UnsupportedOp(f"an output of the shape {array.shape}, where zeros as inputs gave {tuple(spec.shape)}")
    if array.dtype == "int64" and spec.dtype != "int64":
        check_fits_int32(array)
    return array.astype(spec.dtype)
