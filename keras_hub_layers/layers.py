"""SavedModels as Keras layers."""

from keras_hub_layers._src import saved_classes as _saved_classes  # noqa: F401
from keras_hub_layers._src.layers.hub_layer import HubLayer

__all__ = ["HubLayer"]
