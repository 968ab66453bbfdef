"""The file of a backup: plain values and arrays in one `.npz`, which is read without running anything from it."""

import io
import json
import zipfile
from typing import Any

import numpy as np

from keras_hub_layers._src.export import destinations
from keras_hub_layers.errors import TrainingError

__all__ = ["read", "write"]

_AGAIN = "callbacks.Backup({})"
_UNTOUCHED = "The backup could not be written; the one before is untouched."


def write(path: str, content: dict[str, Any]) -> str:
    """Write a backup in place of the one before, in one step.

    Args:
        path: As `destinations.local_path` gives it.
        content: Dicts with `str` for keys, lists, numbers, texts, `None` and NumPy arrays, at any depth.

    Raises:
        errors.ExportWriteError: It could not be written; the one before is untouched.
    """
    arrays: list[np.ndarray] = []
    text = json.dumps(_without_arrays(content, arrays))
    named: dict[str, Any] = {f"a{number}": array for number, array in enumerate(arrays)}
    with destinations.replace_file(path, _AGAIN, _UNTOUCHED) as local, open(local, "wb") as file:
        np.savez(file, content=np.frombuffer(text.encode(), "uint8"), **named)
    return path


def read(path: str) -> dict[str, Any] | None:
    """The content of a backup; `None` where there is none.

    Raises:
        errors.TrainingError: The file is none that `write` has written.
    """
    data = destinations.read_file(path)
    if data is None:
        return None
    try:
        with np.load(io.BytesIO(data), allow_pickle=False) as file:
            content = json.loads(file["content"].tobytes())
            return _with_arrays(content, [file[f"a{number}"] for number in range(len(file.files) - 1)])
    except (ValueError, KeyError, OSError, EOFError, zipfile.BadZipFile) as err:
        raise TrainingError(
            "The file in the place of the backup is none.",
            expected="a file that callbacks.Backup has written, or no file",
            received=f"{type(err).__name__}: {err}",
            where=path,
            fix=_AGAIN.format(repr(path.rpartition("/")[0] + "_2")),
        ) from err


def _without_arrays(value: Any, arrays: list[np.ndarray]) -> Any:
    """A value for JSON; its arrays are put into a list, and their numbers in their place."""
    if isinstance(value, dict):
        return {"dict": {name: _without_arrays(item, arrays) for name, item in value.items()}}
    if isinstance(value, (list, tuple)):
        return [_without_arrays(item, arrays) for item in value]
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    arrays.append(np.asarray(value))
    return {"array": len(arrays) - 1}


def _with_arrays(value: Any, arrays: list[np.ndarray]) -> Any:
    if isinstance(value, list):
        return [_with_arrays(item, arrays) for item in value]
    if not isinstance(value, dict):
        return value
    if "array" in value:
        return arrays[value["array"]]
    return {name: _with_arrays(item, arrays) for name, item in value["dict"].items()}
