"""What a layer needs of a backend (`Executor`), and what of a SavedModel it computes (`Choice`)."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from keras_hub_layers._src.savedmodel import contents


@dataclass(frozen=True, eq=False)
class Choice:
    """What of a loaded object a layer uses.

    Attributes:
        target: The object, or the piece of it, whose variables and losses count.
        function: What is called.
        arguments: Further keyword arguments, fixed by the user.
        output_key: Key of the one output to keep, or `None`.
        output_shape: Shapes without batch, structured as the outputs, or `None`.
        unsaved_gradients: Names of custom gradients that the SavedModel asks for and does not have.
        optimize: Whether inference may compute the same with fewer operations: `True`, `False` or `"auto"`.
        is_own: Whether nobody else holds the object, so that its variables may be without values for a while.
    """

    target: Any
    function: contents.Function
    arguments: Mapping[str, Any]
    output_key: str | None
    output_shape: Any
    unsaved_gradients: frozenset[str] = frozenset()
    optimize: bool | str = "auto"
    is_own: bool = False


class Executor(Protocol):
    """What a layer needs of a backend: made by `executor_class(choice, warn)`, where `warn` is called with texts.

    An executor raises `HubError`s that say what it knows; the layer adds its name, its handle and its line of code.

    Attributes:
        seed_generator: The `keras.random.SeedGenerator` that random ops draw from, or `None`.
        supports_jit: Whether a model may compile what it computes.
        weights: The Keras variables, in a stable order: published trainable ones, other published ones, captured ones.
        published: Those of `weights` that the SavedModel publishes.
        candidates: Those of `weights` that may ever be trained.
        has_lists: Whether the SavedModel itself says which those are.
        input_dtype: Dtype of the one input if there is only one, else `None`.
        input_names: Keys of the inputs, if they are a dict; else empty.
        loses_losses: Whether losses that depend on inputs are in the SavedModel and nothing returns them.
    """

    seed_generator: Any
    supports_jit: bool
    weights: list[Any]
    published: list[Any]
    candidates: list[Any]
    has_lists: bool
    input_dtype: str | None
    input_names: tuple[str, ...]

    @property
    def loses_losses(self) -> bool: ...

    def name_of(self, weight: Any) -> str:
        """A weight's name in the SavedModel, with its slashes."""
        ...

    def variable_of(self, weight: Any) -> Any:
        """The `tf.Variable` of the loaded object that a weight stands for."""
        ...

    def check_training(self) -> None:
        """Raise an `errors.TrainingError` if this executor cannot compute all gradients."""
        ...

    def write_back(self) -> None:
        """Give the variables of the loaded object the values of the weights, where these are others."""
        ...

    def prepare(self, inputs: Any) -> Any:
        """Inputs that Keras lets through: no arrays or Python values beside tensors, no keys that nobody takes."""
        ...

    def call(self, inputs: Any, training: bool) -> Any:
        """Compute the outputs for inputs of any accepted form."""
        ...

    def call_natively(self, inputs: Any, training: bool) -> Any:
        """Compute the outputs by TensorFlow's own functions for inputs of TensorFlow, such as those of a graph."""
        ...

    def call_with_losses(self, inputs: Any, training: bool) -> tuple[Any, list[Any]]:
        """Compute the outputs and the losses that depend on the inputs, scalars, as many in each mode."""
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
