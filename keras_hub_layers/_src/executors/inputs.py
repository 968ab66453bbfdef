"""What a user passes as TensorFlow's tensors: looked at for the decision which trace answers, and made to match it."""

from collections.abc import Mapping
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_hub_layers._src.executors.matching import Fit, Form, Matcher, Mismatch, Step, TraceForm, pack
from keras_hub_layers._src.savedmodel import contents

_TENSORS = (tf.TensorSpec, tf.RaggedTensorSpec, tf.SparseTensorSpec)
_NUMBERS = ("float16", "float32", "float64", "complex64", "complex128", "bool", "int8", "int16", "int32", "int64",
            "uint8", "uint16", "uint32", "uint64")  # fmt: skip


# -- forms -------------------------------------------------------------------------------------------------------------


def form_of(value: Any) -> Form:
    """The `Form` of a tensor, an array, or a `tf.TypeSpec`."""
    if isinstance(value, np.ndarray):
        return Form(value.shape, value.dtype.name)
    if isinstance(value, keras.KerasTensor):
        return Form(value.shape, value.dtype)
    if isinstance(value, (tf.RaggedTensor, tf.RaggedTensorSpec)):
        return Form(_shape(value), value.dtype.name, "ragged", value.ragged_rank)  # type: ignore[union-attr]
    if isinstance(value, (tf.SparseTensor, tf.SparseTensorSpec)):
        return Form(_shape(value), value.dtype.name, "sparse")
    return Form(_shape(value), value.dtype.name)


def trace_form(trace: contents.Trace) -> TraceForm:
    """A trace as the decision sees it."""
    return TraceForm(_forms(trace.inputs), {name: _forms(value) for name, value in trace.arguments.items()})


def _forms(nest: Any) -> Any:
    if isinstance(nest, _TENSORS):
        return form_of(nest)
    if isinstance(nest, Mapping):
        return {key: _forms(entry) for key, entry in nest.items()}
    return type(nest)(map(_forms, nest)) if type(nest) in (list, tuple) else nest


def _shape(value: Any) -> tuple[int | None, ...] | None:
    return None if value.shape.rank is None else tuple(value.shape.as_list())


# -- looking -----------------------------------------------------------------------------------------------------------


def look(value: Any, wanted: Form) -> tuple[Any, Form]:
    """A tensor, or an array of numbers, that stands for a value, and its form.

    Args:
        value: What the user passes for one tensor.
        wanted: The form that a trace takes.

    Raises:
        Mismatch: There is no tensor of these values.
    """
    if wanted.kind == "ragged" and isinstance(value, (list, tuple)):
        try:
            value = tf.ragged.constant(value, ragged_rank=wanted.ragged_rank)
        except ValueError as err:
            raise Mismatch(f"no ragged tensor can be made of it: {err}") from err
    value = _as_tensor_or_array(value)
    return value, form_of(value)


def to_tensor(value: Any) -> Any:
    """A tensor from an array or Python values; tensors, ragged and sparse ones stay as they are.

    Raises:
        Mismatch: There is no tensor of these values.
    """
    value = _as_tensor_or_array(value)
    return tf.convert_to_tensor(value) if isinstance(value, np.ndarray) else value


def _as_tensor_or_array(value: Any) -> Any:
    """An array keeps the precision that TensorFlow's own conversion of Python floats drops, and shows its values."""
    if tf.is_tensor(value) or isinstance(value, (tf.RaggedTensor, tf.SparseTensor, keras.KerasTensor)):
        return value
    try:
        is_array = isinstance(value, (np.ndarray, np.generic))
        if not is_array and (hasattr(value, "__tf_tensor__") or any(map(tf.is_tensor, tf.nest.flatten(value)))):
            return tf.convert_to_tensor(value)
        array = np.asarray(value)
        return array if array.dtype.name in _NUMBERS else tf.convert_to_tensor(array)
    except (TypeError, ValueError) as err:
        raise Mismatch(f"no tensor can be made of {type(value).__name__}: {err}") from err


# -- acting ------------------------------------------------------------------------------------------------------------


def act(fit: Fit, inputs: Any) -> Any:
    """The inputs in the form of the trace that was decided on.

    Args:
        fit: The decision.
        inputs: What the trace takes: a `tf.TypeSpec`, or a list, tuple or dict of them.

    Raises:
        Mismatch: Integers do not fit, where their values are known.
    """
    return pack(inputs, iter(act_on_leaves(fit, inputs)))


