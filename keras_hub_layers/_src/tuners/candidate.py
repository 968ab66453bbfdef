"""Candidate: a SavedModel that a search may choose, with what it needs around it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import keras

from keras_hub_layers._src.finetuning.unfreeze import unfreeze
from keras_hub_layers._src.layers import hub_layer
from keras_hub_layers._src.public import public
from keras_hub_layers._src.resolve import handles
from keras_hub_layers._src.tuners import model_pool
from keras_hub_layers._src.tuners.training import Training
from keras_hub_layers.errors import TrainingError

__all__ = ["Candidate", "as_candidates"]


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
        self, training: Training | None = None, pool: model_pool.ModelPool = model_pool.SHARED, **kwargs: Any
    ) -> hub_layer.HubLayer:
        """A `HubLayer` for one trial: the SavedModel with its own weights, loaded once per process.

        Args:
            training: How the trial trains it, as `trainable_choice` says. Defaults to `None`: frozen.
            pool: What keeps the loaded objects until the layer of the next trial needs them. Defaults to one that
                `tuners.search` empties at its end.
            **kwargs: Further arguments of `layers.HubLayer`, such as `name`.
        """
        layer = pool.layer(self.handle, output_key=self.output_key, arguments=self.arguments, **kwargs)
        unfreeze(layer, None if training is None else training.unfreeze)
        return layer

    def preprocess(self, inputs: Any) -> Any:
        """What the SavedModel gets of symbolic inputs of the model."""
        if self.preprocessor is None:
            return inputs
        outputs = self.preprocessor(inputs)
        if getattr(self.preprocessor, "trainable_weights", None):
            raise TrainingError(
                "The preprocessor is a layer with weights to train, which all trials would share.",
                expected="a layer without trainable weights, or a function that makes new layers",
                received=f"{type(self.preprocessor).__name__} with trainable weights",
                where=f"Candidate({self.name!r})",
                fix=f"tuners.Candidate({self.name!r}, preprocessor=lambda x: keras.layers.Dense(3)(x))",
            )
        return outputs

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
        if isinstance(specs, Mapping):  # Keras wants these names
            return {key: keras.Input(leaf.shape[1:], dtype=leaf.dtype, name=key) for key, leaf in specs.items()}
        return keras.tree.map_structure(lambda leaf: keras.Input(leaf.shape[1:], dtype=leaf.dtype), specs)


def as_candidates(given: Any) -> list[Candidate]:
    """Candidates from candidates and handles, or from a single one, with names that differ."""
    given = list(given) if isinstance(given, (list, tuple)) else [given]
    candidates = [item if isinstance(item, Candidate) else Candidate(item) for item in given]
    names = [candidate.name for candidate in candidates]
    if not candidates or len(set(names)) < len(names):
        raise TrainingError(
            "A search needs candidates that differ in name.",
            expected="at least one handle; a label for each where handles repeat",
            received=f"{names}",
            where="hub_choice(hp, candidates)",
            fix=_example(candidates),
        )
    return candidates


def _example(candidates: list[Candidate]) -> str:
    """The line for candidates that differ in name."""
    if not candidates:
        return "candidates = ['path/to/one', 'path/to/another']"
    labelled = ", ".join(
        f"tuners.Candidate({handles.display(str(candidate.handle))!r}, label={str(number)!r})"
        for number, candidate in enumerate(candidates, 1)
    )
    return f"candidates = [{labelled}]"
