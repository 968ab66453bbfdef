"""Private names of TensorFlow, each with its versions, its reason and a test. Does not import Keras."""

import contextlib
import functools
import importlib.util
import os
import re
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Literal


@contextlib.contextmanager
def watch_variables(variables: Iterable[Any], is_trained: Callable[[Any], bool]) -> Iterator[None]:
    """Have a gradient tape watch just those `tf.Variable`s that are trained, within this block.

    TensorFlow 2.18 to 2.21: the flag is fixed at creation, and a restored function records what the flag says,
    not what the SavedModel publishes: a published variable with a false flag would get no gradient, a frozen one
    with a true flag is recorded in vain.
    """
    changed = []
    with _flags:
        for variable in variables:
            wanted = is_trained(variable)
            for replica in (variable, *getattr(variable, "values", ())):
                if hasattr(replica, "_trainable") and (replica.trainable != wanted or id(replica) in _changed):
                    count, before = _changed.get(id(replica), (0, replica._trainable))
                    _changed[id(replica)] = (count + 1, before)
                    replica._trainable = wanted
                    changed.append(replica)
    try:
        yield
    finally:
        with _flags:
            for replica in changed:
                count, before = _changed.pop(id(replica))
                if count > 1:  # another thread is still inside
                    _changed[id(replica)] = (count - 1, before)
                else:
                    replica._trainable = before


# id of a variable -> how many blocks are inside `watch_variables`, and its own flag
_changed: dict[int, tuple[int, bool]] = {}


_flags = threading.Lock()


def name_for_graph(name: str) -> str:
    """A name that a scope or an operation of a graph may have."""
    name = re.sub(r"[^A-Za-z0-9_./>-]", "_", name)
    return name if re.match(r"[A-Za-z0-9.]", name) else f"x{name}"


@contextlib.contextmanager
def names_for_graph(variables: Iterable[Any]) -> Iterator[None]:
    """Have `tf.Variable`s whose names TensorFlow refuses in a graph, such as `a b/kernel`, under other names, within
    this block.

    TensorFlow 2.18 to 2.21: an eager variable may have any name; saving copies it to a graph under this one, and
    `_handle_name` is what `name` reads.
    """
    renamed = []
    try:
        for variable in variables:
            for replica in (variable, *getattr(variable, "values", ())):
                before = getattr(replica, "_handle_name", None)
                if isinstance(before, str) and name_for_graph(before.removesuffix(":0")) != before.removesuffix(":0"):
                    renamed.append((replica, before))
                    replica._handle_name = name_for_graph(before.removesuffix(":0")) + ":0"
        yield
    finally:
        for replica, before in renamed:
            replica._handle_name = before


@contextlib.contextmanager
def on_one_copy(strategy: Any) -> Iterator[None]:
    """Have restored functions use the first copy of the variables, if this block is between a strategy's replicas.

    TensorFlow 2.18 to 2.21: a restored function that is called in the scope of a strategy, but in none of its replicas,
    ends in a failed assertion ("Assert/Assert"); outside of the scope it computes. No public name
    leaves a scope; a thread would, without the gradient tapes. The list is the one that `Strategy.scope` appends to.
    """
    import tensorflow as tf
    from tensorflow.python.distribute import distribute_lib

    is_in_scope = tf.distribute.has_strategy() and tf.distribute.get_strategy() is strategy
    if not is_in_scope or not tf.distribute.in_cross_replica_context():
        yield
        return
    distribute_lib._push_per_thread_mode(distribute_lib._get_default_replica_mode())
    try:
        yield
    finally:
        distribute_lib._pop_per_thread_mode()


