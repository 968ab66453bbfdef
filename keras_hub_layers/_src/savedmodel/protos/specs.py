"""Tensors that a file describes: their dtypes, shapes and specs, without TensorFlow; and nests of specs.

A described dtype or shape equals TensorFlow's own: what is read from a file can be compared with what is loaded.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from keras_hub_layers._src.compat import tensorflow as tensorflow_compat

# Number in TensorFlow's `types.proto` -> name, kind (float, integer, complex, quantized, or another), bytes.
_DTYPES = {
    1: ("float32", "f", 4), 2: ("float64", "f", 8), 3: ("int32", "i", 4), 4: ("uint8", "i", 1), 5: ("int16", "i", 2),
    6: ("int8", "i", 1), 7: ("string", "", 0), 8: ("complex64", "c", 8), 9: ("int64", "i", 8), 10: ("bool", "", 1),
    11: ("qint8", "q", 1), 12: ("quint8", "q", 1), 13: ("qint32", "q", 4), 14: ("bfloat16", "f", 2),
    15: ("qint16", "q", 2), 16: ("quint16", "q", 2), 17: ("uint16", "i", 2), 18: ("complex128", "c", 16),
    19: ("float16", "f", 2), 20: ("resource", "", 0), 21: ("variant", "", 0), 22: ("uint32", "i", 4),
    23: ("uint64", "i", 8), 24: ("float8_e5m2", "f", 1), 25: ("float8_e4m3fn", "f", 1),
    26: ("float8_e4m3fnuz", "f", 1), 27: ("float8_e4m3b11fnuz", "f", 1), 28: ("float8_e5m2fnuz", "f", 1),
    29: ("int4", "i", 1), 30: ("uint4", "i", 1), 31: ("int2", "i", 1), 32: ("uint2", "i", 1),
    33: ("float4_e2m1fn", "f", 1),
}  # fmt: skip


_REFERENCE = 100  # is added to the number of a dtype for a reference to a variable of TF1


_PROPERTIES = {name: (kind, size) for name, kind, size in _DTYPES.values()}


class DType(str):
    """A dtype by its name; TensorFlow's own equals it: `DType("int64") == tf.int64`."""

    __slots__ = ()

    @property
    def name(self) -> str:
        return str.__str__(self)

    @property
    def is_floating(self) -> bool:
        return self._properties[0] == "f"

    @property
    def is_integer(self) -> bool:
        return self._properties[0] == "i"

    @property
    def is_complex(self) -> bool:
        return self._properties[0] == "c"

    @property
    def size(self) -> int:
        """Bytes of a value; 0 for strings and others that have no size of their own."""
        return self._properties[1]

    @property
    def _properties(self) -> tuple[str, int]:
        return _PROPERTIES.get(self.name.removesuffix("_ref"), ("", 0))

    def __repr__(self) -> str:
        return f"tf.{self.name}"

    def __str__(self) -> str:
        return f"<dtype: {self.name!r}>"


def dtype_of(number: int) -> DType:
    """The dtype with a number of `types.proto`; of an unknown number, one whose name says so."""
    if number in _DTYPES:
        return DType(_DTYPES[number][0])
    if number - _REFERENCE in _DTYPES:
        return DType(f"{_DTYPES[number - _REFERENCE][0]}_ref")
    return DType(f"type_{number}")


class Shape:
    """A shape; TensorFlow's own equals it.

    Args:
        lengths: Tuple of `int`, `None` for an unknown length; `None` if even the rank is unknown.
    """

    __slots__ = ("_lengths",)

    def __init__(self, lengths: tuple[int | None, ...] | None) -> None:
        self._lengths = lengths

    @property
    def rank(self) -> int | None:
        return None if self._lengths is None else len(self._lengths)

    def as_list(self) -> list[int | None]:
        """The lengths.

        Raises:
            ValueError: The rank is unknown.
        """
        if self._lengths is None:
            raise ValueError("a shape of unknown rank has no list of lengths")
        return list(self._lengths)

    def is_fully_defined(self) -> bool:
        """Whether each length is known."""
        return self._lengths is not None and None not in self._lengths

    def __iter__(self) -> Iterator[int | None]:
        if self._lengths is None:
            raise TypeError("a shape of unknown rank has no lengths")
        return iter(self._lengths)

    def __eq__(self, other: object) -> bool:
        return lengths_of(self) == lengths_of(other) if hasattr(other, "as_list") else NotImplemented

    def __hash__(self) -> int:
        return hash(self._lengths)

    def __repr__(self) -> str:
        return f"TensorShape({None if self._lengths is None else list(self._lengths)})"


def shape_of(saved: Any) -> Shape:
    """The shape in a protobuf of type `TensorShapeProto`."""
    if saved.unknown_rank:
        return Shape(None)
    return Shape(tuple(None if dim.size == -1 else dim.size for dim in saved.dim))


def lengths_of(shape: Any) -> tuple[int | None, ...] | None:
    """A shape, described or of TensorFlow, as a tuple; `None` if the rank is unknown."""
    if isinstance(shape, (tuple, list)):
        return tuple(shape)
    return None if shape.rank is None else tuple(shape.as_list())


@dataclass(frozen=True)
class SavedSpec:
    """A tensor of an input or output that is described: what a `tf.TypeSpec` is for one that is loaded.

    Attributes:
        shape: Its shape.
        dtype: Its dtype.
        kind: `"dense"`, `"ragged"` or `"sparse"`.
        details: What else the spec of a ragged tensor says, its ragged rank and the dtype of its row splits.
    """

    shape: Shape
    dtype: DType
    kind: str = "dense"
    details: tuple[Any, ...] = ()


def kind_of(value: Any) -> str:
    """`"dense"`, `"ragged"` or `"sparse"` for a tensor or the spec of one, described or of TensorFlow; else `""`."""
    return value.kind if isinstance(value, SavedSpec) else tensorflow_compat.tensor_kind(value)


def is_spec(value: Any) -> bool:
    """Whether something is the spec of one tensor, described or of TensorFlow."""
    return isinstance(value, SavedSpec) or (tensorflow_compat.is_type_spec(value) and kind_of(value) != "")


def is_sequence(nest: Any) -> bool:
    """Whether a nest is a list or tuple of others, and not the spec of something."""
    return isinstance(nest, (list, tuple)) and not tensorflow_compat.is_type_spec(nest)


def flatten(nest: Any) -> list[Any]:
    """The leaves of a nest of dicts, lists and tuples; dicts in the order of their sorted keys."""
    if isinstance(nest, Mapping):
        return [leaf for key in sorted(nest, key=str) for leaf in flatten(nest[key])]
    return [leaf for entry in nest for leaf in flatten(entry)] if is_sequence(nest) else [nest]


def pack_like(form: Any, leaves: Iterator[Any]) -> Any:
    """The next leaves, in the order of `flatten`, in the form of a nest."""
    if isinstance(form, Mapping):
        return {key: pack_like(form[key], leaves) for key in sorted(form, key=str)}
    if not is_sequence(form):
        return next(leaves)
    values = [pack_like(entry, leaves) for entry in form]
    if hasattr(form, "_fields"):  # a named tuple
        return type(form)(*values)
    return tuple(values) if isinstance(form, tuple) else values
