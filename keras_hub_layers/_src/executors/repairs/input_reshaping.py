"""What is known of a tensor that a user passes, and the lines of code that change its shape or its dtype."""

import math
from dataclasses import dataclass, replace
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_hub_layers._src.executors.inputs import is_image

BATCH = "dataset = dataset.batch(32)"


@dataclass(frozen=True)
class Known:
    """What is known of a tensor.

    Attributes:
        shape: Lengths, `None` where unknown.
        dtype: The dtype that TensorFlow gives it.
        values: Smallest and largest value; `None` if there are none yet, or no numbers.
        is_symbolic: Whether it is one of a model or a function that is being built.
        is_declared: Whether it is a `keras.Input`, or computed from one, rather than data. Defaults to `False`.
    """

    shape: tuple[int | None, ...]
    dtype: tf.DType
    values: tuple[float, float] | None
    is_symbolic: bool
    is_declared: bool = False

    def fits(self, shape: Any) -> bool:
        return tf.TensorShape(shape).is_compatible_with(self.shape)


def look(value: Any) -> Known | None:
    """What is known of a value; `None` if no dense tensor can be made of it."""
    if isinstance(value, keras.KerasTensor):
        return Known(value.shape, tf.as_dtype(value.dtype), None, True, True)
    if isinstance(value, (tf.TensorSpec, tf.RaggedTensorSpec)) or tf.is_tensor(value):
        if value.shape.rank is None:
            return None
        is_symbolic = not hasattr(value, "numpy")
        values = None if is_symbolic or not isinstance(value, tf.Tensor) else _range(value.numpy())
        return Known(tuple(value.shape), value.dtype, values, is_symbolic)
    try:
        array = np.asarray(value)
        if array.dtype.kind in "US":
            dtype = tf.string
        elif array.dtype == object:
            dtype = tf.string if array.size and all(isinstance(v, (str, bytes)) for v in array.flat) else None
        else:
            dtype = tf.as_dtype(array.dtype)
    except (TypeError, ValueError):
        return None
    return None if dtype is None else Known(array.shape, dtype, _range(array), False)


def _range(array: np.ndarray) -> tuple[float, float] | None:
    return (float(array.min()), float(array.max())) if array.dtype.kind in "iuf" and array.size else None


def has_bytes(known: Known) -> bool:
    """Whether the values look like pixels from 0 to 255."""
    if known.values is not None:
        return known.values[0] >= 0 and known.values[1] > 1.5
    return known.dtype == tf.uint8


def reshape(known: Known, spec: tf.TensorSpec, name: str) -> tuple[list[str], Known]:
    """The lines that turn one shape into the other, for the cases that people meet."""
    lines = []
    for repair in (_repair_batch, _repair_rank, _repair_channels, _repair_size, _repair_length, _repair_columns):
        result = repair(known, spec, name)
        if result is not None:
            new, shape = result
            lines += [new] if isinstance(new, str) else new
            known = replace(known, shape=tuple(shape))
    if len(known.shape) == spec.shape.rank and not known.fits(spec.shape) and known.fits([None, *spec.shape[1:]]):
        size = spec.shape[0]
        shape = (size, *known.shape[1:])
        lines.append(
            f"{name} = keras.Input(batch_shape={shape}, dtype={spec.dtype.name!r})   # and batch_size={size} in fit"
            if known.is_symbolic
            else f"{name} = {name}[:{size}]   # the model takes {size} at a time: call it for each such part"
        )
        known = replace(known, shape=shape)
    return lines, known


def _repair_batch(known: Known, spec: tf.TensorSpec, name: str) -> tuple[Any, Any] | None:
    """Examples of a dataset that nobody has batched. Keras may have added an axis: (8, 8, 1) is (8, 8, 1, 1) then."""
    given: list[Any] = list(known.shape)
    wanted: list[Any] = spec.shape.as_list()
    if None in given or not wanted or wanted[0] is not None:
        return None
    example = replace(known, shape=known.shape[:-1])
    if len(given) == len(wanted) > 1 and given[-1] == 1 and example.fits(wanted[1:]) and not known.is_symbolic:
        line = f"{name} = keras.ops.expand_dims(keras.ops.squeeze({name}, axis=-1), axis=0)"
        return f"{line}   # one example is a batch of one; of a dataset: dataset = dataset.batch(32)", [
            1,
            *example.shape,
        ]
    if not known.is_symbolic:
        return None
    if len(given) == len(wanted) > 2 and given[-1] == 1 and (example.fits(wanted[1:]) or is_image(spec)):
        given, known = list(example.shape), example
    is_sized = is_image(spec) and len(given) == 3 and given[-1] == wanted[-1]  # another height or width is mended next
    if not known.fits(wanted[1:]) and not is_sized and not (wanted[-1] == 1 and known.fits(wanted[1:-1])):
        return None
    if known.is_declared:
        return _declaration(given, spec, name), [None, *given]
    alone = f"for one example alone: {name} = keras.ops.expand_dims({name}, axis=0)"
    return f"{BATCH}   # {alone}", [None, *given]


