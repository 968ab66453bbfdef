"""Fusion: several nodes that compute one function, such as GELU, become one node, which backends compute faster.

PyTorch runs one node after another, and keeps what each returns for the gradients. So GELU in six nodes takes several
times as long as its own function does.
"""

import collections
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from keras_hub_layers._src.savedmodel.graphs.library import custom_gradient

# Ops of this package: a node of such an op takes the place of the last of several nodes.
GELU, DROPOUT, LAYER_NORM = "FusedGelu", "FusedDropout", "FusedLayerNorm"


def fuse(nodes: Mapping[str, Any], ends: Iterable[str]) -> dict[str, Any]:
    """The nodes of a function. In the place of the last of several nodes that are one function stands one node.

    The others stay, for whatever else may need them.

    Args:
        nodes: Name -> protobuf of type `NodeDef`.
        ends: Names of the tensors that the function returns.
    """
    graph = _Nodes(nodes, ends)
    return {name: next(_fusions(graph, node), node) for name, node in nodes.items()}


def _fusions(graph: "_Nodes", node: Any) -> Iterator[Any]:
    if custom_gradient(node):
        return
    if node.op == "Mul":
        yield from graph.gelu(node)
    elif node.op == "SelectV2":
        yield from graph.dropout(node)
    elif node.op == "AddV2":
        yield from graph.layer_norm(node)


