"""Where an export may be written: local paths, remote file systems, and checks before anything is written."""

import contextlib
import json
import os
import re
import tempfile
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import tensorflow as tf

from keras_hub_layers._src.compat.workers import workers_of
from keras_hub_layers._src.files import atomic
from keras_hub_layers._src.files import destinations as local_destinations
from keras_hub_layers._src.files.write_errors import unknown_scheme_fix, write_error
from keras_hub_layers.errors import ExportError, ExportWriteError, HubError

__all__ = [
    "by_chief", "check_place", "check_scheme", "check_writable", "is_remote", "local_path", "read_file", "remove_file",
    "replace_file", "upload",
]  # fmt: skip


def local_path(directory: str | os.PathLike[str]) -> str:
    """A destination as a plain path: `~` expanded, `file://` removed; of another file system as it is.

    Raises:
        errors.ExportError: It is empty, or no path at all.
    """
    path = os.fspath(directory) if isinstance(directory, (str, os.PathLike)) else None
    if not path or not isinstance(path, str):
        raise ExportError(
            "There is no destination to write to.",
            expected="a path, str or PathLike",
            received=repr(directory),
            where="the directory of the export",
            fix='directory = "path/to/export"',
        )
    return os.path.expanduser(path.removeprefix("file://"))


def is_remote(directory: str) -> bool:
    """Whether a path names a file system other than the local one."""
    return re.match(r"[a-z][a-z0-9+.-]*://", directory) is not None


def check_place(destination: str, versions: bool = False) -> None:
    """Raise unless an export can be written to a destination.

    Args:
        destination: As `local_path` gives it; one on a remote file system that TensorFlow knows is taken on trust.
        versions: Whether numbered versions go into it. Defaults to `False`.

    Raises:
        errors.ExportError: It holds something else, or nothing can be written there.
    """
    check_scheme(destination)
    if is_remote(destination):
        return
    check = local_destinations.check_versionable if versions else local_destinations.check_replaceable
    check(destination)
    check_writable(destination if versions else os.path.dirname(os.path.realpath(destination)), destination)


def check_scheme(destination: str, again: str = "khl.export(target, {})") -> None:
    """Raise an `errors.ExportWriteError` if TensorFlow has no file system for the scheme of a path.

    Args:
        destination: As `local_path` gives it.
        again: What to run with another place, which is put in for `{}`. Defaults to an export.
    """
    known = [scheme for scheme in tf.io.gfile.get_registered_schemes() if scheme]
    if is_remote(destination) and destination.partition("://")[0] not in known:
        raise ExportWriteError(
            "TensorFlow has no file system for this path, so nothing can be written there.",
            expected=f"a local path, or one of {', '.join(f'{scheme}://' for scheme in sorted(known))}",
            received=destination,
            where=destination,
            fix=unknown_scheme_fix(destination, again),
        )


def check_writable(folder: str, destination: str) -> None:
    """Raise an `errors.ExportWriteError` unless directories can be made in a folder that may be absent yet.

    One is made and removed again in the nearest folder that is there, since its permissions alone do not tell.
    """
    nearest = os.path.realpath(folder)
    while not os.path.lexists(nearest):
        nearest = os.path.dirname(nearest)
    try:
        os.rmdir(tempfile.mkdtemp(prefix=".khl_", dir=nearest))
    except OSError as err:
        raise write_error(err, destination, "directory = {}", "No export can be written there.") from err


@contextlib.contextmanager
def replace_file(destination: str, again: str, problem: str) -> Iterator[str]:
    """Give a local path to write one file to, and let it replace the destination after the block.

    Args:
        destination: As `local_path` gives it; also on a remote file system, to which the file is copied.
        again: What to run with another place, which is put in for `{}`.
        problem: What the error says first.

    Raises:
        errors.ExportWriteError: The file system refused to write; a file that was there is untouched.
    """
    check_scheme(destination, again)
    try:
        if not is_remote(destination):
            with atomic.replace_file(destination, again, problem) as path:
                yield path
            return
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, destination.rpartition("/")[2])
            yield path
            tf.io.gfile.makedirs(destination.rpartition("/")[0])
            tf.io.gfile.copy(path, destination, overwrite=True)
    except (OSError, tf.errors.OpError) as err:
        if isinstance(err, HubError):
            raise
        raise write_error(err, destination, again, problem) from err


def read_file(path: str) -> bytes | None:
    """What is in a file, also on a remote file system; `None` if there is none."""
    try:
        with tf.io.gfile.GFile(path, "rb") as file:
            return file.read()
    except tf.errors.NotFoundError:
        return None


def remove_file(path: str) -> None:
    """Remove a file, also on a remote file system, and its folder if nothing else is in it."""
    with contextlib.suppress(tf.errors.NotFoundError):
        tf.io.gfile.remove(path)
        folder = path.rpartition("/")[0]
        if tf.io.gfile.isdir(folder) and not tf.io.gfile.listdir(folder):
            tf.io.gfile.rmtree(folder)


def by_chief(write: Callable[[], str], variables: Sequence[Any], kinds: Sequence[type[HubError]] = ()) -> str:
    """Write in one process: under a strategy of several workers the chief does, and the others wait for its word.

    Args:
        write: Writes, and returns the path of what it has written.
        variables: All `tf.Variable`s that it reads. Reading some takes all workers.
        kinds: Classes of errors that the others raise as the chief does.

    Returns:
        What the chief's `write` has returned, on each worker.

    Raises:
        errors.ExportWriteError: On the other workers, where the chief has raised an error.
    """
    strategies = [getattr(variable, "distribute_strategy", None) for variable in variables]
    workers = next(filter(None, map(workers_of, dict.fromkeys(strategies))), None)
    if workers is None:
        return write()
    word: dict[str, Any] = {}
    error: Exception | None = None
    with workers.read_once(variables):
        if workers.is_chief:
            try:
                word = {"path": write()}
            except Exception as err:
                error, word = err, {"kind": type(err).__name__, "text": str(err)[:1000]}
        word = json.loads(workers.gather(json.dumps(word).encode())[0])
    if error is not None:
        raise error
    if "path" in word:
        return word["path"]
    kind = next((kind for kind in kinds if kind.__name__ == word["kind"]), ExportWriteError)
    raise kind(f"The chief, which writes for all workers, could not: {word['kind']}: {word['text']}")


def upload(path: str, directory: str) -> str:
    """Copy to a new version; `saved_model.pb` last, since readers take its presence for the whole."""
    names = tf.io.gfile.listdir(directory) if tf.io.gfile.isdir(directory) else []
    version = local_destinations.next_version([name.rstrip("/") for name in names])
    destination = tf.io.gfile.join(directory, str(version))
    files = [os.path.join(folder, name) for folder, _, names in os.walk(path) for name in names]
    try:
        for file in sorted(files, key=lambda file: (os.path.relpath(file, path) == "saved_model.pb", file)):
            target = tf.io.gfile.join(destination, os.path.relpath(file, path).replace(os.sep, "/"))
            tf.io.gfile.makedirs(target.rpartition("/")[0])
            tf.io.gfile.copy(file, target)
    except BaseException:
        if tf.io.gfile.exists(destination):
            tf.io.gfile.rmtree(destination)
        raise
    return destination
