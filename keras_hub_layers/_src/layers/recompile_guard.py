"""A guard that warns when what is trained was changed after `compile`, which Keras does not notice."""

import weakref
from typing import Any

import keras

from keras_hub_layers._src.compat import fit
from keras_hub_layers.errors import warn

__all__ = ["check_at_next_step", "record_step"]


State = tuple[bool, frozenset[str]]


# model -> (layer in it -> what of the layer was trained when the model's training step was traced)
_steps: "weakref.WeakKeyDictionary[keras.Model, weakref.WeakKeyDictionary[keras.layers.Layer, State]]" = (
    weakref.WeakKeyDictionary()
)


def record_step(model: keras.Model, layer: keras.layers.Layer) -> None:
    """Note what of a layer is trained, when it is called in the trace of a model's training step."""
    _steps.setdefault(model, weakref.WeakKeyDictionary())[layer] = _state(layer)


def check_at_next_step(layer: keras.layers.Layer) -> None:
    """Have the models that were trained with a layer look before their next step whether it is still as they know it.

    What is trained is fixed in the trace of the training step, so a change is without effect until `compile`. Whether
    `compile` follows is not known yet: it drops the step, and with it the look. A training step of one's own that
    changes what is trained, as those of two opponents do, means it.
    """
    if not _steps or fit.model_in_training() is not None:
        return
    model: Any
    for model, layers in list(_steps.items()):
        step = getattr(model, "train_function", None)
        if layer in layers and step is not None and not isinstance(step, _CheckedStep):
            model.train_function = _CheckedStep(model, step)


class _CheckedStep:
    """A training step that looks, once, whether what it trains is what is trainable now."""

    def __init__(self, model: keras.Model, step: Any) -> None:
        self._model = weakref.ref(model)
        self._step = step

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        model: Any = self._model()
        if model is not None and model.train_function is self:
            model.train_function = self._step
            _warn_of_changes(model)
        return self._step(*args, **kwargs)

    def __getattr__(self, name: str) -> Any:
        if name in ("_model", "_step"):  # of a copy in the making
            raise AttributeError(name)
        return getattr(self._step, name)


def _warn_of_changes(model: keras.Model) -> None:
    changes = [
        f"{layer.name!r} (then {_describe(then)}, now {_describe(now)})"
        for layer, then in _steps.get(model, {}).items()
        if then != (now := _state(layer))
    ]
    if changes:
        warn(
            f"What is trained of {', '.join(changes)} was changed after the model {model.name!r} had been compiled and "
            "trained, and Keras still uses the old training step. To use the change:\n"
            "model.compile(keras.optimizers.Adam(1e-5), loss, metrics=metrics)   # before fit"
        )


def _state(layer: keras.layers.Layer) -> State:
    return layer.trainable, frozenset(weight.path for weight in layer.trainable_weights)


def _describe(state: State) -> str:
    return f"trainable weights: {len(state[1])}" if state[1] else "frozen"
