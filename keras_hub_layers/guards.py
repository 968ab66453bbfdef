"""Guards against silence: a change without effect, a fit that trained nothing, frozen state that moved."""

import hashlib
import re
import weakref
from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np

from keras_hub_layers import _compat, effects, executors, loaded, naming
from keras_hub_layers.errors import warn

__all__ = ["apart", "blocked", "changed", "check_trained", "fingerprint", "idle", "moving", "traced"]

State = tuple[bool, frozenset[str]]

# model -> (layer in it -> what of the layer was trained when the model's training step was traced)
_steps: "weakref.WeakKeyDictionary[keras.Model, weakref.WeakKeyDictionary[keras.layers.Layer, State]]" = (
    weakref.WeakKeyDictionary()
)


def traced(layer: keras.layers.Layer) -> bool:
    """Note what of a layer is trained, if this call of it is part of the trace of a model's training step.

    Returns:
        Whether it is.
    """
    model = _compat.model_in_training()
    if model is not None:
        _steps.setdefault(model, weakref.WeakKeyDictionary())[layer] = _state(layer)
    return model is not None


def changed(layer: keras.layers.Layer) -> None:
    """Have the models that were trained with a layer look before their next step whether it is still as they know it.

    What is trained is fixed in the trace of the training step, so a change is without effect until `compile`. Whether
    `compile` follows is not known yet: it drops the step, and with it the look. A training step of one's own that
    changes what is trained, as those of two opponents do, means it.
    """
    if _compat.model_in_training() is not None:
        return
    model: Any
    for model, known in list(_steps.items()):
        step = getattr(model, "train_function", None)
        if layer in known and step is not None and not isinstance(step, _Look):
            model.train_function = _Look(model, step)


def fingerprint(layer: keras.layers.Layer) -> dict[str, bytes]:
    """Path of each weight of a layer -> a hash of its value."""
    return {weight.path: _hash(weight) for weight in layer.weights}


def check_trained(layer: keras.layers.Layer, before: Mapping[str, bytes], where: str) -> None:
    """Warn if `fit` has trained nothing of a layer, or has moved what is frozen.

    Args:
        layer: The layer at the end of `fit`.
        before: Its fingerprint at the start.
        where: Who exports it, for the warning.
    """
    if not layer.trainable_weights:
        if layer.weights:
            warn(
                f"{where}: HubLayer {layer.name!r} is frozen, so this fit has trained nothing of it. To fine-tune it: "
                "layer.trainable = True before compile()."
            )
        moved = [weight.path for weight in layer.weights if before.get(weight.path, _hash(weight)) != _hash(weight)]
        if moved:
            warn(
                f"{where}: HubLayer {layer.name!r} is frozen, and fit has changed {_listed(moved)} all the same: the "
                "SavedModel or a callback assigns to it. The export holds the changed values."
            )
    elif before and all(before.get(weight.path) == _hash(weight) for weight in layer.trainable_weights):
        warn(
            f"{where}: nothing of HubLayer {layer.name!r} was fine-tuned: its {len(layer.trainable_weights)} trainable "
            "weights are bit by bit what they were before fit. Was it made trainable after compile, is it not part of "
            "what the loss is computed from, is the learning rate 0, or are gradients accumulated over more batches "
            "than there were? To begin anew:\n"
            "layer.trainable = True; model.compile(keras.optimizers.Adam(1e-5), loss, metrics=metrics)"
        )


def idle(choice: executors.Choice, executor: executors.Executor, weights: Sequence[Any]) -> str | None:
    """What to warn of if some of the weights that are trained are not used by what a layer calls; else `None`."""
    used = {id(variable) for trace in choice.function.traces for variable in trace.variables}
    for loss in loaded.losses(choice.target):
        used |= {id(variable) for one in getattr(loss, "concrete_functions", ()) for variable in one.variables}
    names = [executor.name_of(weight) for weight in weights if id(weight.value) not in used]
    if not names or not used:
        return None
    pattern = "^(?!(" + "|".join(map(re.escape, names)) + ")$)"
    return (
        f"{len(names)} of the {len(weights)} weights that are trained get no gradient from the loss, since what the "
        f"layer calls does not use them: {_listed(names)}. To leave them out:\n"
        f"layer.unfreeze = {pattern!r}   # before compile"
    )


