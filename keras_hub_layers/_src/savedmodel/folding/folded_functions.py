"""Folded functions: what inference runs instead of a trace that it can compute with fewer or faster operations."""

import logging
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from keras_hub_layers._src.savedmodel.contents import Trace
from keras_hub_layers._src.savedmodel.folding.folds import CONVOLUTIONS, Fold, find_folds, rewrite
from keras_hub_layers._src.savedmodel.folding.gelus import COMPLEMENTS
from keras_hub_layers._src.savedmodel.folding.products import PRODUCTS
from keras_hub_layers._src.savedmodel.graphs.inline import find_tensor, inline
from keras_hub_layers._src.savedmodel.graphs.library import Body, custom_gradient, needed_nodes, node_name
from keras_hub_layers._src.savedmodel.graphs.parts import cut_part, run_graph

__all__ = ["FoldedFunctions"]

_log = logging.getLogger(__name__)


class FoldedFunctions:
    """The folded functions of a layer's traces, each made when it is first asked for.

    Args:
        optimize: `True`, `False`, or `"auto"`: where it was measured to pay, which is without a GPU. In the scope of a
            strategy it stands for `False`.
    """

    def __init__(self, optimize: bool | str) -> None:
        pays = not tf.config.list_physical_devices("GPU") if optimize == "auto" else bool(optimize)
        self._is_on = pays and not tf.distribute.has_strategy()  # a replica has variables of its own
        self._functions: dict[int, Callable[[Any], Any] | None] = {}

    def function_of(self, trace: Trace) -> Callable[[Any], Any] | None:
        """A function of the inputs of a trace that computes its outputs with fewer operations.

        It reads the variables at each call, so it follows whatever assigns to them, and it can be differentiated. It
        needs no memory for weights. Its outputs differ from those of the trace by the rounding of float32.

        Returns:
            The function, or `None` where nothing can be folded.
        """
        if not self._is_on:
            return None
        if id(trace) not in self._functions:
            try:
                with tf.init_scope():
                    self._functions[id(trace)] = _make_function(trace)
            except (ValueError, LookupError, tf.errors.OpError) as err:
                _log.debug("A trace is computed as it is, since folding it failed.", exc_info=err)
                self._functions[id(trace)] = None
        return self._functions[id(trace)]


def _make_function(trace: Trace) -> Callable[[Any], Any] | None:
    specs = tf.nest.flatten(trace.inputs)
    outputs = tf.nest.flatten(trace.outputs)
    is_simple = not trace.keywords and trace.form is None
    if trace.body is None or not is_simple or not all(map(_is_dense, [*specs, *outputs])):
        return None
    body = trace.body()
    if not body.ops & (CONVOLUTIONS | PRODUCTS | COMPLEMENTS):
        return None
    flat = inline(_graph_of(body, [spec.dtype for spec in specs]))
    inputs = [f"{name}:0" for name in body.inputs if name not in body.variables and name not in body.captures]
    results = [find_tensor(flat, name) for name in body.outputs]
    if len(inputs) != len(specs) or any(map(custom_gradient, flat.node)):
        return None
    folds, others = find_folds(flat, inputs, results, body.variables)
    if not folds and not others:
        return None
    rewritten, given = rewrite(flat, folds, others)

    def run(*tensors: Any) -> Any:
        feeds = _captured(body)
        weights = _weights(rewritten, feeds, folds)
        feeds |= {name: value for pair in zip(given, weights, strict=True) for name, value in zip(*pair, strict=True)}
        feeds |= zip(inputs, tensors, strict=True)
        computed = run_graph(_part(rewritten, results, feeds), feeds, results)
        for tensor, output in zip(computed, outputs, strict=True):
            tensor.set_shape(output.shape)
        return tf.nest.pack_sequence_as(trace.outputs, computed)

    concrete = tf.function(run, input_signature=specs, autograph=False).get_concrete_function()
    return lambda values: concrete(*tf.nest.flatten(values))


def _graph_of(body: Body, dtypes: Iterable[tf.DType]) -> Any:
    """A body as a protobuf of type `GraphDef`; `dtypes` are those of the inputs."""
    waiting = iter(dtypes)
    graph_def = tf.compat.v1.GraphDef()
    graph_def.versions.producer = tf.version.GRAPH_DEF_VERSION
    for name in body.inputs:
        is_given = name not in body.variables and name not in body.captures
        given = next(waiting) if is_given else getattr(body.captures.get(name), "dtype", tf.resource)
        graph_def.node.add(name=name, op="Placeholder").attr["dtype"].type = given.as_datatype_enum
    graph_def.node.extend(body.nodes)
    graph_def.library.function.extend(body.library.functions.values())
    return graph_def


def _weights(graph_def: Any, feeds: dict[str, Any], folds: Sequence[Fold]) -> list[tuple[Any, Any]]:
    """The kernel and the bias of each fold.

    The factors of all fused normalizations are computed at once: for small batches, the number of operations counts.
    """
    if not folds:
        return []
    names = [name for fold in folds for name in fold.tensors]
    values = dict(zip(names, run_graph(_part(graph_def, names, feeds), feeds, names), strict=True))
    fused = iter(_fused_factors([fold for fold in folds if fold.statistics], values))
    pairs = []
    for fold in folds:
        factor, shift = next(fused) if fold.statistics else (tf.reshape(values[name], [-1]) for name in fold.affine)
        kernel = values[fold.kernel] * tf.reshape(factor, fold.factor_shape)
        pairs.append((kernel, shift if fold.bias is None else shift + values[fold.bias] * factor))
    return pairs


def _fused_factors(folds: Sequence[Fold], values: dict[str, Any]) -> list[tuple[Any, Any]]:
    """The factor and the shift of each fused normalization."""
    if not folds:
        return []
    sizes = [fold.channels for fold in folds]
    columns = zip(*(fold.statistics for fold in folds), strict=True)
    gamma, beta, mean, variance = (tf.concat([values[name] for name in column], 0) for column in columns)
    epsilon = np.repeat(np.array([fold.epsilon for fold in folds], np.float32), sizes)
    factor = gamma * tf.math.rsqrt(variance + epsilon)
    return list(zip(tf.split(factor, sizes), tf.split(beta - mean * factor, sizes), strict=True))


def _captured(body: Body) -> dict[str, Any]:
    """Name of a tensor -> the handle of the variable, or the other tensor, that the body takes from outside."""
    for variable in body.variables.values():
        variable.read_value()  # so TensorFlow knows that the function uses it
    handles = {name: variable.handle for name, variable in body.variables.items()}
    return {f"{name}:0": value for name, value in {**handles, **body.captures}.items()}


def _part(graph_def: Any, results: Sequence[str], feeds: dict[str, Any]) -> Any:
    """What has to run for some results."""
    nodes = {node.name: node for node in graph_def.node}
    needed = needed_nodes(nodes, map(node_name, feeds), results)
    return cut_part(graph_def, {node.name for node in needed}, feeds)


def _is_dense(leaf: Any) -> bool:
    return isinstance(leaf, (tf.TensorSpec, tf.Tensor))