def restore_optimizers_without_keras_2() -> None:
    """Have TensorFlow load SavedModels that hold an optimizer of Keras 2, also where Keras 2 is not installed.

    TensorFlow 2.18 to 2.21: the slots of such an optimizer are made by a class that only `tf_keras` registers; without
    it, loading ends with "'_UserObject' object has no attribute 'add_slot'", and most models that Keras 2 saved after
    `compile` have slots. TensorFlow's own copy of the class is registered under another name.
    """
    from tensorflow.python.keras.optimizer_v2 import optimizer_v2
    from tensorflow.python.saved_model import revived_types

    if "optimizer" in revived_types.registered_identifiers() or _is_installed("tf_keras"):
        return  # TensorFlow imports `tf_keras` by itself
    restored = optimizer_v2.RestoredOptimizer
    revived_types.register_revived_type(
        "optimizer",
        lambda obj: isinstance(obj, restored),
        versions=[
            revived_types.VersionedTypeRegistration(
                object_factory=lambda proto: restored(),
                version=2,
                min_producer_version=1,
                min_consumer_version=1,
                setter=restored._set_hyper,
            )
        ],
    )


def _is_installed(package: str) -> bool:
    try:
        return importlib.util.find_spec(package) is not None
    except ValueError:  # something that is no module stands in its place
        return False


def is_jit_compiled(function: Any) -> bool:
    """Whether XLA compiles a function wherever it is called: it was made with `tf.function(jit_compile=True)`.

    TensorFlow 2.18 to 2.21: no public name of a function says so.
    """
    return bool(getattr(function, "_jit_compile", False))


def gradient_kind(op: str) -> Literal["defined", "none", "undefined"]:
    """Whether TensorFlow can take a gradient of an op, or of a custom gradient's type.

    TensorFlow 2.18 to 2.21: the registry that `tf.RegisterGradient` and `tf.no_gradient` write into can be read by a
    private name only.

    Returns:
        `"defined"`; `"none"` for an op that hands no gradient on, such as `Shape`; `"undefined"` for one that ends a
        gradient in a `LookupError`.
    """
    from tensorflow.python.framework import ops

    try:
        return "none" if ops.gradient_registry.lookup(op) is None else "defined"
    except LookupError:
        return "undefined"


def custom_gradient_function(name: str) -> Callable[..., Any]:
    """What TensorFlow calls for the gradient of an op with the custom gradient of this name.

    TensorFlow 2.18 to 2.21: loading a SavedModel registers the custom gradients in it under new names, and nothing
    public gives the function of a name. Its arguments are the op, which it does not use, and the gradients of outputs.

    Raises:
        LookupError: There is none.
    """
    from tensorflow.python.framework import ops

    return ops.gradient_registry.lookup(name)


def registered_ops() -> dict[str, str]:
    """The ops that are registered in this process, internal ones too: name -> `gradient_kind`.

    TensorFlow 2.18 to 2.21: `tf.raw_ops` has not all of them, and no public name lists the others.
    """
    return {name: gradient_kind(name) for name in _list_ops()}


def op_definition(op: str) -> Any:
    """The protobuf of type `OpDef` of an op, or `None` if this process has no such op.

    TensorFlow 2.18 to 2.21: names and numbers of an op's inputs and outputs, whether it has a state, and the defaults
    of its attributes, which SavedModels leave out, are in no public place.
    """
    from tensorflow.python.framework import op_def_registry

    return op_def_registry.get(op)


def is_stateful(op: str) -> bool:
    """Whether an op may have a state, or effects. `True` for an unknown op.

    TensorFlow 2.18 to 2.21: as for `op_definition`.
    """
    definition = op_definition(op)
    return definition is None or definition.is_stateful


def _list_ops() -> dict[str, Any]:
    from tensorflow.core.framework import op_def_pb2
    from tensorflow.python.client import pywrap_tf_session

    buffer = pywrap_tf_session.TF_GetBuffer(pywrap_tf_session.TF_GetAllOpList())
    listed: Any = op_def_pb2
    return {op.name: op for op in listed.OpList.FromString(buffer).op}


