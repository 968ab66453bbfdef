"""The values on the edges of a graph: static values, variables, objects of the host, lists, and tensors."""

import importlib
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np


@dataclass(frozen=True)
class VariableRef:
    """The handle of a variable.

    Attributes:
        number: Its place among the executor's weights.
        shape: Its shape.
        dtype: Name of its dtype.
    """

    number: int
    shape: tuple[int, ...]
    dtype: str


@dataclass(frozen=True, eq=False)
class HostObject:
    """Something that only TensorFlow on the host can use, such as the handle of a lookup table."""

    tensor: Any


class TensorList(list[Any]):
    """A list of tensors, as loops use them. An entry is `None` if no tensor was set yet."""


class UnsupportedOp(NotImplementedError):
    """The graph holds something that the interpreter cannot compute. The text says what."""


def is_static(value: Any) -> bool:
    """Whether a value is known while the graph is interpreted: an array, or an object of the host."""
    if isinstance(value, TensorList):
        return all(entry is None or is_static(entry) for entry in value)
    return isinstance(value, (np.ndarray, np.generic, HostObject))


def is_text(value: Any) -> bool:
    """Whether a value is an array of strings."""
    return isinstance(value, (np.ndarray, np.generic)) and value.dtype.kind in "OSU"


def tensor(value: Any) -> Any:
    """A tensor of the backend."""
    if isinstance(value, (np.ndarray, np.generic)):
        if value.dtype.kind in "OSU":
            raise UnsupportedOp("strings, which the backend does not have")
        if value.dtype.name == "int64" and not _has_int64():
            check_fits_int32(value)
            value = np.asarray(value, "int32")
        return keras.ops.convert_to_tensor(value)
    if isinstance(value, (VariableRef, HostObject, TensorList)):
        raise UnsupportedOp(f"a {type(value).__name__} where a tensor is needed")
    return value


def dtype_of(value: Any) -> str:
    """Name of the dtype of an array or a tensor."""
    if isinstance(value, (np.ndarray, np.generic)):
        return value.dtype.name
    return value.dtype if isinstance(value, VariableRef) else keras.backend.standardize_dtype(value.dtype)


def precise(name: str, value: Any) -> Any:
    """The function of `keras.ops` with this name, or that of the backend for a value of float64.

    Keras 3.15 computes some functions of float64 in float32 on JAX and on PyTorch.
    """
    module = {"jax": "jax.numpy", "torch": "torch"}.get(keras.backend.backend())
    if module is None or dtype_of(value) != "float64":
        return getattr(keras.ops, name)
    return getattr(importlib.import_module(module), name)


def known(value: Any) -> Any:
    """A static array, or the values of a tensor where each is known, for shapes and axes."""
    if is_static(value):
        return value
    if keras.backend.backend() == "torch":  # it runs eagerly
        return keras.ops.convert_to_numpy(value)
    raise UnsupportedOp("a shape or an axis that depends on the inputs' values")


def integers(value: Any) -> list[int]:
    """What is `known` of a value as a flat list of Python ints."""
    return [int(number) for number in np.reshape(known(value), -1)]


def integer(value: Any) -> int:
    """A static scalar as a Python int."""
    return integers(value)[0]


def shape_of(value: Any) -> tuple[int, ...]:
    """The shape of an array or a tensor. Every length has to be known."""
    shape = tuple(value.shape)
    if any(length is None for length in shape):
        raise UnsupportedOp("a length that is not known before the graph runs")
    return tuple(map(int, shape))


def _has_int64() -> bool:
    """Whether the backend has integers of 64 bits. JAX has them if it was asked for them."""
    return keras.backend.backend() != "jax" or bool(importlib.import_module("jax").config.jax_enable_x64)


def check_fits_int32(value: Any) -> None:
    """JAX holds int64 as int32 by default. A value that does not fit would silently become another number."""
    limits = np.iinfo("int32")
    if value.size and not limits.min <= value.min() <= value.max() <= limits.max:
        raise UnsupportedOp("int64 values beyond 32 bits, which JAX has only with jax_enable_x64")
