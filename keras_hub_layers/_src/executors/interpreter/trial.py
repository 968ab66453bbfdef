"""A trial run of a function with made-up inputs. It computes as little as the backend allows."""

import importlib
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_hub_layers._src.executors.interpreter.values import UnsupportedOp
from keras_hub_layers._src.savedmodel import contents

_ROWS, _LENGTH = 2, 64  # the length of the batch axis, and of other axes without a fixed length


def input_dtypes(trace: contents.Trace) -> list[str]:
    """Names of the dtypes of a trace's inputs, and of its other arguments that are tensors."""
    return [spec.dtype.name for spec in _specs(trace)]


def run(function: Callable[..., Any], trace: contents.Trace) -> None:
    """Call a function with made-up inputs of a trace, in a scope in which it cannot change the variables.

    Raises:
        UnsupportedOp: The function raises it. Any other error comes from the made-up inputs, and is ignored.
    """
    values = [np.zeros(_shape(spec), spec.dtype.as_numpy_dtype) for spec in _specs(trace)]
    try:
        with keras.StatelessScope():
            if keras.backend.backend() == "jax":
                jax: Any = importlib.import_module("jax")
                jax.eval_shape(function, *values)
            else:
                function(*map(keras.ops.convert_to_tensor, values))
    except UnsupportedOp:
        raise
    except Exception:
        pass


def _specs(trace: contents.Trace) -> list[Any]:
    arguments = [value for value in trace.arguments.values() if isinstance(value, tf.TensorSpec)]
    return [spec for spec in tf.nest.flatten([trace.inputs, arguments]) if isinstance(spec, tf.TypeSpec)]


def _shape(spec: Any) -> list[int]:
    if spec.shape.rank is None:
        return [_ROWS]
    return [length or (_ROWS if axis == 0 else _LENGTH) for axis, length in enumerate(spec.shape.as_list())]
