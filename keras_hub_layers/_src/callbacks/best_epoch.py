"""The best epoch: which of two values of a metric is better, whether they can be compared, and its weights."""

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

import keras
import numpy as np

from keras_hub_layers._src.compat import fit, models
from keras_hub_layers._src.layers.access import hub_layers

__all__ = ["assign_for_a_time", "counted_losses", "is_higher_better", "values_of"]


_HIGHER_IS_BETTER = ("acc", "auc", "precision", "recall", "f1", "fbeta", "iou", "r2", "similarity", "sensitivity")


_LOWER_IS_BETTER = ("loss", "error", "mse", "mae", "mape", "msle", "perplexity", "crossentropy", "divergence")


def is_higher_better(model: Any, monitor: str) -> bool | None:
    """Whether more of a value in the logs is better, by the metric that it comes from; `None` if nobody knows."""
    name = monitor.removeprefix("val_")
    direction = fit.metric_direction(model, name)
    if direction is not None:
        return direction == "up"
    if any(word in name.lower() for word in _LOWER_IS_BETTER):
        return False
    return True if any(word in name.lower() for word in _HIGHER_IS_BETTER) else None


def counted_losses(model: Any) -> frozenset[str]:
    """What adds a regularization loss to `loss` and `val_loss` now: names of HubLayers, and paths of weights."""
    hubs = [hub for hub in hub_layers(model) if hub.interface.regularization_losses and hub.trainable_weights]
    weights = [v for layer in models.flatten_layers(model) for v in layer.trainable_variables if v.regularizer]
    return frozenset([f"HubLayer {hub.name!r}" for hub in hubs] + [weight.path for weight in weights])


def values_of(variables: Sequence[Any]) -> list[np.ndarray]:
    """Copies of the values of Keras variables."""
    return [np.array(keras.ops.convert_to_numpy(variable)) for variable in variables]


@contextlib.contextmanager
def assign_for_a_time(variables: Sequence[Any], values: Sequence[Any]) -> Iterator[None]:
    """Assign values to variables for the time of the block."""
    before = values_of(variables)
    for variable, value in zip(variables, values, strict=True):
        variable.assign(value)
    try:
        yield
    finally:
        for variable, value in zip(variables, before, strict=True):
            variable.assign(value)
