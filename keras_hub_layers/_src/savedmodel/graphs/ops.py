"""Which ops a SavedModel needs that TensorFlow itself does not offer."""

from collections.abc import Iterable
from typing import Any

import tensorflow as tf
from tensorflow.core.framework import graph_pb2


def custom(meta_graph: Any) -> list[str]:
    """Ops of a graph and its functions that TensorFlow itself does not offer, whether or not they are registered.

    Args:
        meta_graph: A protobuf of type `MetaGraphDef`.
    """
    graph = meta_graph.graph_def
    used = {node.op for node in graph.node}
    for function in graph.library.function:
        used.update(node.op for node in function.node_def)
    used -= {function.signature.name for function in graph.library.function}
    return sorted(op for op in used if not hasattr(tf.raw_ops, op))


def missing(names: Iterable[str]) -> list[str]:
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
