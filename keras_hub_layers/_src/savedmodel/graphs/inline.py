"""A graph without calls: the bodies of the functions that its nodes call stand in their place."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from keras_hub_layers._src.compat.tensorflow import converter_of_functions
from keras_hub_layers._src.savedmodel.graphs.library import CALLS, node_name

__all__ = ["find_node", "find_tensor", "inline"]


def inline(graph_def: Any) -> Any:
    """A graph that computes the same, in which no node calls a function, but for the branches and loops of some.

    Args:
        graph_def: A protobuf of type `GraphDef`.

    Returns:
        Another one. The nodes of a called function have the name of the calling node before theirs.
    """
    result = type(graph_def)()
    result.versions.CopyFrom(graph_def.versions)
    result.library.CopyFrom(graph_def.library)
    functions = {function.signature.name: function for function in graph_def.library.function}
    library = _Library(functions, converter_of_functions(graph_def))
    _copy(graph_def.node, _Scope("", {}, library.calls(graph_def.node), ()), library, result)
    return result


def find_node(inlined: Any, name: str) -> str:
    """The node of an inlined graph that has run when a node of the graph before has."""
    return name if any(node.name == name for node in inlined.node) else f"{name}/{_DONE}"


def find_tensor(inlined: Any, name: str) -> str:
    """The name in an inlined graph of a tensor of the graph before."""
    node, _, number = name.partition(":")
    return name if any(each.name == node for each in inlined.node) else f"{node}/{_OUTPUT}{number}:0"


_OUTPUT, _DONE = "inlined.output_", "inlined.done"


@dataclass(frozen=True)
class _Library:
    """The functions of a graph by name, and what gives their nodes."""

    functions: Mapping[str, Any]
    convert: Callable[[str], tuple[list[Any], dict[str, str]]]

    def calls(self, nodes: Iterable[Any]) -> frozenset[str]:
        """Names of the nodes that are calls."""
        return frozenset(node.name for node in nodes if node.op in CALLS and node.attr["f"].func.name in self.functions)


@dataclass(frozen=True)
class _Scope:
    """Where the nodes of one call go.

    Attributes:
        prefix: What stands before their names.
        arguments: Name of an argument of the function -> the tensor outside.
        calls: Names of the nodes that are calls themselves.
        controls: Control inputs of all nodes: what runs before the call.
    """

    prefix: str
    arguments: Mapping[str, str]
    calls: frozenset[str]
    controls: tuple[str, ...]

    def tensor(self, text: str) -> str:
        """The name of an input of a node, outside."""
        if text.startswith("^"):
            return self._control(text[1:])
        name, _, number = text.partition(":")
        if name in self.arguments:
            return self.arguments[name]
        if name in self.calls:
            return f"{self.prefix}{name}/{_OUTPUT}{number or 0}"
        return self.prefix + text

    def _control(self, name: str) -> str:
        if name in self.arguments:
            return f"^{node_name(self.arguments[name])}"
        return f"^{self.prefix}{name}/{_DONE}" if name in self.calls else f"^{self.prefix}{name}"


def _copy(nodes: Sequence[Any], scope: _Scope, library: _Library, result: Any) -> None:
    for node in nodes:
        inputs = [scope.tensor(text) for text in node.input]
        if node.name in scope.calls:
            _copy_body(node, inputs, scope, library, result)
        elif node.name not in scope.arguments:
            copy = result.node.add()
            copy.CopyFrom(node)
            copy.name = scope.prefix + node.name
            copy.attr.pop("_class", None)  # nodes that it is to be placed with, by their names
            del copy.input[:]
            copy.input.extend([*inputs, *(control for control in scope.controls if control not in inputs)])


def _copy_body(node: Any, inputs: Sequence[str], outside: _Scope, library: _Library, result: Any) -> None:
    """Copy the body of the function that a node calls, and give its outputs and its end names."""
    function = library.functions[node.attr["f"].func.name]
    nodes, names = library.convert(node.attr["f"].func.name)
    given = [text for text in inputs if not text.startswith("^")]
    controls = {*outside.controls, *(text for text in inputs if text.startswith("^"))}
    arguments = {argument.name: text for argument, text in zip(function.signature.input_arg, given, strict=True)}
    prefix = f"{outside.prefix}{node.name}/"
    scope = _Scope(prefix, arguments, library.calls(nodes), tuple(sorted(controls)))
    _copy(nodes, scope, library, result)
    done = [scope.tensor(f"^{name}") for name in function.control_ret.values()]
    for number, argument in enumerate(function.signature.output_arg):
        output = result.node.add(name=f"{prefix}{_OUTPUT}{number}", op="Identity")
        output.input.extend([scope.tensor(names[function.ret[argument.name]]), *scope.controls])
        output.attr["T"].type = argument.type
        done.append(f"^{output.name}")
    end = result.node.add(name=f"{prefix}{_DONE}", op="NoOp")
    end.input.extend(dict.fromkeys([*done, *scope.controls]))
