"""The directory where the demo works, and the settings of the process while it works there."""

import contextlib
import os
import tempfile
from collections.abc import Iterator

from keras_hub_layers.errors import ExportError

# The demo's hub is on this machine: what is set for other hosts does not concern it.
_OTHER_HOSTS = ("KERAS_HUB_LAYERS_OFFLINE", "KERAS_HUB_LAYERS_MIRRORS", "TFHUB_MODEL_LOAD_FORMAT")


def read(path: str) -> bytes:
    """The content of a file."""
    with open(path, "rb") as file:
        return file.read()


def size_of(directory: str) -> str:
    """The size of all files below a directory, in words."""
    size = sum(os.path.getsize(os.path.join(folder, name)) for folder, _, names in os.walk(directory) for name in names)
    return f"{size / 1000:.0f} kB"


def make(directory: str) -> None:
    """Make the directory, and see that it can be written to."""
    try:
        os.makedirs(directory, exist_ok=True)
        tempfile.TemporaryDirectory(dir=directory).cleanup()
    except OSError as err:
        raise ExportError(
            "The demo cannot write to its directory.",
            expected="a directory, or a path for a new one, that this user may write to",
            received=f"{type(err).__name__}: {err.strerror}",
            where=directory,
            fix="keras-hub-layers demo ANOTHER_DIRECTORY",
        ) from err


@contextlib.contextmanager
def own_settings(work: str) -> Iterator[None]:
    """A cache of the demo's own, and nothing that is set for other hosts; for the time of a block."""
    wanted = {"TFHUB_CACHE_DIR": os.path.join(work, "cache"), "NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1"}
    before = {name: os.environ[name] for name in (*_OTHER_HOSTS, *wanted) if name in os.environ}
    for name in _OTHER_HOSTS:
        os.environ.pop(name, None)
    os.environ.update(wanted)
    try:
        yield
    finally:
        for name in wanted:
            os.environ.pop(name, None)
        os.environ.update(before)
