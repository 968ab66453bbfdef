"""Graph: the nodes of a function in the order in which they run, with parsed inputs and attributes."""

import functools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_hub_layers._src.compat import tensorflow
from keras_hub_layers._src.executors.interpreter.custom_gradients import CustomGradient, read_gradient
from keras_hub_layers._src.executors.interpreter.fusion import fuse
from keras_hub_layers._src.executors.interpreter.values import UnsupportedOp
from keras_hub_layers._src.savedmodel.graphs.library import Library, custom_gradient

Place = tuple[str, int]  # name of a node, number of its output

# Ops that only print or check something. Their inputs are not computed either.
SILENT = frozenset({
    "NoOp", "Assert", "Print", "PrintV2", "ScalarSummary", "HistogramSummary", "WriteSummary", "MergeSummary",
    "ImageSummary", "AudioSummary",
})  # fmt: skip


@dataclass(frozen=True, eq=False)
class Node:
    """One operation.

    Attributes:
        name: Its name in the graph.
        op: Name of the TensorFlow op, or of a function of the library.
        inputs: Where its inputs come from.
        attributes: Name -> Python value. A dtype or a function is given by its name, a shape by a list or `None`.
        gradient: Its custom gradient, or `None`.
        captured: Where the tensors come from that the custom gradient needs.
    """

    name: str
    op: str
    inputs: tuple[Place, ...]
    attributes: Mapping[str, Any]
    gradient: CustomGradient | None = None
    captured: tuple[Place, ...] = ()

    def __getitem__(self, name: str) -> Any:
        return self.attributes[name]

    @functools.cached_property
    def attributes_key(self) -> str | None:
        """A text that differs if the attributes differ; `None` if some are arrays."""
        has_arrays = any(isinstance(value, np.ndarray) for value in self.attributes.values())
        return None if has_arrays else repr(sorted(self.attributes.items()))


@dataclass(frozen=True, eq=False)
class Graph:
    """A function.

    Attributes:
        inputs: Names of its inputs, in their order.
        nodes: The nodes to compute, in order.
        outputs: Where its outputs come from.
    """

    inputs: tuple[str, ...]
    nodes: tuple[Node, ...]
    outputs: tuple[Place, ...]


def make_graph(
    nodes: Iterable[Any], inputs: Sequence[str], outputs: Sequence[str], library: Library, others: Iterable[Any] = ()
) -> Graph:
    """Read a function.

    Args:
        nodes: Protobufs of type `NodeDef`, as a `GraphDef` or a `FunctionDef` holds them.
        inputs: Names of the inputs.
        outputs: Names of the tensors that it returns.
        library: The functions that may be called.
        others: Further nodes, which only a gradient may need.
    """
    functions = library.functions
    own = {node.name: node for node in nodes}
    by_name = {**{node.name: node for node in others}, **own}
    fed = set(inputs)
    gradients = {name: read_gradient(node, inputs, library) for name, node in own.items() if custom_gradient(node)}
    ends = [*outputs, *(name for name, node in own.items() if _has_effect(node, functions))]
    captured = {name: gradient.captured for name, gradient in gradients.items()}
    place = _Places(by_name, functions)
    if keras.backend.backend() != "tensorflow":  # which fuses them itself
        by_name = fuse(by_name, ends)

    def read(name: str) -> Node:
        node = by_name[name]
        data, needed = (tuple(map(place, texts)) for texts in (_data_inputs(node), captured.get(name, ())))
        return Node(node.name, node.op, data, attributes_of(node), gradients.get(name), needed)

    ordered = _order(by_name, fed, ends, captured)
    return Graph(tuple(inputs), tuple(map(read, ordered)), tuple(map(place, outputs)))


def _has_effect(node: Any, library: Mapping[str, Any]) -> bool:
    """Whether a node has to run even if its outputs are not used: it assigns, or it calls what may assign."""
    if node.op in ("AssignVariableOp", "AssignAddVariableOp", "AssignSubVariableOp"):
        return True
    return node.op in library or node.op in ("StatefulPartitionedCall", "If", "While", "Case")