class _Nodes:
    """Finds the pattern that ends at a node. What differs in the least from a pattern stays as it is."""

    def __init__(self, nodes: Mapping[str, Any], ends: Iterable[str]) -> None:
        self._nodes = nodes
        tensors = [*ends, *(text for node in nodes.values() for text in _data(node))]
        self._uses = collections.Counter(text.partition(":")[0] for text in tensors)

    def gelu(self, end: Any) -> Iterator[Any]:
        """x/2 · erfc(-x/√2), x/2 · (1 + erf(x/√2)), or x/2 · (1 + tanh(√(2/π) · (x + 0.044715·x³)))."""
        for half, factor in _both_orders(end):
            x = self._times(half, 0.5)
            if x is None:
                continue
            of_erfc = self._argument(factor, "Erfc")
            negative = self._times(of_erfc, 0.5**0.5)
            inner = self._plus(factor, 1.0)
            of_erf, of_tanh = self._argument(inner, "Erf"), self._argument(inner, "Tanh")
            exact = [self._argument(negative, "Neg"), self._times(of_erfc, -(0.5**0.5))]
            if x in (*exact, self._divided(of_erf, 2**0.5), self._times(of_erf, 0.5**0.5)):
                yield _node(end, GELU, [x], approximate=False)
            elif self._is_cubic(self._times(of_tanh, (2 / np.pi) ** 0.5), x):
                yield _node(end, GELU, [x], approximate=True)

    def _is_cubic(self, text: str | None, x: str) -> bool:
        """Whether a tensor is x + 0.044715·x³."""
        node = self._op(text, "AddV2")
        if node is None:
            return False
        for first, second in _both_orders(node):
            power = self._op(self._times(second, 0.044715), "Pow")
            if first == x and power is not None and power.input[0] == x and self._is(power.input[1], 3.0):
                return True
        return False

    def dropout(self, end: Any) -> Iterator[Any]:
        """Where a random number is at least the rate: x/(1 - rate), and elsewhere zero."""
        kept, scaled, zero = _data(end)
        compared = self._op(kept, "GreaterEqual")
        if compared is None or not self._is(zero, 0.0):
            return
        if any(self._uses[text.partition(":")[0]] > 1 for text in (kept, compared.input[0])):
            return  # something else uses the same random numbers
        draw = self._op(compared.input[0], "RandomUniform") or self._op(compared.input[0], "StatelessRandomUniformV2")
        rate = self._constant(compared.input[1])
        if draw is None or rate is None or not 0 < rate < 1:
            return
        x = self._times(scaled, 1 / (1 - float(rate)))
        shape = self._op(draw.input[0], "Shape")
        if x is not None and shape is not None and x in (shape.input[0], self._identity(shape.input[0])):
            yield _node(end, DROPOUT, [x], rate=float(rate))

    def layer_norm(self, end: Any) -> Iterator[Any]:
        """Layer normalization as Keras 2 computes it: each example is a channel of a batch normalization."""
        for product, offset in _both_orders(end):
            node = self._op(product, "Mul")
            for restored, scale in () if node is None else _both_orders(node):
                back = self._op(restored, "Reshape")
                norm = None if back is None else self._op(back.input[0], "FusedBatchNormV3")
                if back is None or norm is None or norm.attr["data_format"].s != b"NCHW" or not _trains(norm):
                    continue
                if norm.attr["T"].type != tf.float32.as_datatype_enum:
                    continue  # half precision has its statistics in float32
                rows, shape = self._op(norm.input[0], "Reshape"), self._op(back.input[1], "Shape")
                if rows is None or shape is None or shape.input[0] != rows.input[0]:
                    continue
                if self._is_filled(norm.input[1], 1.0) and self._is_filled(norm.input[2], 0.0):
                    inputs = [rows.input[0], rows.input[1], scale, offset]
                    yield _node(end, LAYER_NORM, inputs, epsilon=norm.attr["epsilon"].f)

    # -- one node ------------------------------------------------------------------------------------------------

    def _op(self, text: str | None, op: str) -> Any:
        """The node of this op that computes the tensor with this name, or `None`."""
        name, *rest = (text or "").split(":")
        node = self._nodes.get(name)
        is_first = not rest or rest[-1] == "0"
        return node if node is not None and node.op == op and is_first and not custom_gradient(node) else None

    def _argument(self, text: str | None, op: str) -> str | None:
        node = self._op(text, op)
        return None if node is None else node.input[0]

    def _identity(self, text: str) -> str | None:
        return self._argument(text, "Identity")

    def _times(self, text: str | None, factor: float) -> str | None:
        return self._with_number(text, "Mul", factor)

    def _plus(self, text: str | None, summand: float) -> str | None:
        return self._with_number(text, "AddV2", summand)

    def _with_number(self, text: str | None, op: str, number: float) -> str | None:
        """What a node computes with a number: for 0.5 · x, the name of x."""
        node = self._op(text, op)
        if node is None:
            return None
        return next((value for value, known in _both_orders(node) if self._is(known, number)), None)

    def _divided(self, text: str | None, divisor: float) -> str | None:
        node = self._op(text, "RealDiv")
        return node.input[0] if node is not None and self._is(node.input[1], divisor) else None

    def _is(self, text: str, number: float) -> bool:
        """Whether a tensor is a number, as exactly as its dtype has it."""
        value = self._constant(text)
        if value is None or value.dtype.kind != "f":
            return False
        return abs(float(value) - number) <= 2 * float(np.finfo(value.dtype).eps) * abs(number)

    def _constant(self, text: str) -> Any:
        node = self._op(text, "Const")
        value = None if node is None else tf.make_ndarray(node.attr["value"].tensor)
        return value if value is not None and value.shape == () else None

    def _is_filled(self, text: str, number: float) -> bool:
        node = self._op(text, "Fill")
        return node is not None and self._is(node.input[1], number)


def _trains(norm: Any) -> bool:
    share = norm.attr["exponential_avg_factor"].f if "exponential_avg_factor" in norm.attr else 1.0
    return share == 1.0 and ("is_training" not in norm.attr or norm.attr["is_training"].b)


def _data(node: Any) -> list[str]:
    return [text for text in node.input if not text.startswith("^")]


def _both_orders(node: Any) -> list[tuple[str, str]]:
    first, second = _data(node)
    return [(first, second), (second, first)]


def _node(end: Any, op: str, inputs: list[str], **attributes: Any) -> Any:
    """A node with the name of the last one."""
    node = tf.compat.v1.NodeDef(name=end.name, op=op, input=inputs)
    for name, value in attributes.items():
        setattr(node.attr[name], "b" if isinstance(value, bool) else "f", value)
    return node
