"""What is around a callback in a running `fit`: private names of Keras and KerasTuner, read off the stack."""

import inspect
import json
from collections.abc import Iterator
from typing import Any

import keras

# Keras 3.8 to 3.15: where a callback keeps its model. `set_model` sets it; nothing public leaves it out of a deep copy
# (KerasTuner copies callbacks) or of a pickle, which would copy the model with all its weights.
CALLBACK_MODEL = "_model"


# -- what is around a callback -------------------------------------------------------------------------------------


def callbacks_around(callback: Any) -> tuple[list[Any], list[Any]]:
    """The callbacks that run before and after this one in the running loop; empty where it is in no list.

    Keras 3.8 to 3.15: a callback is told of its model and its parameters, not of its neighbours, and the order
    decides what it sees. `CallbackList.callbacks` is found on the stack.
    """
    for scope in _scopes():
        attached = getattr(scope.get("self"), "callbacks", None)
        listed: list[Any] = attached if isinstance(attached, list) else []
        for position, other in enumerate(listed):
            if other is callback:
                return listed[:position], listed[position + 1 :]
    return [], []


def backup_of(callback: Any) -> int | None:
    """The epoch that a `BackupAndRestore` was written in; `None` if there is none to resume from.

    Keras 3.8 to 3.15: it says so only when it has restored, which fails for an optimizer that does not fit yet. The
    name of its file, `_training_metadata_path`, is not public.
    """
    try:
        with open(callback._training_metadata_path, encoding="utf-8") as file:
            epoch = int(json.load(file)["epoch"])  # how many were complete
        return epoch - 1 if callback.save_freq == "epoch" else epoch
    except (OSError, ValueError, KeyError):
        return None


def start_at(model: Any, epoch: int | None) -> None:
    """Have the `fit` that begins start at an epoch, or at its `initial_epoch`; called from `on_train_begin`.

    Keras 3.8 to 3.15: `Trainer._initial_epoch` is what `BackupAndRestore` sets. No public name does, and it stays set,
    so that the next `fit` of the model would start there too.
    """
    model._initial_epoch = epoch


def validation_of_fit(model: Any) -> tuple[bool, Any] | None:
    """Whether the running `model.fit` validates, and its `validation_freq`; `None` in another kind of loop.

    Keras 3.8 to 3.15: neither is among `Callback.params`. They are arguments of `fit`, found on the stack.
    """
    for scope in _scopes():
        if scope.get("self") is model and "validation_data" in scope and "validation_freq" in scope:
            return scope["validation_data"] is not None, scope["validation_freq"]
    return None


def tuner_trial() -> tuple[str, int | None] | None:
    """Id of the KerasTuner trial that runs, and the number of its execution if a trial has several; else `None`.

    KerasTuner 1.4.7 to 1.4.8: `run_trial(trial)` copies the callbacks deeply and tells them nothing.
    """
    for scope in _scopes():
        trial, tuner = scope.get("trial"), scope.get("self")
        if trial is not None and any(base.__module__.startswith("keras_tuner") for base in type(tuner).__mro__):
            several = getattr(tuner, "executions_per_trial", 1) > 1
            if "execution" in scope or not several:
                return str(trial.trial_id), scope.get("execution") if several else None
    return None


def is_in_loop() -> bool:
    """Whether a model runs on data now, in `fit`, `evaluate` or `predict`, rather than being put together.

    Keras 3.8 to 3.15: these build a `Sequential` model without `Input` from the data, by the same symbolic call as
    that of a user who declares an `Input`. Nothing public tells them apart; the loop is found on the stack.
    """
    frame = inspect.currentframe()
    while frame is not None:
        if frame.f_code.co_name in ("fit", "evaluate", "predict") and isinstance(
            frame.f_locals.get("self"), keras.Model
        ):
            return True
        frame = frame.f_back
    return False


def model_in_training() -> Any | None:
    """The model whose training step is being traced now; `None` outside a trace and in a loop of one's own.

    Keras 3.8 to 3.15: what is trained is fixed by the trace, and neither the layers nor the model are told. Keras 3.15
    has a warning for a change after `compile`, behind a `raise`, so that it is never given.
    """
    frame = _training_step()
    return None if frame is None else frame.f_locals[frame.f_code.co_varnames[0]]


def is_kerass_own_step() -> bool:
    """Whether what runs now is the forward pass of a training step of Keras' own: it trains just the model's weights.

    Keras 3.8 to 3.15: a step of one's own may take gradients of any weights, and says nothing of it; and a loss may
    call a layer without any wish to train it.
    """
    step = _training_step()
    if step is None or step.f_code is not keras.Model.train_step.__code__:
        return False
    model = step.f_locals[step.f_code.co_varnames[0]]
    frame = inspect.currentframe()
    while frame is not None and frame is not step:
        if frame.f_code.co_name == "__call__" and frame.f_locals.get("self") is model:
            return True
        frame = frame.f_back
    return False


def is_in_plain_step() -> bool:
    """Whether a step of `fit`, `evaluate` or `predict` is being traced that XLA does not compile.

    Keras 3.8 to 3.15: what traces the model for another purpose, such as an export by a callback, runs in none.
    """
    return _is_step_with_xla() is False


def is_in_step_with_xla() -> bool:
    """Whether a step of `fit`, `evaluate` or `predict` is being traced that XLA compiles.

    Keras 3.8 to 3.15: a model with `jit_compile=True` keeps it in a new `compile`, whatever its layers support now:
    setting an attribute to the value that it has does nothing.
    """
    return _is_step_with_xla() is True


def _is_step_with_xla() -> bool | None:
    """Whether XLA compiles the step that is being traced; `None` outside of one."""
    step = _training_step("train_step", "test_step", "predict_step")
    return None if step is None else bool(getattr(step.f_locals[step.f_code.co_varnames[0]], "jit_compile", False))


def _training_step(*names: str) -> Any | None:
    """The frame of the innermost `train_step` of a model, if it is being traced; or of the innermost step so named."""
    import tensorflow as tf

    if not tf.inside_function():
        return None
    frame = inspect.currentframe()
    while frame is not None:
        code = frame.f_code
        if code.co_name in (names or ("train_step",)) and code.co_argcount:
            first = frame.f_locals.get(code.co_varnames[0])
            if isinstance(first, keras.Model):
                return frame
        frame = frame.f_back
    return None


def _scopes() -> Iterator[dict[str, Any]]:
    """The local variables of the functions that are running, the innermost first."""
    frame = inspect.currentframe()
    while frame is not None:
        yield frame.f_locals
        frame = frame.f_back


def metric_direction(model: Any, name: str) -> str | None:
    """`"up"` or `"down"` for a metric of a compiled model by the name in its logs; `None` if it does not say.

    Keras 3.8 to 3.15: `Metric._direction` is what `mode="auto"` of Keras' own callbacks reads.
    """
    metrics = [nested for metric in model.metrics for nested in (metric, *getattr(metric, "metrics", ()))]
    return next((getattr(metric, "_direction", None) for metric in metrics if metric.name == name), None)
