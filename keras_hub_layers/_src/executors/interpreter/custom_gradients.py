"""Custom gradients: what replaces the gradient of a node, and how the running backend is told of it."""

import importlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import keras
import tensorflow as tf

from keras_hub_layers._src.compat import tensorflow
from keras_hub_layers._src.executors.interpreter.values import (
    TensorList,
    UnsupportedOp,
    VariableRef,
    dtype_of,
    is_static,
    tensor,
)
from keras_hub_layers._src.savedmodel.graphs.concrete import body_of_concrete
from keras_hub_layers._src.savedmodel.graphs.library import Body, Library, custom_gradient
from keras_hub_layers.errors import Line, TrainingError


@dataclass(frozen=True, eq=False)
class CustomGradient:
    """The function that computes the gradients of a node's inputs from those of its outputs.

    Attributes:
        name: Name of the node.
        body: The function. It takes the gradients of all outputs, then what is `captured`. `None` if it is refused.
        captured: Names of the tensors of the node's own graph that the function needs too.
        places: For each input of the node, the number of the output of the function that is its gradient, or `None`.
        refusal: Why it cannot be computed; `""` if it can.
    """

    name: str
    body: Body | None = None
    captured: tuple[str, ...] = ()
    places: tuple[int | None, ...] = field(default=())
    refusal: str = ""


def read_gradient(node: Any, inputs: Sequence[str], library: Library) -> CustomGradient:
    """The custom gradient of a node, as this process registers it for the SavedModel.

    Args:
        node: Protobuf of type `NodeDef`, with a custom gradient.
        inputs: Names of the inputs of the graph that the node is in.
        library: The functions that its graph may call.
    """
    try:
        if custom_gradient(node) in library.unsaved_gradients:
            raise UnsupportedOp("was not saved with the SavedModel")
        return _read(node, inputs)
    except UnsupportedOp as err:
        return CustomGradient(node.name, refusal=str(err))


def _read(node: Any, inputs: Sequence[str]) -> CustomGradient:
    try:
        function = tensorflow.custom_gradient_function(custom_gradient(node))
        unknown: Any = None  # the shape
        specs = [tf.TensorSpec(unknown, tf.as_dtype(number)) for number in node.attr["T"].list.type]
        with tf.init_scope():  # as TensorFlow does it when it saves: the gradient function does not look at the op
            concrete = tf.function(function, autograph=False).get_concrete_function(None, *specs)
    except Exception as err:
        raise UnsupportedOp(f"cannot be traced ({type(err).__name__})") from err
    leaves = tf.nest.flatten(concrete.structured_outputs)
    if not specs or len(leaves) != len(specs) or not all(leaf is None or tf.is_tensor(leaf) for leaf in leaves):
        raise UnsupportedOp("does not return a dense gradient for each input")
    body = body_of_concrete(concrete)
    if any(op.startswith("Assign") for op in body.ops):
        raise UnsupportedOp("assigns variables")
    foreign = {name: value for name, value in body.captures.items() if not hasattr(value, "numpy")}
    known = {name: value for name, value in body.captures.items() if name not in foreign}
    given = [name for name in body.inputs if name not in known and name not in body.variables]
    if given[len(specs) :] != [name for name in given if name in foreign]:
        raise UnsupportedOp("does not take the gradients of the outputs first")
    numbers = iter(range(len(leaves)))
    return CustomGradient(
        node.name,
        replace(body, captures=known),
        tuple(_name_of_captured(foreign[name], node, inputs) for name in given[len(specs) :]),
        tuple(None if leaf is None else next(numbers) for leaf in leaves),
    )


def _name_of_captured(value: Any, node: Any, inputs: Sequence[str]) -> str:
    """The name, in the graph of a node, of a tensor that the gradient of the node needs."""
    graph, op = value.graph, value.op
    try:
        twin = graph.get_operation_by_name(node.name)  # the name of its gradient is in no other graph
        is_same = twin.get_attr("_gradient_op_type") == node.attr["_gradient_op_type"].s
    except (KeyError, ValueError):
        is_same = False
    if not is_same:
        raise UnsupportedOp("needs a tensor of another function")
    own = [each.op.name for each in graph.inputs]
    if op.name in own:
        if len(own) != len(inputs):
            raise UnsupportedOp("needs an input of a function that has others now")
        return inputs[own.index(op.name)]
    return f"{op.name}:{value.value_index}"


