"""The names of the files that a SavedModel consists of, and whether a directory has them."""

import os
import re
from collections.abc import Iterable

SAVED_MODEL_FILES = ("saved_model.pb", "saved_model.pbtxt", "saved_model.cpb")

# What TensorFlow and Keras write at the top of a SavedModel. All else that lies there is the user's.
OWN_FILES = {
    "assets", "assets.extra", "debug", "variables", "fingerprint.pb", "keras_metadata.pb", "tfhub_module.pb",
    *SAVED_MODEL_FILES,
}  # fmt: skip

_SHARD = r"variables\.data-(\d{5})-of-(\d{5})"


def is_saved_model(path: str) -> bool:
    """Whether a local directory is a SavedModel: the file of its graph is there."""
    return any(os.path.isfile(os.path.join(path, name)) for name in SAVED_MODEL_FILES)


def has_saved_model(names: Iterable[str]) -> bool:
    """Whether the names in a directory, local or remote, are those of a SavedModel."""
    return not set(SAVED_MODEL_FILES).isdisjoint(names)


def saved_models_below(path: str, hidden: bool = True) -> list[str]:
    """The local directories at or below a path that are SavedModels; not those inside of one.

    Args:
        path: Where to begin.
        hidden: Whether to look into directories whose names begin with a dot. Defaults to `True`.
    """
    directories = []
    for directory, folders, files in os.walk(path):
        if has_saved_model(files):
            directories.append(directory)
            folders.clear()
        folders[:] = sorted(name for name in folders if hidden or not name.startswith("."))
    return directories


def is_whole(directory: str) -> bool:
    """Whether a directory looks like a complete SavedModel, as far as its file names tell."""
    if not any(size_of(os.path.join(directory, name)) for name in SAVED_MODEL_FILES):
        return False
    try:
        names = os.listdir(os.path.join(directory, "variables"))
    except FileNotFoundError:
        return True
    except OSError:
        return False
    shards = [shard for shard in (re.fullmatch(_SHARD, name) for name in names) if shard]
    complete = any(sum(other[2] == shard[2] for other in shards) == int(shard[2]) for shard in shards)
    return "variables.index" in names and complete


def size_of(path: str) -> int | None:
    """Bytes of a file; `None` if it cannot be looked at."""
    try:
        return os.stat(path).st_size
    except OSError:
        return None
