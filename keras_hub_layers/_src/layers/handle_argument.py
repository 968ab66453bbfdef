"""`HubLayer(handle)`: from the first argument to the loaded object, and errors for what is no handle."""

import os
from typing import Any

import keras

from keras_hub_layers._src.compat import saving
from keras_hub_layers._src.inspect import code
from keras_hub_layers._src.layers import serialization
from keras_hub_layers._src.layers.call_argument import describe_value
from keras_hub_layers._src.resolve import handles
from keras_hub_layers._src.savedmodel import live_object
from keras_hub_layers._src.savedmodel import load as load_lib
from keras_hub_layers._src.savedmodel.pruning import pruned_object
from keras_hub_layers._src.savedmodel.pruning.reach import Use
from keras_hub_layers.errors import HandleError, InterfaceError, SafeModeError

__all__ = ["check_safe_mode", "is_loaded_here", "load", "whole_object"]


def check_safe_mode(handle: Any) -> None:
    """Refuse to make a layer while Keras loads a file in safe mode, before any file or network access.

    Raises:
        errors.SafeModeError: It does, and the handle is not that of a living layer.
    """
    if not saving.in_safe_mode() or isinstance(handle, serialization.LiveHandle):
        return
    raise SafeModeError(
        "The file or config holds a HubLayer. A SavedModel is a program, so safe_mode=True refuses to load it.",
        expected="safe_mode=False, for a file whose author you trust",
        received="safe_mode=True",
        where=f"HubLayer({code.format_handle(handle)})",
        fix="keras.saving.load_model(path, safe_mode=False)\n"
        "keras.config.enable_unsafe_deserialization()   # before model_from_json or Model.from_config",
    )


def load(handle: Any, tags: Any, load_options: Any, sha256: str | None, piece: Any, signature: Any) -> Any:
    """The loaded object of a layer: what its handle leads to, or the object that the handle is.

    Args:
        handle: As `layers.HubLayer` takes it, or as its config holds it.
        tags: As `layers.HubLayer` takes it, like the following.
        load_options: Likewise.
        sha256: Likewise.
        piece: Likewise.
        signature: Likewise. Of what it and `piece` do not reach, much may be left out.

    Raises:
        errors.HandleError, errors.ResolveError, errors.LoadError: As `keras_hub_layers.load` raises them.
        errors.InterfaceError: An object with arguments for loading, or one that is a layer or a tensor.
    """
    use = Use(None if piece is None else str(piece), signature)
    if isinstance(handle, serialization.LoadedHandle):
        return handle.obj
    if isinstance(handle, serialization.EmbeddedHandle):
        return serialization.load(handle, tags, load_options, use)
    if isinstance(handle, (str, os.PathLike)):
        return load_lib.load_handle(handle, tags, load_options, sha256, use)
    if keras.ops.is_tensor(handle) or isinstance(handle, keras.KerasTensor) or hasattr(handle, "__array_interface__"):
        raise _input_as_handle(handle)
    if not live_object.is_object(handle):
        handles.parse(handle)  # says which forms there are
    given = {"tags": tags, "load_options": load_options, "sha256": sha256}
    given = {name: value for name, value in given.items() if value is not None}
    if given:
        raise _already_loaded_error(handle, given)
    if isinstance(handle, keras.layers.Layer) or type(handle).__module__.startswith("tensorflow_hub"):
        raise _layer_as_handle(handle)
    return handle


def is_loaded_here(handle: Any) -> bool:
    """Whether `load` makes a new object for this handle, which nobody else holds."""
    is_path = isinstance(handle, (str, os.PathLike, serialization.EmbeddedHandle))
    return is_path and not isinstance(handle, serialization.LoadedHandle)


def whole_object(obj: Any) -> Any:
    """What a property gives for the loaded object of a layer: the whole, but not to Keras, which reads all properties.

    Raises:
        errors.LoadError: The files of the rest were changed.
    """
    return obj if saving.is_walking_attributes(depth=3) else pruned_object.whole_object(obj)


def _already_loaded_error(obj: Any, given: dict[str, Any]) -> InterfaceError:
    return InterfaceError(
        "An object that is already loaded takes no arguments for loading.",
        expected="an object alone, or a handle with these arguments",
        received=f"an object of type {type(obj).__name__} with {given!r}",
        where="HubLayer(handle)",
        fix="HubLayer(obj)",
    )


def _input_as_handle(value: Any) -> HandleError:
    """The layer's input stands where its handle belongs: `HubLayer(x)`."""
    return HandleError(
        "The layer was given its input in the place of its handle. First make the layer, then call it.",
        expected=f"one of these forms\n{handles.FORMS}",
        received=describe_value(value),
        where="HubLayer(handle)",
        fix="layer = HubLayer('https://tfhub.dev/google/nnlm-en-dim50/2')\ny = layer(x)",
    )


def _layer_as_handle(layer: Any) -> InterfaceError:
    """A layer stands where its handle belongs."""
    fix = "y = model(x)   # it is a layer of Keras 3 already: use itself, as in keras.Sequential([model, ...])"
    source = _source_of(layer)
    if source is not None:
        fix = f"HubLayer({handles.display(source)!r})"
    elif not isinstance(layer, keras.layers.Layer):
        fix = "HubLayer(layer.resolved_object)"
    return InterfaceError(
        "The handle is a layer already.",
        expected="a path, a URL, a model id, or a loaded object",
        received=f"{type(layer).__module__}.{type(layer).__name__}",
        where="HubLayer(handle)",
        fix=fix,
    )


def _source_of(layer: Any) -> str | None:
    """The path or URL that a layer was made from, as far as it says so in public."""
    try:
        source = layer.get_config().get("handle") or getattr(layer, "filepath", None)
    except (NotImplementedError, TypeError, ValueError, AttributeError):
        return None
    return source if isinstance(source, str) else None
