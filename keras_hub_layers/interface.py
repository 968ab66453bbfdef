"""The records that `keras_hub_layers.inspect` returns."""

from keras_hub_layers._src.inspect.interface import Interface
from keras_hub_layers._src.inspect.records import (
    Extent,
    GroupInfo,
    Requirement,
    SignatureInfo,
    TraceInfo,
    VariableInfo,
)
from keras_hub_layers._src.inspect.specs import Spec

__all__ = [
    "Extent",
    "GroupInfo",
    "Interface",
    "Requirement",
    "SignatureInfo",
    "Spec",
    "TraceInfo",
    "VariableInfo",
]
