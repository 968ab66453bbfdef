"""Write a directory beside its destination and swap it in, so that a reader finds the old or the new one, whole.

A writer works in a hidden sibling of the destination and holds a lock on it that the operating system takes back
when the process ends, however it ends. So what an ended process left is told from what a living one is writing,
and the next writer sweeps it.
"""

import contextlib
import ctypes
import errno
import os
import re
import shutil
import sys
import uuid
from collections.abc import Iterator
from dataclasses import dataclass

from keras_hub_layers._src.files.layout import OWN_FILES, SAVED_MODEL, _is_savedmodel
from keras_hub_layers._src.files.write_errors import write_error
from keras_hub_layers._src.text import words
from keras_hub_layers.errors import ExportError, HubError

__all__ = ["Work", "next_version", "recover", "replacing", "replacing_file", "versioning"]


if sys.platform == "win32":
    fcntl = None
else:
    import fcntl


NEW, OLD = "new", "old"


@dataclass
class Work:
    """A directory that is being written.

    Attributes:
        path: Where to write.
        destination: Where it lies after the block; for a new version known only then.
    """

    path: str
    destination: str


@contextlib.contextmanager
def replacing(destination: str) -> Iterator[Work]:
    """Give a place to write to, and swap it in for the destination when the block ends without an error.

    Other files that a user laid beside the previous export, such as an edited `README.md`, stay there unless the
    new export brings its own. After an error the destination is as it was, and the work is removed.

    Args:
        destination: A local path: free, an empty directory, or a SavedModel to be replaced.

    Yields:
        A `Work`, whose path is an empty directory on the same file system.

    Raises:
        errors.ExportError: The destination is a file or holds something other than a SavedModel.
        errors.ExportWriteError: The operating system refused to write or to swap.
    """
    final = os.path.realpath(destination)
    recover(final)
    check_replaceable(destination)
    with _working(final, os.path.basename(final)) as path:
        yield Work(path, destination)
        _keep_the_users_files(final, path)
        _swap(path, final)


@contextlib.contextmanager
def versioning(directory: str) -> Iterator[Work]:
    """Give a place to write to, and make it `directory/<largest number + 1>` when the block ends without an error.

    Args:
        directory: A local directory of numbered versions, as TensorFlow Serving watches them; made if absent.

    Yields:
        A `Work`, whose path is an empty directory on the same file system.

    Raises:
        errors.ExportError: `directory` is a file, or a SavedModel itself.
        errors.ExportWriteError: The operating system refused to write.
    """
    check_versionable(directory)
    work = Work("", "")
    with _working(os.path.join(os.path.realpath(directory), "version"), "version") as path:
        work.path = path
        yield work
        for _ in range(1000):  # another process may take the number first
            work.destination = os.path.join(directory, str(next_version(os.listdir(directory))))
            try:
                os.rename(path, work.destination)
                return
            except OSError as err:
                if err.errno not in (errno.EEXIST, errno.ENOTEMPTY):
                    raise


@contextlib.contextmanager
def replacing_file(destination: str) -> Iterator[str]:
    """Give a path of the same name to write one file to, and let it replace the destination after the block.

    Args:
        destination: A local path: free, or a file to be replaced.

    Raises:
        errors.ExportError: The destination is a directory.
        errors.ExportWriteError: The operating system refused to write.
    """
    final = os.path.realpath(destination)
    if os.path.isdir(final):
        raise ExportError(
            "The destination is a directory.",
            expected="a path for one file",
            received="a directory",
            where=destination,
            fix=f"choose a name inside: {os.path.join(destination, 'model' + os.path.splitext(final)[1])!r}",
        )
    with _working(final, os.path.basename(final), again="khl.save(model, {})") as folder:
        path = os.path.join(folder, os.path.basename(final))
        yield path
        os.replace(path, final)


def next_version(names: list[str]) -> int:
    """The largest number among the names of a directory's entries plus one; 1 where there is none."""
    return max((int(name) for name in names if name.isascii() and name.isdigit()), default=0) + 1


def recover(destination: str) -> None:
    """Finish what a writer that was killed between two renames left: bring back the directory that it moved aside.

    Only file systems that cannot exchange two names need this. Readers may call it before they report that a
    directory is missing.

    Args:
        destination: The local path where an export should lie.
    """
    if os.path.lexists(destination):
        return
    for path in _leftovers(destination, OLD):
        with contextlib.suppress(OSError):
            os.rename(path, destination)
            return


def check_replaceable(destination: str) -> None:
    """Raise an `errors.ExportError` unless the destination is free, empty, or a SavedModel."""
    final = os.path.realpath(destination)
    if os.path.isdir(final):
        names = os.listdir(final)
        if not names or _is_savedmodel(names):
            return
        received = f"a directory with {words.listed(sorted(names), 3)}"
    elif os.path.lexists(final):
        received = "a file"
    else:
        return
    raise ExportError(
        "The destination holds something that is not an export, and is left as it is.",
        expected="a path that is free, an empty directory, or an earlier export (it has a saved_model.pb)",
        received=received,
        where=destination,
        fix=f"choose a directory of its own: khl.export(target, {os.path.join(destination, 'export')!r})"
        if os.path.isdir(final)
        else f"choose another path: khl.export(target, {destination + '_export'!r})",
    )


