"""A tensor described as data: shape, dtype and kind; and nests of them in words."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from keras_hub_layers._src.public import public
from keras_hub_layers._src.savedmodel.protos.specs import kind_of, lengths_of


@public("interface")
@dataclass(frozen=True)
class Spec:
    """One tensor of an input or output.

    Attributes:
        shape: Tuple of `int` or `None`; `None` if even the rank is unknown.
        dtype: Name of the dtype, such as `"float32"` or `"string"`.
        kind: `"dense"`, `"ragged"` or `"sparse"`.
    """

    shape: tuple[int | None, ...] | None
    dtype: str
    kind: str = "dense"

    def __str__(self) -> str:
        shape = "(…)" if self.shape is None else str(self.shape)
        return f"{self.dtype} {shape}" + ("" if self.kind == "dense" else f" {self.kind}")


def spec_of(spec: Any) -> Any:
    """The `Spec` form of a nest of tensors or specs of them, described or of TensorFlow; other values as they are."""
    if isinstance(spec, Mapping):
        return {key: spec_of(spec[key]) for key in sorted(spec, key=str)}  # a file keeps no order
    kind: Any = kind_of(spec)
    if kind:
        return Spec(lengths_of(spec.shape), spec.dtype.name, kind)
    return [spec_of(value) for value in spec] if isinstance(spec, (list, tuple)) else spec


def describe(nest: Any) -> str:
    """A nest of `Spec`s in a form that fits an error text."""
    if isinstance(nest, dict):
        return "{" + ", ".join(f"{key!r}: {describe(value)}" for key, value in nest.items()) + "}"
    if isinstance(nest, (list, tuple)):
        return "[" + ", ".join(describe(value) for value in nest) + "]"
    return str(nest) if isinstance(nest, Spec) else "unknown" if nest is None else repr(nest)


def flatten(nest: Any) -> list[Spec]:
    """The `Spec`s in a nest."""
    if isinstance(nest, dict):
        nest = list(nest.values())
    if isinstance(nest, (list, tuple)):
        return [spec for entry in nest for spec in flatten(entry)]
    return [nest] if isinstance(nest, Spec) else []


def takes_tensors(inputs: Mapping[str, Any]) -> bool:
    """Whether the inputs of a signature, name to `Spec`, are some and all tensors."""
    return bool(inputs) and not any(spec.dtype in ("variant", "resource") for spec in flatten(inputs))
