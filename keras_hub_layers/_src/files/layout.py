"""The names of the files that a SavedModel consists of, and whether a directory has them."""

import os
import re

SAVED_MODEL_FILES = ("saved_model.pb", "saved_model.pbtxt", "saved_model.cpb")


_SHARD = re.compile(r"variables\.data-(\d{5})-of-(\d{5})")


def is_whole(directory: str) -> bool:
    """Whether a directory looks like a complete SavedModel, as far as its file names tell."""
    if not any(_size(os.path.join(directory, name)) for name in SAVED_MODEL_FILES):
        return False
    try:
        names = os.listdir(os.path.join(directory, "variables"))
    except FileNotFoundError:
        return True
    except OSError:
        return False
    shards = [found for found in map(_SHARD.fullmatch, names) if found]
    complete = any(sum(other[2] == shard[2] for other in shards) == int(shard[2]) for shard in shards)
    return "variables.index" in names and complete


def _size(path: str) -> int | None:
    try:
        return os.stat(path).st_size
    except OSError:
        return None


def is_saved_model(path: str) -> bool:
    return any(os.path.isfile(os.path.join(path, name)) for name in SAVED_MODEL_FILES)


# What TensorFlow and Keras write at the top of a SavedModel. All else that lies there is the user's.
OWN_FILES = {"assets", "assets.extra", "debug", "variables", "fingerprint.pb", "keras_metadata.pb", "tfhub_module.pb"}


SAVED_MODEL = {"saved_model.cpb", "saved_model.pb", "saved_model.pbtxt"}


def _is_savedmodel(names: list[str]) -> bool:
    return not SAVED_MODEL.isdisjoint(names)
