"""export_best(tuner, directory): export the best model of a search."""

import os
from typing import Any

from keras_hub_layers._src.export import export
from keras_hub_layers._src.public import public
from keras_hub_layers._src.tuners.preflight import brief
from keras_hub_layers.errors import TrainingError

__all__ = ["export_best", "no_trial"]


@public("tuners")
def export_best(tuner: Any, directory: str | os.PathLike[str], layer: str | None = None, **kwargs: Any) -> str:
    """Export the model of the best trial, with the weights of its best epoch, as a Reusable SavedModel.

    Args:
        tuner: A tuner that has searched, or that was made again on its directory.
        directory: Where to export to.
        layer: Name of the layer to export alone: `"hub"` of a `HubHyperModel` is the SavedModel, fine-tuned. Defaults
            to `None`: the whole model.
        **kwargs: Further arguments of `keras_hub_layers.export`.

    Returns:
        The directory, a `str`.

    Raises:
        errors.TrainingError: No trial has ended well.
        errors.ExportError: It cannot be exported.
    """
    if all(trial.status != "COMPLETED" for trial in tuner.oracle.trials.values()):
        raise no_trial(tuner)
    best = tuner.get_best_models(1)[0]
    return export.export(best if layer is None else best.get_layer(layer), directory, **kwargs)


def no_trial(tuner: Any) -> TrainingError:
    """The error for a search without a trial that has ended well."""
    trials = list(tuner.oracle.trials.values())
    reasons = dict.fromkeys(brief(trial.message) for trial in trials if trial.message)
    return TrainingError(
        "No trial of the search was completed, so there is no best one.",
        expected="a tuner with at least one completed trial",
        received=f"{len(trials)} trials" + "".join(f"; {reason}" for reason in list(reasons)[:3]),
        where=str(tuner.project_dir),
        fix="tuners.search(tuner, x, y, epochs=5, validation_split=0.2)   # of a tuner with overwrite=True",
    )
