"""Weights: the Keras variables that stand for the variables of a loaded object, with their names."""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_hub_layers._src.savedmodel import contents, live_object

# Keras has no weights of these, on no backend. What has them keeps them, and files carry them with the graph.
_UNSAVED = (tf.string, tf.variant, tf.resource)


class Weights:
    """The weights of an executor.

    A function may bring weights of another layer, which it shares: `shared_weights`, by the id of the `tf.Variable`.

    Args:
        target: The loaded object.
        function: The function of it that is called.
        make: Makes a Keras variable of a `tf.Variable`, whether it may be trained, and a name.
        separator: What stands for the slashes of a name.
        warn: Takes the text of a warning.

    Attributes:
        all: The Keras variables: published trainable ones, other published ones, captured ones.
        variables: The `tf.Variable`s that they stand for, in the same order.
        published: Those of `all` that the SavedModel publishes.
        candidates: Those of `all` that may ever be trained.
        has_lists: Whether the SavedModel itself says which those are.
        numbers: id of a `tf.Variable` -> its place in `all`.
    """

    def __init__(
        self,
        target: Any,
        function: contents.Function,
        make: Callable[[Any, bool, str], Any],
        separator: str,
        warn: Callable[[str], None],
    ) -> None:
        known = live_object.variables(target, (function,))
        self.has_lists = known.has_lists
        self.all: list[Any] = []
        self.variables: list[Any] = []
        self._names: dict[str, str] = {}
        trainable = {id(variable) for variable in known.candidates}
        shared = getattr(function.call, "shared_weights", {})
        for variable in (*known.published, *known.captured):
            if variable.dtype in _UNSAVED or not variable.shape.is_fully_defined():
                if id(variable) in trainable:
                    warn(_unsaved_warning(variable))
                continue  # it stays inside the loaded object, and goes into a `.keras` file with it
            weight = shared.get(id(variable))
            if weight is None:
                name = self._new_name(contents.name_of(variable).replace("/", separator))
                weight = make(variable, id(variable) in trainable, name)
            self.all.append(weight)
            self.variables.append(variable)
            self._names[weight.name] = contents.name_of(variable)
        self.numbers = {id(variable): number for number, variable in enumerate(self.variables)}
        self._places = {weight.name: number for number, weight in enumerate(self.all)}
        self.candidates = self._weights_of(trainable)
        self.published = self._weights_of({id(variable) for variable in known.published})

    def name_of(self, weight: Any) -> str:
        """A weight's name in the SavedModel, with its slashes."""
        return self._names[weight.name]

    def variable_of(self, weight: Any) -> Any:
        """The `tf.Variable` that a weight stands for."""
        return self.variables[self._places[weight.name]]

    def empty_variables(self) -> None:
        """Free the memory of the variables' values, which the weights have too."""
        for variable in self.variables:
            _set(variable, np.zeros(0, variable.dtype.as_numpy_dtype))

    def fill_variables(self) -> None:
        """Give the variables the values of the weights."""
        for variable, weight in zip(self.variables, self.all, strict=True):
            _set(variable, keras.ops.convert_to_numpy(weight.value))

    def _new_name(self, base: str) -> str:
        name, number = base, 0
        while name in self._names:
            number += 1
            name = f"{base}_{number}"
        return name

    def _weights_of(self, variables: set[int]) -> list[Any]:
        pairs = zip(self.variables, self.all, strict=True)
        return [weight for variable, weight in pairs if id(variable) in variables]


def _set(variable: Any, value: Any) -> None:
    """Assign to a `tf.Variable`, whatever shape the value that it has now has. JAX holds int64 as int32."""
    value = tf.constant(np.asarray(value).astype(variable.dtype.as_numpy_dtype, copy=False))
    tf.raw_ops.AssignVariableOp(resource=variable.handle, value=value, validate_shape=False)


def _unsaved_warning(variable: Any) -> str:
    return (
        f"the variable {variable.name!r} has no fixed shape, or a dtype that Keras "
        "has no weights of. It stays as it is and is not trained."
    )
