"""Wait for whoever does the same work, but never for a process that shows no sign of life.

A lock only saves work: whoever goes on without it does it a second time, and nothing breaks. That is what happens
where locks cannot be had: on read-only directories, beside another user's lock, on network file systems without them.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from keras_hub_layers._src.files.deadline import Deadline

PATIENCE = 60.0  # seconds without a sign of life from whoever holds a lock


@contextmanager
def hold(path: str, signs_of_life: Callable[[], object], deadline: Deadline | None = None) -> Iterator[None]:
    """Hold a lock while the body runs, if it can be had.

    Args:
        path: The lock file; it is created, with its directory.
        signs_of_life: What the holder's work looks like; if it is the same after `PATIENCE` seconds, the holder is
            taken for dead and the body runs without the lock.
        deadline: That of the call that waits: half of its seconds are the patience, and a sign of life of the
            holder is progress of the call. Defaults to `None`.
    """
    import filelock  # not at the top: most processes find what they want and need no lock

    lock = None
    try:
        os.makedirs(os.path.dirname(path), exist_ok=True)
        candidate = filelock.FileLock(path)
        signs = signs_of_life()
        while lock is None:
            try:
                candidate.acquire(timeout=deadline.seconds / 2 if deadline else PATIENCE)
                lock = candidate
            except filelock.Timeout:
                before, signs = signs, signs_of_life()
                if signs == before:
                    break
                if deadline:
                    deadline.extend()
    except (OSError, NotImplementedError):
        lock = None
    try:
        yield
    finally:
        if lock:
            lock.release()
