"""A whole search: tried before it, looked through after it, and its best model exported."""

import os
from typing import Any

from keras_hub_layers._src.export import export
from keras_hub_layers._src.finetuning.fit_data import as_arrays, as_validation
from keras_hub_layers._src.public import public
from keras_hub_layers._src.tuners.model_pool import SHARED
from keras_hub_layers._src.tuners.preflight import brief, keras_tuner, preflight
from keras_hub_layers.errors import TrainingError, warn

__all__ = ["export_best", "search"]


@public("tuners")
def search(tuner: Any, *args: Any, **kwargs: Any) -> None:
    """Try every arm on one batch, search, say which trials have failed, and release the SavedModels at the end.

    `tuner.search(...)` of a `HubHyperModel` tries its arms as well, within the first trial.

    Args:
        tuner: A tuner of KerasTuner, with a `HubHyperModel` or a hypermodel or `build` function of your own.
        *args: Arguments of `tuner.search`; lists and NumPy arrays of texts are welcome.
        **kwargs: Likewise.

    Raises:
        PreflightError: An arm cannot be trained, or the objective will not be among what `fit` reports.
        errors.TrainingError: All trials have failed. Where some have, an `errors.HubWarning` names the first.
    """
    hypermodel = tuner.hypermodel
    args = (*map(as_arrays, args[:2]), *args[2:])
    taken = {"x": as_arrays, "y": as_arrays, "sample_weight": as_arrays, "validation_data": as_validation}
    kwargs = {name: taken[name](value) if name in taken else value for name, value in kwargs.items()}
    try:
        if not getattr(hypermodel, "checked", False) and _runs_trials(tuner) and not _is_chief():
            preflight(hypermodel, *args[:2], **{"objective": tuner.oracle.objective, **kwargs})
        tuner.search(*args, **kwargs)
        if not _is_worker():
            _check_trials(tuner)
    finally:
        SHARED.release()
        if hasattr(hypermodel, "release"):
            hypermodel.release()


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
        raise _no_trial(tuner)
    best = tuner.get_best_models(1)[0]
    return export.export(best if layer is None else best.get_layer(layer), directory, **kwargs)


def _check_trials(tuner: Any) -> None:
    """Say loudly that trials have failed, which KerasTuner leaves out of the ranking in silence."""
    trials = list(tuner.oracle.trials.values())
    failed = [trial for trial in trials if trial.status in ("FAILED", "INVALID")]
    if failed and not any(trial.status == "COMPLETED" for trial in trials):
        raise _no_trial(tuner)
    if failed:
        warn(
            f"{len(failed)} of {len(trials)} trials have failed, so the best one was chosen among the others. Trial "
            f"{failed[0].trial_id}, {failed[0].hyperparameters.values}: {brief(failed[0].message)}"
        )


def _no_trial(tuner: Any) -> TrainingError:
    trials = list(tuner.oracle.trials.values())
    reasons = dict.fromkeys(brief(trial.message) for trial in trials if trial.message)
    return TrainingError(
        "No trial of the search has ended well, so there is no best one.",
        expected="a tuner with at least one completed trial",
        received=f"{len(trials)} trials" + "".join(f"; {reason}" for reason in list(reasons)[:3]),
        where=str(tuner.project_dir),
        fix="tuners.search(tuner, x, y, epochs=5, validation_split=0.2)   # of a tuner with overwrite=True",
    )


def _runs_trials(tuner: Any) -> bool:
    """Whether a tuner's trials build the hypermodel and train it, as KerasTuner's own do."""
    own = type(tuner).run_trial.__module__.startswith("keras_tuner.")
    return own and isinstance(tuner, keras_tuner.Tuner) and hasattr(tuner.hypermodel, "build")


def _is_chief() -> bool:
    """Whether this process only hands out trials, in KerasTuner's distributed mode."""
    return "KERASTUNER_ORACLE_IP" in os.environ and "chief" in os.environ.get("KERASTUNER_TUNER_ID", "")


def _is_worker() -> bool:
    """Whether this process only runs trials, in KerasTuner's distributed mode."""
    return "KERASTUNER_ORACLE_IP" in os.environ and not _is_chief()
