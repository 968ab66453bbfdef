"""Loaded SavedModels that are lent to one layer after another, each time with the weights that they came with."""

import gc
import os
import weakref
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from keras_hub_layers._src.layers import access, hub_layer, serialization
from keras_hub_layers.errors import TrainingError

__all__ = ["SHARED", "Leases"]


@dataclass
class _Loan:
    """One loaded object, the values that its variables came with, and the layer that has it now."""

    obj: Any
    values: list[np.ndarray]
    owner: "weakref.ref[Any]"


class Leases:
    """The SavedModels that a search has loaded: one per handle, as long as one layer at a time needs it.

    Two layers on one loaded object would share their fine-tuning, so an object is lent again only when the layer that
    had it is gone; while that lives, the next one loads its own.
    """

    def __init__(self) -> None:
        self._loans: dict[Any, list[_Loan]] = {}

    def layer(self, handle: Any, **kwargs: Any) -> hub_layer.HubLayer:
        """A `HubLayer` with the weights of the SavedModel, on an object that is loaded already if one is free.

        Args:
            handle: As `layers.HubLayer` takes it.
            **kwargs: Further arguments of `layers.HubLayer`.

        Raises:
            errors.TrainingError: The handle is an object that a layer is using.
        """
        loading = {
            name: kwargs.get(name) for name in ("tags", "load_options", "sha256") if kwargs.get(name) is not None
        }
        key = (str(handle), repr(sorted(loading.items())), kwargs.get("piece"), kwargs.get("signature"))
        loans = self._loans.setdefault(key, [])
        if loans and all(loan.owner() is not None for loan in loans):
            gc.collect()  # models are cycles of references
        loan = next((loan for loan in loans if loan.owner() is None), None)
        if loan is None and loans and not isinstance(handle, (str, os.PathLike)):
            raise TrainingError(
                "A layer of an earlier trial still uses this object, so both would share their weights.",
                expected="a handle, which can be loaded once more",
                received=f"an object of type {type(handle).__name__}",
                where="a search",
                fix='tf.saved_model.save(obj, "my_model")   # and search "my_model"',
            )
        if loan is None:
            made = hub_layer.HubLayer(handle, **kwargs)
            loans.append(_Loan(made.resolved_object, _values(made), weakref.ref(made)))
            return made
        if isinstance(handle, (str, os.PathLike)):  # config and error texts go on naming the handle
            handle = serialization.LoadedHandle(os.fspath(handle), loan.obj)
        made = hub_layer.HubLayer(handle, **kwargs)
        loan.owner = weakref.ref(made)
        self.reset(made)
        return made

    def values_of(self, layer: hub_layer.HubLayer) -> dict[int, np.ndarray]:
        """id of each weight of a lent layer -> the value that it came with; empty for a layer of somebody else's."""
        for loans in self._loans.values():
            for loan in loans:
                if loan.owner() is layer:
                    return {id(w): value for w, value in zip(access.weights(layer), loan.values, strict=True)}
        return {}

    def reset(self, layer: hub_layer.HubLayer) -> None:
        """Give a lent layer the weights that it came with."""
        values = self.values_of(layer)
        for weight in access.weights(layer):
            if id(weight) in values:
                weight.assign(values[id(weight)])

    def release(self) -> None:
        """Forget all loaded objects; layers that are in use keep theirs."""
        self._loans.clear()


SHARED = Leases()  # those of `build` functions of the user's own; a search releases them at its end


def _values(layer: hub_layer.HubLayer) -> list[np.ndarray]:
    return [np.array(keras.ops.convert_to_numpy(weight)) for weight in access.weights(layer)]
