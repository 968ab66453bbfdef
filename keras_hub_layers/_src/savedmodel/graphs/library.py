"""The graph of one trace: its nodes, the functions that they call, and the variables behind its inputs."""

import functools
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

CALLS = ("PartitionedCall", "StatefulPartitionedCall")


@dataclass(frozen=True, eq=False)
class Library:
    """The functions that the nodes of a graph call.

    Attributes:
        functions: Name -> protobuf of type `FunctionDef`.
        unsaved_gradients: The custom gradients that the nodes ask for and that were not saved with them. Their names
            are numbers, and this process may know another gradient under the same one.
        flows: A place for results per function, so that each is looked at once.
        calls: The same for the functions that each function calls.
    """

    functions: Mapping[str, Any]
    unsaved_gradients: frozenset[str] = frozenset()
    flows: dict[str, Any] = field(default_factory=dict)
    calls: dict[str, frozenset[str]] = field(default_factory=dict)

    def nodes(self, nodes: Iterable[Any]) -> Iterator[Any]:
        """Nodes, and those of all functions that they call, each function once."""
        own = list(nodes)
        yield from own
        waiting, seen = list(self._called_by(own)), set()
        while waiting:
            name = waiting.pop()
            if name not in seen:
                seen.add(name)
                inner = self.functions[name].node_def
                yield from inner
                if name not in self.calls:
                    self.calls[name] = self._called_by(inner)
                waiting += self.calls[name]

    def _called_by(self, nodes: Iterable[Any]) -> frozenset[str]:
        """Names of the functions that nodes call."""
        return frozenset(name for node in nodes for name in called_functions(node) if name in self.functions)


@dataclass(frozen=True, eq=False)
class Body:
    """What a function computes.

    Attributes:
        nodes: Protobufs of type `NodeDef`.
        inputs: Names of the inputs, in their order.
        outputs: Names of the tensors that it returns.
        variables: Name of an input -> the variable whose handle it is.
        library: The functions that the nodes call.
        captures: Name of an input -> the tensor of this process that it is, such as the handle of a lookup table.
            Defaults to none: those of a function in a file are not known.
        others: Further nodes of its graph, which no output needs. A custom gradient may need them.
    """

    nodes: Iterable[Any]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    variables: Mapping[str, Any]
    library: Library
    captures: Mapping[str, Any] = field(default_factory=dict)
    others: Iterable[Any] = ()

    @functools.cached_property
    def ops(self) -> frozenset[str]:
        """Names of all ops that run, those of called functions too."""
        functions = self.library.functions
        return frozenset(node.op for node in self.library.nodes(self.nodes) if node.op not in functions)


def with_unsaved(body: Body, names: frozenset[str]) -> Body:
    """The same body, and the names of further custom gradients that were not saved."""
    if names <= body.library.unsaved_gradients:
        return body
    library = replace(body.library, unsaved_gradients=names | body.library.unsaved_gradients, flows={})
    return replace(body, library=library)


def library_of(graph_def: Any, unsaved_gradients: frozenset[str] = frozenset()) -> Library:
    """The library of a graph.

    Args:
        graph_def: A protobuf of type `GraphDef`.
        unsaved_gradients: As in `Library`.
    """
    return Library({function.signature.name: function for function in graph_def.library.function}, unsaved_gradients)


def unsaved_gradients(graph_def: Any) -> frozenset[str]:
    """The custom gradients that the functions in a file ask for and that are not in it."""
    saved = {gradient.registered_op_type for gradient in graph_def.library.registered_gradients}
    asked = {custom_gradient(node) for function in graph_def.library.function for node in function.node_def}
    return frozenset(asked) - saved - {""}


def custom_gradient(node: Any) -> str:
    """Name of the custom gradient of a node; `""` for none. Calls have such a name too, and do without it."""
    if node.op in CALLS or "_gradient_op_type" not in node.attr:
        return ""
    return node.attr["_gradient_op_type"].s.decode()


def body_of_function(function: Any, captures: Iterable[Any], library: Library) -> Body:
    """The body of a function in a file.

    Args:
        function: A protobuf of type `FunctionDef`.
        captures: What its last inputs are, in their order: a variable, or `None` for something else.
        library: The functions that it calls.
    """
    inputs = tuple(argument.name for argument in function.signature.input_arg)
    bound = list(captures)
    names = inputs[len(inputs) - len(bound) :]
    variables = {name: variable for name, variable in zip(names, bound, strict=True) if variable is not None}
    outputs = tuple(function.ret[argument.name] for argument in function.signature.output_arg)
    return Body(function.node_def, inputs, outputs, variables, library)


def needed_nodes(nodes: Mapping[str, Any], inputs: Iterable[str], outputs: Iterable[str]) -> list[Any]:
    """The nodes that some outputs depend on, in their order, without those behind the inputs.

    Args:
        nodes: Name -> node, of a graph.
        inputs: Names of the nodes that are fed.
        outputs: Names of tensors or nodes.
    """
    needed: set[str] = set()
    fed, waiting = set(inputs), list(outputs)
    while waiting:
        name = node_name(waiting.pop())
        if name in nodes and name not in needed and name not in fed:
            needed.add(name)
            waiting += nodes[name].input
    return [node for name, node in nodes.items() if name in needed]


def called_functions(node: Any) -> Iterator[str]:
    """Names of the functions that a node calls, or hands on to be called."""
    yield node.op
    for value in node.attr.values():
        kind = value.WhichOneof("value")
        if kind == "func":
            yield value.func.name
        elif kind == "list":
            yield from (function.name for function in value.list.func)


def node_name(tensor: str) -> str:
    """`"a"` of the names of tensors and control inputs `"a"`, `"a:0"`, `"a:output:0"`, `"^a"`."""
    return tensor.removeprefix("^").partition(":")[0]
