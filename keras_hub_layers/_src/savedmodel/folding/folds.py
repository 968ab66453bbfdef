"""Folds: batch normalizations of an inference graph that a convolution can do with other kernels and a bias."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import tensorflow as tf

from keras_hub_layers._src.compat.tensorflow import is_stateful
from keras_hub_layers._src.savedmodel.folding.gelus import COMPLEMENTS, Gelu, is_of_gelu
from keras_hub_layers._src.savedmodel.folding.products import PRODUCTS, Product, matrix_product
from keras_hub_layers._src.savedmodel.graphs.library import called_functions

__all__ = ["CONVOLUTIONS", "Fold", "find_folds", "rewrite"]

CONVOLUTIONS = frozenset(("Conv2D", "DepthwiseConv2dNative"))
_FUSED = ("FusedBatchNorm", "FusedBatchNormV2", "FusedBatchNormV3")
_WITHOUT_EFFECT = ("ReadVariableOp", "ResourceGather", "Placeholder")  # of the ops with a state


@dataclass(frozen=True)
class Fold:
    """A batch normalization in inference mode behind a convolution that nothing else uses.

    `(conv(x, kernel) + bias) * factor + shift` is `conv(x, kernel * factor) + (bias * factor + shift)`. The second form
    multiplies the kernel instead of each pixel.

    Attributes:
        convolution: Name of its node.
        last: Name of the node that gives the normalized values.
        kernel: Name of the tensor.
        bias: Name of the tensor, or `None`.
        kernel_shape: Shape of the kernel.
        channels: Number of output channels.
        statistics: Names of the tensors `gamma`, `beta`, `mean` and `variance` of a fused normalization. Then
            `factor = gamma / sqrt(variance + epsilon)` and `shift = beta - mean * factor`.
        epsilon: What is added to the variance.
        affine: Names of the tensors `factor` and `shift`, where the graph computes them.
    """

    convolution: str
    last: str
    kernel: str
    bias: str | None
    kernel_shape: tuple[int, ...]
    channels: int
    statistics: tuple[str, ...] = ()
    epsilon: float = 0.0
    affine: tuple[str, ...] = ()

    @property
    def tensors(self) -> list[str]:
        """Names of all tensors that the new kernel and the new bias are computed from."""
        return [self.kernel, *self.statistics, *self.affine, *([self.bias] if self.bias else [])]

    @property
    def factor_shape(self) -> tuple[int, ...]:
        """The shape in which the factor is multiplied with the kernel. Two axes of a depthwise kernel are channels."""
        inputs, outputs = self.kernel_shape[2:]
        return (inputs, outputs) if inputs * outputs == self.channels else (self.channels,)


def find_folds(
    graph_def: Any, inputs: Iterable[str], outputs: Iterable[str], variables: Mapping[str, Any]
) -> tuple[list[Fold], list[Product | Gelu]]:
    """The batch normalizations of a graph that can be folded into convolutions, and what can be computed otherwise.

    Args:
        graph_def: A protobuf of type `GraphDef`, without calls of functions.
        inputs: Names of the tensors that are no weights.
        outputs: Names of the tensors that the graph returns.
        variables: Name of a node -> the variable whose handle it is.

    Returns:
        The folds, and the products and GELUs. None if the graph has effects, since these need an order.
    """
    if any(is_stateful(node.op) and node.op not in _WITHOUT_EFFECT for node in graph_def.node):
        return [], []
    graph = _Graph(graph_def, inputs, outputs, variables)
    folds = [graph.fused_fold(op) if op.type in _FUSED else graph.affine_fold(op) for op in graph.operations]
    others: list[Any] = [graph.product(op) for op in graph.operations if op.type in PRODUCTS]
    others += [graph.gelu(op) for op in graph.operations if op.type in COMPLEMENTS]
    return [fold for fold in folds if fold is not None], [each for each in others if each is not None]


def rewrite(
    graph_def: Any, folds: Iterable[Fold], others: Iterable[Product | Gelu] = ()
) -> tuple[Any, list[tuple[str, str]]]:
    """A graph in which each fold is a convolution and a bias, and others are computed as they say.

    Returns:
        The graph, without control inputs; and for each fold the names of two tensors that have to be given from
        outside: the kernel, and the bias.
    """
    result = type(graph_def)()
    result.CopyFrom(graph_def)
    called = {name for node in result.node for name in called_functions(node)}
    if not any(function.signature.name in called for function in result.library.function):
        result.library.Clear()
    nodes = {node.name: node for node in result.node}
    for node in result.node:
        data = [text for text in node.input if text[0] != "^"]
        del node.input[:]
        node.input.extend(data)
    given = []
    for number, fold in enumerate(folds):
        kernel, bias = f"folded_kernel_{number}", f"folded_bias_{number}"
        for name in (kernel, bias):
            result.node.add(name=name, op="Placeholder").attr["dtype"].type = tf.float32.as_datatype_enum
        convolution, last = nodes[fold.convolution], nodes[fold.last]
        convolution.input[1] = kernel
        last.Clear()
        last.name, last.op = fold.last, "BiasAdd"
        last.input.extend([fold.convolution, bias])
        last.attr["T"].type = tf.float32.as_datatype_enum
        last.attr["data_format"].CopyFrom(convolution.attr["data_format"])
        given.append((f"{kernel}:0", f"{bias}:0"))
    for other in others:
        other.rewrite(result, nodes)
    return result, given


class _Graph:
    """The operations of a graph, with the shapes of its weights."""

    def __init__(
        self, graph_def: Any, inputs: Iterable[str], outputs: Iterable[str], variables: Mapping[str, Any]
    ) -> None:
        reads = [node for node in graph_def.node if node.op == "ReadVariableOp" and node.input[0] in variables]
        with tf.Graph().as_default() as graph:
            values = {}  # a graph does not tell the shape of a variable
            for node in reads:
                variable = variables[node.input[0]]
                values[f"{node.name}:0"] = tf.compat.v1.placeholder(variable.dtype, variable.shape)
            tf.graph_util.import_graph_def(graph_def, values, name="")
        self._names = {tensor.name: name for name, tensor in values.items()}
        self.operations = graph.get_operations()
        self._ends = {graph.get_tensor_by_name(name).ref() for name in outputs}
        self._data = {name.partition(":")[0] for name in inputs}
        for op in self.operations:
            if any(tensor.op.name in self._data for tensor in op.inputs):
                self._data.add(op.name)

    def fused_fold(self, last: Any) -> Fold | None:
        """The fold of a fused batch normalization."""
        others = last.outputs[1:]
        if last.get_attr("is_training") or any(each.consumers() or each.ref() in self._ends for each in others):
            return None
        statistics = list(last.inputs[1:5])
        if not all(tensor.shape == statistics[0].shape and self._is_weight(tensor) for tensor in statistics):
            return None
        names = tuple(map(self._name, statistics))
        data_format = last.get_attr("data_format")
        return self._fold(last, last.inputs[0], data_format, statistics=names, epsilon=last.get_attr("epsilon"))

    def affine_fold(self, last: Any) -> Fold | None:
        """The fold of a multiplication and an addition, as `tf.nn.batch_normalization` makes them."""
        product, shift = self._split(last, ("AddV2", "Add"))
        before = None if product is None else self._only_source(product)
        if before is None:
            return None
        values, factor = self._split(before, ("Mul",))
        if values is None:
            return None
        return self._fold(last, values, b"NHWC", affine=(self._name(factor), self._name(shift)))

    def gelu(self, op: Any) -> Gelu | None:
        """The GELU that the complement of an error function is in."""
        is_inner = op.outputs[0].ref() not in self._ends
        return Gelu(op.name) if is_inner and is_of_gelu(op) else None

    def product(self, op: Any) -> Product | None:
        """The product of matrices that an einsum is."""
        axes = matrix_product(op)
        if axes is None or op.inputs[0].op.name not in self._data or not self._is_weight(op.inputs[1]):
            return None
        return Product(op.name, self._bias_of(op, axes[1]).name, axes[0], tuple(op.inputs[1].shape), axes[1])

    def _bias_of(self, op: Any, shared: int) -> Any:
        """The operation that adds a bias to an einsum, if it alone uses it; else the einsum."""
        readers = op.outputs[0].consumers()
        if len(readers) != 1 or readers[0].type != "AddV2" or op.outputs[0].ref() in self._ends:
            return op
        others = [tensor for tensor in readers[0].inputs if tensor is not op.outputs[0]]
        is_bias = len(others) == 1 and self._is_weight(others[0]) and others[0].shape == op.inputs[1].shape[shared:]
        return readers[0] if is_bias else op

    def _fold(self, last: Any, values: Any, data_format: bytes, **factors: Any) -> Fold | None:
        """The fold that ends in an operation, if the values that are normalized come from a convolution only."""
        before, bias = self._only_source(values), None
        if before is not None and before.type == "BiasAdd" and before.get_attr("data_format") == data_format:
            bias = before.inputs[1]
            before = self._only_source(before.inputs[0])
        if before is None or before.type not in CONVOLUTIONS or before.get_attr("data_format") != data_format:
            return None
        kernel = before.inputs[1]
        if not all(map(self._is_weight, [kernel, *([] if bias is None else [bias])])):
            return None
        *_, inputs, outputs = kernel_shape = tuple(kernel.shape)
        channels = outputs if before.type == "Conv2D" else inputs * outputs
        names = {"kernel": self._name(kernel), "bias": None if bias is None else self._name(bias)}
        return Fold(before.name, last.name, **names, kernel_shape=kernel_shape, channels=channels, **factors)

    def _split(self, op: Any, types: tuple[str, ...]) -> tuple[Any, Any]:
        """The input with pixels and the input with a value for each channel, of an operation of some types."""
        if op.type not in types or op.inputs[0].shape.rank is None or op.inputs[1].shape.rank is None:
            return None, None
        for values, weight in (op.inputs, reversed(op.inputs)):
            channels = values.shape[-1] if values.shape.rank == 4 else None
            is_per_channel = channels is not None and weight.shape in ((channels,), (1, 1, 1, channels))
            if is_per_channel and self._is_weight(weight) and values.op.name in self._data:
                return values, weight
        return None, None

    def _only_source(self, tensor: Any) -> Any:
        """The operation that computes a tensor, if nothing else uses its output; else `None`."""
        while True:
            if len(tensor.consumers()) != 1 or tensor.ref() in self._ends:
                return None
            if tensor.op.type != "Identity":
                return tensor.op
            tensor = tensor.op.inputs[0]

    def _is_weight(self, tensor: Any) -> bool:
        """Whether a tensor is a float of a known shape that does not depend on the inputs."""
        return tensor.op.name not in self._data and tensor.dtype == tf.float32 and tensor.shape.is_fully_defined()

    def _name(self, tensor: Any) -> str:
        """The name of a tensor in the graph before."""
        return self._names.get(tensor.name, tensor.name)
