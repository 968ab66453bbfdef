"""Where the graph of a layer is cut: the part before its first variable, and the rest."""

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import tensorflow as tf

from keras_hub_layers._src.layers import access
from keras_hub_layers._src.savedmodel.graphs.concrete import body_of_concrete
from keras_hub_layers._src.savedmodel.graphs.inline import find_node, find_tensor, inline
from keras_hub_layers._src.savedmodel.graphs.parts import cut_part
from keras_hub_layers.errors import InterfaceError

__all__ = ["Split", "split_graph"]


@dataclass(frozen=True, eq=False, repr=False)
class Split:
    """The two parts of a graph, for one mode.

    Attributes:
        host: Protobuf of type `GraphDef`: the operations on the inputs before the first variable.
        device: Protobuf of type `GraphDef`: the rest.
        inputs: Names of the input tensors, in their order.
        passed: The tensors that the host passes to the device: name -> a description of how it is computed.
        specs: A `tf.TensorSpec` for each of `passed`.
        outputs: Names of the output tensors.
        structure: The structure of the outputs.
        variables: Name of a tensor -> the variable whose handle it is.
        captures: Name of a tensor -> what else comes from outside, such as a table.
    """

    host: Any
    device: Any
    inputs: list[str]
    passed: dict[str, Any]
    specs: list[tf.TensorSpec]
    outputs: list[str]
    structure: Any
    variables: dict[str, Any]
    captures: dict[str, Any]


def split_graph(layer: keras.layers.Layer, spec: Any, training: bool) -> Split:
    """Cut the graph of a layer before its first variable.

    Args:
        layer: A `HubLayer`.
        spec: The specs of its inputs.
        training: The mode.

    Raises:
        errors.InterfaceError: The graph needs a text after the first variable, or there is no variable.
    """
    traced = tf.function(lambda inputs: access.compute_natively(layer, inputs, training), autograph=False)
    concrete = traced.get_concrete_function(spec)
    body, flat = body_of_concrete(concrete), inline(concrete.graph.as_graph_def())
    inputs = [tensor.name for tensor in concrete.inputs[: len(tf.nest.flatten(spec, expand_composites=True))]]
    variables = {f"{name}:0": variable for name, variable in body.variables.items()}
    captures = {inside.name: outside for outside, inside in concrete.graph.captures if inside.name not in variables}
    outputs = [find_tensor(flat, name) for name in body.outputs]
    with tf.Graph().as_default() as graph:
        tf.graph_util.import_graph_def(flat, name="")
    operations = graph.get_operations()
    on_host, on_device = _sides(operations, inputs, variables)
    ends = [graph.get_operation_by_name(find_node(flat, op.name)) for op in concrete.graph.control_outputs]
    results = [graph.get_tensor_by_name(name) for name in outputs]
    needed = _needed([tensor.op for tensor in results], ends, on_host, on_device)
    used = [tensor for op in operations if op.name in needed and op.name in on_device for tensor in op.inputs]
    passed = {tensor.name: tensor for tensor in [*used, *results] if tensor.op.name in on_host}
    _check(passed.values(), any(op.name in needed for op in operations if op.name in on_device))
    ahead = [*ends, *(before for op in operations if op.name in needed for before in op.control_inputs)]
    host = _needed([tensor.op for tensor in passed.values()], ahead, on_device, on_host)
    how = _descriptions(graph, inputs, captures)
    return Split(
        host=cut_part(flat, host, {*inputs, *captures}),
        device=cut_part(flat, needed, {*passed, *variables, *captures}),
        inputs=inputs,
        passed={name: (how(tensor.op), tensor.value_index) for name, tensor in passed.items()},
        specs=[tf.TensorSpec(tensor.shape, tensor.dtype) for tensor in passed.values()],
        outputs=outputs,
        structure=concrete.structured_outputs,
        variables=variables,
        captures=captures,
    )


