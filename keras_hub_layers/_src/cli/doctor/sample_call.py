"""A call with sample inputs, and the gradients of its outputs for the weights."""

from typing import Any

import keras
import tensorflow as tf

from keras_hub_layers._src.cli.doctor.finding import OK, PROBLEM, WARNING, Finding
from keras_hub_layers._src.inspect.interface import Interface
from keras_hub_layers._src.inspect.specs import Spec, flatten
from keras_hub_layers._src.layers import access
from keras_hub_layers._src.layers.hub_layer import HubLayer
from keras_hub_layers._src.text import words


def expected_inputs(interface: Interface, signature: str | None) -> Any:
    """The nest of `Spec`s that a layer takes, through a signature or by its first trace."""
    if interface.format == "tf1_hub":
        signature = signature or "default"
    if signature is not None:
        inputs = interface.signatures[signature].inputs
        return next(iter(inputs.values())) if len(inputs) == 1 else inputs
    return interface.traces[0].inputs if interface.traces else Spec(None, "float32")


def reaches_nothing(interface: Interface) -> bool:
    """Whether the outputs are floats and no gradient of them reaches what is published as trainable."""
    dtypes = [spec.dtype for trace in interface.traces for spec in flatten(trace.outputs)]
    variables = [variable for variable in interface.variables if variable.trainable]
    is_float = any(keras.backend.is_float_dtype(dtype) for dtype in dtypes)
    return is_float and bool(variables) and not any(variable.gradient for variable in variables)


def is_finite(outputs: Any) -> bool:
    """Whether no output is NaN or infinite."""
    return all(bool(tf.reduce_all(tf.math.is_finite(tensor))) for tensor in _floats(outputs))


def check_gradient(layer: HubLayer, inputs: Any) -> Finding:
    """Which trainable variables of a layer get a finite gradient from its outputs and losses."""
    layer.trainable = True
    variables = layer.trainable_variables
    generator = tf.random.Generator.from_seed(0)
    with tf.GradientTape() as tape:
        outputs = _floats(layer(inputs, training=True))
        # Random weights: the plain sum of a softmax has no gradient.
        sums = [tf.reduce_sum(tf.cast(generator.normal(tf.shape(y)), y.dtype) * y) for y in outputs]
        total = tf.add_n([tf.cast(term, "float32") for term in (*sums, *layer.losses)]) if sums else None
    if total is None:
        return Finding("gradient", PROBLEM, "no output is a number that could be trained on")
    gradients = tape.gradient(total, [variable.value for variable in variables])
    names = access.weight_names(layer)
    named = [(names[variable.path], gradient) for variable, gradient in zip(variables, gradients, strict=True)]
    without = [name for name, gradient in named if gradient is None]
    broken = [
        name for name, gradient in named if gradient is not None and not is_finite(tf.convert_to_tensor(gradient))
    ]
    number = words.format_count(len(variables), "published trainable variable")
    if broken:
        return Finding("gradient", WARNING, f"NaN or infinite for {words.join_names(broken)}, of {number}")
    if len(without) == len(variables):
        return Finding("gradient", PROBLEM, f"arrives at none of {number}")
    if without:
        used = {id(variable) for trace in access.function(layer).traces for variable in trace.variables}
        values = {names[variable.path]: variable.value for variable in variables}
        blocked = [name for name in without if id(values[name]) in used]
        unused = [name for name in without if id(values[name]) not in used]
        text = f"arrives at {len(variables) - len(without)} of {number}"
        text += f"; not at {words.join_names(unused)} (not used by what is called)" if unused else ""
        text += f"; not at {words.join_names(blocked)} (used, but no gradient passes)" if blocked else ""
        return Finding("gradient", WARNING, f"{text}. They stay as they are")
    return Finding("gradient", OK, f"arrives at {len(variables)} of {number}")


def _floats(outputs: Any) -> list[Any]:
    flat = tf.nest.flatten(outputs, expand_composites=True)
    return [tensor for tensor in flat if keras.backend.is_float_dtype(tf.as_dtype(tensor.dtype).name)]
