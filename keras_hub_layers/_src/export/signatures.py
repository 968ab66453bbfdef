"""The signature of an exported function: named tensors in, named tensors out, as sessions and servers want it."""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import tensorflow as tf

__all__ = ["flat_outputs", "input_names", "named", "signature"]


_KERAS_COUNTS_THESE = re.compile(r"(keras_tensor|input_layer)(_\d+)?(CLONE)?")  # another number in each process


def named(specs: Any) -> Any:
    """The specs with the names that a `tf.function` of `inputs` gives them, so that a trace made with them is found."""

    def call(inputs, training=False):
        return tf.constant(0)

    traced = tf.function(call, autograph=False).get_concrete_function(specs, training=False)
    return traced.structured_input_signature[0][0]


def input_names(specs: Any, tensor_names: Sequence[str | None]) -> list[str]:
    """One name per flattened input: its dict key, else the name of the input layer, else `inputs` or `inputs_<i>`.

    Args:
        specs: A `tf.TypeSpec`, or a list or dict of them.
        tensor_names: Names of the symbolic inputs, in the order of the flattened specs; `None` where unknown.
    """
    flat = tf.nest.flatten(specs)
    names = _paths(specs)
    if not isinstance(specs, Mapping):
        default = ["inputs"] if len(flat) == 1 else [f"inputs_{i}" for i in range(len(flat))]
        names = [
            fallback if name is None or _KERAS_COUNTS_THESE.fullmatch(name) else name
            for name, fallback in zip(tensor_names, default, strict=True)
        ]
    return _unique([_identifier(name) for name in names])


def signature(
    function: Callable[[Any], Any], specs: Any, names: Sequence[str], output_names: Sequence[str] | None
) -> Any:
    """A `tf.function` with one named argument per tensor, which returns a dict of tensors.

    Args:
        function: Called with inputs structured as `specs`.
        specs: A `tf.TypeSpec`, or a list or dict of them.
        names: One per flattened spec. A ragged or sparse input takes one argument per component.
        output_names: Names for flattened outputs that are no dict, or `None`.
    """

    def serving(*components):
        inputs = tf.nest.pack_sequence_as(specs, list(components), expand_composites=True)
        return flat_outputs(function(inputs), output_names)

    arguments = []
    for name, spec in zip(names, tf.nest.flatten(specs), strict=True):
        parts = tf.nest.flatten(spec, expand_composites=True)
        for part, ending in zip(parts, _endings(spec, len(parts)), strict=True):
            arguments.append(tf.TensorSpec(part.shape, part.dtype, name=name + ending))
    return tf.function(serving, input_signature=arguments, autograph=False)


def flat_outputs(outputs: Any, output_names: Sequence[str] | None) -> dict[str, Any]:
    """Outputs as a flat dict: by dict key, else by output layer, else `outputs` or `output_<i>`."""
    flat = tf.nest.flatten(outputs, expand_composites=True)
    whole = tf.nest.flatten(outputs)
    if isinstance(outputs, Mapping):
        names = _paths(outputs)
    else:
        names = ["outputs"] if len(whole) == 1 else [f"output_{i}" for i in range(len(whole))]
        if output_names and len(output_names) == len(whole):
            names = list(output_names)
    full = []
    for name, value in zip(_unique([_identifier(name) for name in names]), whole, strict=True):
        parts = tf.nest.flatten(value, expand_composites=True)
        full += [name + ending for ending in _endings(tf.type_spec_from_value(value), len(parts))]
    return dict(zip(full, flat, strict=True))


def _endings(spec: Any, count: int) -> list[str]:
    """What is added to a name for each component of a ragged or sparse tensor."""
    if isinstance(spec, tf.SparseTensorSpec):
        return ["_indices", "_values", "_dense_shape"]
    if isinstance(spec, tf.RaggedTensorSpec):
        return ["_flat_values", *(f"_row_splits_{i}" for i in range(count - 1))]
    return [""] if count == 1 else [f"_{i}" for i in range(count)]


def _paths(structure: Any, above: str = "") -> list[str]:
    """A name per leaf from its dict keys and list indices, in the order in which `tf.nest` flattens."""
    if isinstance(structure, Mapping):
        children = [(str(key), structure[key]) for key in sorted(structure)]
    elif isinstance(structure, (list, tuple)) and not isinstance(structure, tf.TypeSpec):
        fields = getattr(structure, "_fields", range(len(structure)))
        children = [(str(field), value) for field, value in zip(fields, structure, strict=True)]
    else:
        return [above]
    return [path for key, value in children for path in _paths(value, f"{above}_{key}" if above else key)]


def _identifier(name: str) -> str:
    """A name that a Python keyword argument and a graph node can have."""
    name = re.sub(r"\W", "_", name, flags=re.ASCII)
    return name if name and not name[0].isdigit() and name[0] != "_" else f"x{name}"


def _unique(names: Sequence[str]) -> list[str]:
    found: list[str] = []
    for name in names:
        free, number = name, 0
        while free in found:
            number += 1
            free = f"{name}_{number}"
        found.append(free)
    return found
