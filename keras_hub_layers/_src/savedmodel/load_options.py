"""`tf.saved_model.LoadOptions` from a dict, and back."""

from collections.abc import Mapping
from typing import Any

import tensorflow as tf

from keras_hub_layers.errors import InterfaceError

_OPTIONS = (
    "allow_partial_checkpoint",
    "experimental_io_device",
    "experimental_skip_checkpoint",
    "experimental_variable_policy",
)


def load_options(options: Any) -> Any:
    """A `tf.saved_model.LoadOptions` from one, from a dict of its arguments, or from `None`."""
    if not isinstance(options, Mapping):
        return options
    unknown = sorted(set(options) - set(_OPTIONS))
    if unknown:
        raise InterfaceError(
            "load_options has arguments that TensorFlow does not know.",
            expected=f"a tf.saved_model.LoadOptions, or a dict with keys among {list(_OPTIONS)}",
            received=f"{unknown}",
            where="load_options",
            fix='load_options={"experimental_io_device": "/job:localhost"}',
        )
    return tf.saved_model.LoadOptions(**options)


def skip_checkpoint(options: Any) -> Any:
    """Load options that leave all variables as they are, and are else those given, or the defaults for `None`."""
    given = {} if options is None else {name: getattr(options, name) for name in _OPTIONS}
    return tf.saved_model.LoadOptions(**{**given, "experimental_skip_checkpoint": True})


def options_config(options: Any) -> dict[str, Any] | None:
    """The JSON form of load options: what differs from the defaults; `None` for none."""
    if options is None or isinstance(options, Mapping):
        return None if options is None else dict(options)
    defaults = tf.saved_model.LoadOptions()
    config = {}
    for name in _OPTIONS:
        value = getattr(options, name)
        if value != getattr(defaults, name):
            config[name] = value if isinstance(value, (bool, str)) else value.value
    return config
