"""Where a loaded object came from: handle, directory, tags, producer, digest."""

import hashlib
from dataclasses import dataclass
from typing import Any

from keras_hub_layers._src.resolve import handles
from keras_hub_layers._src.savedmodel.file_system import exists, is_directory, join, names_in, read_bytes, size_of
from keras_hub_layers._src.savedmodel.graphs import library, ops
from keras_hub_layers._src.savedmodel.meta_graphs import TF1_HUB_MARKER, tag_list
from keras_hub_layers._src.savedmodel.protos import producers, saved_values
from keras_hub_layers.errors import ExportError


@dataclass(frozen=True)
class Source:
    """Where a loaded object came from.

    Attributes:
        handle: The handle as it was given, a `str`.
        directory: The directory it was loaded from, local or on a remote file system.
        tags: The tags that were asked for, a tuple of `str`, or `None` where TensorFlow chose.
        graph_tags: The tags of the loaded graph.
        format: `"tf2"`, `"tf1"` or `"tf1_hub"`.
        tf_version: Version of the TensorFlow that wrote it, `""` if unknown.
        digest: SHA-256 of its `saved_model.pb`, to notice a change.
        assets: Names and sizes (bytes) of its assets, likewise.
        origin: The program that wrote it, as `producers.origin` names it.
        custom_ops: Names of ops that TensorFlow itself does not offer.
        custom_types: Names of types of inputs and outputs that a package registers.
        unsaved_gradients: Names of custom gradients that its functions ask for and that were not saved with them.
    """

    handle: str
    directory: str
    tags: tuple[str, ...] | None
    graph_tags: tuple[str, ...]
    format: str
    tf_version: str
    digest: str
    assets: tuple[tuple[str, int], ...]
    origin: str
    custom_ops: tuple[str, ...]
    custom_types: tuple[str, ...]
    unsaved_gradients: frozenset[str]

    @property
    def tags_to_give(self) -> tuple[str, ...] | None:
        """The tags to load it with once more; `None` where none are needed."""
        return None if self.format == "tf1_hub" and not self.tags else self.tags


_ATTRIBUTE = "_keras_hub_layers_source"


def attach_source(obj: Any, source: Source) -> None:
    """Have a loaded object carry where it came from."""
    setattr(obj, _ATTRIBUTE, source)


def source_of(obj: Any) -> Source | None:
    """Where an object came from that a user hands back to us; `None` if `load` or a `HubLayer` did not load it.

    Within the package a source is handed on; this is for what comes from outside: `khl.export(khl.load(handle), …)`.
    """
    source = getattr(obj, _ATTRIBUTE, None)
    return source if isinstance(source, Source) else None


def describe_source(directory: str, handle: str, tags: Any, meta_graph: Any) -> Source:
    """The record of where an object comes from."""
    hub_format = exists(join(directory, TF1_HUB_MARKER))
    wanted = tag_list(tags, hub_format)
    return Source(
        handle=handle,
        directory=directory,
        tags=None if wanted is None else tuple(wanted),
        graph_tags=tuple(sorted(meta_graph.meta_info_def.tags)),
        format="tf1_hub" if hub_format else "tf2" if meta_graph.HasField("object_graph_def") else "tf1",
        tf_version=meta_graph.meta_info_def.tensorflow_version,
        digest=_digest(directory),
        assets=tuple(_assets(directory).items()),
        origin=producers.origin(meta_graph, hub_format),
        custom_ops=tuple(ops.custom(meta_graph)),
        custom_types=tuple(saved_values.registered_types(meta_graph)),
        unsaved_gradients=library.unsaved_gradients(meta_graph.graph_def),
    )


def has_changed(source: Source) -> bool:
    """Whether the directory holds another graph or other assets than when the object was loaded; not, whether it
    holds all of them still."""
    digest, assets = _digest(source.directory), _assets(source.directory)
    return digest not in (source.digest, "") or any(assets.get(name, size) != size for name, size in source.assets)


def _digest(directory: str) -> str:
    for name in ("saved_model.pb", "saved_model.pbtxt"):
        path = join(directory, name)
        if exists(path):
            return hashlib.sha256(read_bytes(path)).hexdigest()
    return ""


def _assets(directory: str) -> dict[str, int]:
    folder = join(directory, "assets")
    names = names_in(folder) if is_directory(folder) else []
    return {name: size_of(join(folder, name)) for name in names}


def digest_of_assets(source: Source) -> str:
    """SHA-256 of the contents of an object's assets; `""` if it has none, or they are gone."""
    digest = hashlib.sha256()
    for name, _ in source.assets:
        path = join(join(source.directory, "assets"), name)
        if not exists(path):
            return ""
        digest.update(name.encode() + read_bytes(path))
    return digest.hexdigest() if source.assets else ""


def check_unchanged(source: Source) -> None:
    """Refuse to copy from a SavedModel that was loaded and then replaced by another one at the same place.

    Raises:
        errors.ExportError: `has_changed`.
    """
    if has_changed(source):
        raise _replaced_error(source)


def _replaced_error(source: Source) -> ExportError:
    return ExportError(
        "The SavedModel that the layer was made from has been replaced by another one.",
        expected="the saved_model.pb and assets that were loaded",
        received="other ones",
        where=f"{source.directory} (handle {handles.display(source.handle)!r})",
        fix="put the original back; in the next run give each version a directory of its own",
    )
