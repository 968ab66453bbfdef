"""What is missing or broken of a SavedModel's files, and how to get it anew."""

import re
import shlex
from typing import Any

from keras_hub_layers._src.resolve import handles
from keras_hub_layers._src.savedmodel.file_system import exists, join, paths_like
from keras_hub_layers._src.text import words
from keras_hub_layers.errors import LoadError

# What TensorFlow's checkpoint reader says of files that end too early or hold something else.
_BROKEN = ("sstable", "Read less bytes", "checksum", "corrupt", "data loss", "block handle")


# What it says of a checkpoint that was written for other variables.
_OTHER_GRAPH = (
    r"Key \S+ not found in (the )?checkpoint|incompatible tensor with shape|objects could be matched"
    r"|Shapes? .* incompatible|expected dtype .* does not equal|Unresolved object|were not matched"
)


_VARIABLES = ("VarHandleOp", "Variable", "VariableV2")


def missing_files(directory: str, graphs: list[Any]) -> list[str]:
    """The files that the graphs of a SavedModel need and that are not in its directory: assets and the checkpoint."""
    return [name for name in _needed_files(directory, graphs) if not exists(join(directory, name))]


def _needed_files(directory: str, graphs: list[Any]) -> list[str]:
    names = [join("assets", asset.filename) for graph in graphs for asset in graph.asset_file_def]
    if any(map(_has_checkpoint, graphs)):
        shards = paths_like(join(directory, "variables", "variables.data-*-of-*"))
        number = max((int(path.rpartition("-of-")[2]) for path in shards if path[-5:].isdigit()), default=1)
        names.append(join("variables", "variables.index"))
        names += [join("variables", f"variables.data-{i:05}-of-{number:05}") for i in range(number)]
    return list(dict.fromkeys(names))


def _has_checkpoint(graph: Any) -> bool:
    """Whether a graph has values to restore; the TF1 Hub format does not name the op that restores them."""
    if graph.saver_def.restore_op_name:
        return True
    return not graph.HasField("object_graph_def") and any(node.op in _VARIABLES for node in graph.graph_def.node)


def why_unusable(missing: list[str]) -> str:
    """Why a SavedModel with missing files cannot be used."""
    return f"files are missing: {words.join_names(missing, 3)}"


def explain(err: Exception, directory: str, graphs: list[Any], handle: str) -> LoadError | None:
    """The error for a SavedModel that is not whole, or not one; `None` if TensorFlow failed for another reason.

    Args:
        err: What TensorFlow raised.
        directory: The SavedModel.
        graphs: Its graphs.
        handle: The handle.
    """
    missing = missing_files(directory, graphs)
    if missing:
        return not_whole(missing, handle)
    said = f"{type(err).__name__}: {_own_line(err)}"
    if type(err).__name__ == "DataLossError" or any(word.lower() in str(err).lower() for word in _BROKEN):
        problem = "The SavedModel is damaged: its checkpoint cannot be read to the end."
        expected, received = "variables.index and variables.data-*, as saved", said
    elif re.search(_OTHER_GRAPH, str(err)):
        problem = "The checkpoint is that of another model: it does not fit the variables of the graph."
        expected, received = "the folder variables that was saved together with saved_model.pb", said
    else:
        return None
    return LoadError(problem, expected=expected, received=received, fix=_how_to_renew(handle))


def not_whole(missing: list[str], handle: str) -> LoadError:
    """The error for a SavedModel with missing files."""
    return LoadError(
        "The SavedModel is not whole: files that its graph needs are missing.",
        expected=words.join_names(missing, 3),
        received="no such file" if len(missing) == 1 else "no such files",
        fix=_how_to_renew(handle),
    )


def _how_to_renew(handle: str) -> str:
    """What to do about a SavedModel whose files are not what was saved."""
    if handle.startswith(("http://", "https://")):
        return f"fetch it anew, after\nkeras-hub-layers cache remove {shlex.quote(handles.display(handle))}"
    return "copy or download the whole directory anew: saved_model.pb with the folders variables and assets"


def _own_line(err: Exception) -> str:
    """The line of an error that says what is wrong, rather than where in a graph."""
    lines = str(err).splitlines() or [""]
    return next((line for line in lines if re.search(_OTHER_GRAPH, line)), lines[0])
