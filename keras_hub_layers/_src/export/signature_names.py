"""The names of tensors in a signature: those that the user chose, made legal; else stable ones.

- An input has its key in the dict, else the name of its `keras.Input`, else `inputs` or `inputs_<i>`.
- An output has its key in the dict, else the name of the layer that makes it, else `outputs` or `output_<i>`.
- Names that Keras counts (`keras_tensor_3`, `dense_17`) change with each build, and are no names.
- A character that is no ASCII letter, digit or underscore becomes an underscore; a digit or an underscore at the
  beginning gets an `x` before it; a Python keyword, and `self`, an underscore behind it.
"""

import keyword
import re
from collections.abc import Mapping, Sequence
from typing import Any

import tensorflow as tf

from keras_hub_layers._src.compat import models
from keras_hub_layers.errors import ExportError

__all__ = ["expand", "legal_name", "name_inputs", "name_outputs", "output_layers"]


def legal_name(name: str) -> str:
    """The name that an argument of a signature has for a name that a user chose."""
    name = re.sub(r"\W", "_", name, flags=re.ASCII)
    if not name or name[0].isdigit() or name[0] == "_":
        return f"x{name}"
    return f"{name}_" if keyword.iskeyword(name) or name == "self" else name


def name_inputs(specs: Any, tensor_names: Sequence[str | None]) -> list[str]:
    """One legal name per flattened input.

    Args:
        specs: A `tf.TypeSpec`, or a list or dict of them.
        tensor_names: Names of the symbolic inputs, in the order of the flattened specs; `None` where unknown.

    Raises:
        errors.ExportError: Two different names become the same one.
    """
    if isinstance(specs, Mapping):
        return _legal_names(_paths(specs), "input")
    own = [None if name is None or models.is_counted_input(name) else name for name in tensor_names]
    default = ["inputs"] if len(own) == 1 else [f"inputs_{i}" for i in range(len(own))]
    return _legal_names([name or other for name, other in zip(own, default, strict=True)], "input")


def name_outputs(outputs: Any, output_names: Sequence[str | None] | None) -> list[str]:
    """One legal name per flattened output.

    Args:
        outputs: Tensors, or specs or symbolic tensors in their place.
        output_names: As `output_layers` gives them.

    Raises:
        errors.ExportError: Two different names become the same one.
    """
    if isinstance(outputs, Mapping):
        return _legal_names(_paths(outputs), "output")
    count = len(tf.nest.flatten(outputs))
    default = ["outputs"] if count == 1 else [f"output_{i}" for i in range(count)]
    own = output_names if output_names and len(output_names) == count else [None] * count
    return _legal_names([name or other for name, other in zip(own, default, strict=True)], "output")


def output_layers(layer: Any) -> list[str | None] | None:
    """Names of the layers that make the outputs of a functional or `Sequential` model, `None` for those that Keras
    counts; `None` where the layer has no graph."""
    graph = models.graph_of(layer)
    if graph is None:
        return None
    makers = {id(tensor): node.operation for node in models.graph_nodes(graph) for tensor in node.output_tensors}
    operations = [makers[id(tensor)] for tensor in graph.outputs]
    return [None if models.has_counted_name(operation) else operation.name for operation in operations]


def expand(names: Sequence[str], specs: Sequence[Any]) -> list[str]:
    """One name per component: a ragged or sparse tensor has several.

    Raises:
        errors.ExportError: The name of a component is that of another tensor.
    """
    own, full = [], []
    for name, spec in zip(names, specs, strict=True):
        count = len(tf.nest.flatten(spec, expand_composites=True))
        if isinstance(spec, tf.SparseTensorSpec):
            endings = ["_indices", "_values", "_dense_shape"]
        elif isinstance(spec, tf.RaggedTensorSpec):
            endings = ["_flat_values", *(f"_row_splits_{i}" for i in range(count - 1))]
        else:
            endings = [""] if count == 1 else [f"_{i}" for i in range(count)]
        own += [name] * len(endings)
        full += [name + ending for ending in endings]
    for index, name in enumerate(full):
        if name in full[:index]:
            raise _collision("tensor", own[full.index(name)], own[index], name)
    return full


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


def _legal_names(names: Sequence[str], what: str) -> list[str]:
    """A legal name for each name; the same name twice, as of a layer with two outputs, is numbered."""
    owner: dict[str, str] = {}
    for name in names:
        other = owner.setdefault(legal_name(name), name)
        if other != name:
            raise _collision(what, other, name, legal_name(name))
    legal: list[str] = []
    for name in map(legal_name, names):
        free, number = name, 0
        while free in legal or (number and free in owner):
            number += 1
            free = f"{name}_{number}"
        legal.append(free)
    return legal


def _collision(what: str, first: str, second: str, name: str) -> ExportError:
    return ExportError(
        f"Two names of {what}s become the same one in the signature.",
        expected="names that differ in more than what a signature cannot have: letters, digits and underscores stay",
        received=f"{first!r} and {second!r}, which both become {name!r}",
        fix=f"rename one of them, as in keras.Input(shape, name={name + '_2'!r})",
    )
