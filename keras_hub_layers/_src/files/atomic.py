"""Write a directory or a file beside its destination and swap it in: a reader finds the old or the new one, whole."""

import contextlib
import ctypes
import errno
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass

from keras_hub_layers._src.files import work_directories, write_errors
from keras_hub_layers._src.files.destinations import check_file, check_replaceable, check_versionable, next_version
from keras_hub_layers._src.files.layout import OWN_FILES
from keras_hub_layers._src.files.work_directories import NEW, OLD, work_directory


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
def replace_directory(destination: str) -> Iterator[Work]:
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
    with work_directory(final, os.path.basename(final)) as path:
        yield Work(path, destination)
        _keep_files_of_user(final, path)
        _swap(path, final)


@contextlib.contextmanager
def add_version(directory: str) -> Iterator[Work]:
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
    with work_directory(os.path.join(os.path.realpath(directory), "version"), "version") as path:
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
def replace_file(
    destination: str, again: str = "khl.save(model, {})", problem: str = write_errors.UNTOUCHED
) -> Iterator[str]:
    """Give a path of the same name to write one file to, and let it replace the destination after the block.

    Args:
        destination: A local path: free, or a file to be replaced.
        again: What to run with another path, for the error text. Defaults to saving a model.
        problem: What the error says first. Defaults to a sentence about an export.

    Raises:
        errors.ExportError: The destination is a directory.
        errors.ExportWriteError: The operating system refused to write.
    """
    final = os.path.realpath(destination)
    check_file(destination)
    with work_directory(final, os.path.basename(final), again, problem) as folder:
        path = os.path.join(folder, os.path.basename(final))
        yield path
        os.replace(path, final)


def recover(destination: str) -> None:
    """Finish what a writer that was killed between two renames left: bring back the directory that it moved aside.

    Only file systems that cannot exchange two names need this. Readers may call it before they report that a
    directory is missing.

    Args:
        destination: The local path where an export should lie.
    """
    if os.path.lexists(destination):
        return
    for path in work_directories.leftovers(destination, OLD):
        with contextlib.suppress(OSError):
            os.rename(path, destination)
            return


def _keep_files_of_user(final: str, work: str) -> None:
    """Copy to the new export what a user laid beside the old one."""
    if not os.path.isdir(final):
        return
    for name in sorted(set(os.listdir(final)) - OWN_FILES - set(os.listdir(work))):
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
        work_directories.remove(aside)


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
