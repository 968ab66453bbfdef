"""Whether a checkpoint that was just written holds what the live variables hold."""

import os
from typing import Any

import numpy as np
import tensorflow as tf

from keras_hub_layers import errors
from keras_hub_layers._src.files.write_errors import write_error
from keras_hub_layers._src.savedmodel.checkpoints.keys import (
    FAILURES,
    PREFIX,
    join_parts,
    read,
    value_of,
    variables_by_key,
)

__all__ = ["different_keys"]


def different_keys(directory: str, obj: Any) -> list[str]:
    """The keys under which the checkpoint of a SavedModel does not hold what the object's variables hold, bit by bit.

    Args:
        directory: A SavedModel that was written from `obj`.
        obj: The live object.

    Raises:
        errors.ExportWriteError: The checkpoint cannot be read.
    """
    prefix = tf.io.gfile.join(directory, PREFIX)
    if not tf.io.gfile.exists(f"{prefix}.index"):
        return []
    try:
        with tf.init_scope():
            reader = tf.compat.v1.train.NewCheckpointReader(prefix)
            shapes, dtypes = reader.get_variable_to_shape_map(), reader.get_variable_to_dtype_map()
            live = {
                key: join_parts([value_of(part, blank=False) for part in parts], shapes[key])
                for key, parts in variables_by_key(obj, reader).items()
            }
            if _lies_in_the_file(prefix, shapes, dtypes, live):
                return []
            stored = read(prefix, dtypes, sorted(dtypes))
            return [key for key, value in live.items() if not _same(value, stored[key])]
    except errors.HubError:
        raise
    except FAILURES as err:
        problem = "The checkpoint that was just written cannot be read back."
        raise write_error(err, directory, problem=problem) from err


def _lies_in_the_file(prefix: str, shapes: dict[str, Any], dtypes: dict[str, Any], live: dict[str, Any]) -> bool:
    """Whether all values lie in the checkpoint's one file where `SaveV2` puts them: in the order of their keys.

    A third of the time of reading the tensors. False proves nothing: another layout is read in the ordinary way.
    """
    path = f"{prefix}.data-00000-of-00001"
    if not os.path.isfile(path):
        return False
    file = np.memmap(path, np.uint8, "r")
    numeric = {
        key: int(np.prod(shapes[key])) * tf.as_dtype(dtype).size
        for key, dtype in dtypes.items()
        if tf.as_dtype(dtype) not in (tf.string, tf.variant, tf.resource)
    }
    if len(dtypes) - len(numeric) > 1:
        return False
    other, start = file.size - sum(numeric.values()), 0
    for key in sorted(dtypes):
        end = start + numeric.get(key, other)
        if key in live and (live[key] is None or not _equal(file[start:end], _bytes(live[key]))):
            return False
        start = end
    return True


def _same(first: Any, second: Any) -> bool:
    """Whether two tensors are equal bit by bit, NaN too."""
    if first is None or first.shape != second.shape or first.dtype != second.dtype:
        return False
    if first.dtype == tf.string:
        return bool(np.array_equal(first.numpy(), second.numpy()))
    return _equal(_bytes(first), _bytes(second))


def _bytes(tensor: Any) -> np.ndarray:
    """The bytes of an eager tensor; without a copy where it has a buffer that NumPy knows."""
    try:
        array = np.asarray(memoryview(tensor))
    except (BufferError, TypeError, ValueError):
        array = tensor.numpy()
    return np.ravel(array).view(np.uint8)


def _equal(first: np.ndarray, second: np.ndarray) -> bool:
    word = np.uint64 if first.nbytes % 8 == 0 else np.uint8
    return first.nbytes == second.nbytes and bool(np.array_equal(first.view(word), second.view(word)))
