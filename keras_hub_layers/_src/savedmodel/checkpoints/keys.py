"""Which live variable stands under which key of a SavedModel's checkpoint."""

import re
from collections.abc import Callable, Mapping
from typing import Any

import tensorflow as tf
from tensorflow.core.protobuf import trackable_object_graph_pb2

__all__ = ["live_variables"]


OBJECT_GRAPH = "_CHECKPOINTABLE_OBJECT_GRAPH"


PREFIX = "variables/variables"


FAILURES = (tf.errors.OpError, OSError, IndexError, ValueError, RuntimeError)  # a checkpoint's reader has them all


def variables_by_key(obj: Any, reader: Any) -> dict[str, list[Any]]:
    """Key of the checkpoint -> the live variable, or the parts of it, that it holds."""
    shapes = reader.get_variable_to_shape_map()
    if OBJECT_GRAPH not in shapes:
        return _by_name(live_variables(obj), shapes)
    live = keys_of_nodes(obj, tf.train.TrackableView.children, reader)
    return {key: [node] for key, node in live.items() if isinstance(node, tf.Variable)}


def keys_of_nodes(root: Any, children_of: Callable[[Any], Mapping[str, Any]], reader: Any) -> dict[str, Any]:
    """Key of the checkpoint -> what has it, in an object graph that is walked by the names of children.

    Args:
        root: The root of the object graph.
        children_of: Name of a child -> the child.
        reader: Of a checkpoint with an object graph.
    """
    graph = trackable_object_graph_pb2.TrackableObjectGraph()
    graph.ParseFromString(reader.get_tensor(OBJECT_GRAPH))
    found, waiting = {0: root}, [0]
    while waiting:
        number = waiting.pop()
        children = children_of(found[number])
        for child in graph.nodes[number].children:
            if child.node_id not in found and child.local_name in children:
                found[child.node_id] = children[child.local_name]
                waiting.append(child.node_id)
    return {
        attribute.checkpoint_key: found[number]
        for number in sorted(found)
        for attribute in graph.nodes[number].attributes
        if attribute.name == "VARIABLE_VALUE"
    }


def live_variables(obj: Any) -> list[Any]:
    """Every variable that is reachable from the object or, in TF1 formats, from its signatures; each once."""
    reachable = [node for node in tf.train.TrackableView(obj).descendants() if isinstance(node, tf.Variable)]
    for function in getattr(obj, "signatures", {}).values():
        reachable += function.variables
    replicas = {id(part) for variable in reachable for part in with_replicas(variable)[1:]}
    return [v for v in {id(v): v for v in reachable}.values() if id(v) not in replicas]


def with_replicas(variable: Any) -> list[Any]:
    """A variable and, under a distribution strategy, its copies on each replica."""
    return [variable, *getattr(variable, "values", ())]


def _by_name(variables: list[Any], shapes: dict[str, Any]) -> dict[str, list[Any]]:
    """Key -> the live variable of that name, or the parts of a partitioned one: how TF1 has them."""
    named = {variable.name.removesuffix(":0"): variable for variable in variables}
    live = {name: [variable] for name, variable in named.items() if name in shapes}
    parts: dict[str, list[tuple[int, Any]]] = {}
    for name, variable in named.items():
        match = re.fullmatch(r"(.+)/part_(\d+)", name)
        if match and match[1] in shapes and name not in shapes:
            parts.setdefault(match[1], []).append((int(match[2]), variable))
    return live | {
        key: [variable for _, variable in sorted(numbered, key=lambda part: part[0])] for key, numbered in parts.items()
    }


def value_of(variable: Any, *, blank: bool) -> Any:
    """The tensor to store for one variable."""
    if not blank:
        return tf.convert_to_tensor(variable.read_value())
    if variable.dtype.is_floating:
        return tf.cast(tf.fill(variable.shape, float("nan")), variable.dtype)
    return tf.zeros(variable.shape, variable.dtype)


def join_parts(values: list[Any], shape: Any) -> Any:
    """The parts of a partitioned variable as the one tensor that the checkpoint holds; None if they do not fit."""
    if len(values) == 1:
        return values[0] if list(values[0].shape) == list(shape) else None
    for axis in range(len(shape)):
        sizes = [[*value.shape[:axis], *value.shape[axis + 1 :]] for value in values]
        rest = [*shape[:axis], *shape[axis + 1 :]]
        if all(size == rest for size in sizes) and sum(value.shape[axis] for value in values) == shape[axis]:
            return tf.concat(values, axis)
    return None


def read(prefix: str, dtypes: dict[str, Any], keys: list[str]) -> dict[str, Any]:
    """Key -> tensor, as the checkpoint holds it."""
    if not keys:
        return {}
    with tf.device("CPU:0"):
        tensors = tf.raw_ops.RestoreV2(
            prefix=prefix, tensor_names=keys, shape_and_slices=[""] * len(keys), dtypes=[dtypes[key] for key in keys]
        )
    return dict(zip(keys, tensors, strict=True))