def act_on_leaves(fit: Fit, inputs: Any) -> list[Any]:
    """As `act`, flat, in the order of the trace."""
    return list(map(_convert, fit.leaves, flatten(inputs), fit.steps))


def flatten(nest: Any) -> list[Any]:
    """The `tf.TypeSpec`s in a nest, in the order of its keys."""
    if isinstance(nest, Mapping):
        return [spec for entry in nest.values() for spec in flatten(entry)]
    if isinstance(nest, (list, tuple)) and not isinstance(nest, tf.TypeSpec):
        return [spec for entry in nest for spec in flatten(entry)]
    return [nest]


def _convert(value: Any, spec: Any, step: Step) -> Any:
    if step.dtype is not None and spec.dtype.is_integer:
        _check_range(value, spec.dtype)
    if isinstance(value, np.ndarray):
        value = tf.convert_to_tensor(value)
    if isinstance(spec, tf.SparseTensorSpec) and not isinstance(value, tf.SparseTensor):
        value = tf.sparse.from_dense(value)
    if step.dtype is not None:
        value = tf.cast(value, spec.dtype)
    if isinstance(spec, tf.RaggedTensorSpec):
        splits: Any = spec
        return value.with_row_splits_dtype(splits.row_splits_dtype)
    if step.is_unsure:  # TensorFlow runs a trace for a batch of one on any batch, and goes on with wrong shapes
        return tf.ensure_shape(value, spec.shape)  # tf.debugging.assert_equal is optimized away while training
    return value


def traced_arguments(arguments: Mapping[str, Any], trace: contents.Trace) -> dict[str, Any]:
    """The further arguments of a call in the very form that a trace has."""
    return {name: _cast_as_traced(value, trace.arguments[name]) for name, value in arguments.items()}


def _cast_as_traced(value: Any, traced: Any) -> Any:
    if isinstance(traced, tf.TensorSpec):
        return tf.cast(value, traced.dtype) if tf.is_tensor(value) else tf.constant(value, traced.dtype)
    return traced


def _check_range(value: Any, dtype: tf.DType) -> None:
    """Refuse integers that do not fit, where their values are known."""
    if isinstance(value, tf.Tensor) and hasattr(value, "numpy"):
        value = value.numpy()
    if not isinstance(value, np.ndarray) or value.dtype.kind not in "iu" or not value.size:
        return
    if not dtype.min <= value.min() <= value.max() <= dtype.max:
        raise Mismatch(f"values from {value.min()} to {value.max()} do not fit into {dtype.name}")


def conform(value: Any, nest: Any) -> Any:
    """A value in the form of one nest of `tf.TypeSpec`s; one with `KerasTensor`s stays as it is.

    Raises:
        Mismatch: It cannot be made to match.
    """
    fit = Matcher([_forms(nest)]).fits(value, (0,), look)[0]
    return value if any(isinstance(leaf, keras.KerasTensor) for leaf in fit.leaves) else act(fit, nest)


def matches(value: Any, nest: Any) -> bool:
    """Whether a value can be made to match a nest of `tf.TypeSpec`s."""
    try:
        conform(value, nest)
    except Mismatch:
        return False
    return True


def free(inputs: Any) -> Any:
    """Inputs of a callable without traces: arrays and Python values become tensors, whatever else stays.

    Nothing says which dtype is wanted, so floats become Keras' default float, as in any other layer.

    Raises:
        Mismatch: There is no tensor of some values.
    """
    if isinstance(inputs, Mapping):
        return {key: free(value) for key, value in inputs.items()}
    if isinstance(inputs, (list, tuple)) and any(
        tf.is_tensor(leaf) or isinstance(leaf, np.ndarray) for leaf in tf.nest.flatten(inputs)
    ):
        return [free(value) for value in inputs]
    if tf.is_tensor(inputs) or isinstance(inputs, tf.Variable):
        return inputs
    tensor = to_tensor(inputs)
    is_float = isinstance(tensor, tf.Tensor) and tensor.dtype.is_floating
    return tf.cast(tensor, keras.config.floatx()) if is_float else tensor


def is_image(spec: Any) -> bool:
    """Whether a spec is one of a batch of images: (batch, height, width, channels) with 1, 3 or 4 channels."""
    return isinstance(spec, tf.TensorSpec) and spec.shape.rank == 4 and spec.shape[-1] in (1, 3, 4)
