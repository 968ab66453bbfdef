"""search(tuner, x, y): a whole search, tried before it and looked through after it."""

import os
from contextlib import nullcontext
from typing import Any

import keras

from keras_hub_layers._src.finetuning.arguments.fit_data import as_arrays, as_validation
from keras_hub_layers._src.finetuning.data_loss import DataLoss
from keras_hub_layers._src.public import public
from keras_hub_layers._src.text.progress import silence
from keras_hub_layers._src.tuners.arms.coverage import try_each_first
from keras_hub_layers._src.tuners.arms.table import print_table
from keras_hub_layers._src.tuners.export_best import no_trial
from keras_hub_layers._src.tuners.model_pool import SHARED
from keras_hub_layers._src.tuners.preflight import brief, keras_tuner, preflight
from keras_hub_layers.errors import TrainingError, warn

__all__ = ["search"]


@public("tuners")
def search(tuner: Any, *args: Any, **kwargs: Any) -> None:
    """Try every arm on one batch, search, report failed trials, and release the SavedModels at the end.

    If the tuner begins at random (`RandomSearch`, `BayesianOptimization`, `Hyperband`), its first trials try each arm
    once, if there are enough trials. At the end, on a terminal or in a notebook, a table shows the best score of each
    arm; `verbose=0` leaves it out.

    `tuner.search(...)` of a `HubHyperModel` tries its arms as well, within the first trial. The logs of each trial have
    `data_loss` and `val_data_loss` besides (`callbacks.DataLoss`). With regularization losses in the SavedModels,
    `keras_tuner.Objective("val_data_loss", "min")` is the fair objective, since `val_loss` holds them in fine-tuned
    trials only; a warning says so.

    Args:
        tuner: A tuner of KerasTuner, with a `HubHyperModel` or a hypermodel or `build` function of your own.
        *args: Arguments of `tuner.search`: `x, y`, a tuple `(x, y)`, or a dataset; lists and NumPy arrays of texts, and
            data frames, work too.
        **kwargs: Likewise.

    Raises:
        PreflightError: An arm cannot be trained, or the objective will not be among what `fit` reports.
        errors.TrainingError: All trials have failed. Where some have, an `errors.HubWarning` names the first.
    """
    _check_tuner(tuner)
    hypermodel = tuner.hypermodel
    args, kwargs = _spread(args, kwargs)
    args = (*map(as_arrays, args[:2]), *args[2:])
    convert = {"x": as_arrays, "y": as_arrays, "sample_weight": as_arrays, "validation_data": as_validation}
    kwargs = {name: convert[name](value) if name in convert else value for name, value in kwargs.items()}
    try:
        with silence(kwargs.get("verbose") == 0):
            _search(tuner, hypermodel, args, kwargs)
        if not _is_worker():
            print_table(tuner, kwargs.get("verbose", "auto"))
            _check_trials(tuner)
    finally:
        SHARED.release()
        if hasattr(hypermodel, "release"):
            hypermodel.release()


def _search(tuner: Any, hypermodel: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    """Try every arm, and search."""
    if _runs_trials(tuner) and len(args) < 6:  # the sixth argument of fit would be the callbacks
        callbacks = keras.tree.flatten(kwargs.pop("callbacks", None) or [])
        if not any(isinstance(callback, DataLoss) for callback in callbacks):
            callbacks = [DataLoss(), *callbacks]
        kwargs["callbacks"] = callbacks
        if not getattr(hypermodel, "checked", False) and not _is_chief():
            with nullcontext() if tuner.distribution_strategy is None else tuner.distribution_strategy.scope():
                preflight(hypermodel, *args[:2], **{"objective": tuner.oracle.objective, **kwargs})
    with nullcontext() if _is_worker() else try_each_first(tuner):
        tuner.search(*args, **kwargs)


def _spread(args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """The arguments of `fit`, where data and targets were given as one tuple."""
    data = args[0] if args else kwargs.get("x")
    if not isinstance(data, tuple) or len(data) not in (2, 3) or len(args) > 1 or "y" in kwargs:
        return args, kwargs
    kwargs = {name: value for name, value in kwargs.items() if name != "x"}
    return (), {**dict(zip(("x", "y", "sample_weight"), data, strict=False)), **kwargs}


def _check_tuner(tuner: Any) -> None:
    if hasattr(tuner, "hypermodel") and hasattr(tuner, "oracle"):
        return
    is_hypermodel = isinstance(tuner, keras_tuner.HyperModel)
    made = "" if is_hypermodel else "hypermodel = tuners.HubHyperModel([handle], head, loss=loss)\n"
    raise TrainingError(
        "A search needs a tuner.",
        expected="a tuner of KerasTuner, such as keras_tuner.RandomSearch(hypermodel, ...)",
        received=f"an object of type {type(tuner).__name__}",
        where="tuners.search",
        fix=f'{made}tuner = keras_tuner.RandomSearch(hypermodel, "val_loss", max_trials=20)\n'
        "tuners.search(tuner, x, y, epochs=5, validation_split=0.2)",
    )


def _check_trials(tuner: Any) -> None:
    """Say loudly that trials have failed, which KerasTuner leaves out of the ranking in silence."""
    trials = list(tuner.oracle.trials.values())
    failed = [trial for trial in trials if trial.status in ("FAILED", "INVALID")]
    if failed and not any(trial.status == "COMPLETED" for trial in trials):
        raise no_trial(tuner)
    if failed:
        warn(
            f"{len(failed)} of {len(trials)} trials have failed, so the best one was chosen among the others. Trial "
            f"{failed[0].trial_id}, {failed[0].hyperparameters.values}: {brief(failed[0].message)}"
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
