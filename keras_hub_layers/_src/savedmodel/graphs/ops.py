"""Which ops a SavedModel needs that TensorFlow itself does not offer, and which run Python."""

from collections.abc import Iterable
from typing import Any

from keras_hub_layers._src.savedmodel.graphs import op_registry
from keras_hub_layers._src.savedmodel.graphs.library import library_of

# What `tf.numpy_function` and `tf.py_function` leave in a graph: the number of a Python function of the process.
PYTHON = frozenset(("EagerPyFunc", "PyFunc", "PyFuncStateless"))


def custom(meta_graph: Any) -> list[str]:
    """Ops of a graph and its functions that TensorFlow itself does not offer, whether or not they are registered.

    Args:
        meta_graph: A protobuf of type `MetaGraphDef`.
    """
    graph = meta_graph.graph_def
    functions = library_of(graph).functions
    used = {node.op for node in graph.node}
    for function in functions.values():
        used.update(node.op for node in function.node_def)
    return sorted(op for op in used - set(functions) if not op_registry.is_of_tensorflow(op))


def missing_ops(names: Iterable[str]) -> list[str]:
    """Those of the given ops that this process lacks: neither TensorFlow nor an imported package registers them."""
    return [op for op in names if not op_registry.is_registered(op)]
