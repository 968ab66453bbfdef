"""What users pass as data: in the form that `fit` takes, and read batch by batch."""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import keras
import numpy as np

from keras_hub_layers.errors import TrainingError

__all__ = ["as_arrays", "as_pair", "as_validation", "batches_of", "refusal"]


def as_arrays(data: Any) -> Any:
    """Data as `fit` takes it: Keras itself refuses NumPy arrays of texts, and lists of texts or numbers.

    Args:
        data: One input or target: an array, a list of values, a data frame or a column of pandas, or a list or dict of
            these; anything else, such as a dataset, is left as it is. A frame of numbers is one array, and one with
            other columns a dict of its columns; a single column is that column.
    """
    if type(data).__module__.partition(".")[0] == "pandas":
        return _of_pandas(data)
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


def as_pair(data: Any, y: Any) -> Any:
    """Data and targets as one: `(x, y)`, if there are targets beside the data."""
    return data if y is None else (data, y)


def _of_pandas(data: Any) -> Any:
    """A column, or a frame, of pandas, which is optional here."""
    if getattr(data, "ndim", 1) == 2:
        columns = [data[name] for name in data.columns]
        if all(column.dtype.kind in "biuf" for column in columns):
            return data.to_numpy()
        if len(columns) == 1:
            return _of_pandas(columns[0])
        return {str(column.name): _of_pandas(column) for column in columns}
    values = data.to_numpy()
    if values.dtype.kind in "biuf":
        return values
    if data.hasnans:
        raise refusal(
            "The column has gaps.",
            "a value in each row",
            f"{int(data.isna().sum())} of {len(data)} rows of {data.name!r} without one",
            f"x = x[x[{data.name!r}].notna()]   # leaves these rows out, of y too",
        )
    return as_arrays(data.to_numpy(dtype=object))


def as_validation(data: Any) -> Any:
    """The same for `validation_data`: a tuple `(x, y)` or `(x, y, sample_weight)`, or a dataset."""
    return tuple(map(as_arrays, data)) if isinstance(data, (tuple, list)) else data


def _holds_texts(array: np.ndarray) -> bool:
    return array.dtype == object and array.size > 0 and isinstance(array.flat[0], (str, bytes))


def batches_of(
    data: Any, batch_size: int = 32, call: str = "finetuning.features(layer, {})"
) -> Callable[[], Iterator[Any]]:
    """A function that reads data from the start, batch by batch, each time that it is called.

    Args:
        data: As `finetuning.features` takes them.
        batch_size: Examples in a batch where the data are arrays. Defaults to 32.
        call: The call that needs them, with `{}` for the data.

    Raises:
        errors.TrainingError: The data are no arrays of one length, never end, or can be read once only.
    """
    if isinstance(data, tuple):
        given = [as_arrays(entry) for entry in data]
        while len(given) > 1 and given[-1] is None:
            given.pop()
        data = tuple(given) if len(given) > 1 else given[0] if given else given
    else:
        data = as_arrays(data)
    if isinstance(data, (tuple, list, dict)) or hasattr(data, "shape"):
        leaves = keras.tree.flatten(data)
        sizes = [leaf.shape[0] if getattr(leaf, "shape", ()) else None for leaf in leaves]
        if not leaves or None in sizes or len(set(sizes)) > 1:
            shapes = [str(getattr(leaf, "shape", type(leaf).__name__)) for leaf in leaves]
            raise refusal(
                "The data are not arrays of one length.",
                "an array, a list or dict of arrays, or a tuple (x, y) or (x, y, sample_weight), all of one length",
                f"{shapes}",
                call.format("(np.array(x), np.array(y))"),
            )
        parts = [slice(start, start + batch_size) for start in range(0, int(sizes[0] or 0), batch_size)]
        return lambda: (keras.tree.map_structure(lambda leaf, rows=rows: leaf[rows], data) for rows in parts)
    cardinality = getattr(data, "cardinality", None)
    if cardinality is not None and int(cardinality()) == -1:
        fix = "dataset = dataset.take(100)   # as many batches as the data have once, before this line"
        raise refusal("The data have no end.", "a dataset that ends", "repeat()", fix)
    if isinstance(data, keras.utils.PyDataset):
        if data.num_batches is None:
            raise refusal(
                "The data have no end.",
                "a PyDataset with a length",
                "__len__() is None",
                "def __len__(self): ...",
            )
        return lambda: (data[number] for number in range(data.num_batches or 0))
    if not hasattr(data, "__iter__") or iter(data) is data:
        raise refusal(
            "The data cannot be read twice.",
            "arrays, or a dataset of batches",
            type(data).__name__,
            call.format("(x, y)"),
        )
    return lambda: iter(data)


def refusal(problem: str, expected: str, received: str, fix: str) -> TrainingError:
    """The error for data, or a layer, of which no features can be computed."""
    return TrainingError(problem, expected=expected, received=received, fix=fix)
