"""What an error text says of inputs and of traces: enough to see what differs, however large they are."""

from collections.abc import Collection, Iterable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_hub_layers._src.executors.matching import TraceForm
from keras_hub_layers._src.inspect import specs
from keras_hub_layers._src.text.words import shorten

_LENGTH = 1500  # characters of inputs, or of a trace


def list_traces(traces: Iterable[TraceForm], mark: str = "", names: Collection[str] = ()) -> str:
    """Traces, one a line, without repetitions, in their order.

    Args:
        traces: The traces.
        mark: What stands behind the first of several. Defaults to `""`.
        names: Arguments that are shown even where a trace has `None` for them. Defaults to none.
    """
    texts = []
    for trace in traces:
        shown = {name: value for name, value in trace.arguments.items() if value is not None or name in names}
        arguments = "".join(f", {name}={_argument(value)}" for name, value in shown.items())
        texts.append(f"({shorten(specs.describe(trace.inputs), _LENGTH)}{arguments})")
    lines = list(dict.fromkeys(texts))
    if len(lines) > 1:
        lines[0] += mark
    return "\n".join(lines) or "a tensor, or a list or dict of tensors"


def describe_inputs(inputs: Any) -> str:
    """Inputs by shape, dtype and, of pixels, range."""
    return shorten(specs.describe(keras.tree.map_structure(_describe, _in_words(inputs))), _LENGTH)


def _argument(value: Any) -> str:
    return repr(value) if value is None else specs.describe(value)


class _Text(str):
    """Words that stand in an error text without quotes."""

    __slots__ = ()

    def __repr__(self) -> str:
        return str(self)


def _in_words(value: Any) -> Any:
    """A long list of Python values in words; other values as they are."""
    if not isinstance(value, (list, tuple)) or len(value) <= 8 or hasattr(value[0], "shape"):
        return value
    return _Text(f"a {type(value).__name__} of {len(value)}, beginning with {shorten(repr(value[0]), 80)}")


def _describe(value: Any) -> Any:
    """A `Spec` for what has a shape and a dtype; the value itself otherwise."""
    if isinstance(value, _Text):
        return value
    if tf.is_tensor(value) or isinstance(value, (tf.RaggedTensor, tf.SparseTensor)):
        spec = specs.spec_of(value)
        return _with_range(spec, value.numpy()) if isinstance(value, tf.Tensor) and hasattr(value, "numpy") else spec
    if isinstance(value, (np.ndarray, np.generic)):
        return _with_range(specs.Spec(tuple(value.shape), f"numpy {value.dtype}"), np.asarray(value))
    if hasattr(value, "__array_interface__") or hasattr(value, "__array__"):
        return _Text(f"{type(value).__module__}.{type(value).__name__}, as an array {_describe(np.asarray(value))}")
    return value


def _with_range(spec: specs.Spec, array: np.ndarray) -> Any:
    """With the range of the values where there may be pixels."""
    if array.ndim < 3 or not array.size or array.dtype.kind not in "iuf":
        return spec
    return _Text(f"{spec} with values from {array.min():g} to {array.max():g}")
