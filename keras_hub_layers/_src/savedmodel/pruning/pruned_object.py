"""Loads a part of an object first, and the whole object when somebody asks for it."""

import contextlib
import logging
import os
import tempfile
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import tensorflow as tf
from tensorflow.core.protobuf import meta_graph_pb2, saved_model_pb2

from keras_hub_layers import errors
from keras_hub_layers._src.compat import loading, shared_functions
from keras_hub_layers._src.resolve import environment
from keras_hub_layers._src.savedmodel import source as source_lib
from keras_hub_layers._src.savedmodel.checkpoints.keys import PREFIX
from keras_hub_layers._src.savedmodel.checkpoints.restore import FirstValues, restore
from keras_hub_layers._src.savedmodel.graphs import ops
from keras_hub_layers._src.savedmodel.load_options import skip_checkpoint
from keras_hub_layers._src.savedmodel.protos.messages import message
from keras_hub_layers._src.savedmodel.pruning import shared_part
from keras_hub_layers._src.savedmodel.pruning.prune import Pruned, copy_part, prune, with_assets_of
from keras_hub_layers._src.savedmodel.pruning.reach import NotUnderstood, Use, children, without_optimizers
from keras_hub_layers._src.savedmodel.pruning.shared_part import SharedPart

__all__ = ["load_used", "saved_graph", "whole_object", "whole_object_if_loaded"]


# (directory, `tf.saved_model.LoadOptions` or `None`, protobufs of type `MetaGraphDef`) -> loaded object
Loader = Callable[[str, Any, list[Any]], Any]

_ATTRIBUTE = "_keras_hub_layers_whole"
_log = logging.getLogger("keras_hub_layers")
_lock = threading.RLock()


class _Whole:
    """The whole SavedModel of an object that holds a part of it.

    Args:
        obj: The part.
        variables: Number of a node in the graph of the whole -> the variable of the part for this node.
        content: The graph of the whole, a serialized `MetaGraphDef`. It is kept because the file may be gone later.
        options: The `tf.saved_model.LoadOptions` of the part, or `None`.
        load: A function that loads a directory.
        shared: The `SharedPart` whose functions the part uses, or `None`.
    """

    def __init__(
        self, obj: Any, variables: dict[int, Any], content: bytes, options: Any, load: Loader, shared: Any
    ) -> None:
        self.part = obj
        self.shared = shared  # lives as long as the part, so that the next layer can use it
        self.obj: Any = None  # the whole, once it is loaded
        self._variables = variables
        self._content = content
        self._options = options
        self._load = load

    def graph_of(self, kind: Any) -> Any:
        """The graph of the whole, as a protobuf of this class for `MetaGraphDef`."""
        return kind.FromString(self._content)

    def load(self) -> Any:
        """Load the whole with the variables of the part. The variables keep their values."""
        source = source_lib.source_of(self.part)
        assert source is not None
        graph, options = self.graph_of(meta_graph_pb2.MetaGraphDef), self._options
        nodes = graph.object_graph_def.nodes
        others = [n for n, node in enumerate(nodes) if node.HasField("variable") and n not in self._variables]
        if source_lib.has_changed(source) and source.assets:
            raise _replaced_error(source)
        if others and (source_lib.has_changed(source) or not os.path.isdir(source.directory)):
            errors.warn(_lost_optimizer(source))
            pruned = copy_part(graph, without_optimizers(graph), source.directory)
            others = []
        else:
            pruned = Pruned(graph, tuple(range(len(nodes))))
            for asset in graph.asset_file_def:
                asset.filename = os.path.join(os.path.abspath(source.directory), "assets", asset.filename)
        values = [variable.read_value() for variable in self._variables.values()] if others else []
        try:
            with _hand_out(pruned, self._variables):
                whole = _load_graph(pruned, options, self._load)
            if others and not getattr(options, "experimental_skip_checkpoint", False):
                prefix = os.path.join(source.directory, PREFIX)
                tf.train.Checkpoint(root=whole).read(prefix).assert_existing_objects_matched()
        finally:
            for variable, value in zip(self._variables.values(), values, strict=False):
                variable.assign(value)
        source_lib.attach_source(whole, source)
        return whole


