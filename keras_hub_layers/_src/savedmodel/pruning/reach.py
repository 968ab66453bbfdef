"""Finds the used part of an object graph: the nodes and functions that a layer's function, lists and losses reach."""

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from keras_hub_layers._src.savedmodel import contents, input_losses
from keras_hub_layers._src.savedmodel.graphs.library import called_functions
from keras_hub_layers._src.savedmodel.protos.saved_values import decode, refuse_call

__all__ = ["NotUnderstood", "Reach", "Use", "reach"]


_FUNCTIONS = ("function", "bare_concrete_function")
_KINDS = (*_FUNCTIONS, "user_object", "variable", "resource", "asset", "constant", "captured_tensor")
# Objects that TensorFlow makes itself. Any other object comes from a class that somebody has registered.
_REGISTERED = ("", "tf.TrackableConstant", "tf.StaticHashTable")
_IDENTIFIERS = (
    "_generic_user_object",
    "trackable_list_wrapper",
    "trackable_tuple_wrapper",
    "trackable_dict_wrapper",
    "signature_map",
    "optimizer",
)


class NotUnderstood(Exception):
    """A SavedModel has to be loaded whole. The text says why."""


@dataclass(frozen=True)
class Use:
    """What a layer calls of a SavedModel.

    Attributes:
        piece: Dotted name of a piece, or `None` for the object itself.
        signature: Name of a signature, or `None` for `__call__`.
    """

    piece: str | None = None
    signature: str | None = None


@dataclass(frozen=True, eq=False)
class Reach:
    """The part of a graph that is kept.

    Attributes:
        nodes: Numbers of nodes of the object graph.
        functions: Names of functions of the library.
    """

    nodes: frozenset[int]
    functions: frozenset[str]


def reach(meta_graph: Any, use: Use) -> Reach:
    """What a layer needs, and every variable except those of optimizers, because each export holds their values.

    Args:
        meta_graph: A protobuf of type `MetaGraphDef` with an object graph.
        use: What the layer calls.

    Raises:
        NotUnderstood: The graph holds something of an unknown kind, which the layer may need.
    """
    nodes = meta_graph.object_graph_def.nodes
    for node in nodes:
        _check_is_known(node)
    closure = _Closure(meta_graph)
    closure.add(_starts(closure, use))
    closure.add_places(_parents(nodes, closure.nodes))
    return Reach(frozenset(closure.nodes), frozenset(closure.functions))


def without_optimizers(meta_graph: Any) -> Reach:
    """All of a graph except its optimizers."""
    closure = _Closure(meta_graph)
    closure.add((number, False) for number in _parents(meta_graph.object_graph_def.nodes, set()))
    return Reach(frozenset(closure.nodes), frozenset(closure.functions))


def is_optimizer(node: Any) -> bool:
    """Whether a node is an optimizer of Keras 2. Its variables are children of no other node."""
    return node.user_object.identifier == "optimizer"


def children(node: Any) -> dict[str, int]:
    """Name of each child of a node -> its number."""
    return {child.local_name: child.node_id for child in node.children}


def _check_is_known(node: Any) -> None:
    kind = node.WhichOneof("kind")
    if kind not in _KINDS:
        raise NotUnderstood(f"it holds a node of the kind {kind!r}")
    identifier = node.user_object.identifier
    if node.registered_name not in _REGISTERED or not (
        identifier.startswith("_tf_keras_") or identifier in ("", *_IDENTIFIERS)
    ):
        raise NotUnderstood(f"it holds an object of the class {node.registered_name or identifier!r}")
    if node.saveable_objects or node.registered_saver:
        raise NotUnderstood("it holds state that is no variable, such as a table that can be changed")
    if node.variable.experimental_distributed_variable_components:
        raise NotUnderstood("its variables were saved in the copies of a distribution strategy")


def _starts(closure: "_Closure", use: Use) -> Iterator[tuple[int, bool]]:
    """The nodes that the layer uses by name, and whether everything below each node is needed."""
    if use.piece is not None and use.signature is not None:
        raise NotUnderstood("a signature of a piece is called")
    nodes, target = closure.object_graph.nodes, 0
    for segment in use.piece.split(".") if use.piece is not None else ():
        target = _child(nodes, target, segment)
        yield target, False
    below = children(nodes[target])
    names = ["trainable_variables", "variables"]
    if use.signature is not None:
        named = _child(nodes, target, "signatures")
        yield named, False
        yield _child(nodes, named, use.signature), True
    else:
        function = target if nodes[target].WhichOneof("kind") in _FUNCTIONS else _child(nodes, target, "__call__")
        if nodes[function].WhichOneof("kind") not in _FUNCTIONS:
            raise NotUnderstood("what is called is not a function, but an object that can be called")
        yield function, True
        yield from _input_losses(closure, below)
        names.append("regularization_losses")
    yield from ((below[name], True) for name in names if name in below)


def _child(nodes: Any, number: int, name: str) -> int:
    below = children(nodes[number])
    if name not in below:
        raise NotUnderstood(f"it has no {name!r}")
    return below[name]