def check_versionable(directory: str) -> None:
    """Raise an `errors.ExportError` unless numbered versions can be put into the directory."""
    if not os.path.lexists(directory) or (os.path.isdir(directory) and not _is_savedmodel(os.listdir(directory))):
        return
    raise ExportError(
        "No numbered versions can be put there.",
        expected="a directory of numbered versions, or a path that is free",
        received="a SavedModel itself" if os.path.isdir(directory) else "a file",
        where=directory,
        fix=f"choose another directory: ExportFinetuned({directory + '_versions'!r}, versioned=True)",
    )


@contextlib.contextmanager
def _working(final: str, name: str, again: str = "khl.export(target, {})") -> Iterator[str]:
    """Make and lock a hidden sibling of the final place; sweep those of ended processes; remove it at the end."""
    path, lock = None, None
    try:
        os.makedirs(os.path.dirname(final), exist_ok=True)
        for stale in (*_leftovers(final, NEW), *_leftovers(final, OLD)):
            _sweep(stale)
        path, lock = _make_and_lock(os.path.join(os.path.dirname(final), f".{name}.{{}}.{NEW}"))
        yield path
    except HubError:
        raise
    except OSError as err:
        raise write_error(err, final, again) from err
    finally:
        if path is not None:
            _remove(path)
        if lock is not None:
            os.close(lock)


def _make_and_lock(pattern: str) -> tuple[str, int | None]:
    """Make a directory and lock it before a sweeper can; try again under another name if one was faster."""
    while True:
        path = pattern.format(uuid.uuid4().hex[:8])
        os.mkdir(path)
        try:
            lock = _lock(path)
        except FileNotFoundError:
            continue
        if lock is None or os.path.exists(path):
            return path, lock
        os.close(lock)


def _lock(path: str) -> int | None:
    """Lock a directory for as long as this process lives; None where the file system has no locks."""
    if fcntl is None:
        return None
    descriptor = os.open(path, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        return None
    return descriptor


def _leftovers(final: str, kind: str) -> list[str]:
    """The work directories of one kind that lie beside a destination, of ended and of living processes."""
    parent, name = os.path.split(final)
    pattern = re.compile(rf"\.{re.escape(name)}\.[0-9a-f]{{8}}\.{kind}")
    try:
        return [os.path.join(parent, entry) for entry in sorted(os.listdir(parent)) if pattern.fullmatch(entry)]
    except FileNotFoundError:
        return []


def _sweep(path: str) -> None:
    """Remove a work directory if the process that wrote it has ended."""
    try:
        lock = _lock(path)
    except OSError:
        return
    if lock is not None:
        _remove(path)
        os.close(lock)


def _keep_the_users_files(final: str, work: str) -> None:
    """Copy to the new export what a user laid beside the old one."""
    if not os.path.isdir(final):
        return
    for name in sorted(set(os.listdir(final)) - OWN_FILES - SAVED_MODEL - set(os.listdir(work))):
        source, target = os.path.join(final, name), os.path.join(work, name)
        if os.path.isdir(source) and not os.path.islink(source):
            shutil.copytree(source, target, symlinks=True)
        else:
            shutil.copy2(source, target, follow_symlinks=False)


def _swap(work: str, final: str) -> None:
    """Put the work into the final place; on Linux in one step, elsewhere in two that `recover` can finish."""
    if not os.path.isdir(final) or not os.listdir(final):
        if os.path.isdir(final):
            os.rmdir(final)
        os.rename(work, final)
    elif not _exchange(work, final):
        aside = work.removesuffix(NEW) + OLD
        os.rename(final, aside)
        try:
            os.rename(work, final)
        except BaseException:
            os.rename(aside, final)
            raise
        _remove(aside)


def _exchange(first: str, second: str) -> bool:
    """Exchange two names in one step (`renameat2`); False where the system or the file system cannot."""
    here, exchange = -100, 2  # AT_FDCWD and RENAME_EXCHANGE
    try:
        renameat2 = ctypes.CDLL(None, use_errno=True).renameat2
    except (AttributeError, OSError, TypeError):
        return False
    if renameat2(here, os.fsencode(first), here, os.fsencode(second), exchange) == 0:
        return True
    if ctypes.get_errno() in (errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP):
        return False
    raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), second)


def _remove(path: str) -> None:
    """Remove a directory, or the link that took its name, as far as the system allows."""
    if os.path.islink(path):
        os.unlink(path)
    else:
        shutil.rmtree(path, ignore_errors=True)
