"""How inputs that match no trace can be made to: the lines to paste, in the order in which they work.

The user's inputs are called `x` throughout. What is known of them is carried through the lines as a `Known`: each line
that changes the shape or the dtype changes it there too, so that the last line is followed by a match, or is not.
"""

import itertools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_hub_layers._src.executors.inputs import is_image, matches
from keras_hub_layers._src.executors.repairs.input_reshaping import (
    BATCH,
    Known,
    cast,
    has_bytes,
    is_castable,
    look,
    reshape,
)
from keras_hub_layers._src.inspect import specs
from keras_hub_layers._src.text import words

HINT = "   # if the model wants pixels in [0, 1], as TF Hub's image models do"


@dataclass(frozen=True)
class Fix:
    """Lines of code to paste.

    Attributes:
        lines: In the order in which they run.
        is_complete: Whether the inputs match once they have run.
    """

    lines: tuple[str, ...] = ()
    is_complete: bool = False


def repair(value: Any, spec: Any, name: str = "x", is_for_bytes: Callable[[], bool] = lambda: False) -> Fix:
    """The lines that make a value match the specs of a trace.

    Args:
        value: What the user passed.
        spec: A `tf.TypeSpec`, or a list, tuple or dict of them.
        name: What the value is called in the lines.
        is_for_bytes: Whether the model takes pixel values up to 255; asked only where it matters.
    """
    if isinstance(spec, Mapping):
        return _repair_dict(value, spec, name)
    if isinstance(spec, (list, tuple)) and not isinstance(spec, tf.TypeSpec):
        return _repair_list(value, spec, name)
    if isinstance(value, Mapping) and value:
        key = next((key for key, entry in value.items() if matches(entry, spec)), next(iter(value)))
        return _put_before(f"{name} = {name}[{key!r}]", repair(value[key], spec, name, is_for_bytes))
    if isinstance(value, tf.data.Dataset):
        first: Any = value.element_spec
        pair = isinstance(first, tuple)
        first = first[0] if pair else first
        line = f"{name} = next(iter({name})){'[0]' * pair}   # a batch; model.fit and model.predict take all of them"
        fix = repair(first, spec, name, is_for_bytes)
        if fix.lines and fix.lines[0].startswith(BATCH):  # here it is called as the inputs are
            batch = f"{name} = {name}.batch(32)"
            return _put_before(batch, _put_before(line, replace(fix, lines=fix.lines[1:])))
        return _put_before(line, fix)
    if isinstance(value, (list, tuple)) and len(value) == 1 and _is_array(value[0]):
        return _put_before(f"{name} = {name}[0]", repair(value[0], spec, name, is_for_bytes))
    if isinstance(spec, tf.RaggedTensorSpec):
        return _repair_ragged(value, spec, name)
    if isinstance(spec, tf.TensorSpec):
        return _repair_dense(value, spec, name, is_for_bytes)
    return Fix(_example(spec, name))


def example(spec: Any, name: str = "x") -> str:
    """A line that makes an input of the traced form, for want of a better one."""
    return f"{name} = {_literal(spec)}   # an input of the traced form"


# -- structures


def _repair_dict(value: Any, spec: Mapping, name: str) -> Fix:
    keys = list(spec)
    if isinstance(value, Mapping):
        return _repair_entries(value, spec, name)
    if isinstance(value, (list, tuple)) and len(value) == len(spec):
        order = next((o for o in _orders(keys) if all(map(matches, value, (spec[k] for k in o)))), None)
        line = f"{name} = {{" + ", ".join(f"{k!r}: {name}[{i}]" for i, k in enumerate(order or keys)) + "}"
        return Fix((line,), order is not None)
    if len(spec) == 1:
        inner = repair(value, spec[keys[0]], name)
        line = f"{name} = {{{keys[0]!r}: {name}}}"
        return Fix((line,), True) if matches(value, spec[keys[0]]) else Fix((*inner.lines, line), inner.is_complete)
    lines = (f"{name} = {{" + ", ".join(f"{k!r}: {_variable(k)}" for k in sorted(spec)) + "}",)
    known = look(value)
    if known is not None and known.dtype == tf.string and tf.string not in {entry.dtype for entry in spec.values()}:
        lines = (
            f"{name} = HubLayer(PREPROCESSOR)({name})   # the model's own preprocessor turns texts into these numbers",
        )
    return Fix(lines)


