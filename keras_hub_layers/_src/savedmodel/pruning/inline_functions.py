"""Puts the bodies of functions in the place of their calls, so that TensorFlow makes fewer graphs and gradients."""

from collections.abc import Collection, Iterator, Mapping
from typing import Any

from keras_hub_layers._src.savedmodel.graphs.library import (
    CALLS,
    called_functions,
    node_name,
)
from keras_hub_layers._src.savedmodel.pruning.unneeded_nodes import remove_unneeded

__all__ = ["inline_functions"]

# Attributes that say nothing about how a function has to be called.
_OF_FUNCTIONS = frozenset(("_construction_context", "_input_shapes"))
_OF_CALLS = frozenset(
    (
        "Tin", "Tout", "config", "config_proto", "executor_type", "f", "_collective_manager_ids", "_gradient_op_type",
        "_has_manual_control_dependencies", "_output_shapes", "_read_only_resource_inputs",
    )
)  # fmt: skip
# A function that is called in many places stands in each of them. How many nodes there may be for each one before.
_GROWTH = 3


def inline_functions(meta_graph: Any) -> None:
    """Put the bodies of functions in the place of their calls. Each function computes what it has computed before.

    TensorFlow does the same whenever it runs a function, but after it has made a graph of each, and a forward and a
    backward graph for the gradients. A function stays a call if something of it says how it has to be called.

    Args:
        meta_graph: A protobuf of type `MetaGraphDef`, which is changed.
    """
    library = meta_graph.graph_def.library
    before = sum(len(function.node_def) for function in library.function)
    roots = _used_by_name(library, meta_graph.object_graph_def) & {each.signature.name for each in library.function}
    bodies = _Bodies(library, _GROWTH * before)
    waiting, flat = list(roots), {}
    while waiting:
        name = waiting.pop()
        if name not in flat:
            flat[name] = bodies.flat(name)
            called = {each for node in flat[name].node_def for each in called_functions(node)}
            waiting += called & bodies.names
    if sum(len(function.node_def) for function in flat.values()) > _GROWTH * before:
        return
    for name, function in flat.items():
        if bodies.is_new(name):
            remove_unneeded(function)
    for function in library.function:
        other = flat.get(function.signature.name, function)
        if other is not function:
            function.CopyFrom(other)
    _keep_functions(meta_graph, flat)


class _Bodies:
    """The functions of a library, and what they are without calls.

    Args:
        library: A protobuf of type `FunctionDefLibrary`.
        most: The largest number of nodes of a function.
    """

    def __init__(self, library: Any, most: int) -> None:
        self._most = most
        self._functions = {function.signature.name: function for function in library.function}
        self._with_gradient = {gradient.function_name for gradient in library.gradient}
        self._flat: dict[str, Any] = {}

    @property
    def names(self) -> set[str]:
        return set(self._functions)

    def is_new(self, name: str) -> bool:
        return self._flat[name] is not self._functions[name]

    def flat(self, name: str) -> Any:
        """A function without calls; the function itself if it has none."""
        if name not in self._flat:
            function = self._functions[name]
            self._flat[name] = function  # what a function calls that calls itself
            calls = {node.name: node for node in function.node_def if self._can_be_inlined(node, function)}
            if calls:
                bodies = {key: self.flat(node.attr["f"].func.name) for key, node in calls.items()}
                if len(function.node_def) + sum(len(body.node_def) for body in bodies.values()) <= self._most:
                    self._flat[name] = _Inlined(function, calls, bodies).function()
        return self._flat[name]

    def _can_be_inlined(self, node: Any, caller: Any) -> bool:
        if node.op not in CALLS or node.device or not node.attr.keys() <= _OF_CALLS:
            return False
        name = node.attr["f"].func.name
        if name not in self._functions or name in self._with_gradient:
            return False
        function = self.flat(name)
        if function is caller:
            return False
        signature, arguments = function.signature, {argument.name for argument in function.signature.input_arg}
        if not function.attr.keys() <= _OF_FUNCTIONS or signature.attr or node.attr["f"].func.attr:
            return False
        waits = any(text.startswith("^") for text in node.input)
        return not (waits and any(node_name(text) in arguments for text in function.ret.values()))


