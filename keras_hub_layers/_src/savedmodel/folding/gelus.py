"""GELUs: those of an inference graph that are computed faster by the error function than by its complement."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf

__all__ = ["COMPLEMENTS", "Gelu", "is_of_gelu"]

COMPLEMENTS = frozenset(("Erfc",))


@dataclass(frozen=True)
class Gelu:
    """`x / 2 * erfc(-x / sqrt(2))`, as Keras 2 computes GELU. It is `x / 2 * (1 - erf(-x / sqrt(2)))`.

    Attributes:
        complement: Name of the node of `erfc`.
    """

    complement: str

    def rewrite(self, graph_def: Any, nodes: Mapping[str, Any]) -> None:
        """Put `1 - erf` in the place of `erfc`.

        Args:
            graph_def: A protobuf of type `GraphDef`, which is changed.
            nodes: Its nodes, by name.
        """
        node = nodes[self.complement]
        one = graph_def.node.add(name=f"{self.complement}/one", op="Const")
        one.attr["dtype"].type = tf.float32.as_datatype_enum
        one.attr["value"].tensor.CopyFrom(tf.make_tensor_proto(1.0, tf.float32))
        inner = graph_def.node.add(name=f"{self.complement}/erf", op="Erf", input=node.input)
        inner.attr["T"].type = tf.float32.as_datatype_enum
        node.op = "Sub"
        node.input[:] = [one.name, inner.name]


def is_of_gelu(op: Any) -> bool:
    """Whether an operation of type `Erfc` is that of a GELU. Elsewhere small values of `erfc` may matter."""
    readers = op.outputs[0].consumers()
    if len(readers) != 1 or readers[0].type != "Mul" or op.outputs[0].dtype != tf.float32:
        return False
    x = _multiplied(op.inputs[0].op, -(0.5**0.5))
    if x is None:
        negative = _multiplied(op.inputs[0].op, 0.5**0.5)
        x = negative.op.inputs[0] if negative is not None and negative.op.type == "Neg" else None
    halves = [_multiplied(tensor.op, 0.5) for tensor in readers[0].inputs if tensor is not op.outputs[0]]
    return x is not None and len(halves) == 1 and halves[0] is x


def _multiplied(op: Any, factor: float) -> Any:
    """The tensor that an operation multiplies with a number, or `None`."""
    if op.type != "Mul":
        return None
    for tensor, other in (op.inputs, reversed(op.inputs)):
        value = tf.get_static_value(other)
        if value is not None and np.shape(value) == () and abs(float(value) - factor) < 1e-6:
            return tensor
    return None
