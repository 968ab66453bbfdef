"""Functions of a SavedModel that several loaded objects share. Each object has variables of its own. The graphs exist
once. Uses private names of TensorFlow. Does not import Keras."""

import contextlib
import functools
import threading
from collections.abc import Callable, Iterator
from typing import Any

import tensorflow as tf
from tensorflow.core.function.capture import capture_container
from tensorflow.python.eager.polymorphic_function import atomic_function, concrete_function
from tensorflow.python.framework import func_graph
from tensorflow.python.saved_model import function_deserialization

_gradients = threading.RLock()
_replacement = threading.local()
# The library of a SavedModel, and its object graph -> name of each function -> function without captures
Loader = Callable[[Any, Any], dict[str, Any]]
_load: Any = function_deserialization.load_function_def_library


def load_functions(library: Any, object_graph: Any) -> dict[str, Any]:
    """The functions of a library, without captures, for `bind`.

    TensorFlow 2.18 to 2.21: `tf.saved_model.load` makes all functions again for each object. This takes most of its
    time.

    Args:
        library: A protobuf of type `FunctionDefLibrary`, which is changed.
        object_graph: A protobuf of type `SavedObjectGraph`.
    """
    with tf.init_scope():
        functions = _load(library, object_graph)
    for function in functions.values():
        rewriting = function._delayed_rewrite_functions
        rewriting.forward_backward = _one_at_a_time(rewriting.forward_backward, function.graph)
    return functions


def bind(function: Any) -> Any:
    """A concrete function with captures and variables of its own, and the graph of one from `load_functions`.

    TensorFlow 2.18 to 2.21: a concrete function passes its captures to its graph as further arguments. Its gradients do
    so too. No public name makes a concrete function that uses the graph of another.
    """
    return _BoundFunction(function)


@contextlib.contextmanager
def load_functions_by(load: Callable[[Loader, Any, Any], dict[str, Any]]) -> Iterator[None]:
    """Make `tf.saved_model.load` take its functions from `load`, in this thread and within this block.

    TensorFlow 2.18 to 2.21: there is no public way to pass functions to it.

    Args:
        load: A function that returns the functions by name. It takes TensorFlow's own loader of a library, the library
            and the object graph.
    """
    assert getattr(_replacement, "load", None) is None
    _replacement.load = load
    function_deserialization.load_function_def_library = _load_functions  # which is TensorFlow's own in other threads
    try:
        yield
    finally:
        _replacement.load = None


def _load_functions(library: Any, saved_object_graph: Any = None, *args: Any, **kwargs: Any) -> dict[str, Any]:
    load = getattr(_replacement, "load", None)
    if load is None:
        return _load(library, saved_object_graph, *args, **kwargs)
    return load(lambda part, graph: _load(part, graph, *args, **kwargs), library, saved_object_graph)


def _one_at_a_time(build: Callable[..., Any], graph: Any) -> Callable[..., Any]:
    """Make a function run in one thread at a time.

    Two threads that train two layers build gradients of the same graphs, and each adds outputs to the graphs.
    """

    @functools.wraps(build)
    def locked(*args: Any, **kwargs: Any) -> Any:
        with _gradients:
            _keep_definition(graph)
            return build(*args, **kwargs)

    return locked


def _keep_definition(graph: Any) -> None:
    """Keep what a graph says before a gradient adds outputs to it and has it call other functions."""
    if not hasattr(graph, "definition_before_gradients"):
        graph.definition_before_gradients = graph.as_graph_def()


class _BoundGraph:
    """The graph of a shared function, with captures and variables of its own."""

    def __init__(self, graph: Any, number_of_outputs: int) -> None:
        self._shared = graph
        self._function_captures = capture_container.FunctionCaptures()
        self._weak_variables: list[Any] = []
        self._number_of_outputs = number_of_outputs

    def __getattr__(self, name: str) -> Any:
        return getattr(self._shared, name)

    @property
    def outputs(self) -> list[Any]:
        """The outputs, without those that gradients of other layers have added."""
        return self._shared.outputs[: self._number_of_outputs]

    def as_graph_def(self, *args: Any, **kwargs: Any) -> Any:
        """What the SavedModel says, whatever gradients of other layers have changed."""
        kept = getattr(self._shared, "definition_before_gradients", None)
        return self._shared.as_graph_def(*args, **kwargs) if kept is None or args or kwargs else kept

    capture = func_graph.FuncGraph.capture
    replace_capture = func_graph.FuncGraph.replace_capture
    captures = func_graph.FuncGraph.captures
    external_captures = func_graph.FuncGraph.external_captures
    internal_captures = func_graph.FuncGraph.internal_captures
    deferred_external_captures = func_graph.FuncGraph.deferred_external_captures
    deferred_internal_captures = func_graph.FuncGraph.deferred_internal_captures
    variable_captures = func_graph.FuncGraph.variable_captures
    function_captures = func_graph.FuncGraph.function_captures
    variables = func_graph.FuncGraph.variables
    trainable_variables = func_graph.FuncGraph.trainable_variables


class _BoundFunction(concrete_function.ConcreteFunction):
    """A concrete function that uses the graph of another."""

    def __init__(self, shared: Any) -> None:
        vars(self).update(vars(shared))  # TensorFlow's own wrapper of a loaded function is made in this way
        self._shared = shared
        self._func_graph = _BoundGraph(shared.graph, shared._delayed_rewrite_functions._num_inference_outputs)
        self._captured_inputs: list[Any] = []

    def _select_forward_and_backward_functions(self, *args: Any, **kwargs: Any) -> Any:
        with _gradients:
            _keep_definition(self._shared.graph)
            call = self._shared._select_forward_and_backward_functions(*args, **kwargs)
            call.forward()  # builds it, if it was not built
        return call

    # A SavedModel stores captures by the name of the function. So the names must differ if two objects go into one.

    @functools.cached_property
    def _named(self) -> Any:
        """The function under a name that no other object uses."""
        shared = self._shared.inference_fn
        definition = shared.definition
        name = concrete_function._inference_name(self._shared.graph.name)
        definition.signature.name = name
        bound_context = shared._bound_context
        bound_context.add_function_def(definition)
        return atomic_function.AtomicFunction(
            name, bound_context, shared.function_type, shared.children, shared.call_options, shared.graph
        )

    @property
    def name(self) -> Any:
        return self._named.name

    @property
    def function_def(self) -> Any:
        return self._named.cached_definition

    @property
    def inference_fn(self) -> Any:
        return self._named

    def add_to_graph(self, g: Any = None, overwrite: bool = False) -> None:
        if g is None and not tf.executing_eagerly():
            g = tf.compat.v1.get_default_graph()
        if g is not None:
            g._add_function_recursive(self._named)