class _Inlined:
    """A function in which bodies stand in the place of some calls.

    Args:
        function: A protobuf of type `FunctionDef`.
        calls: Name of a node that is a call -> the node.
        bodies: Name of the same -> the function that it calls.
    """

    def __init__(self, function: Any, calls: Mapping[str, Any], bodies: Mapping[str, Any]) -> None:
        self._before, self._calls, self._bodies = function, calls, bodies
        self._names = _free_names(function, bodies)
        self._arguments = {
            name: dict(zip((each.name for each in bodies[name].signature.input_arg), calls[name].input, strict=False))
            for name in calls
        }
        self._kept = {node.name: node.name for node in function.node_def if node.name not in calls}
        self._awaited: set[str] = set()

    def function(self) -> Any:
        result = type(self._before)()
        result.CopyFrom(self._before)
        del result.node_def[:]
        for node in self._before.node_def:
            if node.name in self._calls:
                self._add_body(node, result)
            else:
                copy = result.node_def.add()
                copy.CopyFrom(node)
                _set_inputs(copy, [self._name(text) for text in node.input])
                _place_with(copy, self._kept)
        for key, text in result.ret.items():
            result.ret[key] = self._name(text)
        self._set_ends(result)
        added: set[str] = set()
        while waiting := self._awaited - added:
            for name in sorted(waiting):
                end = result.node_def.add(name=self._end(name), op="NoOp")
                end.input.extend(f"^{each}" for each in dict.fromkeys(self._ends(name)))
            added |= waiting
        return result

    def _add_body(self, node: Any, result: Any) -> None:
        """Add the nodes of the function that a node calls."""
        body, names = self._bodies[node.name], self._names[node.name]
        arguments = self._arguments[node.name]
        controls = [self._name(text) for text in node.input if text.startswith("^")]
        for inner in body.node_def:
            copy = result.node_def.add()
            copy.CopyFrom(inner)
            copy.name = names[inner.name]
            inputs = [self._inner_name(node.name, text) for text in inner.input]
            if controls and all(node_name(text) in arguments for text in inner.input):
                inputs += controls  # the others wait for this one
            _set_inputs(copy, inputs)
            _place_with(copy, names)

    def _name(self, text: str) -> str:
        """The new name of an input of a node of the function."""
        name, _, output = text.removeprefix("^").partition(":")
        if name not in self._calls:
            return text
        if text.startswith("^"):
            self._awaited.add(name)
            return f"^{self._end(name)}"
        body = self._bodies[name]
        number = int(output.partition(":")[2] or 0)
        return self._inner_name(name, body.ret[body.signature.output_arg[number].name])

    def _inner_name(self, call: str, text: str) -> str:
        """The new name of an input of a node in the body of a function that is called."""
        name, colon, output = text.removeprefix("^").partition(":")
        outside = self._arguments[call].get(name)
        outside = f"{self._names[call][name]}{colon}{output}" if outside is None else self._name(outside)
        return f"^{node_name(outside)}" if text.startswith("^") else outside

    def _ends(self, call: str) -> Iterator[str]:
        """The nodes that have run when a call has ended."""
        body, names = self._bodies[call], self._names[call]
        yield from (names[name] for name in body.control_ret.values())
        yield from (node_name(self._inner_name(call, text)) for text in body.ret.values())
        yield from (node_name(self._name(text)) for text in self._calls[call].input if text.startswith("^"))

    def _end(self, call: str) -> str:
        return self._names[call][""]

    def _set_ends(self, result: Any) -> None:
        """Have the function wait for what the functions in it have waited for."""
        for key, name in self._before.control_ret.items():
            if name not in self._calls:
                continue
            self._awaited.add(name)
            result.control_ret[key] = self._end(name)


def _free_names(function: Any, bodies: Mapping[str, Any]) -> dict[str, dict[str, str]]:
    """Name of each call -> name of each node in the function that it calls -> its name outside; of `""`, of the end.

    A name stays as it is where it can: exports of exports would have longer and longer names.
    """
    taken = {node.name for node in function.node_def} | {each.name for each in function.signature.input_arg}
    names: dict[str, dict[str, str]] = {}
    for call, body in bodies.items():
        names[call] = {"": ""}
        for name in (*(node.name for node in body.node_def), ""):
            free, number = name or f"{call}/end", 0
            while free in taken:
                free, number = f"{call}/{name or 'end'}" + (f"_{number}" if number else ""), number + 1
            taken.add(free)
            names[call][name] = free
    return names


def _place_with(node: Any, names: Mapping[str, str]) -> None:
    """Give a node the new names of the nodes that it is to be placed with."""
    if "_class" not in node.attr:
        return
    places = [place.decode().removeprefix("loc:@") for place in node.attr["_class"].list.s]
    kept = [f"loc:@{names[place]}".encode() for place in places if place in names]
    node.attr["_class"].list.s[:] = kept
    if not kept:
        node.attr.pop("_class")


def _set_inputs(node: Any, inputs: list[str]) -> None:
    """Set the inputs of a node, with its control inputs at the end, each once."""
    if inputs == list(node.input):
        return
    node.input[:] = [text for text in inputs if text[0] != "^"] + [
        text for text in dict.fromkeys(inputs) if text[0] == "^"
    ]


def _used_by_name(library: Any, object_graph: Any) -> set[str]:
    """Names of the functions that something else than a call in a function names."""
    names = {name for gradient in library.gradient for name in (gradient.function_name, gradient.gradient_func)}
    names |= {gradient.gradient_func for gradient in library.registered_gradients}
    for node in object_graph.nodes:
        names.update(node.function.concrete_functions)
        names |= {node.bare_concrete_function.concrete_function_name, node.captured_tensor.concrete_function}
    for function in library.function:
        named = {value.s.decode(errors="replace") for value in function.attr.values()}  # such as its gradient
        names |= named | ({function.signature.name} if "api_implements" in function.attr else set())
    return names


def _keep_functions(meta_graph: Any, names: Collection[str]) -> None:
    """Remove all other functions.

    Args:
        meta_graph: A protobuf of type `MetaGraphDef`, which is changed.
        names: Names of the functions that stay.
    """
    library, concrete = meta_graph.graph_def.library, meta_graph.object_graph_def.concrete_functions
    remaining = [function for function in library.function if function.signature.name in names]
    del library.function[:]
    library.function.extend(remaining)
    for name in concrete.keys() - set(names):
        del concrete[name]
