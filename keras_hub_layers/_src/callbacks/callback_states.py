"""What callbacks know of a running `fit`, to be kept and given back: best values, patience, schedules."""

from collections.abc import Sequence
from typing import Any

import keras

__all__ = ["has_state", "restore", "states_of"]

# Public attributes that Keras' callbacks change from epoch to epoch.
_OF_KERAS = {
    keras.callbacks.EarlyStopping: ("wait", "stopped_epoch", "best", "best_weights", "best_epoch"),
    keras.callbacks.ReduceLROnPlateau: ("wait", "cooldown_counter", "best"),
    keras.callbacks.ModelCheckpoint: ("best",),
}


def has_state(callback: Any) -> bool:
    """Whether a callback knows something of a running `fit` that can be kept."""
    return hasattr(callback, "get_fit_state") or bool(_attributes(callback))


def states_of(callbacks: Sequence[Any]) -> list[dict[str, Any]]:
    """The class and the state of each callback that has one, in their order."""
    return [{"class": type(each).__name__, "state": _state_of(each)} for each in callbacks if has_state(each)]


def restore(callbacks: Sequence[Any], states: Sequence[dict[str, Any]]) -> None:
    """Give callbacks back the states that `states_of` returned for the same callbacks in another process."""
    for callback, saved in zip(filter(has_state, callbacks), states, strict=True):
        if hasattr(callback, "set_fit_state"):
            callback.set_fit_state(saved["state"])
        else:
            vars(callback).update(saved["state"])


def _state_of(callback: Any) -> dict[str, Any]:
    if hasattr(callback, "get_fit_state"):
        return callback.get_fit_state()
    return {name: getattr(callback, name) for name in _attributes(callback) if hasattr(callback, name)}


def _attributes(callback: Any) -> tuple[str, ...]:
    return next((names for kind, names in _OF_KERAS.items() if isinstance(callback, kind)), ())
