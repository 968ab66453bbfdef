"""The graph of a concrete function of this process."""

from typing import Any

import tensorflow as tf

from keras_hub_layers._src.savedmodel.graphs.library import CALLS, Body, custom_gradient, library_of, needed_nodes
from keras_hub_layers._src.savedmodel.graphs.op_registry import gradient_kind


def body_of_concrete(concrete: Any) -> Body:
    """The body of a concrete function of this process."""
    graph = concrete.graph.as_graph_def()
    handles = {
        id(copy.handle): variable  # a distributed variable has one handle for each replica, and none of its own
        for variable in concrete.variables
        for copy in getattr(variable, "values", (variable,))
        if hasattr(copy, "handle")
    }
    handles |= {id(variable): variable for variable in concrete.variables}  # how a loaded function captures those
    variables = {
        inside.op.name: handles[id(outside)] for outside, inside in concrete.graph.captures if id(outside) in handles
    }
    others = {inside.op.name: outside for outside, inside in concrete.graph.captures if id(outside) not in handles}
    # A gradient that was taken of the function (TensorFlow 2.18 to 2.21) added outputs behind its own.
    outputs = tuple(tensor.name for tensor in concrete.outputs[: _number_of_outputs(concrete)])
    inputs = tuple(tensor.op.name for tensor in concrete.inputs)
    # What is wrapped of TF1 holds nodes that nobody runs.
    ends = [*outputs, *(op.name for op in concrete.graph.control_outputs)]
    nodes = needed_nodes({node.name: node for node in graph.node}, inputs, ends)
    needed = {node.name for node in nodes}
    rest = [node for node in graph.node if node.name not in needed]
    called = [node for function in graph.library.function for node in function.node_def]
    customs = set(filter(None, map(custom_gradient, [*graph.node, *called])))
    unknown = frozenset(name for name in customs if gradient_kind(name) == "undefined")
    return Body(nodes, inputs, outputs, variables, library_of(graph, unknown), others, rest)


def _number_of_outputs(concrete: Any) -> int:
    leaves = tf.nest.flatten(concrete.structured_outputs, expand_composites=True)
    return sum(leaf is not None for leaf in leaves)


def names_in_order(signature: Any) -> list[str]:
    """The names of a signature's inputs in the order in which its graph takes them.

    They may be sorted or not, so a call of the signature is traced, and its inputs are read.
    """
    names: dict[str, str] = {}

    def call(**inputs: Any) -> Any:
        names.update({tensor.name: name for name, tensor in inputs.items()})
        return signature(**inputs)

    _, specs = signature.structured_input_signature
    with tf.init_scope():
        graph = tf.function(call, autograph=False).get_concrete_function(**specs).graph
    calls = [op for op in graph.get_operations() if op.type in CALLS]
    return [names[tensor.name] for tensor in calls[-1].inputs if tensor.name in names]