def apart(layer: keras.layers.Layer) -> str | None:
    """What to warn of if a trainable layer is called in the forward pass of a model that does not hold it; or `None`.

    Args:
        layer: The layer, which is being called in the trace of a model's training step.
    """
    model = _compat.model_in_training()
    if model is None or not layer.trainable_weights or not _compat.is_kerass_own_step():
        return None
    held = {id(weight) for weight in model.weights}
    if any(id(weight) in held for weight in layer.trainable_weights):
        return None
    return (
        f"The layer is called by the model {model.name!r}, which does not hold it, so none of its weights is trained "
        "or saved with the model: a Lambda or a closure hides it. To have it trained, put the layer itself into the "
        "model:\n"
        "model = keras.Sequential([layer, head])   # or self.hub = layer in a layer or model of your own"
    )


def blocked(choice: executors.Choice, executor: executors.Executor) -> str | None:
    """What to warn of if no gradient passes the outputs of a layer that is trained; else `None`."""
    dtypes = loaded.blocking(choice.function, choice.output_key)
    if not dtypes or not executor.candidates:
        return None
    return (
        f"The layer cannot be fine-tuned, since its output is {dtypes}: no gradient passes it, so its weights stay as "
        f"they are. To use it as it is:\n{choice.line(trainable=None, unfreeze=None)}"
    )


def suggested(choice: executors.Choice, executor: executors.Executor) -> str | None:
    """The pattern of `unfreeze` to begin with where nothing is published: the variable nearest to the output."""
    names = {id(weight.value): executor.name_of(weight) for weight in executor.candidates}
    ordered = naming.in_order_of_use((weight.value for weight in executor.candidates), choice.function.traces)
    return re.escape(names[id(ordered[-1])]) if ordered else None


def moving(choice: executors.Choice, executor: executors.Executor) -> str | None:
    """What to warn of if published state of a frozen layer moves whenever the layer is called; else `None`."""
    modes = [trace.arguments.get("training") for trace in choice.function.traces]
    if not all(isinstance(mode, (bool, type(None))) for mode in modes):
        return None  # a tensor says at run time whether it moves
    published = {id(weight.value): executor.name_of(weight) for weight in executor.published}
    names = [published[id(variable)] for variable in effects.written(choice.function) if id(variable) in published]
    if not names:
        return None
    return (
        f"The layer is frozen, but its SavedModel assigns to {_listed(names)} whenever it is called, in inference mode "
        "too, so this state moves during fit."
    )


class _Look:
    """A training step that looks, once, whether what it trains is what is trainable now."""

    def __init__(self, model: keras.Model, step: Any) -> None:
        self._model = weakref.ref(model)
        self._step = step

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        model: Any = self._model()
        if model is not None and model.train_function is self:
            model.train_function = self._step
            _warn(model)
        return self._step(*args, **kwargs)

    def __getattr__(self, name: str) -> Any:
        if name in ("_model", "_step"):  # of a copy in the making
            raise AttributeError(name)
        return getattr(self._step, name)


def _warn(model: keras.Model) -> None:
    stale = [
        f"{layer.name!r} (then {_words(then)}, now {_words(now)})"
        for layer, then in _steps.get(model, {}).items()
        if then != (now := _state(layer))
    ]
    if stale:
        warn(
            f"What is trained of {', '.join(stale)} was changed after the model {model.name!r} had been compiled and "
            "trained, and Keras goes on with the training step that it has. To have the change take effect:\n"
            "model.compile(keras.optimizers.Adam(1e-5), loss, metrics=metrics)   # before fit"
        )


def _state(layer: keras.layers.Layer) -> State:
    return layer.trainable, frozenset(weight.path for weight in layer.trainable_weights)


def _words(state: State) -> str:
    return f"trainable weights: {len(state[1])}" if state[1] else "frozen"


def _hash(weight: Any) -> bytes:
    value = np.atleast_1d(np.ascontiguousarray(weight.numpy()))
    return hashlib.blake2b(value.view(np.uint8).data, digest_size=16).digest()


def _listed(names: list[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
