"""Work directories: hidden siblings of a destination, each locked for as long as its process lives.

The operating system takes the lock back when the process ends, however it ends. So what an ended process left is told
from what a living one is writing, and the next writer sweeps it.
"""

import contextlib
import os
import re
import shutil
import sys
import uuid
from collections.abc import Iterator

from keras_hub_layers._src.files.write_errors import UNTOUCHED, write_error
from keras_hub_layers.errors import HubError

if sys.platform == "win32":
    fcntl = None
else:
    import fcntl


NEW, OLD = "new", "old"  # a directory that is being written; one that was moved aside


@contextlib.contextmanager
def work_directory(
    final: str, name: str, again: str = "khl.export(target, {})", problem: str = UNTOUCHED
) -> Iterator[str]:
    """Make and lock a hidden sibling of the final place; sweep those of ended processes; remove it at the end.

    Args:
        final: The place that the work is for.
        name: What the name of the work directory begins with.
        again: What to run with another place, for the error text. Defaults to an export.
        problem: What the error says first. Defaults to a sentence about an export.

    Raises:
        errors.ExportWriteError: The operating system refused something, here or in the block.
    """
    path, lock = None, None
    try:
        os.makedirs(os.path.dirname(final), exist_ok=True)
        for stale in (*leftovers(final, NEW), *leftovers(final, OLD)):
            _sweep(stale)
        path, lock = _make_and_lock(os.path.join(os.path.dirname(final), f".{name}.{{}}.{NEW}"))
        yield path
    except HubError:
        raise
    except OSError as err:
        raise write_error(err, final, again, problem) from err
    finally:
        if path is not None:
            remove(path)
        if lock is not None:
            os.close(lock)


def leftovers(final: str, kind: str) -> list[str]:
    """The work directories of one kind that lie beside a destination, of ended and of living processes."""
    parent, name = os.path.split(final)
    pattern = re.compile(rf"\.{re.escape(name)}\.[0-9a-f]{{8}}\.{kind}")
    try:
        return [os.path.join(parent, entry) for entry in sorted(os.listdir(parent)) if pattern.fullmatch(entry)]
    except FileNotFoundError:
        return []


def remove(path: str) -> None:
    """Remove a directory, or the link that took its name, as far as the system allows."""
    if os.path.islink(path):
        os.unlink(path)
    else:
        shutil.rmtree(path, ignore_errors=True)


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


def _sweep(path: str) -> None:
    """Remove a work directory if the process that wrote it has ended."""
    try:
        lock = _lock(path)
    except OSError:
        return
    if lock is not None:
        remove(path)
        os.close(lock)
