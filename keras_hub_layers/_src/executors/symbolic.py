"""Symbolic inputs and outputs: Keras' tensors for TensorFlow's specs, and back."""

from collections.abc import Mapping, Sequence
from typing import Any

import keras
import tensorflow as tf

from keras_hub_layers._src.executors.inputs import flatten
from keras_hub_layers._src.inspect import specs as specs_lib
from keras_hub_layers._src.savedmodel import contents
from keras_hub_layers.errors import InputError, InterfaceError


def specs_of(inputs: Any, traces: Sequence[contents.Trace]) -> Any:
    """The `tf.TypeSpec`s for the `KerasTensor`s in inputs; other values as they are.

    Keras' hints are not to be trusted: some dense results (`x * 2`) are marked as sparse, and a Sequential model
    without Input declares dense inputs for whatever it is given. What the traces take decides.

    Args:
        inputs: `KerasTensor`s and other values, nested.
        traces: Those of the function that is called.
    """
    taken = [spec for trace in traces for spec in flatten(trace.inputs)]
    return keras.tree.map_structure(lambda tensor: _spec_of(tensor, taken), inputs)


def _spec_of(tensor: Any, taken: Sequence[Any]) -> Any:
    if not isinstance(tensor, keras.KerasTensor):
        return tensor
    shape, dtype = tensor.shape, tf.as_dtype(tensor.dtype)
    if getattr(tensor, "ragged", False):
        rank = getattr(tensor, "ragged_rank", None) or 1
        splits = getattr(tensor, "row_splits_dtype", None) or "int64"
        return tf.RaggedTensorSpec(shape, dtype, rank, tf.as_dtype(splits))
    kinds = {type(spec) for spec in taken}
    if kinds == {tf.RaggedTensorSpec}:
        return tf.RaggedTensorSpec(shape, dtype, taken[0].ragged_rank, taken[0].row_splits_dtype)
    if kinds == {tf.SparseTensorSpec} or (tensor.sparse and tf.SparseTensorSpec in kinds):
        return tf.SparseTensorSpec(shape, dtype)
    return tf.TensorSpec(shape, dtype)


def keras_tensor(spec: Any) -> keras.KerasTensor:
    """The symbolic tensor of a spec, or of a tensor of a graph."""
    spec = spec if isinstance(spec, tf.TypeSpec) else tf.type_spec_from_value(spec)
    if tf.TensorShape(spec.shape).rank is None:
        raise InterfaceError(
            "TensorFlow cannot infer the shape of an output.",
            expected="an output of known rank",
            received=specs_lib.describe(specs_lib.spec_of(spec)),
            fix=lambda line: f"{line(output_shape=[128])}   # as its publisher says, without the batch axis",
        )
    kind = {}
    if isinstance(spec, tf.RaggedTensorSpec) and hasattr(keras.KerasTensor, "ragged"):  # Keras 3.8 has no such mark
        ragged: Any = spec
        kind = {"ragged": True, "ragged_rank": ragged.ragged_rank, "row_splits_dtype": ragged.row_splits_dtype.name}
    return keras.KerasTensor(tuple(spec.shape), spec.dtype.name, sparse=isinstance(spec, tf.SparseTensorSpec), **kind)


def tensors_of_shapes(shapes: Any, specs: Any) -> Any:
    """`KerasTensor`s of the traced dtypes and kinds.

    Args:
        shapes: Shapes with the batch axis.
        specs: What a trace takes: a `tf.TypeSpec`, or a list, tuple or dict of them.

    Raises:
        errors.InputError: The shapes are not structured as the specs are.
    """
    try:
        return _tensors_of_shapes(shapes, specs)
    except (AttributeError, KeyError, TypeError, ValueError) as err:
        raise InputError(
            "The shapes are not structured as the inputs are.",
            expected=f"shapes with the batch axis for {specs_lib.describe(specs_lib.spec_of(specs))}",
            received=repr(shapes),
            fix="layer.compute_output_shape(" + _example(specs) + ")",
        ) from err


def _tensors_of_shapes(shapes: Any, specs: Any) -> Any:
    if isinstance(specs, Mapping):
        return {key: _tensors_of_shapes(shapes[key], spec) for key, spec in specs.items()}
    if isinstance(specs, (list, tuple)):
        return [_tensors_of_shapes(shape, spec) for shape, spec in zip(shapes, specs, strict=True)]
    return keras_tensor(_with_shape(specs, tuple(shapes)))


def _with_shape(spec: Any, shape: tuple[int | None, ...]) -> Any:
    """The same kind of tensor with another shape."""
    if isinstance(spec, tf.RaggedTensorSpec):
        ragged: Any = spec
        return tf.RaggedTensorSpec(shape, ragged.dtype, ragged.ragged_rank, ragged.row_splits_dtype)
    kind = tf.SparseTensorSpec if isinstance(spec, tf.SparseTensorSpec) else tf.TensorSpec
    return kind(shape, spec.dtype)


def _example(specs: Any) -> str:
    """Shapes to paste, structured as the inputs are."""
    if isinstance(specs, Mapping):
        return "{" + ", ".join(f"{key!r}: {_example(spec)}" for key, spec in specs.items()) + "}"
    if isinstance(specs, (list, tuple)):
        return "[" + ", ".join(map(_example, specs)) + "]"
    return str(tuple(specs.shape)) if specs.shape.rank is not None else "(None, 1)"
