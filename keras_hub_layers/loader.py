"""load(handle) -> loaded object: the only caller of `tf.saved_model.load`."""

import hashlib
import os
import shlex
import weakref
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import tensorflow as tf
from google.protobuf.message import DecodeError
from tensorflow.core.protobuf import saved_model_pb2

from keras_hub_layers import damage, handles, ops, origins, packages, resolvers
from keras_hub_layers.errors import HubError, InterfaceError, LoadError, MissingOpError, explain

TF1_HUB_MARKER = "tfhub_module.pb"
_OPTIONS = (
    "allow_partial_checkpoint",
    "experimental_io_device",
    "experimental_skip_checkpoint",
    "experimental_variable_policy",
)


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


def load(handle: Any, tags: Any = None, options: Any = None, *, sha256: str | None = None) -> Any:
    """Load the SavedModel that a handle names.

    This is the low-level API: it returns TensorFlow's own object, with its variables, functions and
    signatures. `keras_hub_layers.layers.HubLayer` is what models are built from.

    Args:
        handle: A path, URL or model id, as `keras_hub_layers.resolve` takes it.
        tags: Name, or list of names, of the graph to load. Defaults to the only graph that a TF2
            SavedModel has, and to the untagged graph of a model in the TF1 Hub format.
        options: A `tf.saved_model.LoadOptions`, or a dict of its arguments. Defaults to `None`.
        sha256: Checksum of the archive, 64 hexadecimal digits. Defaults to `None`: not checked.

    Returns:
        The loaded object, a TensorFlow trackable.

    Raises:
        errors.ResolveError: The handle cannot be turned into a directory.
        errors.MissingOpError: The graph needs ops of a package that is not installed.
        errors.InterfaceError: It holds no graph with these tags.
        errors.LoadError: TensorFlow cannot load the directory.

    Example:

    ```python
    import keras_hub_layers as khl

    obj = khl.load("https://example.org/models/half_plus_two/1")
    obj.signatures["serving_default"](x=[2.0])
    ```
    """
    directory = resolvers.resolve(handle, sha256=sha256)
    return load_directory(directory, handle=os.fspath(handle), tags=tags, options=options)


def load_directory(directory: str, *, handle: str, tags: Any = None, options: Any = None) -> Any:
    """Load a directory and remember which handle it stands for."""
    meta = read_meta_graphs(directory)
    hub_format = tf.io.gfile.exists(_join(directory, TF1_HUB_MARKER))
    wanted = _as_list(tags, hub_format)
    obj = _load(directory, handle, wanted, load_options(options), meta)
    _sources[obj] = describe_source(directory, handle, tags, (_with_tags(meta, wanted) or meta)[0])
    return obj


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
        origin=origins.origin(meta_graph, hub_format),
        custom_ops=tuple(ops.custom(meta_graph)),
        not_compiled=tuple(sorted(ops.not_compiled(meta_graph).items())),
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


def select_graph(directory: str, handle: str, tags: Any = None) -> Any:
    """The one graph that `load` would load, a protobuf of type `MetaGraphDef`.

    Raises:
        errors.InterfaceError: No graph has these tags, or there are several and no tags.
        errors.LoadError: The directory holds no readable SavedModel.
    """
    meta = read_meta_graphs(directory)
    wanted = _as_list(tags, tf.io.gfile.exists(_join(directory, TF1_HUB_MARKER)))
    if wanted is None and len(meta) == 1:
        return meta[0]
    found = _with_tags(meta, wanted)
    if not found:
        raise _tags_error(directory, handle, wanted, meta)
    return found[0]


def _with_tags(meta: list[Any], wanted: list[str] | None) -> list[Any]:
    return [graph for graph in meta if wanted is not None and set(graph.meta_info_def.tags) == set(wanted)]


def _as_list(tags: Any, hub_format: bool) -> list[str] | None:
    if tags is None:
        return [] if hub_format else None
    return [tags] if isinstance(tags, str) else list(tags)


def _load(directory: str, handle: str, tags: Any, options: Any, meta: Any) -> Any:
    nodes = (node for graph in meta for node in graph.object_graph_def.nodes)
    if any(node.user_object.identifier == "optimizer" for node in nodes):
        from keras_hub_layers import _compat  # not at the top: it needs Keras, and `inspect` does not

        _compat.restore_optimizers_without_keras_2()
    try:
        return tf.saved_model.load(directory, tags=tags, options=options)
    except HubError:
        raise
    except Exception as err:
        missing = packages.missing_op(err)
        package = packages.package_of(missing)
        if package is not None and packages.is_imported(package.module):
            return tf.saved_model.load(directory, tags=tags, options=options)
        raise _load_error(err, directory, handle, tags, meta, missing, package) from err


