"""Where an export may be written: local paths, remote file systems, and checks before anything is written."""

import os
import re
import tempfile

import tensorflow as tf

from keras_hub_layers._src.files import destinations as local_destinations
from keras_hub_layers._src.files.write_errors import write_error
from keras_hub_layers.errors import ExportError

__all__ = ["check_place", "check_writable", "is_remote", "local_path"]


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


def check_place(destination: str, versions: bool = False) -> None:
    """Raise unless an export can be written to a destination.

    Args:
        destination: As `place` takes it; one on a remote file system is taken on trust.
        versions: Whether numbered versions go into it. Defaults to `False`.

    Raises:
        errors.ExportError: It holds something else, or nothing can be written there.
    """
    if is_remote(destination):
        return
    check = local_destinations.check_versionable if versions else local_destinations.check_replaceable
    check(destination)
    check_writable(destination if versions else os.path.dirname(os.path.realpath(destination)), destination)


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


def is_remote(directory: str) -> bool:
    """Whether a path names a file system other than the local one."""
    return re.match(r"[a-z][a-z0-9+.-]*://", directory) is not None


# -- remote file systems -----------------------------------------------------------------------------------------------


def _upload(path: str, directory: str) -> str:
    """Copy to a new version; `saved_model.pb` last, since readers take its presence for the whole."""
    names = tf.io.gfile.listdir(directory) if tf.io.gfile.isdir(directory) else []
    version = local_destinations.next_version([name.rstrip("/") for name in names])
    destination = tf.io.gfile.join(directory, str(version))
    files = [os.path.join(folder, name) for folder, _, found in os.walk(path) for name in found]
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