def _repair_entries(value: Mapping, spec: Mapping, name: str) -> Fix:
    """Each entry made to match; those that are missing taken from one with nearly the same name."""
    lines, is_complete, value = [], True, dict(value)
    for key in [key for key in spec if key not in value]:
        spare = [other for other in value if other not in spec]
        near = words.nearest_names(key, spare, cutoff=0.6) or (
            list(map(str, spare)) if len(spare) == 1 and len(set(spec) - set(value)) == 1 else []
        )
        if near and near[0] in value:
            lines.append(f"{name}[{key!r}] = {name}.pop({near[0]!r})")
            value[key] = value.pop(near[0])
        else:
            lines.append(f"{name}[{key!r}] = {_variable(key)}   # {specs.describe(specs.spec_of(spec[key]))}")
            is_complete = False
    fixes = [
        repair(value[key], entry, f"{name}[{key!r}]")
        for key, entry in spec.items()
        if key in value and not matches(value[key], entry)
    ]
    lines += [line for fix in fixes for line in fix.lines]
    return Fix(_batch_once(lines), is_complete and all(fix.is_complete for fix in fixes))


def _repair_list(value: Any, spec: Any, name: str) -> Fix:
    count = len(spec)
    if isinstance(value, Mapping) and len(value) == count:
        keys = list(value)
        order = next((o for o in _orders(keys) if all(map(matches, (value[k] for k in o), spec))), None)
        return Fix((f"{name} = [" + ", ".join(f"{name}[{k!r}]" for k in order or keys) + "]",), order is not None)
    if isinstance(value, (list, tuple)) and len(value) == count:
        order = next((o for o in _orders(range(count)) if all(map(matches, (value[i] for i in o), spec))), None)
        if order is not None:
            return Fix((f"{name} = [" + ", ".join(f"{name}[{i}]" for i in order) + "]",), True)
        inner = [
            repair(v, s, f"{name}[{i}]") for i, (v, s) in enumerate(zip(value, spec, strict=True)) if not matches(v, s)
        ]
        lines = [line for fix in inner for line in fix.lines]
        return Fix(_batch_once(lines), all(fix.is_complete for fix in inner))
    known = None if isinstance(value, (list, tuple)) and any(map(_is_array, value)) else look(value)
    if known is not None and len(known.shape) == 2 and known.shape[1] == count:
        column = replace(known, shape=(known.shape[0], 1))
        if all(isinstance(s, tf.TensorSpec) and column.fits(s.shape) for s in spec):
            return Fix((f"{name} = keras.ops.split({name}, {count}, axis=-1)",), True)
    if isinstance(value, (list, tuple)) and len(value) > count:
        return Fix((f"{name} = {name}[:{count}]",), all(map(matches, value, spec)))
    return Fix((f"{name} = [" + ", ".join(f"input_{i}" for i in range(count)) + "]",))


def _orders(entries: Any) -> Any:
    """The orders to try; of many entries only the given one."""
    entries = list(entries)
    return itertools.permutations(entries) if len(entries) <= 6 else [tuple(entries)]


# -- single tensors


def _repair_ragged(value: Any, spec: Any, name: str) -> Fix:
    known = look(value)
    if known is None or isinstance(value, (tf.RaggedTensor, tf.SparseTensor)) or len(known.shape) != spec.shape.rank:
        return Fix(_example(spec, name))
    lines, known = cast(known, spec.dtype, name)
    return Fix((*lines, f"{name} = tf.RaggedTensor.from_tensor({name})"), is_castable(known.dtype, spec.dtype))


def _densify(value: Any, spec: tf.TensorSpec, name: str) -> tuple[str, Any]:
    """The line that makes a dense tensor of a ragged one, and its shape: of texts in rows one text per row."""
    if spec.shape.rank is None or spec.shape.rank >= value.shape.rank:
        return f"{name} = {name}.to_tensor()", value.shape
    if value.dtype == tf.string and spec.shape.rank == 1 and value.shape.rank == 2:
        line = f'{name} = tf.strings.reduce_join({name}, axis=-1, separator=" ")'
        return f"{line}   # one text per row; {name}.flat_values has one text per entry", value.shape[:1]
    return f"{name} = {name}.flat_values   # the rows one after the other", value.flat_values.shape


