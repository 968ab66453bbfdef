"""What the tools that tune, search and export a `HubLayer` may know of it, beside its public members."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import keras

from keras_hub_layers._src.compat import models
from keras_hub_layers._src.layers import trainability
from keras_hub_layers._src.layers.hub_layer import HubLayer
from keras_hub_layers._src.savedmodel import contents, live_object
from keras_hub_layers._src.savedmodel.pruning import pruned_object
from keras_hub_layers._src.savedmodel.source import Source, source_of

__all__ = [
    "compute", "compute_natively", "fixed_arguments", "freeze", "function", "has_input_losses", "has_losses",
    "has_no_gradient", "hub_layers", "loaded_object", "loss_functions", "place", "source", "train_only",
    "trainable_candidates", "variable_of", "weight_names", "weights",
]  # fmt: skip


def hub_layers(layer: keras.layers.Layer) -> list[HubLayer]:
    """Each `HubLayer` in a layer or model, at any depth, each once."""
    return [sublayer for sublayer in models.flatten_layers(layer) if isinstance(sublayer, HubLayer)]


def loaded_object(layer: HubLayer) -> Any:
    """What is loaded of a layer's SavedModel: the `resolved_object` once it was asked for, before maybe a part."""
    layer._executor.write_back()
    return pruned_object.whole_object_if_loaded(layer._loaded)


def variable_of(layer: HubLayer, weight: Any) -> Any:
    """The `tf.Variable` of the loaded object that a weight of a layer stands for."""
    return layer._executor.variable_of(weight)


def source(layer: HubLayer) -> Source | None:
    """Where the loaded object of a layer came from; `None` if it was not loaded by this package."""
    return source_of(layer._loaded)


def weights(layer: HubLayer) -> list[Any]:
    """The weights of a layer in an order that does not depend on what is trained."""
    return list(layer._executor.weights)


def trainable_candidates(layer: HubLayer) -> list[Any]:
    """The weights that may ever be trained, frozen or not."""
    return list(layer._executor.candidates)


def weight_names(layer: HubLayer) -> dict[str, str]:
    """Path of each weight of a layer -> its name in the SavedModel, in the order of `layer.weights`."""
    return {weight.path: layer._executor.name_of(weight) for weight in layer.weights}


def function(layer: HubLayer) -> contents.Function:
    """The function of the SavedModel that a layer calls, with its traces."""
    return layer._choice.function


def fixed_arguments(layer: HubLayer) -> Mapping[str, Any]:
    """The `arguments` that a layer was made with."""
    return layer._choice.arguments


def place(layer: HubLayer) -> str:
    """A layer by its name and handle, as error texts say where something happened."""
    return layer._where


def has_no_gradient(layer: HubLayer) -> bool:
    """Whether no gradient passes the outputs of a layer, although it has variables to train."""
    return trainability.has_no_gradient(layer._choice, layer._executor)


def has_losses(layer: HubLayer) -> bool:
    """Whether a layer has losses, published ones or some that depend on inputs, which count while it is trainable."""
    if layer.interface.regularization_losses:
        return True
    return has_input_losses(layer)


def has_input_losses(layer: HubLayer) -> bool:
    """Whether a layer has losses that depend on its inputs and are counted while it is trainable."""
    function = layer._choice.function
    return not function.is_signature and live_object.input_losses_verdict(layer._choice.target, function) == "counted"


def compute(layer: HubLayer, inputs: Any, training: bool) -> Any:
    """What the SavedModel of a layer computes in a mode, whether or not the layer is frozen."""
    return layer._executor.call(inputs, training)


def compute_natively(layer: HubLayer, inputs: Any, training: bool) -> Any:
    """The same for inputs of TensorFlow, by TensorFlow's own functions, on any backend of Keras."""
    return layer._executor.call_natively(inputs, training)


def loss_functions(layer: HubLayer) -> list[Any]:
    """The published regularization losses of what a layer was made from, frozen or not."""
    return live_object.losses(layer._choice.target)


def freeze(layer: HubLayer) -> None:
    """Freeze a layer for now; that it was given patterns for later is nothing to warn of."""
    layer.trainable = False
    layer._ignores_unfreeze = False  # Keras does not set what is so already


def train_only(layer: HubLayer, names: Iterable[str], patterns: Sequence[str]) -> None:
    """Have a layer train the variables of some names, while it is trainable, without a search for patterns.

    Args:
        layer: The layer.
        names: Names in the SavedModel.
        patterns: What `layer.unfreeze` and the config say from now on: patterns that select just these names.
    """
    layer._train_only(tuple(patterns), frozenset(names).__contains__)