def _input_losses(closure: "_Closure", below: dict[str, int]) -> Iterator[tuple[int, bool]]:
    """The function that returns the losses that depend on inputs, if there are such losses."""
    nodes = closure.object_graph.nodes
    if "keras_api" in below:
        functions = children(nodes[below["keras_api"]])
        number = next((functions[name] for name in input_losses.NAMES if name in functions), None)
        if number is not None and closure.count_losses(number):
            yield below["keras_api"], False
            yield number, True
        return
    for node in nodes:  # layers of Keras 2 inside another object: their losses are lost, and the layer says so
        api = children(node).get("keras_api")
        functions = {} if api is None else children(nodes[api])
        if input_losses.REGULARIZER in functions or any(
            closure.count_losses(functions[name]) for name in input_losses.NAMES if name in functions
        ):
            raise NotUnderstood("Keras layers inside it have losses that what is called does not return")


def _parents(nodes: Any, kept: Collection[int]) -> dict[int, int]:
    """Number of each node -> number of the node before it, on a path from the root that avoids optimizers.

    The paths are short. As far as possible, they lead through nodes that are kept anyway.
    """
    parents = {0: 0}
    for is_allowed in (kept.__contains__, lambda number: True):
        waiting = list(parents)
        for number in waiting:  # the list grows during the loop
            for child in nodes[number].children if nodes[number].WhichOneof("kind") not in _FUNCTIONS else ():
                target = child.node_id
                if target not in parents and is_allowed(target) and not is_optimizer(nodes[target]):
                    parents[target] = number
                    waiting.append(target)
    return parents


class _Closure:
    """Nodes and functions, with everything that they need."""

    def __init__(self, meta_graph: Any) -> None:
        self.object_graph = meta_graph.object_graph_def
        library = meta_graph.graph_def.library
        self._library = {function.signature.name: function for function in library.function}
        self._gradients = {gradient.function_name: gradient.gradient_func for gradient in library.gradient}
        self._custom_gradients = {g.registered_op_type: g.gradient_func for g in library.registered_gradients}
        self._twins: dict[bytes, list[str]] = {}
        for name, function in self._library.items():
            if "api_implements" in function.attr:
                self._twins.setdefault(function.attr["api_implements"].s, []).append(name)
        self.nodes: set[int] = {0}
        self.functions: set[str] = set()

    def add(self, starts: Iterable[tuple[int, bool]]) -> list[int]:
        """Add nodes and what they need. Return the nodes that are new.

        Args:
            starts: Number of each node, and whether everything below it is needed too.
        """
        new, waiting = [], list(starts)
        while waiting:
            number, is_whole = waiting.pop()
            if number in self.nodes:
                continue
            self.nodes.add(number)
            new.append(number)
            node = self.object_graph.nodes[number]
            kind = node.WhichOneof("kind")
            if kind == "resource" or (kind == "user_object" and is_whole):
                waiting += [(child.node_id, True) for child in node.children]
            waiting += [(dependency.node_id, True) for dependency in node.dependencies]
            waiting += [(capture, True) for capture in self._add_functions(_function_names(node))]
        return new

    def add_places(self, parents: dict[int, int]) -> None:
        """Add each variable except those of optimizers, and the paths from the root to variables, tables and assets.

        TensorFlow needs these paths to restore a checkpoint, and to save the object again.
        """
        nodes = self.object_graph.nodes
        waiting = [*self.nodes, *(number for number in parents if nodes[number].WhichOneof("kind") == "variable")]
        placed = {0}
        while waiting:
            number = waiting.pop()
            if nodes[number].WhichOneof("kind") not in ("variable", "resource", "asset"):
                continue
            if number not in parents:
                raise NotUnderstood("something that is used can only be reached through an optimizer")
            while number not in placed:
                placed.add(number)
                waiting += self.add([(number, False)])
                number = parents[number]

    def count_losses(self, number: int) -> int:
        """How many losses a function returns beside its outputs, as `input_losses.count` counts them."""
        concrete = self.object_graph.concrete_functions
        outputs = [decode(concrete[name].output_signature) for name in _function_names(self.object_graph.nodes[number])]
        traces = tuple(contents.Trace(inputs=None, outputs=output) for output in outputs)
        return input_losses.count(contents.Function(refuse_call, traces=traces))

    def _add_functions(self, names: Iterable[str]) -> Iterator[int]:
        """Add functions and those that they call. Return the nodes that these functions capture."""
        waiting = list(names)
        while waiting:
            name = waiting.pop()
            if name in self.functions:
                continue
            if name not in self._library:
                raise NotUnderstood(f"its library lacks the function {name!r}")
            self.functions.add(name)
            if name in self.object_graph.concrete_functions:
                yield from self.object_graph.concrete_functions[name].bound_inputs
            waiting += self._needed_functions(name)

    def _needed_functions(self, name: str) -> set[str]:
        """The functions that a function calls, that compute its gradient, or that TensorFlow may use instead of it."""
        function = self._library[name]
        names = {self._gradients.get(name, "")}
        for attribute, value in function.attr.items():
            names.add(value.s.decode(errors="replace"))  # such as forward_function_name
            if attribute == "api_implements":
                names.update(self._twins[value.s])
        for node in function.node_def:
            names.update(called_functions(node))
            if "_gradient_op_type" in node.attr:
                names.add(self._custom_gradients.get(node.attr["_gradient_op_type"].s.decode(), ""))
        return names & self._library.keys()


def _function_names(node: Any) -> list[str]:
    """Names of the functions that a node consists of."""
    kind = node.WhichOneof("kind")
    if kind == "function":
        return list(node.function.concrete_functions)
    if kind == "bare_concrete_function":
        return [node.bare_concrete_function.concrete_function_name]
    return [node.captured_tensor.concrete_function] if kind == "captured_tensor" else []