def _repair_dense(value: Any, spec: tf.TensorSpec, name: str, is_for_bytes: Callable[[], bool]) -> Fix:
    lines: list[str] = []
    if isinstance(value, tf.RaggedTensor):
        line, shape = _densify(value, spec, name)
        lines, value = [line], tf.TensorSpec(shape, value.dtype)
    elif isinstance(value, tf.SparseTensor):
        lines, value = [f"{name} = tf.sparse.to_dense({name})"], tf.TensorSpec(value.shape, value.dtype)
    known = look(value)
    if known is None:
        return _assemble(value, spec, name)
    if spec.dtype == tf.string != known.dtype and not known.is_declared:
        return Fix(tuple(cast(replace(known, is_symbolic=False), spec.dtype, name)[0]))
    if not isinstance(value, (np.generic, str, list, tuple, tf.TypeSpec)) and not _is_array(value):
        lines += [f"{name} = np.asarray({name})"] if not isinstance(value, (int, float, bytes)) else []
    if known.dtype == tf.string and is_image(spec) and spec.dtype.is_floating and len(known.shape) == 0:
        lines.append(f"{name} = tf.io.decode_image(tf.io.read_file({name}), channels=3, expand_animations=False)")
        known = Known((None, None, 3), tf.uint8, (0, 255), False)
    if spec.shape.rank is not None:
        more, known = reshape(known, spec, name)
        lines += more
    if is_image(spec) and spec.dtype.is_floating and has_bytes(known) and not is_for_bytes():
        lines.append(f"{name} = keras.layers.Rescaling(1 / 255)({name}){HINT}")
        known = replace(known, dtype=tf.float32, values=None)
    more, known = cast(known, spec.dtype, name)
    if known.fits(spec.shape) and is_castable(known.dtype, spec.dtype):
        return Fix((*lines, *more), True)
    return Fix(tuple(more) if spec.dtype == tf.string and more else _example(spec, name))


def _assemble(value: Any, spec: tf.TensorSpec, name: str) -> Fix:
    """A tensor of what NumPy makes none of: lists of different lengths, texts with gaps, generators."""
    array = np.asarray(value, dtype=object) if isinstance(value, np.ndarray) else None
    if isinstance(value, (list, tuple)) and not any(map(_is_array, value)):
        if spec.dtype == tf.string:
            array = np.asarray(value, dtype=object)
        elif spec.shape.rank == 2 and value and all(isinstance(row, (list, tuple)) for row in value):
            length = f"maxlen={spec.shape[1]}, " * (spec.shape[1] is not None)
            line = f'{name} = keras.utils.pad_sequences({name}, {length}dtype={spec.dtype.name!r}, padding="post")'
            return Fix((line,), True)
    if array is not None and spec.dtype == tf.string and array.ndim == 1:
        line = f'{name} = ["" if one is None or one != one else str(one) for one in {name}]   # no gaps'
        more, known = reshape(Known(array.shape, tf.string, None, False), spec, name)
        return Fix((line, *more), known.fits(spec.shape))
    if hasattr(value, "__next__"):
        return Fix((f"{name} = np.stack(list({name}))",))
    return Fix(_example(spec, name))


def _is_array(value: Any) -> bool:
    kinds = (np.ndarray, tf.RaggedTensor, tf.SparseTensor, keras.KerasTensor)
    return tf.is_tensor(value) or isinstance(value, kinds)


# -- words


def _batch_once(lines: list[str]) -> tuple[str, ...]:
    """Lines for the parts of one input, of which each may say that the dataset is to be batched."""
    others = [line for line in lines if not line.startswith(BATCH)]
    if len(lines) - len(others) < 2:
        return tuple(lines)
    return (f"{BATCH}   # all of its parts; for one example alone: keras.ops.expand_dims of each, axis=0", *others)


def _put_before(line: str, fix: Fix) -> Fix:
    return Fix((line, *fix.lines), fix.is_complete)


def _example(spec: Any, name: str) -> tuple[str, ...]:
    return (example(spec, name),)


def _literal(spec: Any) -> str:
    """Code for a value of a spec."""
    if isinstance(spec, Mapping):
        return "{" + ", ".join(f"{key!r}: {_literal(entry)}" for key, entry in spec.items()) + "}"
    if isinstance(spec, tf.RaggedTensorSpec):
        row = '["a"]' if spec.dtype == tf.string else "[1, 2]"
        return f"tf.ragged.constant([{row}], dtype={spec.dtype.name!r})"
    if isinstance(spec, (list, tuple)) and not isinstance(spec, tf.TypeSpec):
        return "[" + ", ".join(map(_literal, spec)) + "]"
    tensor: Any = spec
    lengths = tensor.shape if tensor.shape.rank is not None else (1,)
    shape = tuple(1 if length is None else length for length in lengths)
    text = f"tf.zeros({shape}, {tensor.dtype.name!r})" if tensor.dtype != tf.string else f'tf.fill({shape}, "a text")'
    return f"tf.sparse.from_dense({text})" if isinstance(spec, tf.SparseTensorSpec) else text


def _variable(key: Any) -> str:
    """A name for the data of a key."""
    return str(key) if str(key).isidentifier() else "your_data"