def _sides(operations: Sequence[Any], inputs: Iterable[str], variables: Iterable[str]) -> tuple[set[str], set[str]]:
    """Two sets of names: operations that depend on inputs and on no variable, and those that depend on a variable."""
    from_inputs, on_device = ({name.partition(":")[0] for name in names} for names in (inputs, variables))
    size = -1
    while size != len(from_inputs) + len(on_device):  # loops of TF1 need another round
        size = len(from_inputs) + len(on_device)
        for op in operations:
            before = {tensor.op.name for tensor in op.inputs}
            if before & on_device:
                on_device.add(op.name)
            if before & from_inputs:
                from_inputs.add(op.name)
    return from_inputs - on_device, on_device


def _needed(results: Iterable[Any], ends: Iterable[Any], others: set[str], own: set[str]) -> set[str]:
    """Names of the operations on one side that some results depend on, or that run for their effects.

    Args:
        results: The operations whose results are needed.
        ends: Other operations that have to run, on either side.
        others: Names of the operations on the other side.
        own: Names of the operations on this side. An operation on neither side, such as a constant, is kept only if a
            result needs it.
    """
    needed: set[str] = set()
    waiting = [(op, False) for op in results] + [(op, True) for op in ends]
    while waiting:
        op, is_control = waiting.pop()
        if op.name in needed or op.name in others or (is_control and op.name not in own and op.type != "NoOp"):
            continue
        needed.add(op.name)
        waiting += [(tensor.op, False) for tensor in op.inputs]
        waiting += [(before, True) for before in op.control_inputs]
    return needed


# -- whether two modes have the same part before the first variable ----------------------------------------------------


def _descriptions(graph: Any, inputs: Sequence[str], captures: Mapping[str, Any]) -> Callable[[Any], str]:
    """A function that hashes all that an operation is computed from. Equal hashes mean equal computations."""
    functions = {function.signature.name: function for function in graph.as_graph_def().library.function}
    sources: dict[str, Any] = {name.removesuffix(":0"): number for number, name in enumerate(inputs)}
    sources |= {name.removesuffix(":0"): f"capture {id(value)}" for name, value in captures.items()}
    known: dict[str, str] = {}

    def describe(last: Any) -> str:
        waiting = [last]  # deep graphs exceed the depth of recursion
        while waiting:
            op = waiting[-1]
            unknown = [tensor.op for tensor in op.inputs if tensor.op.name not in known]
            if op.name not in known and op.name not in sources and unknown:
                waiting += unknown
                continue
            waiting.pop()
            before = (
                [(known[tensor.op.name], tensor.value_index) for tensor in op.inputs] if op.name not in sources else []
            )
            what = sources.get(op.name, None if op.name in sources else _node_text(op.node_def, functions))
            known[op.name] = hashlib.blake2b(repr((what, before)).encode(), digest_size=16).hexdigest()
        return known[last.name]

    return describe


def _node_text(node: Any, functions: Mapping[str, Any]) -> Any:
    """The op and the attributes of a node, with the bodies of functions instead of their names."""
    attributes = []
    for name in sorted(name for name in node.attr if not name.startswith("_")):
        value = node.attr[name]
        called = [value.func.name] if value.HasField("func") else [function.name for function in value.list.func]
        bodies = [_body_text(functions[each], functions) for each in called if each in functions]
        attributes.append((name, bodies or value.SerializeToString(deterministic=True)))
    return node.op, attributes


def _body_text(function: Any, functions: Mapping[str, Any]) -> Any:
    return [(list(node.input), _node_text(node, functions)) for node in function.node_def], sorted(function.ret.items())


# -- errors ------------------------------------------------------------------------------------------------------------


def _check(passed: Iterable[Any], has_variables: bool) -> None:
    if not has_variables:
        raise InterfaceError(
            "The layer computes without variables, so all of it can run on the host.",
            expected="a layer with variables",
            received="no variable between its inputs and its outputs",
            fix="dataset.map(lambda inputs, targets: (layer(inputs), targets))",
        )
    kept = [tensor for tensor in passed if tensor.dtype in (tf.string, tf.resource, tf.variant)]
    if kept:
        raise InterfaceError(
            "The graph cannot be cut before its first variable: what is no number goes past it.",
            expected="numbers only, at the first variable",
            received=", ".join(f"{tensor.dtype.name} {tensor.name!r}" for tensor in kept[:3]),
            fix="# it trains as a whole:\nwith strategy.scope(): distribution.enable_fit(); model = ...",
        )
