"""Products: einsums of an inference graph that are a product of two matrices, which is computed faster."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf

from keras_hub_layers._src.savedmodel.graphs.library import node_name

__all__ = ["PRODUCTS", "Product", "matrix_product"]

PRODUCTS = frozenset(("Einsum",))


@dataclass(frozen=True)
class Product:
    """An einsum of values and a weight, such as `"abc,cde->abde"`: the last axes meet the first axes of the weight.

    It is `reshape(reshape(values, (-1, c)) @ reshape(weight, (c, d * e)), (a, b, d, e))`. A bias is added to the rows.

    Attributes:
        einsum: Name of its node.
        last: Name of the node that adds the bias; of the einsum if there is none.
        leading: Number of the axes of the values that stay.
        weight_shape: Shape of the weight.
        shared: Number of the axes that meet.
    """

    einsum: str
    last: str
    leading: int
    weight_shape: tuple[int, ...]
    shared: int

    def rewrite(self, graph_def: Any, nodes: Mapping[str, Any]) -> None:
        """Put the matrix product in the place of the einsum.

        Args:
            graph_def: A protobuf of type `GraphDef`, which is changed.
            nodes: Its nodes, by name.
        """
        values, weight = nodes[self.einsum].input
        node = nodes[self.last]
        bias = [text for text in node.input if node_name(text) != self.einsum] if self.last != self.einsum else []
        kept = self.weight_shape[self.shared :]
        common = math.prod(self.weight_shape[: self.shared])
        node.Clear()
        rows = self._reshape(graph_def, "rows", values, self._constant(graph_def, "rows_shape", [-1, common]))
        sizes = [common, math.prod(kept)]
        matrix = self._reshape(graph_def, "matrix", weight, self._constant(graph_def, "matrix_shape", sizes))
        product = self._add(graph_def, "product", "MatMul", [rows, matrix], T=tf.float32)
        if bias:
            row = self._reshape(graph_def, "row", bias[0], self._constant(graph_def, "row_shape", sizes[1:]))
            product = self._add(graph_def, "sum", "BiasAdd", [product, row], T=tf.float32)
        shape = self._add(graph_def, "shape", "Shape", [values], T=tf.float32, out_type=tf.int32)
        bounds = [self._constant(graph_def, name, [value]) for name, value in self._bounds()]
        leading = self._add(graph_def, "leading", "StridedSlice", [shape, *bounds], T=tf.int32, Index=tf.int32)
        parts = [leading, self._constant(graph_def, "kept", list(kept)), self._constant(graph_def, "axis", 0)]
        wanted = self._add(graph_def, "wanted", "ConcatV2", parts, T=tf.int32, Tidx=tf.int32, N=2)
        node.name, node.op = self.last, "Reshape"
        node.input.extend([product, wanted])
        node.attr["T"].type, node.attr["Tshape"].type = (dtype.as_datatype_enum for dtype in (tf.float32, tf.int32))

    def _bounds(self) -> list[tuple[str, int]]:
        return [("begin", 0), ("end", self.leading), ("step", 1)]

    def _reshape(self, graph_def: Any, name: str, values: str, shape: str) -> str:
        return self._add(graph_def, name, "Reshape", [values, shape], T=tf.float32, Tshape=tf.int32)

    def _constant(self, graph_def: Any, name: str, value: Any) -> str:
        node = graph_def.node.add(name=f"{self.einsum}/{name}", op="Const")
        node.attr["dtype"].type = tf.int32.as_datatype_enum
        node.attr["value"].tensor.CopyFrom(tf.make_tensor_proto(np.array(value, np.int32)))
        return node.name

    def _add(self, graph_def: Any, name: str, op: str, inputs: list[str], **attributes: Any) -> str:
        node = graph_def.node.add(name=f"{self.einsum}/{name}", op=op, input=inputs)
        for key, value in attributes.items():
            if isinstance(value, int):
                node.attr[key].i = value
            else:
                node.attr[key].type = value.as_datatype_enum
        return node.name


def matrix_product(op: Any) -> tuple[int, int] | None:
    """The number of axes of the values that stay and that meet the weight; `None` if it is something else.

    Args:
        op: An operation of a graph, of type `Einsum`.
    """
    terms, _, result = op.get_attr("equation").decode().replace(" ", "").partition("->")
    values, _, weight = terms.partition(",")
    if not (values.isalpha() and weight.isalpha() and result.isalpha()):
        return None
    if any(len(set(letters)) < len(letters) for letters in (values, weight, result)):
        return None
    shared = len(set(values) & set(weight))
    leading, kept = values[: len(values) - shared], weight[shared:]
    is_product = values[len(leading) :] == weight[:shared] and result == leading + kept
    return (len(leading), shared) if is_product and leading and shared and kept else None
