"""SavedModels as Keras layers."""

from keras_hub_layers._src.layers.hub_layer import HubLayer

__all__ = ["HubLayer"]
