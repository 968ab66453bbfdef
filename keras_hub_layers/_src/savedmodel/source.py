"""Where a loaded object came from: handle, directory, tags, producer, digest."""

import hashlib
import weakref
from dataclasses import dataclass
from typing import Any

import tensorflow as tf

from keras_hub_layers._src.resolve import handles
from keras_hub_layers._src.savedmodel import producers
from keras_hub_layers._src.savedmodel.graphs import ops, xla
from keras_hub_layers._src.savedmodel.meta_graphs import TF1_HUB_MARKER, _as_list, _join
from keras_hub_layers.errors import ExportError


@dataclass(frozen=True)
class Source:
    """Where a loaded object came from.

    Attributes:
        handle: The handle as it was given, a `str`.
        directory: The directory it was loaded from, local or on a remote file system.
        tags: The tags of the loaded graph, a tuple of `str`, or `None` where TensorFlow chose.
        format: `"tf2"`, `"tf1"` or `"tf1_hub"`.
        tf_version: Version of the TensorFlow that wrote it, `""` if unknown.
        digest: SHA-256 of its `saved_model.pb`, to notice a change.
        assets: Names and sizes (bytes) of its assets, likewise.
        origin: The program that wrote it, as `origins.origin` names it.
        custom_ops: Names of ops that TensorFlow itself does not offer.
        not_compiled: Per signature, and `""` for the object itself, what hinders XLA, as `ops.not_compiled` says it.
    """

    handle: str
    directory: str
    tags: tuple[str, ...] | None
    format: str
    tf_version: str
    digest: str
    assets: tuple[tuple[str, int], ...]
    origin: str
    custom_ops: tuple[str, ...]
    not_compiled: tuple[tuple[str, tuple[str, ...]], ...]

    @property
    def tags_to_give(self) -> tuple[str, ...] | None:
        """The tags to load it with once more; `None` where none are needed."""
        return None if self.format == "tf1_hub" and not self.tags else self.tags


_sources: "weakref.WeakKeyDictionary[Any, Source]" = weakref.WeakKeyDictionary()


def source_of(obj: Any) -> Source | None:
    """Where an object came from, if `load` or a `HubLayer` loaded it, else `None`."""
    try:
        return _sources.get(obj)
    except TypeError:  # an object without a hash or a weak reference was not loaded by us
        return None


def describe_source(directory: str, handle: str, tags: Any, meta_graph: Any) -> Source:
    """The record of where an object comes from."""
    hub_format = tf.io.gfile.exists(_join(directory, TF1_HUB_MARKER))
    wanted = _as_list(tags, hub_format)
    return Source(
        handle=handle,
        directory=directory,
        tags=None if wanted is None else tuple(wanted),
        format="tf1_hub" if hub_format else "tf2" if meta_graph.HasField("object_graph_def") else "tf1",
        tf_version=meta_graph.meta_info_def.tensorflow_version,
        digest=_digest(directory),
        assets=tuple(_assets(directory).items()),
        origin=producers.origin(meta_graph, hub_format),
        custom_ops=tuple(ops.custom(meta_graph)),
        not_compiled=tuple(sorted(xla.not_compiled(meta_graph).items())),
    )


def has_changed(source: Source) -> bool:
    """Whether the directory holds another graph or other assets than when the object was loaded; not, whether it
    holds all of them still."""
    digest, assets = _digest(source.directory), _assets(source.directory)
    return digest not in (source.digest, "") or any(assets.get(name, size) != size for name, size in source.assets)


def _digest(directory: str) -> str:
    for name in ("saved_model.pb", "saved_model.pbtxt"):
        path = _join(directory, name)
        if tf.io.gfile.exists(path):
            with tf.io.gfile.GFile(path, "rb") as file:
                return hashlib.sha256(file.read()).hexdigest()
    return ""


def _assets(directory: str) -> dict[str, int]:
    folder = _join(directory, "assets")
    names = sorted(tf.io.gfile.listdir(folder)) if tf.io.gfile.isdir(folder) else []
    return {name: tf.io.gfile.stat(_join(folder, name)).length for name in names}


def digest_of_assets(source: Source) -> str:
    """SHA-256 of the contents of an object's assets; `""` if it has none, or they are gone."""
    digest = hashlib.sha256()
    for name, _ in source.assets:
        path = _join(_join(source.directory, "assets"), name)
        if not tf.io.gfile.exists(path):
            return ""
        with tf.io.gfile.GFile(path, "rb") as file:
            digest.update(name.encode() + file.read())
    return digest.hexdigest() if source.assets else ""


def check_unchanged(source: Source) -> None:
    """Refuse to copy from a SavedModel that was loaded and then replaced by another one at the same place.

    Raises:
        errors.ExportError: `has_changed`.
    """
    if has_changed(source):
        raise _replaced(source)


def _replaced(source: Source) -> ExportError:
    return ExportError(
        "The SavedModel that the layer was made from has been replaced by another one.",
        expected="the saved_model.pb and assets that were loaded",
        received="other ones",
        where=f"{source.directory} (handle {handles.display(source.handle)!r})",
        fix="put the original back; in the next run give each version a directory of its own",
    )
