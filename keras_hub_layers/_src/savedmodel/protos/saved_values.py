"""What a file holds of variables, functions, specs of tensors and Python values, which are described and not loaded."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from keras_hub_layers._src.savedmodel.protos.specs import DType, SavedSpec, Shape, dtype_of, shape_of

# TypeSpecProto.TypeSpecClass
_SPARSE, _RAGGED, _REGISTERED = 1, 3, 12


@dataclass(frozen=True, eq=False)
class SavedVariable:
    """A variable that is described and not there; compared by identity, as a `tf.Variable` is."""

    name: str
    shape: Shape
    dtype: DType
    trainable: bool = True


def refuse_call(*args: Any, **kwargs: Any) -> Any:
    """Stands for a function that is described and not there."""
    raise TypeError("the SavedModel was described, not loaded: khl.load(handle)")


def registered_types(meta_graph: Any) -> list[str]:
    """Names of the types in the inputs and outputs of a graph's functions that a package must register.

    Args:
        meta_graph: A protobuf of type `MetaGraphDef`.
    """
    names: set[str] = set()
    for concrete in meta_graph.object_graph_def.concrete_functions.values():
        for value in (concrete.canonicalized_input_signature, concrete.output_signature):
            names.update(_type_names(value))
    return sorted(names)


def _type_names(value: Any) -> Iterator[str]:
    kind = value.WhichOneof("kind")
    content: Any = getattr(value, kind) if kind else None
    if kind in ("list_value", "tuple_value"):
        entries = list(content.values)
    elif kind == "named_tuple_value":
        entries = [pair.value for pair in content.values]
    elif kind == "dict_value":
        entries = list(content.fields.values())
    else:
        entries = [content.type_state] if kind == "type_spec_value" else []
        if kind == "type_spec_value" and content.type_spec_class == _REGISTERED:
            yield content.type_spec_class_name
    for entry in entries:
        yield from _type_names(entry)


def decode(value: Any) -> Any:
    """A Python value or `SavedSpec` from a `StructuredValue`; what has no such form is its protobuf's text."""
    kind = value.WhichOneof("kind")
    if kind in (None, "none_value"):
        return None
    content = getattr(value, kind)
    if kind in ("list_value", "tuple_value"):
        entries = [decode(entry) for entry in content.values]
        return entries if kind == "list_value" else tuple(entries)
    if kind == "dict_value":
        return {key: decode(entry) for key, entry in sorted(content.fields.items())}
    if kind == "named_tuple_value":
        return [decode(pair.value) for pair in content.values]
    if kind in ("tensor_spec_value", "bounded_tensor_spec_value"):
        return SavedSpec(shape_of(content.shape), dtype_of(content.dtype))
    if kind == "tensor_dtype_value":
        return dtype_of(content)
    if kind == "tensor_shape_value":
        return shape_of(content)
    if kind == "type_spec_value":
        return _type_spec(content)
    return content if isinstance(content, (bool, int, float, str)) else str(content).strip()


def _type_spec(saved: Any) -> Any:
    state = decode(saved.type_state)
    if saved.type_spec_class == _RAGGED:
        return SavedSpec(state[0], state[1], "ragged", state[2:4])
    if saved.type_spec_class == _SPARSE:
        return SavedSpec(state[0], state[1], "sparse")
    return saved.type_spec_class_name
