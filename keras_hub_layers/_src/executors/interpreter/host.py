"""Ops whose inputs are all known. TensorFlow computes them on the host, also ops on strings and lookup tables."""

import keyword
from typing import Any

import numpy as np
import tensorflow as tf

from keras_hub_layers._src.executors.interpreter.graph import Node, definition
from keras_hub_layers._src.executors.interpreter.values import HostObject, UnsupportedOp


def compute(node: Node, inputs: list[Any]) -> tuple[Any, ...]:
    """The outputs of a node as arrays, or as `HostObject`s."""
    known = definition(node.op)
    function = getattr(tf.raw_ops, node.op, None)
    if function is None:
        raise UnsupportedOp(f"the op {node.op}, which TensorFlow does not offer outside of graphs")
    waiting = [value.tensor if isinstance(value, HostObject) else tf.constant(value) for value in inputs]
    arguments: dict[str, Any] = {}
    inferred: set[str] = set()
    for argument in known.input_arg:
        inferred.update(filter(None, (argument.type_attr, argument.number_attr, argument.type_list_attr)))
        if argument.number_attr or argument.type_list_attr:
            held = node[argument.number_attr or argument.type_list_attr]
            count = held if isinstance(held, int) else len(held)
            arguments[_python(argument.name)], waiting = waiting[:count], waiting[count:]
        else:
            arguments[_python(argument.name)], waiting = waiting[0], waiting[1:]
    arguments |= {_python(each.name): node[each.name] for each in known.attr if each.name not in inferred}
    with tf.init_scope(), tf.device("CPU:0"):
        results = function(**arguments)
    if isinstance(results, tf.Operation) or results is None:
        return ()
    leaves = tf.nest.flatten(results) if isinstance(results, (list, tuple)) else [results]
    return tuple(map(as_value, leaves))


def as_value(tensor: Any) -> Any:
    """An eager tensor as an array, or as a `HostObject` if it has no array."""
    if tensor.dtype in (tf.resource, tf.variant):
        return HostObject(tensor)
    value = tensor.numpy()
    return np.array(value, dtype=object) if isinstance(value, bytes) else np.asarray(value)


def _python(name: str) -> str:
    return f"{name}_" if keyword.iskeyword(name) else name
