"""hub_choice(hp, candidates): let a search choose a SavedModel."""

from collections.abc import Sequence
from typing import Any

from keras_hub_layers._src.public import public
from keras_hub_layers._src.tuners.candidate import Candidate, as_candidates

__all__ = ["hub_choice"]


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
    choices = as_candidates(candidates)
    label = hp.Choice(name, [candidate.name for candidate in choices])
    return next(candidate for candidate in choices if candidate.name == label)
