"""The weights of the best epoch, and which of two values of a metric is better."""

from typing import Any

import keras
import numpy as np

_HIGHER_IS_BETTER = ("acc", "auc", "precision", "recall", "f1", "fbeta", "iou", "r2", "similarity", "sensitivity")


_LOWER_IS_BETTER = ("loss", "error", "mse", "mae", "mape", "msle", "perplexity", "crossentropy", "divergence")


class _Assigned:
    """Values assigned to variables for the time of a block."""

    def __init__(self, variables: list[Any], values: list[Any]) -> None:
        self._pairs = list(zip(variables, values, strict=True))

    def __enter__(self) -> None:
        self._before = [np.array(keras.ops.convert_to_numpy(variable)) for variable, _ in self._pairs]
        for variable, value in self._pairs:
            variable.assign(value)

    def __exit__(self, *_: Any) -> None:
        for (variable, _), value in zip(self._pairs, self._before, strict=True):
            variable.assign(value)
