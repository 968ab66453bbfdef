"""The `trainable` flags of a model and of all that is in it, set for a time."""

import contextlib
from collections.abc import Iterator
from typing import Any

from keras_hub_layers._src.compat import models
from keras_hub_layers._src.layers import hub_layer

__all__ = ["flags"]


@contextlib.contextmanager
def flags(layer: Any, trainable: bool | None) -> Iterator[None]:
    """Have all layers trainable, or none, for the time of the block; `None` changes nothing."""
    parts = models.flatten_layers(layer)
    before = [(part, part.trainable) for part in parts]
    variables = [(variable, variable.trainable) for part in parts for variable in part.variables]
    try:
        if trainable is not None:
            for part in parts:
                if part.trainable != trainable and not (trainable and _cannot_train(part)):
                    part.trainable = trainable
        yield
    finally:
        if trainable is not None:
            for _ in parts:  # setting a parent sets its children: until all are as they were
                wrong = [(part, flag) for part, flag in before if part.trainable != flag]
                if not wrong:
                    break
                for part, flag in wrong:
                    part.trainable = flag
            for variable, flag in variables:
                if variable.trainable != flag:
                    variable.trainable = flag


def _cannot_train(part: Any) -> bool:
    return isinstance(part, hub_layer.HubLayer) and not part.interface.fine_tunable
