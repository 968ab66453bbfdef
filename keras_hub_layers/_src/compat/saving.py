"""Private names of Keras around saving files, each with its versions, its reason and a test."""

import contextlib
import sys
from collections.abc import Iterator

import keras
from keras.src.backend.common import global_state
from keras.src.saving import serialization_lib

from keras_hub_layers._src.compat.models import flatten_layers


def in_safe_mode() -> bool:
    """Whether Keras is loading a file with `safe_mode=True`.

    Keras 3.8 to 3.15: `serialization_lib.in_safe_mode()` is None outside a load. The public
    `enable_unsafe_deserialization` can only set it. Without it a file could smuggle a program in.
    """
    return bool(serialization_lib.in_safe_mode())


def is_saving_a_file() -> bool:
    """Whether Keras is writing a `.keras` file (or pickling), rather than reading a config for a clone.

    Keras 3.8 to 3.15: `saving_lib` serializes within an `ObjectSharingScope`, which sets this global.
    The graph must be in the config of a file, since assets are restored after construction, and must not be
    in the config that `clone_model` and users read.
    """
    return global_state.get_global_attribute("shared_objects/id_to_config_map") is not None


def is_walking_attributes(depth: int = 2) -> bool:
    """Whether a property that asks this is read by Keras while it goes through all attributes of a layer.

    Keras 3.8 to 3.15: `saving_lib._walk_saveable` evaluates each property of each layer whenever weights are saved or
    loaded, to find what holds weights: one that takes long is to do nothing then. No public name says so.

    Args:
        depth: How many calls up the reader of the property is. Defaults to 2: the property itself asks.
    """
    return sys._getframe(depth).f_code.co_name == "_walk_saveable"


def pass_on(error: type[Exception]) -> None:
    """Have Keras raise errors of a class as they are.

    Keras 3.8 to 3.15: what `call` raises is raised anew with the values of the arguments behind the message: pages of
    pixels, and the message is off the screen. `_keras_call_info_injected` says that this was done already.
    """
    error._keras_call_info_injected = True  # type: ignore[attr-defined]


@contextlib.contextmanager
def without_optimizers(model: keras.Model) -> Iterator[None]:
    """Have a model and the models inside it look uncompiled, within this block. Not for several threads at once.

    Keras 3.8 to 3.15: `.keras` and `.weights.h5` files ignore `include_optimizer=False`. Written through `__dict__`,
    since attributes are tracked. `clone_model` is no way out: the clone is compiled too.
    """
    parts = [submodel for submodel in flatten_layers(model) if isinstance(submodel, keras.Model)]
    hidden = [
        (
            submodel.__dict__,
            {name: submodel.__dict__[name] for name in ("optimizer", "compiled") if name in submodel.__dict__},
        )
        for submodel in parts
    ]
    try:
        for scope, before in hidden:
            scope.pop("optimizer", None)
            if "compiled" in before:
                scope["compiled"] = False
        yield
    finally:
        for scope, before in hidden:
            scope.update(before)
