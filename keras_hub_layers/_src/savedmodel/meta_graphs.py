"""Read `saved_model.pb` and pick the graph with the tags that were asked for."""

import shlex
from typing import Any

from google.protobuf.message import DecodeError

from keras_hub_layers._src.files.layout import SAVED_MODEL_FILES, has_saved_model
from keras_hub_layers._src.resolve import handles
from keras_hub_layers._src.resolve.local import no_saved_model
from keras_hub_layers._src.savedmodel.file_system import exists, is_directory, is_remote, join, names_in, read_bytes
from keras_hub_layers._src.savedmodel.protos import text_form
from keras_hub_layers._src.savedmodel.protos.messages import message
from keras_hub_layers.errors import InterfaceError, LoadError

TF1_HUB_MARKER = "tfhub_module.pb"


def select_graph(directory: str, handle: str, tags: Any = None) -> Any:
    """The one graph that `load` would load, a protobuf of type `MetaGraphDef` in the schema of `messages`.

    Raises:
        errors.InterfaceError: No graph has these tags, or there are several and no tags.
        errors.LoadError: The directory holds no readable SavedModel.
    """
    meta = read_meta_graphs(directory)
    wanted = tag_list(tags, exists(join(directory, TF1_HUB_MARKER)))
    if wanted is None and len(meta) == 1:
        return meta[0]
    graphs = with_tags(meta, wanted)
    if not graphs:
        raise tags_error(directory, handle, wanted, meta)
    return graphs[0]


def with_tags(meta: list[Any], wanted: list[str] | None) -> list[Any]:
    """The graphs with exactly these tags; none if `wanted` is `None`."""
    return [graph for graph in meta if wanted is not None and set(graph.meta_info_def.tags) == set(wanted)]


def tag_list(tags: Any, hub_format: bool) -> list[str] | None:
    """Tags as a list; `None` where TensorFlow may take the only graph."""
    if tags is None:
        return [] if hub_format else None
    return [tags] if isinstance(tags, str) else list(tags)


def tags_error(directory: str, handle: str, tags: list[str] | None, meta: list[Any]) -> InterfaceError:
    """The error for tags that no graph has, or for several graphs and no tags."""
    available = [sorted(graph.meta_info_def.tags) for graph in meta]
    shown, words = handles.display(handle), shlex.quote(",".join(available[0]))
    return InterfaceError(
        "The SavedModel holds several graphs." if tags is None else "The SavedModel holds no graph with these tags.",
        expected=f"the tags of one of its graphs: {available}",
        received=f"tags={tags!r}",
        where=f"{directory} (handle {shown!r})",
        fix=f"HubLayer({shown!r}, tags={available[0]!r})\n"
        f"# keras-hub-layers inspect {shlex.quote(shown)} --tags {words}",
    )


def read_meta_graphs(directory: str, saved_model: Any = None) -> list[Any]:
    """Parse `saved_model.pb` (or `.pbtxt`) and return its graphs, protobufs of type `MetaGraphDef`.

    Args:
        directory: The SavedModel.
        saved_model: The class of the protobuf to parse it into. Defaults to that of `messages`, which has the fields
            that are read in this package; with TensorFlow's the graphs can be changed, and have all fields.

    Raises:
        errors.LoadError: The file is missing, damaged, or empty.
        errors.ResolveError: A directory on a remote file system holds something else.
    """
    _check_remote_directory(directory)
    path = join(directory, "saved_model.pb")
    try:
        if exists(path):
            content = read_bytes(path)
        else:
            path = join(directory, "saved_model.pbtxt")
            content = text_form.to_bytes(read_bytes(path).decode())
        graphs = list((saved_model or message("SavedModel")).FromString(content).meta_graphs)
        if not graphs:
            raise DecodeError("it holds no graph")
    except (DecodeError, OSError, ValueError) as err:
        raise LoadError(
            "The directory holds no readable SavedModel.",
            expected="a readable saved_model.pb with at least one graph",
            received=f"{type(err).__name__}: {str(err).splitlines()[0] if str(err) else ''}",
            where=path,
            fix="download or export the model again; a cached copy is renewed after\n"
            "keras-hub-layers cache remove HANDLE",
        ) from err
    return graphs


def _check_remote_directory(directory: str) -> None:
    """Say what a directory on a remote file system holds if it is no SavedModel; `resolve` looks at local ones."""
    if not is_remote(directory) or not is_directory(directory):
        return
    names = names_in(directory)
    if names and not has_saved_model(names):
        children = [name for name in names if _holds_saved_model(join(directory, name))]
        raise no_saved_model(directory, names, children)


def _holds_saved_model(directory: str) -> bool:
    return any(exists(join(directory, name)) for name in SAVED_MODEL_FILES)
