"""The outputs of a call: picked by key, shaped as the user said, without what no layer may return."""

from collections.abc import Mapping
from typing import Any

import tensorflow as tf

from keras_hub_layers._src.executors.base import Choice
from keras_hub_layers._src.inspect import specs
from keras_hub_layers._src.text.words import nearest
from keras_hub_layers.errors import InterfaceError


def pick_output(outputs: Any, choice: Choice) -> Any:
    """The output at the chosen key; all of them for `None`."""
    key = choice.output_key
    if key is None:
        return outputs
    if isinstance(outputs, dict) and key in outputs:
        return outputs[key]
    near = nearest(key, list(outputs)) if isinstance(outputs, dict) else None
    has = f"a dict with the keys {sorted(outputs)}" if isinstance(outputs, dict) else type(outputs).__name__
    raise InterfaceError(
        "The outputs have no such key.",
        expected=f"a dict of outputs with the key {key!r}",
        received=has,
        fix=lambda line: line(output_key=near),
    )


def set_shapes(outputs: Any, batch: tf.TensorShape, choice: Choice) -> Any:
    """Outputs with the static shapes that the user gave, behind the inputs' batch size."""
    shape_nest = choice.output_shape
    if shape_nest is None:
        return outputs
    shapes = _align_shapes(shape_nest, outputs)
    for tensor, shape in zip(tf.nest.flatten(outputs), shapes, strict=True):
        try:
            tensor.set_shape(batch.concatenate(shape))
        except ValueError as err:
            raise InterfaceError(
                "output_shape contradicts what the SavedModel computes.",
                expected=f"a shape that fits {tuple(tensor.shape)}, without the batch axis",
                received=f"output_shape={shape_nest!r}",
                fix=lambda line: f"{line(output_shape=None)}   # the shape is inferred",
            ) from err
    return outputs


def as_plain(outputs: Any) -> Any:
    """Plain dicts and lists for the wrapped ones that restored functions return; without keys that hold `None`."""
    if isinstance(outputs, Mapping):
        return {key: as_plain(value) for key, value in outputs.items() if not _is_none(value)}
    if isinstance(outputs, (list, tuple)) and not isinstance(outputs, tf.TypeSpec):
        return [as_plain(value) for value in outputs]
    return outputs


def _is_shape(value: Any) -> bool:
    return isinstance(value, tf.TensorShape) or (
        isinstance(value, (list, tuple)) and all(length is None or isinstance(length, int) for length in value)
    )


def _align_shapes(shapes: Any, outputs: Any) -> list[Any]:
    """The given shapes in the order of the flattened outputs."""
    if isinstance(outputs, dict) and isinstance(shapes, Mapping) and set(shapes) == set(outputs):
        return [s for key in sorted(outputs) for s in _align_shapes(shapes[key], outputs[key])]
    if isinstance(outputs, list) and not _is_shape(shapes) and len(shapes) == len(outputs):
        return [s for shape, output in zip(shapes, outputs, strict=True) for s in _align_shapes(shape, output)]
    if not isinstance(outputs, (dict, list)) and _is_shape(shapes):
        return [tf.TensorShape(shapes)]
    if not isinstance(outputs, (dict, list)) and isinstance(shapes, int):
        return [tf.TensorShape([shapes])]
    raise InterfaceError(
        "output_shape is not structured as the outputs are.",
        expected=f"shapes for {specs.describe(specs.spec_of(outputs))}, without the batch axis",
        received=f"output_shape={shapes!r}",
        fix=lambda line: f"{line(output_shape=None)}   # inferred where TensorFlow can; or give one shape per output",
    )


def _is_none(value: Any) -> bool:
    """Whether an output is `None`, which no Keras layer may return, or what TensorFlow describes it by."""
    return value is None or type(value).__name__ == "NoneTensorSpec"
