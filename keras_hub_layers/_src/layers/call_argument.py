"""`layer(inputs, training=...)`: errors for calls that are written as those of another layer."""

from collections.abc import Mapping, Sequence
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


def unknown_arguments_error(given: Mapping[str, Any], input_names: Sequence[str]) -> InputError:
    """Inputs, or arguments of the SavedModel's function, stand in the call of the layer as arguments of their names.

    Args:
        given: The keyword arguments of the call.
        input_names: Keys of the layer's inputs, if they are a dict; else empty.
    """
    names = sorted(set(given) - {"training"})
    if set(names) <= set(input_names):
        others = [name for name in input_names if name not in names]
        variables = {name: "x" if others == [name] else name for name in input_names}
        return InputError(
            "The layer takes its inputs as one argument: here a dict.",
            expected=f"layer(x), where x is a dict with the keys {list(input_names)}",
            received="layer(x, " + ", ".join(f"{name}={describe_value(given[name])}" for name in names) + ")",
            fix="y = layer({" + ", ".join(f"{name!r}: {variables[name]}" for name in input_names) + "})",
        )
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
