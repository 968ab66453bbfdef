"""The classes that saved files name: imported together, first of all, so that Keras finds each when it loads one."""

from keras_hub_layers._src.finetuning.layerwise import LayerwiseOptimizer
from keras_hub_layers._src.layers.hub_layer import HubLayer
from keras_hub_layers._src.tuners.trial_model import TrialModel

__all__ = ["HubLayer", "LayerwiseOptimizer", "TrialModel"]
