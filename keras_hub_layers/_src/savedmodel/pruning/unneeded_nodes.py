"""Removes the nodes of a function that compute nothing, so that TensorFlow makes smaller graphs and gradients."""

import collections
import functools
import graphlib
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import tensorflow as tf

from keras_hub_layers._src.compat.tensorflow import is_stateful
from keras_hub_layers._src.savedmodel.graphs.library import CALLS, custom_gradient, node_name

__all__ = ["remove_unneeded"]

_READS = frozenset(("ReadVariableOp", "ResourceGather"))
_ASSIGNMENTS = frozenset(("AssignVariableOp", "AssignAddVariableOp", "AssignSubVariableOp"))
_OF_CONSTANTS = frozenset(("value", "dtype", "_class", "_output_shapes"))
_SMALL = 256  # bytes of a constant
_OF_IDENTITIES = frozenset(("T", "_class", "_output_shapes"))
_MANY = 32  # edges, which take as long to make as one node
_WITH_HANDLES = (tf.resource.as_datatype_enum, tf.variant.as_datatype_enum)


def remove_unneeded(function: Any) -> None:
    """Remove the nodes that neither the outputs nor the effects of a function need.

    A node that only hands its input on, or waits for others, goes too. What waited for it then waits for the others.
    So does a constant that equals another one. A constant factor takes the sign of what it multiplies. All results are
    the same to the last bit.

    Args:
        function: A protobuf of type `FunctionDef`, which is changed.
    """
    if any(map(custom_gradient, function.node_def)):  # which may need other nodes
        return
    _move_signs(function)
    needed = _Needed(function).nodes()
    for place in reversed(range(len(function.node_def))):
        if function.node_def[place].name not in needed:
            del function.node_def[place]


