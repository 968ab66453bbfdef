"""load(handle) -> loaded object: the only caller of `tf.saved_model.load`."""

import functools
import os
from typing import Any

import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2

from keras_hub_layers._src.compat import loading
from keras_hub_layers._src.public import public
from keras_hub_layers._src.resolve import handles, resolve
from keras_hub_layers._src.savedmodel import missing_files
from keras_hub_layers._src.savedmodel.file_system import exists, join
from keras_hub_layers._src.savedmodel.graphs.op_packages import (
    is_imported,
    missing_op,
    missing_type,
    package_of,
    package_of_type,
)
from keras_hub_layers._src.savedmodel.load_options import load_options
from keras_hub_layers._src.savedmodel.meta_graphs import (
    TF1_HUB_MARKER,
    read_meta_graphs,
    tag_list,
    tags_error,
    with_tags,
)
from keras_hub_layers._src.savedmodel.pruning.pruned_object import load_used
from keras_hub_layers._src.savedmodel.pruning.reach import Use
from keras_hub_layers._src.savedmodel.source import attach_source, describe_source
from keras_hub_layers._src.text import words
from keras_hub_layers._src.text.progress import progress
from keras_hub_layers.errors import HubError, LoadError, MissingOpError


@public()
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
    directory = resolve.resolve(handle, sha256=sha256)
    return load_directory(directory, handle=os.fspath(handle), tags=tags, options=options)


def load_handle(handle: Any, tags: Any, options: Any, sha256: str | None, use: Use) -> Any:
    """As `load`; of what a layer does not use, as much may be left out as `load_directory` says."""
    directory = resolve.resolve(handle, sha256=sha256)
    return load_directory(directory, handle=os.fspath(handle), tags=tags, options=options, use=use)


@loading.without_collecting()
def load_directory(
    directory: str, *, handle: str, tags: Any = None, options: Any = None, use: Use | None = None
) -> Any:
    """Load a directory; the object carries where it came from: see `source.source_of`.

    Args:
        directory: The directory.
        handle: What led to it.
        tags: As in `load`, like `options`.
        options: Likewise.
        use: What of it a layer calls. Then the object may be a part, with all variables but those of optimizers:
            `pruned_object.whole_object` gives the whole. Defaults to `None`: the whole is loaded.
    """
    meta = read_meta_graphs(directory, saved_model_pb2.SavedModel)
    hub_format = exists(join(directory, TF1_HUB_MARKER))
    wanted = tag_list(tags, hub_format)
    options, load_from = load_options(options), functools.partial(_load, directory, handle, wanted)
    with progress(f"loading {words.ending(handles.display(handle))}"):
        obj = None if use is None or hub_format else load_used(meta, directory, use, options, load_from)
        if obj is None:
            obj = load_from(directory, options, meta)
    attach_source(obj, describe_source(directory, handle, tags, (with_tags(meta, wanted) or meta)[0]))
    return obj


def _load(directory: str, handle: str, tags: Any, path: str, options: Any, meta: Any) -> Any:
    """Load a directory, or the files for it that stand at `path`."""
    nodes = (node for graph in meta for node in graph.object_graph_def.nodes)
    if any(node.user_object.identifier == "optimizer" for node in nodes):
        from keras_hub_layers._src.compat import tensorflow  # not at the top: it needs Keras, and `inspect` does not

        tensorflow.restore_optimizers_without_keras_2()
    tried: set[str] = set()
    while True:
        try:
            with loading.without_checks_of_arguments(), loading.without_optimizing():
                return tf.saved_model.load(path, tags=tags, options=options)
        except HubError:
            raise
        except Exception as err:
            package = package_of(missing_op(err)) or package_of_type(missing_type(err))
            if package is None or package.module in tried or not is_imported(package.module):
                error = _load_error(err, directory, tags, meta, handle)
                error.locate(f"{directory} (handle {handles.display(handle)!r})")
                raise error from err
            tried.add(package.module)


def _load_error(err: Exception, directory: str, tags: list[str] | None, meta: list[Any], handle: str) -> HubError:
    op, kind = missing_op(err), missing_type(err)
    if op or kind:
        return _missing_op(op) if op else _missing_type(str(kind))
    available = [sorted(graph.meta_info_def.tags) for graph in meta]
    if (len(available) > 1) if tags is None else (sorted(tags) not in available):
        return tags_error(directory, handle, tags, meta)
    return missing_files.explain(err, directory, meta, handle) or _unknown_failure(err, directory)


def _missing_op(op: str) -> MissingOpError:
    package = package_of(op)
    return MissingOpError(
        f"The SavedModel uses the op {op!r}, which this TensorFlow does not have.",
        expected=f"a graph of ops that TensorFlow {tf.__version__} or an imported package registers",
        received=f"the op {op!r}",
        fix=package.advice(tf.__version__)
        if package
        else "import the Python package that registers this op before loading (its publisher names it)",
    )


def _missing_type(name: str) -> MissingOpError:
    package = package_of_type(name)
    return MissingOpError(
        f"The SavedModel takes or returns the type {name!r}, which no imported package has registered.",
        expected=f"types that TensorFlow {tf.__version__} or an imported package registers",
        received=f"the type {name!r}",
        fix=package.advice(tf.__version__)
        if package
        else "import the Python package that registers this type before loading (its publisher names it)",
    )


def _unknown_failure(err: Exception, directory: str) -> LoadError:
    return LoadError(
        "TensorFlow cannot load the SavedModel.",
        expected=f"a SavedModel that TensorFlow {tf.__version__} can load",
        received=f"{type(err).__name__}: {str(err).splitlines()[0] if str(err) else ''}",
        fix="it cannot be used with TensorFlow 2 as it is: ask its publisher for a TF2 SavedModel, or look at it:\n"
        f"saved_model_cli show --all --dir {directory}",
    )
