"""The error for what could not be written: what the operating system or TensorFlow said, and the cure that fits."""

import errno
import os

from keras_hub_layers.errors import ExportWriteError

__all__ = ["write_error"]

UNTOUCHED = "The export could not be written; what was there before is untouched."

# What each cause is told by: numbers of the operating system, TensorFlow's class of error, words of the message.
_FULL = ({errno.ENOSPC, errno.EDQUOT, errno.EFBIG}, "ResourceExhaustedError", ("no space left", "quota", "too large"))
_READ_ONLY = ({errno.EROFS}, "", ("read-only file system",))
_REFUSED = ({errno.EACCES, errno.EPERM}, "PermissionDeniedError UnauthenticatedError", ("permission denied",))
_SCHEME = (set[int](), "", ("file system scheme",))
_MOUNTED = ({errno.EBUSY, errno.EXDEV}, "", ("device or resource busy", "cross-device"))
_WORKER = (
    set[int](),
    "UnavailableError AbortedError CancelledError DeadlineExceededError",
    ("connection reset by peer",),
)


def write_error(
    error: BaseException, place: str, again: str = "khl.export(target, {})", problem: str = UNTOUCHED
) -> ExportWriteError:
    """The error for something that could not be written.

    Args:
        error: An `OSError`, or a `tf.errors.OpError`, which is told by its name: nothing here imports TensorFlow.
        place: The path that was to be written.
        again: What to run with another place, which is put in for `{}`. Defaults to an export.
        problem: One sentence. Defaults to one about an export.
    """
    name = os.path.basename(place.rstrip("/")) or "export"
    own = again.format(repr(os.path.join(os.path.expanduser("~"), name)))
    cures = (
        (_FULL, "a file system with room", f"free space, or choose a place with more room:\n{own}"),
        (_READ_ONLY, "a file system that can be written to", f"choose a place on another file system:\n{own}"),
        (_REFUSED, "a place that this user may write to", f"choose a directory of your own:\n{own}"),
        (_SCHEME, "a file system that TensorFlow knows", unknown_scheme_fix(place, again)),
        (_MOUNTED, "a directory that is no mount point itself", f"choose a directory below it:\n{own}"),
        (
            _WORKER,
            "workers that answer until the export is written",
            "a worker or its network is gone, and the place is not to blame: start all workers again, load the last "
            f"checkpoint, and export again:\n{again.format(repr(place))}",
        ),
    )
    other = ("a place that can be written to", f"choose another place:\n{own}")
    expected, fix = next(((expected, fix) for signs, expected, fix in cures if _is(error, *signs)), other)
    return ExportWriteError(
        problem, expected=expected, received=f"{type(error).__name__}: {error}", where=place, fix=fix
    )


def unknown_scheme_fix(place: str, again: str = "khl.export(target, {})") -> str:
    """What to do where TensorFlow has no file system for the scheme of a path."""
    scheme, _, path = place.partition("://")
    if scheme == "dbfs":
        return f"Databricks mounts it as a directory:\n{again.format(repr('/dbfs/' + path.lstrip('/')))}"
    local = again.format(repr(path.rstrip("/").rpartition("/")[2] or "export"))
    return (
        f"write to a local directory, and copy it to {scheme}:// with the tool of that store:\n{local}\n"
        "Or import the package that teaches TensorFlow the scheme first (for s3, hdfs and others): import tensorflow_io"
    )


def _is(error: BaseException, numbers: set[int], classes: str, words: tuple[str, ...]) -> bool:
    if isinstance(error, OSError) and error.errno in numbers:
        return True
    text = str(error).lower()
    return type(error).__name__ in classes.split() or any(word in text for word in words)
