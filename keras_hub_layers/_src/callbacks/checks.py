"""What the export callbacks check: their settings, the model, the monitored value and the other callbacks."""

from collections.abc import Collection, Sequence
from typing import Any

import keras

from keras_hub_layers._src.callbacks import best_epoch
from keras_hub_layers._src.compat import fit
from keras_hub_layers._src.export.verification import NotFinite
from keras_hub_layers._src.text import words
from keras_hub_layers.errors import ExportError

__all__ = ["check_choice", "check_logs", "check_model", "check_monitor", "is_higher_better", "late_callbacks"]


def check_choice(name: str, value: Any, allowed: Sequence[str]) -> None:
    """Raise an `errors.ExportError` unless a setting has one of the allowed values."""
    if value not in allowed:
        raise ExportError(
            f"{name} has an unknown value.",
            expected=" or ".join(map(repr, allowed)),
            received=f"{name}={value!r}",
            fix=f"{name}={allowed[0]!r}",
        )


def check_model(model: Any) -> None:
    """Raise an `errors.ExportError` where a callback was not given a model yet."""
    if model is None:
        raise ExportError(
            "The callback has no model to export.",
            expected="export() after model.fit(callbacks=[callback]), or after callback.set_model(model)",
            received="no model",
            fix="callback.set_model(model); callback.export()",
        )


def check_monitor(callback: keras.callbacks.Callback, monitor: str) -> None:
    """Raise an `errors.ExportError` if a value of validation is monitored in a `fit` without validation."""
    validation = fit.validation_of_fit(callback.model)
    if not monitor.startswith("val_") or validation is None or validation[0]:
        return
    # A callback of the user may put such a value into the logs.
    if all(type(other).__module__.startswith("keras.src") for other in fit.callbacks_around(callback)[0]):
        raise ExportError(
            "The monitored value will never be there: fit() has no validation data.",
            expected="validation_data= or validation_split= in fit(), or a value of the training data",
            received=f"monitor={monitor!r}",
            fix=f"monitor={_training_value(callback.model, monitor.removeprefix('val_'))!r}",
        )


def _training_value(model: Any, wanted: str) -> str:
    """The value of the training data that is meant, by the names that `compile` was given; `"loss"` if unknown."""
    given = keras.tree.flatten((model.get_compile_config() or {}).get("metrics"))
    names = ["loss", "data_loss", *(metric for metric in given if isinstance(metric, str))]
    return words.nearest(wanted, names, 0.4) or "loss"


def check_logs(model: Any, monitor: str, logs: Any) -> None:
    """Raise an `errors.ExportError` for logs without the monitored value, unless this epoch had no validation."""
    validation = fit.validation_of_fit(model)
    if monitor.startswith("val_") and validation is not None and validation[1] != 1:
        return
    fix = f"monitor={words.nearest(monitor, sorted(logs)) or 'loss'!r}"
    if monitor.removeprefix("val_") == "data_loss":
        fix = "callbacks=[callbacks.DataLoss(), ...]   # before this one: it adds the value"
    raise ExportError(
        "The monitored value is not in the logs.",
        expected=f"one of {sorted(logs)}",
        received=f"monitor={monitor!r}",
        fix=fix,
    )


def is_higher_better(model: Any, monitor: str, mode: str) -> bool:
    """Whether more of a monitored value is better.

    Raises:
        errors.ExportError: `mode` is `"auto"`, and nothing is known of the value.
    """
    higher = best_epoch.is_higher_better(model, monitor) if mode == "auto" else mode == "max"
    if higher is None:
        raise ExportError(
            "It is not known whether a larger or a smaller monitored value is better.",
            expected='mode="min" or mode="max", because Keras knows no direction for this metric',
            received=f"monitor={monitor!r}, mode='auto'",
            fix=f'monitor={monitor!r}, mode="max"',
        )
    return higher


def late_callbacks(callback: keras.callbacks.Callback) -> list[str]:
    """Names of the callbacks that come after this one and change the weights at the end."""
    return [
        type(other).__name__
        for other in fit.callbacks_around(callback)[1]
        if getattr(other, "restore_best_weights", False) or isinstance(other, keras.callbacks.SwapEMAWeights)
    ]


def refuse_scores(monitor: str) -> NotFinite:
    """The error where every monitored value was NaN or infinite."""
    return NotFinite(
        f"No epoch had a finite {monitor!r}, so there is no best one to export; what was there before is untouched.",
        expected=f"a finite {monitor!r} in at least one epoch",
        received="NaN or infinite ones only",
        fix="model.compile(keras.optimizers.Adam(1e-4, clipnorm=1.0), loss)   # a lower learning rate, and fit again",
    )


def describe_change(where: str, monitor: str, epoch: int, changed: Collection[str]) -> str:
    """What is said where a loss is monitored and what is in it has changed."""
    return (
        f"{where}: before epoch {epoch + 1} it was changed what is trained, and with it the regularization losses in "
        f"{monitor!r}: those of {words.join_names(sorted(changed))}. Values from before and after cannot be compared, "
        "so the best epoch may be the wrong one. Monitor a metric, which is of the data alone:\n"
        'model.compile(optimizer, "mse", metrics=["mse"]), monitor="val_mse"'
    )
