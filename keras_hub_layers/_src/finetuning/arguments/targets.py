"""What a tool of fine-tuning works on: a model or a layer; errors for something else, with the line to write."""

import os
from typing import Any

import keras

from keras_hub_layers._src.inspect import code
from keras_hub_layers._src.layers import access, hub_layer
from keras_hub_layers.errors import TrainingError

__all__ = ["check_layer", "check_model", "only_hub_layer"]


def check_model(target: Any, call: str) -> None:
    """Raise an `errors.TrainingError` unless something is a model with a `fit`.

    Args:
        target: What was given.
        call: The call as it is written with a model: `"finetuning.fine_tune(model, data, epochs=5)"`.
    """
    if isinstance(target, keras.Model):
        return
    layer = "layer" if isinstance(target, keras.layers.Layer) else _new_layer(target)
    raise TrainingError(
        "A layer alone cannot be trained: a model around it can." if layer == "layer" else "This is no Keras model.",
        expected="a compiled keras.Model that holds a HubLayer",
        received=_describe(target),
        where=call.partition("(")[0],
        fix=f"model = keras.Sequential([{layer}, keras.layers.Dense(1)])   # the head that your task needs\n"
        f'model.compile(keras.optimizers.Adam(1e-3), "mse")   # and its loss\n{call}',
    )


def check_layer(target: Any, call: str) -> None:
    """Raise an `errors.TrainingError` unless something is a layer, or a model.

    Args:
        target: What was given.
        call: The call as it is written with a layer: `"finetuning.features(layer, data)"`.
    """
    if isinstance(target, keras.layers.Layer):
        return
    raise TrainingError(
        "This is no Keras layer.",
        expected="a HubLayer, or a model with one",
        received=f"{_describe(target)}, with the HubLayers []",
        where=call.partition("(")[0],
        fix=f"layer = {_new_layer(target)}\n{call}",
    )


def only_hub_layer(target: Any, call: str = "finetuning.summary({})") -> hub_layer.HubLayer:
    """A `HubLayer` as it is, or the only one in a model.

    Args:
        target: What was given.
        call: The call that needs it, with `{}` for the layer.

    Raises:
        errors.TrainingError: It is neither.
    """
    check_layer(target, call.replace("{}", "layer"))
    if isinstance(target, hub_layer.HubLayer):
        return target
    layers = access.hub_layers(target)
    if len(layers) == 1:
        return layers[0]
    names = [layer.name for layer in layers]
    raise TrainingError(
        "It is not clear which HubLayer is meant.",
        expected="a HubLayer, or a model with exactly one",
        received=f"a {type(target).__name__} with the HubLayers {names}",
        where="keras_hub_layers.finetuning",
        fix=call.replace("{}", f"model.get_layer({names[0]!r})")
        if names
        else "layer = layers.HubLayer(handle)   # as a layer of the model\n" + call.replace("{}", "layer"),
    )


def _new_layer(target: Any) -> str:
    """The line that makes the layer that was meant."""
    is_handle = isinstance(target, (str, os.PathLike))
    return f"layers.HubLayer({code.format_handle(target) if is_handle else 'handle'})"


def _describe(target: Any) -> str:
    if isinstance(target, keras.layers.Layer):
        return f"the {type(target).__name__} {target.name!r}"
    text = repr(target)
    return f"an object of type {type(target).__name__}" + f": {text}" * (len(text) <= 80)