class _Needed:
    """What a function needs of its nodes.

    Args:
        function: A protobuf of type `FunctionDef`. The inputs of its nodes are changed.
    """

    def __init__(self, function: Any) -> None:
        self._nodes = {node.name: node for node in function.node_def}
        self._data: dict[str, list[str]] = {}
        self._controls: dict[str, list[str]] = {}
        for name, node in self._nodes.items():
            data, controls = [], []
            for text in node.input:
                (controls if text[0] == "^" else data).append(text)
            self._data[name], self._controls[name] = data, [text[1:] for text in controls]
        self._returned = [node_name(text) for text in function.ret.values()]
        self._last = list(function.control_ret.values())
        self._readers = collections.Counter(text for data in self._data.values() for text in data)
        self._waiting = collections.Counter(name for several in self._controls.values() for name in several)
        self._waiting.update(self._last)
        self._is_stateful = functools.cache(is_stateful)
        self._order = self._in_order()
        self._sources = self._handed_on() | self._repeated()

    def nodes(self) -> set[str]:
        """Names of the nodes that are needed. Their inputs are set so that they need no other nodes."""
        ends = self._ends()
        used = self._reached(ends, self._nodes_of_data)
        self._awaited = self._places_to_wait(used)
        return self._reached([*ends, *self._last], self._set_inputs)

    def _in_order(self) -> list[str]:
        """The nodes that only wait or hand on, unless something reads them, each after those that it waits for."""
        several = {name for name, node in self._nodes.items() if node.op in ("NoOp", "Identity", "ReadVariableOp")}
        before = {name: several.intersection([*self._controls[name], *self._nodes_before(name)]) for name in several}
        return list(graphlib.TopologicalSorter(before).static_order())

    def _nodes_before(self, name: str) -> Iterator[str]:
        return map(node_name, self._data[name])

    def _handed_on(self) -> dict[str, str]:
        """Name of each node that hands its input on, and nothing can tell -> its input."""
        sources = {}
        self._overtaken: dict[str, bool] = {}  # by the name of a node that does nothing
        for name in self._order:
            if self._nodes[name].op == "NoOp":
                self._overtaken[name] = all(map(self._may_overtake, self._controls[name]))
            elif self._hands_on(name):
                sources[name] = self._data[name][0]
        return sources

    def _repeated(self) -> dict[str, str]:
        """Name of each constant that another one equals -> the output of the other one."""
        first: dict[bytes, str] = {}
        sources = {}
        for name, node in self._nodes.items():
            if node.op != "Const" or node.input or node.device or not node.attr.keys() <= _OF_CONSTANTS:
                continue
            value = node.attr["value"]
            if value.ByteSize() <= _SMALL and name not in self._returned:
                other = first.setdefault(value.SerializeToString(), name)
                if other != name:
                    sources[name] = f"{other}:output:0"
        return sources

    def _hands_on(self, name: str) -> bool:
        node = self._nodes[name]
        if node.op != "Identity" or name in self._returned or node.device or not node.attr.keys() <= _OF_IDENTITIES:
            return False
        text = self._data[name][0]
        source = self._nodes.get(node_name(text))
        if source is None or self._readers[text] > 1 or node.attr["T"].type in _WITH_HANDLES:
            return False  # with other readers, gradients would be summed in another order
        return _same_shape(node, source, text) and all(map(self._may_overtake, self._controls[name]))

    def _may_overtake(self, name: str) -> bool:
        """Whether what uses an output need not wait for a node. It has to wait for a check, for example."""
        if name in self._overtaken:
            return self._overtaken[name]
        op = self._nodes[name].op if name in self._nodes else ""
        return op in _READS or op in _ASSIGNMENTS or not op or not self._is_stateful(op)

    def _ends(self) -> list[str]:
        """The outputs and effects, and what others wait for other than reads."""
        effects = [
            name
            for name, node in self._nodes.items()
            if node.op not in _READS and node.op not in CALLS and self._is_stateful(node.op)
        ]
        waits = set(self._order) - {name for name in self._order if self._is_kept_identity(name)}
        awaited = [name for name in self._waiting if name not in waits]
        behind = [node_name(self._source(text)) for name, text in self._sources.items() if name in self._waiting]
        return [*self._returned, *effects, *awaited, *behind]

    def _is_kept_identity(self, name: str) -> bool:
        return self._nodes[name].op == "Identity" and name not in self._sources

    def _reached(self, ends: Iterable[str], before: Callable[[str], Iterable[str]]) -> set[str]:
        reached: set[str] = set()
        waiting = list(ends)
        while waiting:
            name = waiting.pop()
            if name in self._nodes and name not in reached:
                reached.add(name)
                waiting += before(name)
        return reached

    def _nodes_of_data(self, name: str) -> Iterator[str]:
        return (node_name(self._source(text)) for text in self._data[name])

    def _source(self, tensor: str) -> str:
        """The tensor that is handed on."""
        while (name := node_name(tensor)) in self._sources:
            tensor = self._sources[name]
        return tensor

    def _places_to_wait(self, used: set[str]) -> dict[str, list[str]]:
        """Name of each node that goes -> the nodes to wait for in its place."""
        awaited: dict[str, list[str]] = {}
        for name in self._order:
            before = list(self._controls[name])
            if name in self._sources:
                before.append(node_name(self._source(self._sources[name])))
            elif name in used or self._is_kept_identity(name):
                continue
            several = list(dict.fromkeys(each for one in before for each in awaited.get(one, [one])))
            if name in self._sources or len(several) * self._waiting[name] <= _MANY:
                awaited[name] = several
        return awaited

    def _set_inputs(self, name: str) -> list[str]:
        """Set the inputs of a node to what stays. Return the names of their nodes."""
        data = [self._source(text) for text in self._data[name]]
        controls = dict.fromkeys(
            each for before in self._controls[name] for each in self._awaited.get(before, [before])
        )
        if data != self._data[name] or list(controls) != self._controls[name]:
            self._nodes[name].input[:] = [*data, *(f"^{each}" for each in controls)]
        return [*map(node_name, data), *controls]


def _move_signs(function: Any) -> None:
    """Make `-x * c` of a constant `c` to `x * -c`. It is in the GELU of Keras 2, on its largest tensor."""
    nodes = {node.name: node for node in function.node_def}
    if not any(node.op == "Neg" for node in nodes.values()):
        return
    readers = collections.Counter(text for node in nodes.values() for text in node.input)
    readers.update(function.ret.values())
    for node in nodes.values():
        if node.op != "Mul":
            continue
        for place in (0, 1):
            signed, factor = (nodes.get(node_name(node.input[number])) for number in (place, 1 - place))
            if signed is None or factor is None or (signed.op, factor.op) != ("Neg", "Const"):
                continue
            source = nodes.get(node_name(signed.input[0]))
            is_plain = len(signed.input) == 1 and source is not None and _same_shape(signed, source, signed.input[0])
            if (
                is_plain
                and all(readers[text] == 1 for text in node.input[:2])
                and tf.as_dtype(node.attr["T"].type).is_floating
            ):
                negative = -tf.make_ndarray(factor.attr["value"].tensor)
                factor.attr["value"].tensor.CopyFrom(tf.make_tensor_proto(negative))
                node.input[place] = signed.input[0]
                break


def _same_shape(node: Any, source: Any, tensor: str) -> bool:
    """Whether the file says of a node what it says of its input."""
    if "_output_shapes" not in node.attr:
        return True
    number = int(tensor.rpartition(":")[2]) if ":" in tensor else 0
    shapes = source.attr["_output_shapes"].list.shape if "_output_shapes" in source.attr else ()
    return number < len(shapes) and shapes[number] == node.attr["_output_shapes"].list.shape[0]