def _repair_rank(known: Known, spec: tf.TensorSpec, name: str) -> tuple[Any, Any] | None:
    """Axes that are missing, or too many."""
    given: list[Any] = list(known.shape)
    wanted: list[Any] = spec.shape.as_list()
    text = f", dtype={spec.dtype.name!r}" * (not spec.dtype.is_floating)
    if len(given) == len(wanted) + 1:
        if given[-1] == 1 and known.fits([*wanted, 1]):
            also = f"   # or declare keras.Input(shape=(){text}): one value per example" * (len(wanted) == 1)
            return f"{name} = keras.ops.squeeze({name}, axis=-1){also}", given[:-1]
        if given[0] == 1:
            return f"{name} = keras.ops.squeeze({name}, axis=0)", given[1:]
        if len(wanted) == 1 and wanted[0] is None and spec.dtype != tf.string:  # one example, such as a waveform
            each = f"lambda {name}: tf.vectorized_map(layer, {name})"
            if known.is_symbolic:
                return f"dataset = dataset.map({each})   # it takes one example at a time: before the model", [None]
            line = f"{name} = {name}[0]   # it takes one example at a time. Of all: tf.vectorized_map(layer, {name})"
            return line, given[1:]
        if known.fits([None, None, *wanted[1:]]):
            is_loop = known.is_symbolic and not known.is_declared
            if is_loop and spec.dtype == tf.string and len(wanted) == 1 and given[-1] is not None:
                return _texts(name), given[:1]  # Keras says of numbers too that they are texts
            if known.is_declared:
                return _declaration(given[2:], spec, name), [None, *given[2:]]
            if known.is_symbolic:
                return "dataset = dataset.unbatch()   # it is batched twice", [None, *given[2:]]
            return f"{name} = keras.ops.reshape({name}, (-1, {', '.join(map(str, given[2:]))}))", [None, *given[2:]]
    last = f"{name} = keras.ops.expand_dims({name}, axis=-1)"
    first = f"{name} = keras.ops.expand_dims({name}, axis=0)   # one example is a batch of one"
    if len(given) == len(wanted) - 1:
        has_one = wanted[-1] == 1
        if has_one and known.fits(wanted[:-1]) and not (given and given[0] is not None and known.fits(wanted[1:])):
            return last, [*given, 1]
        if known.fits(wanted[1:]) or (is_image(spec) and (given[-1] in (1, 3, 4) or given[0] in (1, 3, 4))):
            return first, [1, *given]
        return (last, [*given, 1]) if has_one and is_image(spec) else None
    if is_image(spec) and len(given) == 2:
        if given[1] is not None and None not in wanted[1:] and given[1] == math.prod(wanted[1:]):
            return f"{name} = keras.ops.reshape({name}, (-1, {', '.join(map(str, wanted[1:]))}))", [None, *wanted[1:]]
        return [last, first], [1, *given, 1]
    return None


def _declaration(shape: Any, spec: tf.TensorSpec, name: str) -> str:
    """The line that declares an input of a shape without the batch axis."""
    dtype = f", dtype={spec.dtype.name!r}" * (not spec.dtype.is_floating)
    return f"{name} = keras.Input(shape={tuple(shape)}{dtype})   # without the batch axis"


def _repair_channels(known: Known, spec: tf.TensorSpec, name: str) -> tuple[Any, Any] | None:
    """Channels in another place, or another number of them."""
    if not is_image(spec) or len(known.shape) != 4 or known.shape[-1] == spec.shape[-1]:
        return None
    given: tuple[Any, ...] = known.shape
    wanted: Any = spec.shape[-1]
    if given[1] == wanted:
        return f"{name} = keras.ops.transpose({name}, (0, 2, 3, 1))   # channels last", [given[0], *given[2:], wanted]
    line = {
        (1, 3): f"{name} = keras.ops.repeat({name}, 3, axis=-1)   # grey as red, green and blue",
        (4, 3): f"{name} = {name}[..., :3]   # without the alpha channel",
        (3, 1): f"{name} = keras.ops.image.rgb_to_grayscale({name})",
    }.get((given[-1], wanted))
    return None if line is None else (line, [*given[:-1], wanted])


