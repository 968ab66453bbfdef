"""What is missing or broken of a SavedModel's files, and how to get it anew."""

import shlex
from typing import Any

import tensorflow as tf

from keras_hub_layers._src.resolve import handles
from keras_hub_layers._src.text import words
from keras_hub_layers.errors import LoadError

MISSING = "files are missing"


# What TensorFlow's checkpoint reader says of files that end too early or hold something else.
_BROKEN = ("sstable", "Read less bytes", "checksum", "corrupt", "data loss", "block handle")


def missing_files(directory: str, graphs: list[Any]) -> list[str]:
    """The files that the graphs of a SavedModel need and that are not in its directory: assets and the checkpoint."""
    names = [_join("assets", asset.filename) for graph in graphs for asset in graph.asset_file_def]
    if any(graph.saver_def.restore_op_name for graph in graphs):
        index = _join("variables", "variables.index")
        found = tf.io.gfile.glob(_join(directory, "variables", "variables.data-*-of-*"))
        number = max((int(path.rpartition("-of-")[2]) for path in found if path[-5:].isdigit()), default=1)
        names += [index, *(_join("variables", f"variables.data-{i:05}-of-{number:05}") for i in range(number))]
    return [name for name in dict.fromkeys(names) if not tf.io.gfile.exists(_join(directory, name))]


def verdict(lost: list[str]) -> str:
    """Why a SavedModel with missing files cannot be used."""
    return f"{MISSING}: {words.listed(lost, 3)}"


def is_told_by(err: Exception) -> bool:
    """Whether TensorFlow failed since a file of the checkpoint is cut off or not what it was."""
    return isinstance(err, tf.errors.DataLossError) or any(word.lower() in str(err).lower() for word in _BROKEN)


def error(lost: list[str], err: Exception, handle: str, where: str) -> LoadError:
    """The error for a SavedModel that is not whole.

    Args:
        lost: Its missing files, as `missing_files` names them; if none, a file is broken.
        err: What TensorFlow raised.
        handle: The handle.
        where: Directory and handle.
    """
    said = f"{type(err).__name__}: {str(err).splitlines()[0] if str(err) else ''}"
    is_cached = handle.startswith(("http://", "https://"))
    return LoadError(
        "The SavedModel is not whole: files that its graph needs are missing."
        if lost
        else "The SavedModel is damaged: its checkpoint cannot be read to the end.",
        expected=words.listed(lost, 3) if lost else "variables.index and variables.data-*, as saved",
        received=("no such file" if len(lost) == 1 else "no such files") if lost else said,
        where=where,
        fix=f"fetch it anew, after\nkeras-hub-layers cache remove {shlex.quote(handles.display(handle))}"
        if is_cached
        else "copy or download the whole directory anew: saved_model.pb with the folders variables and assets",
    )


def _join(directory: str, *names: str) -> str:
    return tf.io.gfile.join(directory, *names)
