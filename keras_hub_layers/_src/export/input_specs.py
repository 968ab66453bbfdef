"""What a Keras layer takes: `tf.TypeSpec`s to trace it with, and names for a signature."""

import contextlib
from collections.abc import Mapping
from typing import Any

import keras
import tensorflow as tf

from keras_hub_layers._src.compat import models
from keras_hub_layers._src.export import signature_names, signatures
from keras_hub_layers.errors import ExportError

__all__ = ["built_with", "describe_inputs"]


def describe_inputs(layer: Any, input_spec: Any = None) -> tuple[Any, list[str]]:
    """The specs of the inputs of a layer, structured as it takes them, and a legal name for each.

    Args:
        layer: A layer that is built.
        input_spec: A `tf.TypeSpec`, `keras.InputSpec`, symbolic or real tensor, or a list or dict of them.
            Defaults to `None`: the inputs that the layer was built with, with a free batch axis.

    Raises:
        errors.ExportError: The layer does not know what it takes, or two names become one.
    """
    symbolic = built_with(layer) if input_spec is None else input_spec
    free_batch = not any(getattr(inner, "stateful", False) for inner in models.flatten_layers(layer))
    specs = signatures.name_specs(tf.nest.map_structure(lambda value: _spec(value, layer, free_batch), symbolic))
    names = signature_names.name_inputs(specs, [getattr(value, "name", None) for value in tf.nest.flatten(symbolic)])
    return specs, names


def built_with(layer: Any) -> Any:
    """The layer's one input as it was built: symbolic tensors, or specs of the shapes that Keras remembers."""
    if isinstance(layer, keras.Sequential):
        if getattr(layer, "inputs", None):
            return layer.inputs[0]
    elif isinstance(layer, keras.Model) and getattr(layer, "inputs", None):
        return layer.input  # as it is structured; `inputs` is flat
    elif not isinstance(layer, keras.Model):
        with contextlib.suppress(AttributeError, ValueError):  # it was never called on symbolic tensors
            if isinstance(layer.input, keras.KerasTensor):
                return layer.input
    shapes = (layer.get_build_config() or {}).get("input_shape")
    if not shapes:
        raise ExportError(
            "It is not known what the layer takes.",
            expected="a layer of one input: a tensor, or one list or dict of tensors",
            received=f"{type(layer).__name__} {layer.name!r}, built with {layer.get_build_config()}",
            fix='khl.export(layer, "directory", input_spec=tf.TensorSpec([None, 8], tf.float32)), or wrap it: '
            "keras.Model(inputs, layer(*inputs))",
        )
    return _specs_of_shapes(shapes, layer)


def _specs_of_shapes(shapes: Any, layer: Any) -> Any:
    if isinstance(shapes, Mapping):
        return {key: _specs_of_shapes(shape, layer) for key, shape in shapes.items()}
    if all(length is None or isinstance(length, int) for length in shapes):
        return tf.TensorSpec([None, *shapes[1:]], layer.input_dtype)
    return [_specs_of_shapes(shape, layer) for shape in shapes]


def _spec(tensor: Any, layer: Any, free_batch: bool) -> tf.TypeSpec:
    """The `tf.TypeSpec` of a symbolic or real tensor or `keras.InputSpec`; a `tf.TypeSpec` as it is."""
    if isinstance(tensor, tf.TypeSpec):
        return tensor
    shape = list(tensor.shape)
    if free_batch and shape:
        shape[0] = None
    dtype = tf.as_dtype(tensor.dtype or layer.input_dtype)
    if getattr(tensor, "ragged", False):
        splits = tf.as_dtype(getattr(tensor, "row_splits_dtype", None) or "int64")
        return tf.RaggedTensorSpec(shape, dtype, getattr(tensor, "ragged_rank", None) or 1, splits)
    return tf.SparseTensorSpec(shape, dtype) if getattr(tensor, "sparse", False) else tf.TensorSpec(shape, dtype)
