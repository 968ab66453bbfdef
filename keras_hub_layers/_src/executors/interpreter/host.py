"""Ops whose inputs are all known. TensorFlow computes them on the host, also ops on strings and lookup tables."""

import inspect
import keyword
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_hub_layers._src.executors.interpreter.graph import Node, definition
from keras_hub_layers._src.executors.interpreter.values import HostObject, UnsupportedOp

NO_NUMBERS = (tf.string, tf.variant, tf.resource)  # dtypes of tensors that no op in `keras.ops` takes


def computes_tensors() -> bool:
    """Whether TensorFlow can compute with the tensors of the running backend."""
    return keras.backend.backend() == "tensorflow"


def compute(node: Node, inputs: list[Any], in_graph: bool = False) -> tuple[Any, ...]:
    """The outputs of a node as arrays, or as `HostObject`s.

    Args:
        node: The node.
        inputs: Arrays and `HostObject`s.
        in_graph: Whether the inputs may be tensors, and the op becomes a part of the graph or tape that there is. The
            outputs are tensors then. Defaults to `False`.
    """
    known = definition(node.op)
    function = getattr(tf.raw_ops, node.op, None)
    if function is None:
        raise UnsupportedOp(f"the op {node.op}, which TensorFlow does not offer outside of graphs")
    if in_graph:
        results = _call(function, known, node, inputs)
    else:
        with tf.init_scope(), tf.device("CPU:0"):
            results = _call(function, known, node, inputs)
    if isinstance(results, tf.Operation) or results is None:
        return ()
    leaves = tf.nest.flatten(results) if isinstance(results, (list, tuple)) else [results]
    return tuple(leaves) if in_graph else tuple(map(as_value, leaves))


def _call(function: Any, known: Any, node: Node, inputs: list[Any]) -> Any:
    """Call the function of `tf.raw_ops` for a node."""
    waiting = [value.tensor if isinstance(value, HostObject) else tf.convert_to_tensor(value) for value in inputs]
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
    # A few arguments have another name in Python, such as `axis` for `dim`. Their order is the same.
    taken = [name for name in inspect.signature(function).parameters if name != "name"]
    others = iter(name for name in taken if name not in arguments)
    return function(**{name if name in taken else next(others): value for name, value in arguments.items()})


def as_value(tensor: Any) -> Any:
    """An eager tensor as an array, or as a `HostObject` if it has no array."""
    if tensor.dtype in (tf.resource, tf.variant):
        return HostObject(tensor)
    value = tensor.numpy()
    return np.array(value, dtype=object) if isinstance(value, bytes) else np.asarray(value)


def _python(name: str) -> str:
    return f"{name}_" if keyword.iskeyword(name) else name
