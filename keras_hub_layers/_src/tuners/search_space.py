"""What a search may choose: the SavedModel, whether it is fine-tuned, how deep, and how fast."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import keras

from keras_hub_layers._src.finetuning import layerwise, unfreeze
from keras_hub_layers._src.layers import hub_layer
from keras_hub_layers._src.public import public
from keras_hub_layers._src.resolve import handles
from keras_hub_layers._src.tuners import model_pool
from keras_hub_layers.errors import TrainingError

__all__ = ["Candidate", "Training", "hub_choice", "trainable_choice"]


@public("tuners")
@dataclass(frozen=True)
class Candidate:
    """A SavedModel that a search may choose, with what it needs around it.

    Attributes:
        handle: As `layers.HubLayer` takes it.
        input_shape: Shape of the model's input without the batch axis, a tuple. Defaults to `None`: as the SavedModel
            was traced, where that says all of it.
        input_dtype: Dtype of the model's input. Defaults to `None`: as it was traced.
        preprocessor: What is called with the model's input before the SavedModel: a function of a symbolic tensor, or
            a layer without trainable weights, which all trials share. Defaults to `None`: nothing.
        output_key: As `layers.HubLayer` takes it.
        arguments: As `layers.HubLayer` takes it.
        label: What the choice is called in the search. Defaults to the handle, without passwords.
    """

    handle: Any
    input_shape: tuple[int | None, ...] | None = None
    input_dtype: str | None = None
    preprocessor: Callable[[Any], Any] | None = None
    output_key: str | None = None
    arguments: Any = None
    label: str = ""

    @property
    def name(self) -> str:
        """The label, or the handle."""
        return self.label or handles.display(str(self.handle))

    def layer(
        self, training: "Training | None" = None, lent_by: model_pool.Leases = model_pool.SHARED, **kwargs: Any
    ) -> hub_layer.HubLayer:
        """A `HubLayer` for one trial: the SavedModel with its own weights, loaded once per process.

        Args:
            training: How the trial trains it, as `trainable_choice` says. Defaults to `None`: frozen.
            lent_by: What keeps the loaded objects until the layer of the next trial needs them. Defaults to one that
                `tuners.search` empties at its end.
            **kwargs: Further arguments of `layers.HubLayer`, such as `name`.
        """
        layer = lent_by.layer(self.handle, output_key=self.output_key, arguments=self.arguments, **kwargs)
        unfreeze.unfreeze(layer, None if training is None else training.unfreeze)
        return layer

    def preprocessed(self, inputs: Any) -> Any:
        """What the SavedModel gets of symbolic inputs of the model."""
        if self.preprocessor is None:
            return inputs
        found = self.preprocessor(inputs)
        if getattr(self.preprocessor, "trainable_weights", None):
            raise TrainingError(
                "The preprocessor is a layer with weights to train, which trials would hand on to each other.",
                expected="a layer without trainable weights, or a function that makes its layers anew",
                received=f"{type(self.preprocessor).__name__} with trainable weights",
                where=f"Candidate({self.name!r})",
                fix=f"tuners.Candidate({self.name!r}, preprocessor=lambda x: keras.layers.Dense(3)(x))",
            )
        return found

    def inputs(self, layer: hub_layer.HubLayer) -> Any:
        """Symbolic inputs for the layer that was made from the handle, or for the preprocessor before it."""
        traces = layer.interface.traces
        specs: Any = traces[0].inputs if traces else None
        if self.input_shape is not None:
            dtype = self.input_dtype or (specs.dtype if hasattr(specs, "dtype") else "float32")
            return keras.Input(self.input_shape, dtype=dtype)
        leaves = keras.tree.flatten(specs) if specs is not None else []
        known = leaves and all(leaf.shape is not None and None not in leaf.shape[1:] for leaf in leaves)
        if not known or self.preprocessor is not None:
            raise TrainingError(
                "The shape of the model's input is not known.",
                expected="input_shape, without the batch axis"
                + (": what the preprocessor takes" if self.preprocessor is not None else ""),
                received=f"input_shape=None; traced for {[str(leaf) for leaf in leaves]}",
                where=f"Candidate({self.name!r})",
                fix=f"tuners.Candidate({self.name!r}, input_shape=(224, 224, 3))",
            )
        return keras.tree.map_structure(lambda leaf: keras.Input(leaf.shape[1:], dtype=leaf.dtype), specs)


@public("tuners")
@dataclass(frozen=True)
class Training:
    """How a trial trains.

    Attributes:
        trainable: Whether the SavedModel is fine-tuned.
        learning_rate: The learning rate of what is not in the SavedModel, such as a head with random weights.
        unfreeze: What of the SavedModel is trained, as `finetuning.patterns` takes it; `None` while frozen.
        tuning_rate: The learning rate of the SavedModel; 0.0 while frozen, never `None`.
    """

    trainable: bool
    learning_rate: float
    unfreeze: Any
    tuning_rate: float = 0.0

    def optimizer(self, layer: hub_layer.HubLayer, make: Callable[[float], Any] = keras.optimizers.Adam) -> Any:
        """An optimizer that trains a SavedModel with `tuning_rate`, and all else with `learning_rate`.

        Args:
            layer: The SavedModel's layer.
            make: Function from a learning rate to an optimizer. Defaults to `keras.optimizers.Adam`.
        """
        if not self.trainable:
            return make(self.learning_rate)
        factor = self.tuning_rate / self.learning_rate
        return layerwise.LayerwiseOptimizer(make(self.learning_rate), {weight.path: factor for weight in layer.weights})


def candidates_of(given: Any) -> list[Candidate]:
    """Candidates from candidates and handles, or from a single one, with names that differ."""
    given = list(given) if isinstance(given, (list, tuple)) else [given]
    found = [item if isinstance(item, Candidate) else Candidate(item) for item in given]
    names = [candidate.name for candidate in found]
    if not found or len(set(names)) < len(names):
        raise TrainingError(
            "The candidates of a search must be there, and differ in name.",
            expected="at least one handle; a label for each where handles repeat",
            received=f"{names}",
            where="hub_choice(hp, candidates)",
            fix='tuners.Candidate("path/to/model", label="pinned", arguments={"training": False})',
        )
    return found


@public("tuners")
def hub_choice(hp: Any, candidates: Sequence[Any], name: str = "hub") -> Candidate:
    """Let a search choose a SavedModel, with its input size and preprocessor.

    Args:
        hp: The `keras_tuner.HyperParameters`.
        candidates: Handles or `Candidate`s.
        name: Name of the hyperparameter. Defaults to `"hub"`.

    Returns:
        The chosen `Candidate`.

    Raises:
        errors.TrainingError: There are none, or two have the same name.
    """
    found = candidates_of(candidates)
    label = hp.Choice(name, [candidate.name for candidate in found])
    return next(candidate for candidate in found if candidate.name == label)


@public("tuners")
def trainable_choice(
    hp: Any,
    *,
    name: str = "trainable",
    values: Sequence[bool] = (False, True),
    depths: Sequence[Any] = ("all",),
    head_rates: tuple[float, float] = (1e-4, 1e-2),
    tuning_rates: tuple[float, float] = (1e-6, 1e-3),
) -> Training:
    """Let a search choose whether a SavedModel is fine-tuned, how deep, and the learning rates that fit.

    The hyperparameters are `trainable` and `learning_rate`, and where `trainable` is true `tuning_rate` and `unfreeze`;
    with another `name`, it stands before the others' too (`encoder_learning_rate`).
    A head with random weights needs a far higher learning rate than the SavedModel before it, which therefore has its
    own. Each is active only where it has a meaning, so that a search does not tell apart what is the same; what is
    returned comes from the active ones.

    Args:
        hp: The `keras_tuner.HyperParameters`.
        name: Name of the hyperparameter, a Boolean. Defaults to `"trainable"`.
        values: The values to search. Defaults to `(False, True)`.
        depths: What may be unfrozen: numbers of groups, names of groups, patterns, `"all"`. Defaults to `("all",)`.
        head_rates: Least and greatest learning rate of what is not in the SavedModel. Defaults to `(1e-4, 1e-2)`: a
            factor of ten around Adam's default in Keras, 1e-3.
        tuning_rates: Least and greatest learning rate of the SavedModel while it is tuned. Defaults to `(1e-6, 1e-3)`;
            Keras' guide to transfer learning uses 1e-5, BERT's authors 2e-5 to 5e-5.

    Returns:
        A `Training`.

    Reference:

    - [Transfer learning and fine-tuning](https://keras.io/guides/transfer_learning/).
    - [BERT, Devlin et al. 2018](https://arxiv.org/abs/1810.04805), appendix A.3.
    """
    flags = list(dict.fromkeys(bool(value) for value in values))
    trainable = bool(hp.Boolean(name, default=flags[0]) if len(flags) > 1 else hp.Fixed(name, flags[0]))
    tuning_rate: Any = None
    depth: Any = None
    prefix = "" if name == "trainable" else f"{name}_"
    rate = float(hp.Float(prefix + "learning_rate", *head_rates, sampling="log", default=_middle(*head_rates)))
    if True in flags:
        with hp.conditional_scope(name, [True]):
            middle = _middle(*tuning_rates)
            tuning_rate = hp.Float(prefix + "tuning_rate", *tuning_rates, sampling="log", default=middle)
            depth = hp.Choice(prefix + "unfreeze", [str(depth) for depth in depths])
    if not trainable:
        return Training(False, rate, None)
    return Training(True, rate, next(value for value in depths if str(value) == depth), float(tuning_rate))


def _middle(least: float, greatest: float) -> float:
    """The middle of a range on the logarithmic scale."""
    return (least * greatest) ** 0.5
