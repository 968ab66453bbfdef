"""Read files and directories: local ones with Python, those of remote file systems through TensorFlow."""

import glob
import os
from collections.abc import Callable
from typing import Any, TypeVar

Result = TypeVar("Result")


def is_remote(path: str) -> bool:
    """Whether a path is one of a remote file system, such as `gs://bucket/model`."""
    return "://" in path


def join(directory: str, *names: str) -> str:
    """A path below a directory, local or remote."""
    if not is_remote(directory):
        return os.path.join(directory, *names)
    return _ask_tensorflow(lambda gfile: gfile.join(directory, *names))


def exists(path: str) -> bool:
    return _ask_tensorflow(lambda gfile: gfile.exists(path)) if is_remote(path) else os.path.exists(path)


def is_directory(path: str) -> bool:
    return _ask_tensorflow(lambda gfile: gfile.isdir(path)) if is_remote(path) else os.path.isdir(path)


def names_in(directory: str) -> list[str]:
    """Sorted names of what a directory holds, without slashes."""
    if is_remote(directory):
        return sorted(name.rstrip("/") for name in _ask_tensorflow(lambda gfile: gfile.listdir(directory)))
    return sorted(os.listdir(directory))


def paths_like(pattern: str) -> list[str]:
    """The paths that fit a pattern of the shell."""
    return _ask_tensorflow(lambda gfile: gfile.glob(pattern)) if is_remote(pattern) else glob.glob(pattern)


def size_of(path: str) -> int:
    """Bytes of a file."""
    return _ask_tensorflow(lambda gfile: gfile.stat(path).length) if is_remote(path) else os.stat(path).st_size


def read_bytes(path: str) -> bytes:
    """The contents of a file.

    Raises:
        OSError: It cannot be read.
    """
    if not is_remote(path):
        with open(path, "rb") as file:
            return file.read()

    def read(gfile: Any) -> bytes:
        with gfile.GFile(path, "rb") as file:
            return file.read()

    return _ask_tensorflow(read)


def _ask_tensorflow(ask: Callable[[Any], Result]) -> Result:
    """What TensorFlow's file systems answer; their errors become an `OSError`."""
    import tensorflow as tf

    try:
        return ask(tf.io.gfile)
    except tf.errors.OpError as err:
        raise OSError(f"{type(err).__name__}: {err}") from err