def _load_error(
    err: Exception,
    directory: str,
    handle: str,
    tags: list[str] | None,
    meta: list[Any],
    missing: str | None,
    package: packages.Package | None,
) -> HubError:
    where = f"{directory} (handle {handles.display(handle)!r})"
    if missing:
        return MissingOpError(
            explain(
                f"The SavedModel uses the op {missing!r}, which this TensorFlow does not have.",
                expected=f"a graph of ops that TensorFlow {tf.__version__} or an imported package registers",
                received=f"the op {missing!r}",
                where=where,
                fix=package.advice(tf.__version__)
                if package
                else "import the Python package that registers this op before loading (its publisher names it)",
            )
        )
    available = [sorted(graph.meta_info_def.tags) for graph in meta]
    if (len(available) > 1) if tags is None else (sorted(tags) not in available):
        return _tags_error(directory, handle, tags, meta)
    lost = damage.missing_files(directory, meta)
    if lost or damage.is_told_by(err):
        return damage.error(lost, err, handle, where)
    return LoadError(
        explain(
            "TensorFlow cannot load the SavedModel.",
            expected=f"a SavedModel that TensorFlow {tf.__version__} can load",
            received=f"{type(err).__name__}: {str(err).splitlines()[0] if str(err) else ''}",
            where=where,
            fix="it cannot be used with TensorFlow 2 as it is: ask its publisher for a TF2 SavedModel, or look at it:\n"
            f"saved_model_cli show --all --dir {directory}",
        )
    )


def _tags_error(directory: str, handle: str, tags: list[str] | None, meta: list[Any]) -> InterfaceError:
    available = [sorted(graph.meta_info_def.tags) for graph in meta]
    shown, words = handles.display(handle), shlex.quote(",".join(available[0]))
    return InterfaceError(
        explain(
            "The SavedModel holds several graphs."
            if tags is None
            else "The SavedModel holds no graph with these tags.",
            expected=f"the tags of one of its graphs: {available}",
            received=f"tags={tags!r}",
            where=f"{directory} (handle {shown!r})",
            fix=f"HubLayer({shown!r}, tags={available[0]!r})\n"
            f"keras-hub-layers inspect {shlex.quote(shown)} --tags {words}",
        )
    )


def read_meta_graphs(directory: str) -> list[Any]:
    """Parse `saved_model.pb` (or `.pbtxt`) and return its graphs, protobufs of type `MetaGraphDef`.

    Raises:
        errors.LoadError: The file is missing, damaged, or empty.
    """
    model = saved_model_pb2.SavedModel()
    path = _join(directory, "saved_model.pb")
    try:
        if tf.io.gfile.exists(path):
            with tf.io.gfile.GFile(path, "rb") as file:
                model.ParseFromString(file.read())
        else:
            from google.protobuf import text_format

            path = _join(directory, "saved_model.pbtxt")
            with tf.io.gfile.GFile(path, "r") as file:
                text_format.Parse(file.read(), model)
        if not model.meta_graphs:
            raise DecodeError("it holds no graph")
    except (DecodeError, tf.errors.OpError, OSError, ValueError) as err:
        raise LoadError(
            explain(
                "The directory holds no readable SavedModel.",
                expected="a readable saved_model.pb with at least one graph",
                received=f"{type(err).__name__}: {str(err).splitlines()[0] if str(err) else ''}",
                where=path,
                fix="download or export the model again; a cached copy is renewed after\n"
                "keras-hub-layers cache remove HANDLE",
            )
        ) from err
    return list(model.meta_graphs)


def load_options(options: Any) -> Any:
    """A `tf.saved_model.LoadOptions` from one, from a dict of its arguments, or from `None`."""
    if not isinstance(options, Mapping):
        return options
    unknown = sorted(set(options) - set(_OPTIONS))
    if unknown:
        raise InterfaceError(
            explain(
                "load_options has arguments that TensorFlow does not know.",
                expected=f"a tf.saved_model.LoadOptions, or a dict with keys among {list(_OPTIONS)}",
                received=f"{unknown}",
                where="load_options",
                fix='load_options={"experimental_io_device": "/job:localhost"}',
            )
        )
    return tf.saved_model.LoadOptions(**options)


def options_config(options: Any) -> dict[str, Any] | None:
    """The JSON form of load options: what differs from the defaults; `None` for none."""
    if options is None or isinstance(options, Mapping):
        return None if options is None else dict(options)
    defaults = tf.saved_model.LoadOptions()
    config = {}
    for name in _OPTIONS:
        value = getattr(options, name)
        if value != getattr(defaults, name):
            config[name] = value if isinstance(value, (bool, str)) else value.value
    return config


def _join(directory: str, *names: str) -> str:
    return tf.io.gfile.join(directory, *names)
