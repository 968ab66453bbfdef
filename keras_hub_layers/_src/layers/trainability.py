"""What of a layer can be trained, and warnings where training would have no effect."""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras

from keras_hub_layers._src.compat import fit
from keras_hub_layers._src.executors import base
from keras_hub_layers._src.inspect import inspect, variable_groups
from keras_hub_layers._src.layers.arguments import Settings
from keras_hub_layers._src.savedmodel import contents, live_object
from keras_hub_layers._src.savedmodel.graphs import assignments
from keras_hub_layers._src.text.words import listed
from keras_hub_layers.errors import TrainingError

__all__ = ["apart", "blocked", "idle", "moving"]


def idle(choice: base.Choice, executor: base.Executor, weights: Sequence[Any]) -> str | None:
    """What to warn of if some of the weights that are trained are not used by what a layer calls; else `None`."""
    used = {id(variable) for trace in choice.function.traces for variable in trace.variables}
    for loss in live_object.losses(choice.target):
        used |= {id(variable) for one in getattr(loss, "concrete_functions", ()) for variable in one.variables}
    names = [executor.name_of(weight) for weight in weights if id(weight.value) not in used]
    if not names or not used:
        return None
    pattern = "^(?!(" + "|".join(map(re.escape, names)) + ")$)"
    return (
        f"{len(names)} of the {len(weights)} weights that are trained get no gradient from the loss, since what the "
        f"layer calls does not use them: {listed(names)}. To leave them out:\n"
        f"layer.unfreeze = {pattern!r}   # before compile"
    )


def apart(layer: keras.layers.Layer) -> str | None:
    """What to warn of if a trainable layer is called in the forward pass of a model that does not hold it; or `None`.

    Args:
        layer: The layer, which is being called in the trace of a model's training step.
    """
    model = fit.model_in_training()
    if model is None or not layer.trainable_weights or not fit.is_kerass_own_step():
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


def blocked(choice: base.Choice, executor: base.Executor) -> str | None:
    """What to warn of if no gradient passes the outputs of a layer that is trained; else `None`."""
    dtypes = contents.blocking(choice.function, choice.output_key)
    if not dtypes or not executor.candidates:
        return None
    return (
        f"The layer cannot be fine-tuned, since its output is {dtypes}: no gradient passes it, so its weights stay as "
        f"they are. To use it as it is:\n{choice.line(trainable=None, unfreeze=None)}"
    )


def suggested(choice: base.Choice, executor: base.Executor) -> str | None:
    """The pattern of `unfreeze` to begin with where nothing is published: the variable nearest to the output."""
    names = {id(weight.value): executor.name_of(weight) for weight in executor.candidates}
    ordered = variable_groups.in_order_of_use((weight.value for weight in executor.candidates), choice.function.traces)
    return re.escape(names[id(ordered[-1])]) if ordered else None


def moving(choice: base.Choice, executor: base.Executor) -> str | None:
    """What to warn of if published state of a frozen layer moves whenever the layer is called; else `None`."""
    modes = [trace.arguments.get("training") for trace in choice.function.traces]
    if not all(isinstance(mode, (bool, type(None))) for mode in modes):
        return None  # a tensor says at run time whether it moves
    published = {id(weight.value): executor.name_of(weight) for weight in executor.published}
    names = [published[id(variable)] for variable in assignments.written(choice.function) if id(variable) in published]
    if not names:
        return None
    return (
        f"The layer is frozen, but its SavedModel assigns to {listed(names)} whenever it is called, in inference mode "
        "too, so this state moves during fit."
    )


def not_tunable(obj: Any, settings: Settings, tf1: bool, line: Callable[..., str], where: str) -> TrainingError:
    """The error for fine-tuning through a signature: the line that tunes the model itself, if it can be tuned.

    Args:
        obj: The object whose signature it is.
        settings: What the user asked for.
        tf1: Whether it is a TF1 SavedModel.
        line: The line of code that makes the layer, with the given arguments changed.
        where: Layer and handle.
    """
    kind = "a TF1 SavedModel" if tf1 else f"the signature {settings.signature!r}"
    fix = f"{line(trainable=None, unfreeze=None)}   # frozen"
    if tf1:
        fix += "; of a TF1 model there may be a TF2 version that can be tuned"
    elif inspect.inspect(obj).fine_tunable:
        function = live_object.call_function(obj)
        outputs = function.traces[0].outputs if function and function.traces else None
        key = settings.output_key if isinstance(outputs, Mapping) and settings.output_key in outputs else None
        fix = line(signature=None, signature_outputs_as_dict=None, output_key=key, trainable=True)
    return TrainingError(
        f"The layer cannot be fine-tuned through {kind}.",
        expected="a Reusable SavedModel called by __call__",
        received=f"trainable=True with {kind}: it has no training mode and no regularization losses, "
        "so training it would compute something else than its publisher did",
        where=where,
        fix=fix,
    )
