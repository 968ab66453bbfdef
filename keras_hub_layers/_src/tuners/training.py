"""Training: how a trial trains, as a search has chosen."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import keras

from keras_hub_layers._src.finetuning.layerwise import LayerwiseOptimizer
from keras_hub_layers._src.layers import hub_layer
from keras_hub_layers._src.public import public

__all__ = ["Training"]


@public("tuners")
@dataclass(frozen=True)
class Training:
    """How a trial trains.

    Attributes:
        trainable: Whether the SavedModel is fine-tuned.
        learning_rate: The learning rate of what is not in the SavedModel, such as a head with random weights.
        unfreeze: What of the SavedModel is trained, as `finetuning.patterns` takes it; `None` while frozen.
        tuning_rate: The learning rate of the SavedModel; 0.0 while frozen, never `None`.
    """

    trainable: bool
    learning_rate: float
    unfreeze: Any
    tuning_rate: float = 0.0

    def optimizer(self, layer: hub_layer.HubLayer, make: Callable[[float], Any] = keras.optimizers.Adam) -> Any:
        """An optimizer that trains a SavedModel with `tuning_rate`, and all else with `learning_rate`.

        Args:
            layer: The SavedModel's layer.
            make: Function from a learning rate to an optimizer. Defaults to `keras.optimizers.Adam`.
        """
        if not self.trainable:
            return make(self.learning_rate)
        factor = self.tuning_rate / self.learning_rate
        return LayerwiseOptimizer(make(self.learning_rate), {weight.path: factor for weight in layer.weights})