def load_used(meta: list[Any], directory: str, use: Use, options: Any, load: Loader) -> Any | None:
    """Load the part of a SavedModel that a layer uses. `None` if the whole has to be loaded, or is as fast to load.

    Args:
        meta: The graphs of the SavedModel, protobufs of type `MetaGraphDef`.
        directory: The SavedModel.
        use: What the layer calls.
        options: A `tf.saved_model.LoadOptions`, or `None`.
        load: A function that loads a directory.
    """
    try:
        _check_can_be_pruned(meta, directory, options)
        content = meta[0].SerializeToString(deterministic=True)
        is_restored = not getattr(options, "experimental_skip_checkpoint", False)
        first: list[FirstValues] = []

        def know(pruned: Pruned) -> None:
            if is_restored:
                first.append(FirstValues(directory, pruned.meta_graph.object_graph_def.nodes))

        with loading.one_kernel_for_all():
            obj, pruned, shared = _load_part(meta[0], content, directory, use, options, load, know)
        variables = _variables_of(obj, pruned)
        if is_restored:
            _restore(obj, directory, variables.values(), first[0])
    except NotUnderstood as reason:
        _log.debug("%s is loaded whole: %s.", directory, reason)
        return None
    except Exception as err:
        _log.debug("%s is loaded whole, since its part could not be loaded.", directory, exc_info=err)
        return None
    setattr(obj, _ATTRIBUTE, _Whole(obj, variables, content, options, load, shared))
    return obj


def whole_object(obj: Any) -> Any:
    """The whole of which an object is a part. It is loaded at the first call. Any other object is returned itself.

    Raises:
        errors.LoadError: The whole cannot be loaded, because its files were changed.
    """
    whole = _whole_of(obj)
    if whole is None:
        return obj
    with _lock:
        if whole.obj is None:
            with tf.init_scope():
                whole.obj = whole.load()
            setattr(whole.obj, _ATTRIBUTE, whole)  # so that the whole keeps the files of the part alive too
    return whole.obj


def whole_object_if_loaded(obj: Any) -> Any:
    """The whole of which an object is a part, if it was loaded before. Else the object."""
    whole = _whole_of(obj)
    return obj if whole is None or whole.obj is None else whole.obj


def saved_graph(obj: Any) -> Any | None:
    """The graph of the whole of which an object is a part, in the schema of `messages`. Else `None`."""
    whole = _whole_of(obj)
    return None if whole is None or whole.obj is obj else whole.graph_of(message("MetaGraphDef"))


def _whole_of(obj: Any) -> _Whole | None:
    whole = getattr(obj, _ATTRIBUTE, None)
    return whole if isinstance(whole, _Whole) else None


def _check_can_be_pruned(meta: list[Any], directory: str, options: Any) -> None:
    """Refuse a SavedModel that TensorFlow loads in another way, or that cannot be loaded from a temporary directory."""
    if environment.pruning() == "never":
        raise NotUnderstood("KERAS_HUB_LAYERS_PRUNE says so")
    if len(meta) != 1 or not meta[0].HasField("object_graph_def"):
        raise NotUnderstood("it has the form of TensorFlow 1")
    if not os.path.isdir(directory):
        raise NotUnderstood("it is on a remote file system")
    if tf.distribute.has_strategy():
        raise NotUnderstood("it is loaded in the scope of a distribution strategy")
    if getattr(options, "experimental_io_device", None) or getattr(options, "experimental_load_function_aliases", None):
        raise NotUnderstood("its options speak of devices or aliases")
    missing = ops.missing_ops(ops.custom(meta[0]))
    if missing:
        raise NotUnderstood(f"it has ops that are not registered: {missing}")


def _load_part(
    meta_graph: Any,
    content: bytes,
    directory: str,
    use: Use,
    options: Any,
    load: Loader,
    know: Callable[[Pruned], None],
) -> tuple[Any, Pruned, SharedPart | None]:
    """Load the part that a layer uses. Return the object, its place in the whole, and what layers share of it.

    `know` is called as soon as the part is known.
    """
    is_forced = environment.pruning() == "always"
    key = shared_part.key_of(content, use, is_forced)
    shared = shared_part.kept(key)
    if shared is not None:
        know(shared.pruned)
    else:
        pruned = prune(meta_graph, use, directory, is_forced)
        know(pruned)
        shared = _share(pruned, directory)
        if shared is None:
            return _load_graph(pruned, options, load), pruned, None
    pruned = with_assets_of(shared.pruned, meta_graph, directory)
    try:
        with shared_functions.load_functions_by(shared.load_functions):
            obj = _load_graph(pruned, options, load)
    except Exception as err:
        _log.debug("The functions of %s are not shared, since they could not be loaded so.", directory, exc_info=err)
        pruned = prune(meta_graph, use, directory, is_forced)
        return _load_graph(pruned, options, load), pruned, None
    shared_part.keep(key, shared)
    return obj, pruned, shared


