"""`layer(inputs, training=...)`: errors for calls that are written as those of another layer."""

from collections.abc import Mapping
from typing import Any

import keras

from keras_hub_layers._src.text import words
from keras_hub_layers.errors import InputError


def is_flag(training: Any) -> bool:
    """Whether a value can be meant for `training`: a bool, an integer, `None`, or a scalar tensor."""
    shape = getattr(training, "shape", None)
    return len(shape) == 0 if shape is not None else isinstance(training, (bool, int, type(None)))


def second_input_error(inputs: Any, training: Any) -> InputError:
    """Something else stands where `training` belongs: a text or a float, or a second input, as in `layer(a, b)`."""
    if isinstance(training, (str, float)):
        return InputError(
            "training is a bool.",
            expected="layer(x), layer(x, training=True) or layer(x, training=False)",
            received=f"training={training!r}",
            fix=f"y = layer(x, training={words.flag_meant(training)})",
        )
    return InputError(
        "The layer takes its inputs as one argument; the second one is `training`.",
        expected="layer(x) or layer(x, training=True), where x may be a list or a dict of inputs",
        received=f"layer({describe_value(inputs)}, {describe_value(training)})",
        fix="y = layer([x, y])   # or layer({'name': x, 'other': y})",
    )


def no_input_error(given: Mapping[str, Any]) -> InputError:
    """A call without an input, or with its inputs as arguments of their names: `layer(input_ids=x)`."""
    names = [name for name in given if name != "training"]
    entries = ", ".join(f"{name!r}: {name}" for name in names)
    return InputError(
        "The layer was called without an input. It takes one argument; several inputs are a dict or a list.",
        expected="layer(x), or layer({'name': x, 'other': y})",
        received=", ".join(f"{name}={describe_value(given[name])}" for name in names) or "no input, or None",
        fix=f"y = layer({{{entries}}})" if names else "y = layer(x)",
    )


def unknown_arguments_error(given: Mapping[str, Any]) -> InputError:
    """Arguments of the SavedModel's function stand in the call of the layer."""
    names = sorted(set(given) - {"training"})
    plain = {n: given[n] for n in names if isinstance(given[n], (bool, int, float, str))}
    return InputError(
        "A call of the layer has no such argument.",
        expected="layer(x) or layer(x, training=True); the SavedModel's own arguments are HubLayer's",
        received=", ".join(f"{name}={describe_value(given[name])}" for name in names),
        fix=lambda line: f"{line(arguments=plain)}(x)" if plain else "layer(x)",
    )


def describe_value(value: Any) -> str:
    """A value in a few words."""
    if hasattr(value, "shape") and hasattr(value, "dtype"):
        return f"{type(value).__name__} {keras.backend.standardize_dtype(value.dtype)} {tuple(value.shape)}"
    text = repr(value)
    return text if len(text) <= 80 else text[:79] + "…"