def refuse(what: str, op: str, node: str) -> Callable[..., list[Any]]:
    """Gradients for what must not be differentiated: an error, once they are asked for."""

    def compute(upstream: Sequence[Any], extra: Sequence[Any]) -> list[Any]:
        raise gradient_error(what, f"op {op}, node {node!r}")

    return compute


def gradient_error(what: str, where: str | None, fix: str | Callable[[Line], str] = "") -> TrainingError:
    """The error for a gradient that cannot be computed on the running backend."""
    return TrainingError(
        f"A gradient cannot pass the SavedModel on the Keras backend {keras.backend.backend()!r}.",
        expected="custom gradients that are in the SavedModel, with ops that this package can compute in keras.ops",
        received=what,
        where=where,
        fix=fix or 'import os; os.environ["KERAS_BACKEND"] = "tensorflow"   # before the first import of keras',
    )


def with_gradient(inputs: Sequence[Any], outputs: Sequence[Any], extra: Sequence[Any], compute: Any) -> list[Any]:
    """The outputs of a node. Their gradients are the custom ones of the inputs, and none else.

    Args:
        inputs: Its inputs. Those that are no tensors of floats get no gradient.
        outputs: Its outputs.
        extra: Further tensors that the gradients are computed from. They get no gradient here.
        compute: Takes the gradients of the outputs and the `extra` tensors, and returns those of the inputs, with
            `None` for zero.
    """
    places = [place for place, value in enumerate(inputs) if _is_traced_float(value)]
    slots = [slot for slot, value in enumerate(outputs) if _is_traced_float(value)]
    if not places or not slots:
        return list(outputs)
    shapes = [() if is_static(value) else keras.ops.shape(value) for value in outputs]

    def backward(upstream: Sequence[Any], floats: Sequence[Any], further: Sequence[Any]) -> tuple[Any, ...]:
        given = [value if is_static(value) else None for value in outputs]
        for slot, value in zip(slots, upstream, strict=True):
            given[slot] = value
        for slot, shape in enumerate(shapes):
            if given[slot] is None:
                given[slot] = keras.ops.zeros(shape, dtype=dtype_of(outputs[slot]))
        results = compute(given, further)
        pairs = [(results[place], value) for place, value in zip(places, floats, strict=True)]
        return tuple(
            keras.ops.zeros_like(value) if result is None else keras.ops.cast(tensor(result), dtype_of(value))
            for result, value in pairs
        )

    attach = {"jax": _in_jax, "torch": _in_torch}.get(keras.backend.backend(), _in_tensorflow)
    values = attach([inputs[place] for place in places], [outputs[slot] for slot in slots], list(extra), backward)
    results = list(outputs)
    for slot, value in zip(slots, values, strict=True):
        results[slot] = value
    return results


def _is_traced_float(value: Any) -> bool:
    return not is_static(value) and not isinstance(value, (VariableRef, TensorList)) and "float" in dtype_of(value)


def _in_jax(inputs: list[Any], outputs: list[Any], extra: list[Any], backward: Any) -> Sequence[Any]:
    jax: Any = importlib.import_module("jax")

    @jax.custom_vjp
    def function(inputs: Any, outputs: Any, extra: Any) -> Any:
        return outputs

    def forward(inputs: Any, outputs: Any, extra: Any) -> Any:
        return outputs, (inputs, extra)

    def pull_back(saved: Any, upstream: Any) -> Any:
        return list(backward(upstream, *saved)), None, None

    function.defvjp(forward, pull_back)
    return function(inputs, outputs, extra)


def _in_torch(inputs: list[Any], outputs: list[Any], extra: list[Any], backward: Any) -> Sequence[Any]:
    torch: Any = importlib.import_module("torch")
    held = [value.detach() for value in outputs]

    class Function(torch.autograd.Function):
        @staticmethod
        def forward(context: Any, *values: Any) -> Any:
            context.save_for_backward(*values)
            return tuple(value.view_as(value) for value in held)

        @staticmethod
        def backward(context: Any, *upstream: Any) -> Any:
            return backward(upstream, context.saved_tensors, extra)

    return Function.apply(*inputs)


def _in_tensorflow(inputs: list[Any], outputs: list[Any], extra: list[Any], backward: Any) -> Sequence[Any]:
    held = list(map(tf.stop_gradient, outputs))

    @tf.custom_gradient
    def function(*values: Any) -> Any:
        return list(map(tf.identity, held)), lambda *upstream: list(backward(upstream, values, extra))

    return function(*inputs)