def _repair_size(known: Known, spec: tf.TensorSpec, name: str) -> tuple[Any, Any] | None:
    """Images of another size."""
    if spec.shape.rank != 4 or len(known.shape) != 4 or known.shape[-1] != spec.shape[-1]:
        return None
    given, wanted = known.shape, spec.shape.as_list()
    if None in wanted[1:3] or tuple(given[1:3]) == tuple(wanted[1:3]):
        return None
    note = "   # in a Sequential model: this layer, before the HubLayer" * known.is_symbolic
    line = f"{name} = keras.layers.Resizing({wanted[1]}, {wanted[2]})({name}){note}"
    return line, [given[0], *wanted[1:3], given[-1]]


def _repair_length(known: Known, spec: tf.TensorSpec, name: str) -> tuple[Any, Any] | None:
    """Sequences of integers of another length."""
    if spec.shape.rank != 2 or len(known.shape) != 2 or not spec.dtype.is_integer or spec.shape[1] is None:
        return None
    if known.is_symbolic or known.shape[1] == spec.shape[1] or not known.dtype.is_integer:
        return None
    ends = 'padding="post", truncating="post"'
    line = f"{name} = keras.utils.pad_sequences({name}, {spec.shape[1]}, dtype={spec.dtype.name!r}, {ends})"
    return line, [known.shape[0], spec.shape[1]]


def _repair_columns(known: Known, spec: tf.TensorSpec, name: str) -> tuple[Any, Any] | None:
    """Tables with a few columns too many or too few."""
    if spec.shape.rank != 2 or len(known.shape) != 2 or not spec.dtype.is_floating or known.dtype == tf.string:
        return None
    given, wanted = known.shape[1], spec.shape[1]
    if given is None or wanted is None or given == wanted or 2 * given < wanted:
        return None
    shape = [known.shape[0], wanted]
    if known.is_declared:
        return _declaration(shape[1:], spec, name), shape
    if given > wanted:
        return f"{name} = {name}[:, :{wanted}]   # of {given} columns: better those that it was trained with", shape
    line = f"{name} = keras.ops.pad({name}, [[0, 0], [0, {wanted - given}]])   # the model takes {wanted} columns"
    return f"{line}, and there are {given}: better add what is missing", shape


def cast(known: Known, dtype: tf.DType, name: str) -> tuple[list[str], Known]:
    """The line for a cast that is not made unasked."""
    if is_castable(known.dtype, dtype):
        return [], known
    if known.is_symbolic and tf.string in (known.dtype, dtype):
        shape = ", ".join(map(str, known.shape[1:])) + "," * (len(known.shape) == 2)
        return [f"{name} = keras.Input(shape=({shape}), dtype={dtype.name!r})"], replace(known, dtype=dtype)
    if dtype == tf.string:
        return [_texts(name)], known
    if known.dtype == tf.string:
        return [], known
    if dtype == tf.uint8 and known.dtype.is_floating and known.values and 0 <= known.values[0] <= known.values[1] <= 1:
        return [f"{name} = keras.ops.cast(255 * {name}, 'uint8')   # pixels from 0 to 255"], replace(known, dtype=dtype)
    also = ""
    if known.is_symbolic:
        shape = ", ".join(map(str, known.shape[1:])) + "," * (len(known.shape) == 2)
        also = f"   # or declare keras.Input(shape=({shape}), dtype={dtype.name!r})"
    return [f"{name} = keras.ops.cast({name}, {dtype.name!r}){also}"], replace(known, dtype=dtype)


def _texts(name: str) -> str:
    return f'{name} = tf.constant(["a text", "another"])   # the texts themselves: the model splits them'


def is_castable(given: tf.DType, wanted: tf.DType) -> bool:
    kinds = ("is_floating", "is_integer", "is_complex")
    same = any(getattr(given, kind) and getattr(wanted, kind) for kind in kinds)
    return given == wanted or same or (given.is_integer and wanted.is_floating)
