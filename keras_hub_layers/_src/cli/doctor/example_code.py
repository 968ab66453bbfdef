"""The code that doctor HANDLE ends with: a program that uses the layer."""

from collections.abc import Callable
from typing import Any

import tensorflow as tf

from keras_hub_layers._src import sample_inputs
from keras_hub_layers._src.inspect.specs import Spec, flatten


def example(layer_line: str, expected: Any, inputs: Any) -> str:
    """A program that uses the layer in a model, or calls it where Keras has no such `Input`.

    Args:
        layer_line: The expression that makes the layer.
        expected: The nest of `Spec`s that it takes.
        inputs: Inputs that it took; `None` if there are none.
    """
    layer = f"layer = layers.{layer_line}"
    if all(spec.kind == "dense" and spec.shape and spec.shape[0] is None for spec in flatten(expected)):
        imports, inputs_code = "import keras", _nest_code(expected, _input_code)
        end = ["model = keras.Model(inputs, layer(inputs))", "model.summary()"]
    else:
        inputs = sample_inputs.made_up(expected) if inputs is None else inputs
        imports, inputs_code = "import tensorflow as tf", _nest_code(inputs, lambda tensor, _: _tensor_code(tensor))
        end = ["print(layer(inputs))"]
    return "\n".join([imports, "from keras_hub_layers import layers", "", layer, f"inputs = {inputs_code}", *end])


def _nest_code(nest: Any, leaf_code: Callable[[Any, str], str], name: str = "") -> str:
    """The code of a nest; one entry per line where there are many."""
    if isinstance(nest, dict):
        entries = [f"{key!r}: {_nest_code(value, leaf_code, key)}" for key, value in nest.items()]
        brackets = "{}"
    elif isinstance(nest, (list, tuple)):
        entries, brackets = [_nest_code(value, leaf_code) for value in nest], "[]"
    else:
        return leaf_code(nest, name)
    if sum(map(len, entries)) <= 60:
        return brackets[0] + ", ".join(entries) + brackets[1]
    return "\n".join([brackets[0], *(f"    {entry}," for entry in entries), brackets[1]])


def _input_code(spec: Spec, name: str) -> str:
    named = f", name={name!r}" if name.isidentifier() else ""
    return f"keras.Input({spec.shape[1:] if spec.shape else ()}, dtype={spec.dtype!r}{named})"


def _tensor_code(tensor: Any) -> str:
    if isinstance(tensor, tf.RaggedTensor):
        return f"tf.RaggedTensor.from_tensor({_tensor_code(tensor.to_tensor())})"
    if isinstance(tensor, tf.SparseTensor):
        return f"tf.sparse.from_dense({_tensor_code(tf.sparse.to_dense(tensor))})"
    shape, dtype = tuple(tensor.shape), tensor.dtype.name
    if tensor.dtype == tf.string:
        return f"tf.fill({shape}, 'a sample text')"
    if tensor.dtype.is_integer and not bool(tf.reduce_all(tensor == 1)):
        return f"tf.constant({tensor.numpy().tolist()}, {dtype!r})"
    return f"tf.ones({shape}, {dtype!r})"