def converter_of_functions(graph_def: Any) -> Callable[[str], tuple[list[Any], dict[str, str]]]:
    """What gives the nodes of a function as nodes of a graph, and the name of each of its tensors -> its name there.

    TensorFlow 2.18 to 2.21: inside a function a tensor has the name of an output of its op, such as `"split:output:1"`,
    in a graph its number, `"split:1"`. The definitions of ops that tell are not public, and nothing public converts.

    Args:
        graph_def: A protobuf of type `GraphDef`, with the functions.
    """
    import tensorflow as tf
    from tensorflow.python.framework import function_def_to_graph

    functions = {function.signature.name: function for function in graph_def.library.function}
    library = type(graph_def)()
    library.versions.CopyFrom(graph_def.versions)
    library.library.CopyFrom(graph_def.library)
    graph = tf.Graph()
    with graph.as_default():
        tf.graph_util.import_graph_def(library, name="")

    def convert(name: str) -> tuple[list[Any], dict[str, str]]:
        with graph.as_default():
            converted, names = function_def_to_graph.function_def_to_graph_def(functions[name])
        return list(converted.node), names

    return convert


def current_strategy() -> Any:
    """The distribution strategy whose scope this is, or TensorFlow's default one.

    TensorFlow 2.18 to 2.21: a public name, here for modules that do not import TensorFlow. What is created or loaded
    within a scope lives on the devices of its strategy, and cannot be used in another's.
    """
    import tensorflow as tf

    return tf.distribute.get_strategy()


# -- for modules that do not import TensorFlow -------------------------------------------------------------------------


def tensor_kind(value: Any) -> Literal["dense", "ragged", "sparse", ""]:
    """The kind of a tensor of TensorFlow, or of the spec of one; `""` for anything else. A variable is dense."""
    if not _is_of_tensorflow(value):
        return ""
    import tensorflow as tf

    if isinstance(value, (tf.RaggedTensorSpec, tf.RaggedTensor)):
        return "ragged"
    if isinstance(value, (tf.SparseTensorSpec, tf.SparseTensor)):
        return "sparse"
    return "dense" if isinstance(value, tf.TensorSpec) or tf.is_tensor(value) else ""


def is_type_spec(value: Any) -> bool:
    """Whether something is a `tf.TypeSpec`."""
    if not _is_of_tensorflow(value):
        return False
    import tensorflow as tf

    return isinstance(value, tf.TypeSpec)


def _is_of_tensorflow(value: Any) -> bool:
    """Whether the class of a value is TensorFlow's own, or derived from one: then TensorFlow has been imported."""
    return any(base.__module__.partition(".")[0] == "tensorflow" for base in type(value).__mro__)


def is_of_tensorflow(op: str) -> bool:
    """Whether TensorFlow itself offers an op."""
    import tensorflow as tf

    return hasattr(tf.raw_ops, op)


def is_registered(op: str) -> bool:
    """Whether an op is registered in this process: one of TensorFlow, internal ones too, or of an imported package."""
    import tensorflow as tf
    from tensorflow.core.framework import graph_pb2

    graph = graph_pb2.GraphDef()  # pyright: ignore[reportAttributeAccessIssue]
    graph.node.add(name="probe", op=op)
    try:
        with tf.Graph().as_default():
            tf.graph_util.import_graph_def(graph)
    except Exception as err:  # a known op complains about the inputs that the probe lacks
        return "not registered" not in str(err)
    return True


# The folder of the metadata, beside that of the package. Packages beside it are `tensorflow_hub` and the like.
_METADATA = re.compile(r"(?:tensorflow(?:_cpu|_macos|_rocm)?|tf_nightly)-(\d[^-]*)\.dist-info")


@functools.cache
def installed_version() -> str:
    """Version of the installed TensorFlow: by the name of the folder with its metadata, where it was not imported.

    TensorFlow 2.18 to 2.21, in each of its packages. `importlib.metadata` says the same in as much time as it takes to
    read a SavedModel.
    """
    spec = None if "tensorflow" in sys.modules else importlib.util.find_spec("tensorflow")
    if spec is not None and spec.origin is not None:
        names = os.listdir(os.path.dirname(os.path.dirname(spec.origin)))
        versions = {match[1] for match in map(_METADATA.fullmatch, names) if match}
        if len(versions) == 1:
            return versions.pop()
    import tensorflow as tf

    return tf.__version__
