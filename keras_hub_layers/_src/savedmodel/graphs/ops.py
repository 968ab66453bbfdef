"""Which ops a SavedModel needs that TensorFlow itself does not offer, and which run Python."""

from collections.abc import Iterable
from typing import Any

import tensorflow as tf
from tensorflow.core.framework import graph_pb2

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
    return sorted(op for op in used - set(functions) if not hasattr(tf.raw_ops, op))


def missing_ops(names: Iterable[str]) -> list[str]:
    """Those of the given ops that are not registered in this process: neither internal ones nor a package's."""
    return [op for op in names if not _is_registered(op)]


def _is_registered(op: str) -> bool:
    """Whether an op without a wrapper in `tf.raw_ops` is known: internal ones, and those of imported packages."""
    graph = graph_pb2.GraphDef()  # pyright: ignore[reportAttributeAccessIssue]
    graph.node.add(name="probe", op=op)
    try:
        with tf.Graph().as_default():
            tf.graph_util.import_graph_def(graph)
    except Exception as err:  # a known op complains about the inputs that the probe lacks
        return "not registered" not in str(err)
    return True