def _share(pruned: Pruned, directory: str) -> SharedPart | None:
    """The functions of a part for this layer and the next. `None` if each layer needs its own."""
    try:
        return shared_part.share(pruned)
    except NotUnderstood as reason:
        _log.debug("The functions of %s are not shared: %s.", directory, reason)
    except Exception as err:
        _log.debug("The functions of %s are not shared, since that failed.", directory, exc_info=err)
    return None


def _load_graph(pruned: Pruned, options: Any, load: Loader) -> Any:
    """Load a graph. Its variables get no values yet."""
    with tempfile.TemporaryDirectory(prefix="keras_hub_layers_") as folder:
        with open(os.path.join(folder, "saved_model.pb"), "wb") as file:
            model = saved_model_pb2.SavedModel(saved_model_schema_version=1, meta_graphs=[pruned.meta_graph])
            file.write(model.SerializeToString())
        return load(folder, skip_checkpoint(options), [pruned.meta_graph])


def _restore(obj: Any, directory: str, variables: Iterable[Any], first: FirstValues) -> None:
    """Give each of the variables its value from the checkpoint.

    Raises:
        NotUnderstood: The checkpoint has no value for a variable.
    """
    with tf.init_scope():
        restored = {id(variable) for variable in restore(directory, obj, first)}
    if any(id(variable) not in restored for variable in variables):
        raise NotUnderstood("its checkpoint has no value at the place of a variable")


def _variables_of(obj: Any, pruned: Pruned) -> dict[int, Any]:
    """Number of a node in the whole graph -> the variable of the loaded part for this node."""
    nodes, live, waiting = pruned.meta_graph.object_graph_def.nodes, {0: obj}, [0]
    while waiting:
        place = waiting.pop()
        below = tf.train.TrackableView.children(live[place])
        for name, child in children(nodes[place]).items():
            if child not in live and name in below:
                live[child] = below[name]
                waiting.append(child)
    variables = {
        number: live[place]
        for place, number in enumerate(pruned.numbers)
        if nodes[place].HasField("variable") and isinstance(live.get(place), tf.Variable)
    }
    if len(variables) < sum(node.HasField("variable") for node in nodes):
        raise NotUnderstood("a variable of its part has no place of its own")
    return variables


@contextlib.contextmanager
def _hand_out(pruned: Pruned, variables: dict[int, Any]) -> Iterator[None]:
    """Make TensorFlow use these variables, by the numbers of their nodes, where it would make new ones."""
    by_name = {}
    for node, number in zip(pruned.meta_graph.object_graph_def.nodes, pruned.numbers, strict=True):
        if number in variables:
            node.variable.name = f"keras_hub_layers_variable_{number}"
            by_name[node.variable.name] = variables[number]

    def creator(next_creator: Callable[..., Any], **kwargs: Any) -> Any:
        variable = by_name.get(kwargs.get("name", ""))
        return next_creator(**kwargs) if variable is None else variable

    with loading.one_kernel_for_all(), tf.variable_creator_scope(creator):
        yield


def _replaced_error(source: source_lib.Source) -> errors.LoadError:
    return errors.LoadError(
        "The SavedModel that the layer was made from has been replaced by another one. So the part that the layer does "
        "not use can no longer be loaded.",
        expected="the saved_model.pb and assets that were loaded",
        received="other files",
        where=f"{source.directory} (handle {source.handle!r})",
        fix="obj = keras_hub_layers.load(handle)   # loads the whole at once, before it is replaced\n"
        "layer = HubLayer(obj)",
    )


def _lost_optimizer(source: source_lib.Source) -> str:
    return (
        f"The SavedModel at {source.directory!r} is gone, and with it the state of its optimizer. The object that is "
        "loaded now has no optimizer state."
    )
