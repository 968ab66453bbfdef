"""ModelPool: loaded SavedModels that one layer after another uses, each time with the weights that they came with."""

import gc
import os
import weakref
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from keras_hub_layers._src.compat import tensorflow
from keras_hub_layers._src.layers import access, hub_layer, serialization
from keras_hub_layers.errors import TrainingError

__all__ = ["SHARED", "ModelPool"]


@dataclass
class _PooledModel:
    """One loaded object, the values that its variables came with, and the layer that uses it now."""

    obj: Any
    values: list[np.ndarray]
    user: "weakref.ref[Any]"

    @property
    def is_free(self) -> bool:
        return self.user() is None


class ModelPool:
    """The SavedModels that a search has loaded: one per handle, as long as one layer at a time needs it.

    Two layers on one loaded object would share their fine-tuning, so an object is used again only when the layer that
    used it is gone; while that lives, the next layer loads its own.
    """

    def __init__(self) -> None:
        self._pooled: dict[Any, list[_PooledModel]] = {}

    def layer(self, handle: Any, **kwargs: Any) -> hub_layer.HubLayer:
        """A `HubLayer` with the weights of the SavedModel, on an object that is loaded already if one is free.

        Args:
            handle: As `layers.HubLayer` takes it.
            **kwargs: Further arguments of `layers.HubLayer`.

        Raises:
            errors.TrainingError: The handle is an object that a layer is using.
        """
        models = self._pooled.setdefault(_key(handle, kwargs), [])
        if models and not any(model.is_free for model in models):
            gc.collect()  # the models of ended trials are cycles of references
        free = next((model for model in models if model.is_free), None)
        is_path = isinstance(handle, (str, os.PathLike))
        if free is None:
            if models and not is_path:
                raise _object_in_use(handle)
            layer = hub_layer.HubLayer(handle, **kwargs)
            models.append(_PooledModel(access.loaded_object(layer), _values(layer), weakref.ref(layer)))
            return layer
        if is_path:  # config and error texts go on naming the handle
            handle = serialization.LoadedHandle(os.fspath(handle), free.obj)
        layer = hub_layer.HubLayer(handle, **kwargs)
        free.user = weakref.ref(layer)
        self.reset(layer)
        return layer

    def first_values(self, layer: hub_layer.HubLayer) -> dict[int, np.ndarray]:
        """id of each weight of a layer -> the value that it came with; empty for a layer that is not of this pool."""
        for models in self._pooled.values():
            for model in models:
                if model.user() is layer:
                    pairs = zip(access.weights(layer), model.values, strict=True)
                    return {id(weight): value for weight, value in pairs}
        return {}

    def reset(self, layer: hub_layer.HubLayer) -> None:
        """Give a layer of this pool the weights that it came with."""
        values = self.first_values(layer)
        for weight in layer.weights:
            if id(weight) in values:
                weight.assign(values[id(weight)])

    def release(self) -> None:
        """Forget all loaded objects; layers that are in use keep theirs."""
        self._pooled.clear()


SHARED = ModelPool()  # that of `build` functions of the user's own; a search releases it at its end


def _key(handle: Any, kwargs: dict[str, Any]) -> tuple[Any, ...]:
    """What decides what is loaded, and onto which devices."""
    loading = {name: kwargs.get(name) for name in ("tags", "load_options", "sha256") if kwargs.get(name) is not None}
    strategy = tensorflow.current_strategy()
    return str(handle), repr(sorted(loading.items())), kwargs.get("piece"), kwargs.get("signature"), strategy


def _values(layer: hub_layer.HubLayer) -> list[np.ndarray]:
    return [np.array(keras.ops.convert_to_numpy(weight)) for weight in access.weights(layer)]


def _object_in_use(handle: Any) -> TrainingError:
    return TrainingError(
        "A layer of an earlier trial still uses this object, so both would share their weights.",
        expected="a handle, which can be loaded once more",
        received=f"an object of type {type(handle).__name__}",
        where="a search",
        fix='tf.saved_model.save(obj, "my_model")   # and search "my_model"',
    )
