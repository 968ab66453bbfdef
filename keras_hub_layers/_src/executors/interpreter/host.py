"""Ops whose inputs are all known. TensorFlow computes them on the host, also ops on strings and lookup tables."""

import functools
import inspect
import keyword
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_hub_layers._src.executors.interpreter.graph import Node, definition
from keras_hub_layers._src.executors.interpreter.values import HostObject, UnsupportedOp

_SMALL, _MOST = 64, 4096  # entries of an array, and results to keep

NO_NUMBERS = (tf.string, tf.variant, tf.resource)  # dtypes of tensors that no op in `keras.ops` takes

_results: dict[Any, tuple[Any, ...]] = {}


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
    key = None if in_graph else _key(node, inputs)
    if key is not None and key in _results:
        return _results[key]
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
    if in_graph:
        return tuple(leaves)
    values = tuple(map(as_value, leaves))
    if key is not None and not known.is_stateful and all(map(_is_small, values)):
        if len(_results) >= _MOST:
            _results.clear()
        _results[key] = values
    return values


def read_reference(node: Node) -> np.ndarray:
    """The present value of a variable of TF1, which no object holds: the runtime of TensorFlow finds it by its name."""
    with tf.init_scope():
        return _reader(node)().numpy()


@functools.lru_cache(256)
def _reader(node: Node) -> Any:
    names = ("shape", "dtype", "container", "shared_name")
    variable = functools.partial(getattr(tf.raw_ops, node.op), **{name: node[name] for name in names}, name=node.name)
    return tf.compat.v1.wrap_function(lambda: tf.identity(variable()), [])


def _key(node: Node, inputs: list[Any]) -> Any:
    """What tells whether the same was computed before, or `None`.

    Graphs compute the same shapes again and again, and each step of PyTorch computes them anew.
    """
    if not inputs or node.attributes_key is None or not all(map(_is_small, inputs)):
        return None
    return node.op, node.attributes_key, *((value.dtype.str, value.shape, value.tobytes()) for value in inputs)


def _is_small(value: Any) -> bool:
    is_array = isinstance(value, (np.ndarray, np.generic))
    return is_array and value.size <= _SMALL and value.dtype.kind in "iufb" and value.dtype.isbuiltin == 1


def _call(function: Any, known: Any, node: Node, inputs: list[Any]) -> Any:
    """Call the function of `tf.raw_ops` for a node."""
    if any(argument.is_ref for argument in known.input_arg):
        raise UnsupportedOp(f"the op {node.op}, which changes a variable that belongs to the graph")
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
