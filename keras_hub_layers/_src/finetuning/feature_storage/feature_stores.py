"""Where features are put, batch by batch: in memory, or in files that other processes find."""

import json
import math
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from typing import Any

import keras
import numpy as np

from keras_hub_layers.errors import TrainingError

__all__ = ["Files", "Memory", "read"]


class Memory:
    """Results as lists of batches."""

    def __init__(self) -> None:
        self._batches: list[Any] = []

    def add(self, batch: Any) -> None:
        if self._batches:
            _check_alike(keras.tree.flatten(self._batches[0]), keras.tree.flatten(batch))
        self._batches.append(batch)

    def finish(self) -> Any:
        return keras.tree.map_structure(lambda *parts: np.concatenate(parts), *self._batches)

    def close(self) -> None:
        pass


class Files:
    """Results as files of bytes beside their destination, which they are moved to when they are complete.

    Args:
        folder: The folder above it.
    """

    def __init__(self, folder: str) -> None:
        os.makedirs(folder, exist_ok=True)
        self._folder = folder
        self._work = tempfile.mkdtemp(prefix=".work-", dir=folder)
        self._files: list[Any] = []
        self._first: list[np.ndarray] = []
        self._counts: list[int] = []
        self._like: Any = None

    def add(self, batch: Any) -> None:
        leaves = keras.tree.flatten(batch)
        if not self._files:
            for leaf in leaves:
                if leaf.dtype.kind in "OUS":
                    raise _unlike("numbers", f"{leaf.dtype.name}, such as {leaf.flat[0]!r}")
            self._like = _plan(batch)
            self._first, self._counts = [leaf[:0] for leaf in leaves], [0 for _ in leaves]
            self._files = [open(os.path.join(self._work, f"{n}.bin"), "wb") for n in range(len(leaves))]  # noqa: SIM115
        _check_alike(self._first, leaves)
        for number, (file, leaf) in enumerate(zip(self._files, leaves, strict=True)):
            self._counts[number] += len(leaf)
            file.write(np.ascontiguousarray(leaf).tobytes())

    def finish(self, name: str) -> Any:
        """Move the files to their place, and read them from there."""
        self._close_files()
        leaves = [
            {"dtype": _name(leaf.dtype), "shape": [count, *leaf.shape[1:]]}
            for leaf, count in zip(self._first, self._counts, strict=True)
        ]
        with open(os.path.join(self._work, "about.json"), "w", encoding="utf-8") as file:
            json.dump({"leaves": leaves, "like": self._like}, file)
        folder = os.path.join(self._folder, name)
        try:
            os.rename(self._work, folder)
        except OSError:
            if not os.path.isdir(folder):  # else another process was faster, with the same result
                raise
        return read(folder)

    def close(self) -> None:
        self._close_files()
        shutil.rmtree(self._work, ignore_errors=True)

    def _close_files(self) -> None:
        for file in self._files:
            file.close()


def read(folder: str) -> Any:
    """The results in a folder as maps of its files; `None` if there are none. Damaged ones are removed."""
    if not os.path.isdir(folder):
        return None
    try:
        with open(os.path.join(folder, "about.json"), encoding="utf-8") as file:
            about = json.load(file)
        leaves = []
        for number, leaf in enumerate(about["leaves"]):
            path, shape, dtype = os.path.join(folder, f"{number}.bin"), tuple(leaf["shape"]), np.dtype(leaf["dtype"])
            if os.path.getsize(path) != math.prod(shape) * dtype.itemsize:
                raise ValueError(path)
            leaves.append(np.memmap(path, dtype, "r", shape=shape) if math.prod(shape) else np.zeros(shape, dtype))
        return _rebuilt(about["like"], leaves)
    except (OSError, ValueError, KeyError, TypeError):
        shutil.rmtree(folder, ignore_errors=True)
        return None


def _name(dtype: np.dtype) -> str:
    return dtype.name if dtype.kind == "V" else dtype.str  # bfloat16 and the like have no other name of their own


def _plan(batch: Any) -> Any:
    """A structure as JSON, with the numbers of its leaves in the order of `keras.tree.flatten`."""
    numbers: Iterator[int] = iter(range(len(keras.tree.flatten(batch))))
    return _as_json(keras.tree.map_structure(lambda leaf: next(numbers), batch))


def _as_json(structure: Any) -> Any:
    if isinstance(structure, Mapping):
        return {"dict": [[key, _as_json(entry)] for key, entry in structure.items()]}
    if isinstance(structure, (tuple, list)):
        return {"tuple" if isinstance(structure, tuple) else "list": [_as_json(entry) for entry in structure]}
    return structure


def _rebuilt(plan: Any, leaves: list[Any]) -> Any:
    if isinstance(plan, int):
        return leaves[plan]
    ((kind, parts),) = plan.items()
    if kind == "dict":
        return {key: _rebuilt(entry, leaves) for key, entry in parts}
    return {"tuple": tuple, "list": list}[kind](_rebuilt(entry, leaves) for entry in parts)


def _check_alike(first: list[Any], leaves: list[Any]) -> None:
    for one, other in zip(first, leaves, strict=True):
        if one.shape[1:] != other.shape[1:] or one.dtype != other.dtype:
            text = f"{other.dtype.name} {other.shape[1:]} after {one.dtype.name} {one.shape[1:]}"
            raise _unlike("the same shape and dtype in each batch", text)


def _unlike(expected: str, received: str) -> TrainingError:
    in_memory = expected == "numbers"
    return TrainingError(
        "These values cannot be kept.",
        expected=expected,
        received=received,
        fix="finetuning.features(layer, data)   # without cache: in memory"
        if in_memory
        else "dataset = dataset.padded_batch(32)   # or cut all examples to one length",
    )
