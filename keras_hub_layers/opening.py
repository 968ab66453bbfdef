"""From the handle of a layer to its loaded object."""

import os
from typing import Any

import keras

from keras_hub_layers import _compat, calls, embedding, handles, loaded, loader, options
from keras_hub_layers.errors import InterfaceError, SafeModeError, explain

__all__ = ["check_safe_mode", "load"]


def check_safe_mode(handle: Any) -> None:
    """Refuse to make a layer while Keras loads a file in safe mode, before any file or network access.

    Raises:
        errors.SafeModeError: It does, and the handle is not that of a living layer.
    """
    if not _compat.in_safe_mode() or isinstance(handle, embedding.LiveHandle):
        return
    raise SafeModeError(
        explain(
            "The file or config holds a HubLayer. A SavedModel is a program, so safe_mode=True refuses to load it.",
            expected="safe_mode=False, for a file whose author you trust",
            received="safe_mode=True",
            where=f"HubLayer({options.shown(handle)})",
            fix="keras.saving.load_model(path, safe_mode=False)\n"
            "keras.config.enable_unsafe_deserialization()   # before model_from_json or Model.from_config",
        )
    )


def load(handle: Any, tags: Any, load_options: Any, sha256: str | None) -> Any:
    """The loaded object of a layer: what its handle leads to, or the object that the handle is.

    Args:
        handle: As `layers.HubLayer` takes it, or as its config holds it.
        tags: As `layers.HubLayer` takes it, like the following.
        load_options: Likewise.
        sha256: Likewise.

    Raises:
        errors.HandleError, errors.ResolveError, errors.LoadError: As `keras_hub_layers.load` raises them.
        errors.InterfaceError: An object with arguments for loading, or one that is a layer or a tensor.
    """
    if isinstance(handle, embedding.LentHandle):
        return handle.obj
    if isinstance(handle, embedding.EmbeddedHandle):
        return embedding.load(handle, tags, load_options)
    if isinstance(handle, (str, os.PathLike)):
        return loader.load(handle, tags=tags, options=load_options, sha256=sha256)
    if keras.ops.is_tensor(handle) or isinstance(handle, keras.KerasTensor) or hasattr(handle, "__array_interface__"):
        raise calls.input_as_handle(handle)
    if not loaded.is_object(handle):
        handles.parse(handle)  # says which forms there are
    given = {"tags": tags, "load_options": load_options, "sha256": sha256}
    given = {name: value for name, value in given.items() if value is not None}
    if given:
        raise InterfaceError(
            explain(
                "An object that is already loaded takes no arguments for loading.",
                expected="an object alone, or a handle with these arguments",
                received=f"an object of type {type(handle).__name__} with {given!r}",
                where="HubLayer(handle)",
                fix="HubLayer(obj)",
            )
        )
    if isinstance(handle, keras.layers.Layer) or type(handle).__module__.startswith("tensorflow_hub"):
        raise calls.layer_as_handle(handle)
    return handle
