"""Private names of Keras' layers and variables, each with its versions, its reason and a test."""

from collections.abc import Callable, Iterable
from typing import Any

import keras


def take_inputs_as_they_are(layer: keras.layers.Layer) -> None:
    """Let a layer see its inputs unconverted: Python values, strings and ragged tensors of any dtype.

    Keras 3.8 to 3.15: `Layer.__call__` casts inputs to the compute dtype and refuses Python values as
    positional arguments. `autocast=False` is public but does not stop the conversion.
    """
    layer._convert_input_args = False
    layer._allow_non_tensor_positional_args = True


def forget_input_shape(layer: keras.layers.Layer) -> None:
    """Drop the `input_shape=` of a layer, so that `Sequential` asks for the layer's dtype when it is built.

    Keras 3.8 to 3.15: `Sequential.add` makes a float `Input` of it, whatever the layer takes; `dtype=` has no say.
    """
    layer.__dict__.pop("_input_shape_arg", None)


def as_it_is_written(method: Callable[..., Any]) -> Callable[..., Any]:
    """Have a `tf.function` of the user call a method without rewriting it and all that it calls.

    Keras 3.8 to 3.15: `Layer.__call__` is not rewritten; a layer that overrides it would be, at each trace.
    """
    if keras.backend.backend() != "tensorflow":
        return method
    import tensorflow as tf

    return tf.autograph.experimental.do_not_convert(method)


def track(layer: keras.layers.Layer, variable: keras.Variable) -> None:
    """Make a layer own a variable that it did not create.

    Keras 3.8 to 3.15: `add_weight` copies; an attribute puts a frozen variable among the model's trainable ones.
    """
    layer._track_variable(variable)


def track_all(layer: keras.layers.Layer, variables: Iterable[keras.Variable]) -> None:
    """As `track`, for several."""
    for variable in variables:
        track(layer, variable)


class OwnLosses(keras.layers.Layer):
    """A layer whose published losses are computed anew whenever `losses` is read.

    Keras 3.8 to 3.15: `Model.losses` asks each layer for `_get_own_losses()`. `add_loss` takes no callables and, in
    `call`, counts each call of a shared layer, as is right for losses that depend on inputs only; a `regularizer` on a
    variable merges losses and vanishes when that one variable is frozen.
    """

    def published_losses(self) -> list[Any]:
        """The scalar losses to count; an empty list while frozen."""
        raise NotImplementedError

    def _get_own_losses(self) -> list[Any]:
        import tensorflow as tf

        added = super()._get_own_losses()
        if (
            keras.backend.backend() == "tensorflow" and tf.executing_eagerly()
        ):  # what the trace of a step has left is a tensor of a graph that has ended
            added = [loss for loss in added if hasattr(loss, "numpy")]
        return [*added, *self.published_losses()]


class OwnInputDtype(keras.layers.Layer):
    """A layer that tells Keras the dtype of its inputs.

    Keras 3.8 to 3.15: a `Sequential` model without `Input` takes `compute_dtype` for the dtype of its inputs, and needs
    `variable_dtype` to agree with it.
    """

    def _own_input_dtype(self) -> str | None:
        """The dtype of a single input that is no float; else `None`."""
        raise NotImplementedError

    @property
    def compute_dtype(self) -> str:
        """The dtype of a `Sequential` model's implied `Input`: that of a single non-float input, else the policy's."""
        return self._own_input_dtype() or super().compute_dtype

    @property
    def variable_dtype(self) -> str:
        """As `compute_dtype`: Keras needs both to agree. The weights keep the SavedModel's dtypes."""
        return self._own_input_dtype() or super().variable_dtype
