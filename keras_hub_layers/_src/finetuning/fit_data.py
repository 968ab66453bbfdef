"""What users pass as data, in the form that `fit` takes: texts as string tensors, lists of numbers as arrays."""

import contextlib
from typing import Any

import keras
import numpy as np

__all__ = ["as_arrays", "as_validation"]


def as_arrays(data: Any) -> Any:
    """Data as `fit` takes it: Keras itself refuses NumPy arrays of texts, and lists of texts or numbers.

    Args:
        data: One input or target: an array, a list of values, or a list or dict of these; anything else, such as a
            dataset, is left as it is.
    """
    if isinstance(data, dict):
        return {key: as_arrays(value) for key, value in data.items()}
    if isinstance(data, (list, tuple)):
        leaves = keras.tree.flatten(data)
        if not leaves or not all(isinstance(leaf, (str, bytes, bool, int, float, np.generic)) for leaf in leaves):
            return type(data)(map(as_arrays, data)) if type(data) in (list, tuple) else data
        with contextlib.suppress(ValueError):  # rows of different lengths
            return as_arrays(np.array(data))
        return data
    if isinstance(data, np.ndarray) and (data.dtype.kind in "US" or _holds_texts(data)):
        return keras.ops.convert_to_tensor(data)
    return data


def as_validation(data: Any) -> Any:
    """The same for `validation_data`: a tuple `(x, y)` or `(x, y, sample_weight)`, or a dataset."""
    return tuple(map(as_arrays, data)) if isinstance(data, (tuple, list)) else data


def _holds_texts(array: np.ndarray) -> bool:
    return array.dtype == object and array.size > 0 and isinstance(array.flat[0], (str, bytes))
