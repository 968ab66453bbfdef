"""What the tools that fine-tune a HubLayer see of its inside."""

from typing import Any

import keras

from keras_hub_layers._src.compat import models
from keras_hub_layers._src.executors import base
from keras_hub_layers._src.layers import hub_layer
from keras_hub_layers._src.layers.hub_layer import HubLayer


def hub_layers(model: keras.Model) -> list[hub_layer.HubLayer]:
    """Each `HubLayer` in a model, those in nested models too."""
    return [part for part in models.flatten_layers(model) if isinstance(part, hub_layer.HubLayer)]


def weight_names(layer: HubLayer) -> dict[str, str]:
    """Path of each weight of a layer -> its name in the SavedModel, in the order of `layer.weights`."""
    return {weight.path: layer._executor.name_of(weight) for weight in layer.weights}


def choice_of(layer: HubLayer) -> base.Choice:
    """What of its SavedModel a layer uses, for the tools that fine-tune it."""
    return layer._choice


def executor_of(layer: HubLayer) -> base.Executor:
    """What computes a layer, for the tools that fine-tune it."""
    return layer._executor


def _hub_layers(layer: Any) -> list[hub_layer.HubLayer]:
    return [part for part in models.flatten_layers(layer) if isinstance(part, hub_layer.HubLayer)]
