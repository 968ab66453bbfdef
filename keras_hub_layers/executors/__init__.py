"""How the running Keras backend computes what a SavedModel offers (see the README in this folder)."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import keras

from keras_hub_layers import loaded, options
from keras_hub_layers.errors import BackendError, explain


@dataclass(frozen=True, eq=False)
class Choice:
    """What of a loaded object a layer uses.

    Attributes:
        target: The object, or the piece of it, whose variables and losses count.
        function: What is called.
        arguments: Further keyword arguments, fixed by the user.
        output_key: Key of the one output to keep, or `None`.
        output_shape: Shapes without batch, structured as the outputs, or `None`.
        where: Layer and handle, for error texts.
        line: The line of code that makes the layer, with the given arguments changed; for error texts.
    """

    target: Any
    function: loaded.Function
    arguments: Mapping[str, Any]
    output_key: str | None
    output_shape: Any
    where: str
    line: Callable[..., str] = options.line


class Executor(Protocol):
    """What a layer needs of a backend.

    Attributes:
        weights: The Keras variables, in a stable order: published trainable ones, other published ones, captured ones.
        published: Those of `weights` that the SavedModel publishes.
        candidates: Those of `weights` that may ever be trained.
        has_lists: Whether the SavedModel itself says which those are.
        input_dtype: Dtype of the one input if there is only one, else `None`.
    """

    weights: list[Any]
    published: list[Any]
    candidates: list[Any]
    has_lists: bool
    input_dtype: str | None

    def name_of(self, weight: Any) -> str:
        """A weight's name in the SavedModel, with its slashes."""
        ...

    def prepare(self, inputs: Any) -> Any:
        """Inputs that Keras lets through: no arrays or Python values beside tensors, no keys that nobody takes."""
        ...

    def call(self, inputs: Any, training: bool) -> Any:
        """Compute the outputs for inputs of any accepted form."""
        ...

    def output_spec(self, inputs: Any) -> Any:
        """The outputs' shapes and dtypes for symbolic inputs, as `keras.KerasTensor`s."""
        ...

    def symbolic_inputs(self, shapes: Any) -> Any:
        """`keras.KerasTensor`s of the traced dtypes for shapes with the batch axis, structured as the inputs."""
        ...

    def regularization_losses(self) -> list[Any]:
        """The current values of the published losses, scalars."""
        ...


def executor_class() -> Any:
    """The executor of the running Keras backend.

    Raises:
        errors.BackendError: There is none for it.
    """
    backend = keras.config.backend()
    if backend == "tensorflow":
        from keras_hub_layers.executors.tensorflow import TensorFlowExecutor

        return TensorFlowExecutor
    raise BackendError(
        explain(
            "No executor computes SavedModels on this Keras backend.",
            expected="the backend 'tensorflow'",
            received=f"the backend {backend!r}",
            where="keras.config.backend()",
            fix='import os; os.environ["KERAS_BACKEND"] = "tensorflow"   # before the first import of keras',
        )
    )
