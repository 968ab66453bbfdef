"""Every private name of Keras and TensorFlow that the package touches: the version, the reason, a test.

Each entry is here because there is no public way. `tests/test_compat.py` holds one test per entry that
fails when the entry has gone, or when it is no longer needed.
"""

import contextlib
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import keras
from keras.src.backend.common import global_state
from keras.src.random import seed_generator
from keras.src.saving import serialization_lib


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


def take_inputs_as_they_are(layer: keras.layers.Layer) -> None:
    """Let a layer see its inputs unconverted: Python values, strings and ragged tensors of any dtype.

    Keras 3.8 to 3.15: `Layer.__call__` casts inputs to the compute dtype and refuses Python values as
    positional arguments. `autocast=False` is public but does not stop the conversion.
    """
    layer._convert_input_args = False
    layer._allow_non_tensor_positional_args = True


def track(layer: keras.layers.Layer, variable: keras.Variable) -> None:
    """Make a layer own a variable that it did not create.

    Keras 3.8 to 3.15: `add_weight` copies; an attribute puts a frozen variable among the model's trainable ones.
    """
    layer._track_variable(variable)


class OwnLosses(keras.layers.Layer):
    """A layer whose published losses are computed anew whenever `losses` is read.

    Keras 3.8 to 3.15: `Model.losses` asks each layer for `_get_own_losses()`. `add_loss` takes no callables and,
    in `call`, counts a shared layer twice; a `regularizer` on a variable merges losses and vanishes when that one
    variable is frozen.
    """

    def published_losses(self) -> list[Any]:
        """The scalar losses to count; an empty list while frozen."""
        raise NotImplementedError

    def _get_own_losses(self) -> list[Any]:
        return [*super()._get_own_losses(), *self.published_losses()]


@contextlib.contextmanager
def watched(variables: Iterable[Any], is_trained: Callable[[Any], bool]) -> Iterator[None]:
    """Have a gradient tape watch just those `tf.Variable`s that are trained, within this block.

    TensorFlow 2.18 to 2.21: the flag is fixed at creation, and a restored function records what the flag says,
    not what the SavedModel publishes: a published variable with a false flag would get no gradient, a frozen one
    with a true flag is recorded in vain.
    """
    changed = []
    for variable in variables:
        wanted = is_trained(variable)
        for part in (variable, *getattr(variable, "values", ())):
            if part.trainable != wanted and hasattr(part, "_trainable"):
                changed.append((part, part._trainable))
                part._trainable = wanted
    try:
        yield
    finally:
        for part, flag in changed:
            part._trainable = flag


# -- exporting -------------------------------------------------------------------------------------------------------


def flatten_layers(layer: keras.layers.Layer) -> list[keras.layers.Layer]:
    """A layer and every layer inside it, at any depth, each once.

    Keras 3.8 to 3.15: `_flatten_layers`. `Model.layers` is public, and neither goes deeper nor exists on layers.
    """
    return list(layer._flatten_layers())


def added_losses(layer: keras.layers.Layer) -> list[Any]:
    """The losses that depend on inputs: those of `add_loss` and of activity regularizers in the last call.

    Keras 3.8 to 3.15: `Layer.losses` mixes them with the regularizers of the weights.
    """
    return [loss for part in flatten_layers(layer) for loss in keras.layers.Layer._get_own_losses(part)]


def clear_losses(layer: keras.layers.Layer) -> None:
    """Forget the losses that a trace left in a layer: tensors of a graph that has ended.

    Keras 3.8 to 3.15: only `Layer.__call__` in eager mode and the trainer clear them, by this name.
    """
    layer._clear_losses()


def make_global_seed_generator() -> None:
    """Create the variable behind `keras.random` without `seed=`, which cannot be created inside a trace.

    Keras 3.8 to 3.15: it is made by the first draw. Drawing a number would make it too, and would change the
    numbers that training draws next.
    """
    seed_generator.global_seed_generator()