def _data_inputs(node: Any) -> list[str]:
    return [] if node.op in SILENT else [text for text in node.input if not text.startswith("^")]


def _order(
    nodes: Mapping[str, Any], fed: set[str], ends: Iterable[str], captured: Mapping[str, Sequence[str]]
) -> list[str]:
    """Names of the nodes that the ends need, each after its inputs. There is no recursion, so long chains work too."""
    ordered: list[str] = []
    visited: set[str] = set()
    for end in ends:
        stack = [(_name(end), False)]
        while stack:
            name, is_ready = stack.pop()
            if is_ready:
                ordered.append(name)
            elif name not in visited and name not in fed:
                visited.add(name)
                stack.append((name, True))
                node = nodes[name]
                before = [text for text in node.input if text.startswith("^") or node.op not in SILENT]
                stack += [(_name(text), False) for text in reversed([*before, *captured.get(name, ())])]
    return ordered


def _name(tensor: str) -> str:
    return tensor.removeprefix("^").partition(":")[0]


class _Places:
    """Maps the name of a tensor to its place. Names are `"a"`, `"a:1"`, or in a function `"a:output:1"`."""

    def __init__(self, nodes: Mapping[str, Any], library: Mapping[str, Any]) -> None:
        self._nodes = nodes
        self._library = library

    def __call__(self, tensor: str) -> Place:
        name, *rest = tensor.split(":")
        if len(rest) < 2:
            return name, int(rest[0]) if rest else 0
        return name, self._offset(self._nodes[name], rest[0]) + int(rest[1])

    def _offset(self, node: Any, output: str) -> int:
        """How many outputs of a node come before the outputs of this name."""
        if node.op in self._library:
            return [argument.name for argument in self._library[node.op].signature.output_arg].index(output)
        count = 0
        for argument in definition(node.op).output_arg:
            if argument.name == output:
                return count
            count += length_of(argument, node.attr)
        raise UnsupportedOp(f"the op {node.op}, which has no output {output!r} in this TensorFlow")


def length_of(argument: Any, attributes: Any) -> int:
    """The number of tensors in an argument of an op: one, or the number that an attribute gives."""
    if argument.number_attr:
        return attributes[argument.number_attr].i
    return len(attributes[argument.type_list_attr].list.type) if argument.type_list_attr else 1


def definition(op: str) -> Any:
    """The protobuf of type `OpDef` of an op."""
    known = tensorflow.op_definition(op)
    if known is None:
        raise UnsupportedOp(f"the op {op}, which this TensorFlow does not have")
    return known


def attributes_of(node: Any) -> dict[str, Any]:
    """The attributes of a node. An attribute that the SavedModel leaves out has its default.

    Names that begin with `_` are left out: they speak to TensorFlow's own runtime.
    """
    given = {name: _plain(value) for name, value in node.attr.items() if not name.startswith("_")}
    return {**_defaults(node.op), **given}


@functools.cache
def _defaults(op: str) -> dict[str, Any]:
    known = tensorflow.op_definition(op)
    return {} if known is None else {each.name: _plain(each.default_value) for each in known.attr}


def _plain(value: Any) -> Any:
    kind = value.WhichOneof("value")
    if kind == "type":
        return _dtype(value.type)
    if kind == "s":
        return value.s.decode("utf-8", "surrogateescape")
    if kind == "func":
        return value.func.name
    if kind == "shape":
        return _shape(value.shape)
    if kind == "tensor":
        return np.asarray(tf.make_ndarray(value.tensor))
    if kind != "list":
        return None if kind is None else getattr(value, kind)
    held = value.list
    if held.func:
        return [function.name for function in held.func]
    if held.shape:
        return [_shape(shape) for shape in held.shape]
    if held.type:
        return [_dtype(number) for number in held.type]
    return [text.decode() for text in held.s] or list(held.i) or list(held.f) or list(held.b)


def _dtype(number: int) -> str:
    return tf.as_dtype(number).name if number else ""


def _shape(shape: Any) -> list[int] | None:
    return None if shape.unknown_rank else [length.size for length in shape.dim]
