"""Work directories of the cache: their names say which process of which machine works in them.

A name, and no lock as in `files.work_directories`: caches lie on network file systems, where locks may do nothing.
"""

import os
import re
import shutil
import socket
import time
import uuid
from contextlib import suppress

from keras_hub_layers._src.files.manifests import sizes

_ABANDONED = 24 * 3600  # seconds after which a work directory of another machine counts as left over


def new(root: str, key: str) -> str:
    """A path for the work of this process on an entry; it is not made."""
    return os.path.join(root, f"{key}.{host()}-{os.getpid()}-{uuid.uuid4().hex[:12]}.tmp")


def sweep(root: str) -> None:
    """Delete what killed processes left over; never what a living one is working on."""
    for name in os.listdir(root):
        match = re.fullmatch(r"([0-9a-f]{40})\.(.+)-(\d+)-[0-9a-f]{12}\.tmp", name)
        if not match:
            continue
        path = os.path.join(root, name)
        with suppress(OSError):
            old = time.time() - os.stat(path).st_mtime > _ABANDONED
            if old or (match[2] == host() and not _is_running(int(match[3]))):
                shutil.rmtree(path, ignore_errors=True)


def signs_of_life(root: str, key: str) -> list[tuple[str, int]]:
    """Names and sizes of the files in the work directories of an entry."""
    signs = []
    for name in os.listdir(root):
        if name.startswith(key + ".") and name.endswith(".tmp"):
            signs += list(sizes(os.path.join(root, name)))
    return sorted(signs)


def host() -> str:
    """The name of this machine, as far as a file name can hold it."""
    return re.sub(r"[^A-Za-z0-9.]+", "_", socket.gethostname()) or "localhost"


def _is_running(pid: int) -> bool:
    try:
        if os.name != "nt":  # there, os.kill would end the process
            os.kill(pid, 0)
    except OSError as error:
        return not isinstance(error, ProcessLookupError)
    return True
