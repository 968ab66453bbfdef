"""Whether a layer can be trained: errors where not, and warnings where training would have no effect.

A warning is a text, or a function that makes it, given the function that writes the layer's line of code.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras

from keras_hub_layers._src.compat import fit
from keras_hub_layers._src.executors import base, call_errors
from keras_hub_layers._src.inspect import inspect, variable_groups
from keras_hub_layers._src.inspect.verdicts.call_target import BodyReader
from keras_hub_layers._src.inspect.verdicts.gradients import check_gradients
from keras_hub_layers._src.layers import unfreeze_patterns
from keras_hub_layers._src.layers.arguments import Settings
from keras_hub_layers._src.savedmodel import contents, live_functions, live_object
from keras_hub_layers._src.savedmodel.graphs import assignments
from keras_hub_layers._src.savedmodel.pruning import pruned_object
from keras_hub_layers._src.savedmodel.source import source_of
from keras_hub_layers._src.text.words import join_names
from keras_hub_layers.errors import Line, TrainingError

Warning = str | Callable[[Line], str]


_LOST_LOSSES = (
    "Keras layers in the SavedModel have losses that depend on their inputs (activity regularizers, add_loss), but "
    "what is called does not return them in each mode, so they are not counted. To count one of the outputs instead:\n"
    "x = keras.layers.ActivityRegularization(l2=0.01)(layer(x))"
)


# -- what can be trained -----------------------------------------------------------------------------------------------


def check_can_be_tuned(choice: base.Choice, settings: Settings, is_tf1: bool, patterns: Any) -> None:
    """Refuse to fine-tune through a signature, which has no training mode.

    Args:
        choice: What of the SavedModel is called.
        settings: What the user asked for.
        is_tf1: Whether it is a TF1 SavedModel.
        patterns: Those of `unfreeze`, a tuple; `None` for none.

    Raises:
        errors.TrainingError: A signature is called.
    """
    if not is_tf1 and settings.signature is None:
        return
    kind = "a TF1 SavedModel" if is_tf1 else f"the signature {settings.signature!r}"
    raise TrainingError(
        f"The layer cannot be fine-tuned through {kind}.",
        expected="a Reusable SavedModel called by __call__",
        received=f"trainable=True with {kind}: it has no training mode and no regularization losses, "
        "so training it would compute something else than its publisher did",
        fix=lambda line: _tunable_line(choice.target, settings, is_tf1, patterns, line),
    )


def _tunable_line(obj: Any, settings: Settings, is_tf1: bool, patterns: Any, line: Line) -> str:
    """The line that tunes the model itself instead of its signature, if it can be tuned."""
    frozen = f"{line(trainable=None, unfreeze=None)}   # frozen"
    if is_tf1:
        return frozen + "; of a TF1 model there may be a TF2 version that can be tuned"
    obj = pruned_object.whole_object(obj)
    interface = inspect.inspect(obj)
    if not interface.fine_tunable:
        return frozen
    unfreeze: dict[str, Any] = {}
    try:
        unfreeze_patterns.matcher(patterns or (), [v.name for v in interface.variables if v.trainable])
    except TrainingError:  # it selects nothing there either
        unfreeze = {"unfreeze": None}
    function = live_functions.call_function(obj)
    outputs = function.traces[0].outputs if function and function.traces else None
    key = settings.output_key if isinstance(outputs, Mapping) and settings.output_key in outputs else None
    return line(signature=None, signature_outputs_as_dict=None, output_key=key, trainable=True, **unfreeze)


def has_no_gradient(choice: base.Choice, executor: base.Executor) -> bool:
    """Whether no gradient passes the outputs of what is called, although it has variables to train."""
    return bool(executor.candidates and contents.blocking_dtypes(choice.function, choice.output_key))


def suggest_pattern(choice: base.Choice, executor: base.Executor) -> str | None:
    """The pattern of `unfreeze` to begin with where nothing is published: all that the function uses."""
    candidates = list(map(executor.variable_of, executor.candidates))
    used = variable_groups.in_order_of_use(candidates, choice.function.traces)
    if len(candidates) == 1 and used:
        return re.escape(executor.name_of(executor.candidates[0]))
    return "all" if used else None


# -- warnings before training ------------------------------------------------------------------------------------------


def warnings_of_weights(layer: Any, choice: base.Choice, executor: base.Executor, is_asked: bool) -> list[Warning]:
    """What to warn of while a layer is trainable, where less is trained than one may think.

    Args:
        layer: The layer.
        choice: What of the SavedModel is called.
        executor: What computes it.
        is_asked: Whether the user has asked for this very layer to be trained. Else it may be a preprocessor without
            variables whose model was made trainable.
    """
    warnings: list[Warning] = [_LOST_LOSSES] if executor.loses_losses else []
    if has_no_gradient(choice, executor):
        warnings.append(_no_gradient_warning(choice))
    elif not layer.trainable_weights and (is_asked or layer.weights):
        warnings.append(_nothing_trained_warning(choice, executor))
    return warnings


def _no_gradient_warning(choice: base.Choice) -> Warning:
    """To give where `has_no_gradient`."""
    dtypes = contents.blocking_dtypes(choice.function, choice.output_key)
    return lambda line: (
        f"The layer cannot be fine-tuned, since its output is {dtypes}: no gradient passes it, so its weights stay as "
        f"they are. To use it as it is:\n{line(trainable=None, unfreeze=None)}"
    )


def unpublished_warning(patterns: Sequence[str]) -> Warning:
    """To give where `unfreeze` selects variables that the SavedModel does not publish."""
    return (
        f"the SavedModel publishes no variables. unfreeze={list(patterns)!r} trains those that match, "
        "without the regularization losses and maybe without the training mode that its publisher used."
    )


def ignored_unfreeze_warning(patterns: Any) -> Warning:
    """To give where a model trains, and `unfreeze` was given to a layer that is not trainable."""
    wanted = list(patterns)
    return lambda line: (
        "The layer is frozen, so unfreeze, which says what is trained while it is trainable, has no effect. To train "
        f"what it selects:\nlayer = {line(trainable=True, unfreeze=wanted)}"
    )


def _nothing_trained_warning(choice: base.Choice, executor: base.Executor) -> Warning:
    """To give where a layer is trainable and none of its weights is."""
    text = "The layer is trainable but has no trainable weights: "
    if not executor.candidates:
        return text + "the SavedModel publishes none."
    if executor.has_lists:
        return text + "all that the SavedModel publishes are frozen one by one or by unfreeze."
    text += "the SavedModel publishes no variables. To train some of those that it uses:\n"
    return lambda line: text + line(trainable=True, unfreeze=suggest_pattern(choice, executor))


# -- warnings while a training step is traced --------------------------------------------------------------------------


_UNDISTRIBUTED = (
    "keras.distribution is set, and does nothing on the TensorFlow backend (it is for JAX): the model trains on one "
    "device. To train on several, make the model in the scope of a strategy of TensorFlow:\n"
    "with tf.distribute.MirroredStrategy().scope(): model = ..."
)


def warnings_of_step(layer: keras.layers.Layer, choice: base.Choice, executor: base.Executor) -> list[Warning]:
    """What to warn of when a layer is called in the trace of a model's training step.

    Raises:
        errors.TrainingError: The gradient of an op is lost, so that the step would end in an error of TensorFlow; or
            the model was compiled in the scope of a strategy and made outside of it.
    """
    warnings: list[Warning] = []
    model = fit.model_in_training()
    call_errors.check_strategy_of_compile(model)
    if keras.distribution.distribution() is not None:
        warnings.append(_UNDISTRIBUTED)
    if not layer.trainable:
        moving = _moving_state(choice, executor)
        return [*warnings, _moving_state_warning(moving)] if moving else warnings
    if not has_no_gradient(choice, executor):
        warnings += _gradient_warnings(layer, choice, executor)
    if model is not None and fit.is_kerass_own_step() and layer.trainable_weights and not _holds(model, layer):
        warnings.append(_outside_warning(model))
    return warnings


def _gradient_warnings(layer: Any, choice: base.Choice, executor: base.Executor) -> list[Warning]:
    """What to warn of if no gradient reaches some of the weights that are trained.

    Raises:
        errors.TrainingError: The gradient of an op is lost.
    """
    read_body = BodyReader(source_of(layer._loaded))
    weights = layer.trainable_weights
    losses, values = live_object.loss_traces(choice.target), list(map(executor.variable_of, weights))
    is_training = choice.arguments.get("training") is not False
    check = check_gradients(choice.function, losses, values, read_body, is_training)
    if check.lost:
        infers = is_training and choice.function.accepts_training
        other = check_gradients(choice.function, losses, values, read_body, False) if infers else check
        raise call_errors.lost_gradients_error(check.lost, choice.arguments, can_infer=not other.lost)
    unused = [executor.name_of(w) for w in weights if not check.uses(executor.variable_of(w))]
    pairs = [(executor.name_of(w), executor.variable_of(w)) for w in weights]
    blocked = [name for name, variable in pairs if check.uses(variable) and not check.reaches(variable)]
    warnings: list[Warning] = []
    if unused and any(trace.variables for trace in check.traces):
        reason = "from the loss, since what the layer calls does not use them"
        warnings.append(_without_gradient_warning(unused, len(weights), reason))
    if blocked:
        reason = "from the loss: they are used, but no gradient passes from the outputs to them"
        warnings.append(_without_gradient_warning(blocked, len(weights), reason))
    return warnings


def _without_gradient_warning(names: list[str], count: int, reason: str) -> Warning:
    pattern = "^(?!(" + "|".join(map(re.escape, names)) + ")$)"
    return (
        f"{len(names)} of the {count} weights that are trained get no gradient {reason}: {join_names(names)}. To leave "
        f"them out:\nlayer.unfreeze = {pattern!r}   # before compile"
    )


def _holds(model: Any, layer: keras.layers.Layer) -> bool:
    held = {id(weight) for weight in model.weights}
    return any(id(weight) in held for weight in layer.trainable_weights)


def _outside_warning(model: Any) -> Warning:
    return (
        f"The layer is called by the model {model.name!r}, which does not hold it, so none of its weights is trained "
        "or saved with the model: a Lambda or a closure hides it. To have it trained, put the layer itself into the "
        "model:\n"
        "model = keras.Sequential([layer, head])   # or self.hub = layer in a layer or model of your own"
    )


def _moving_state(choice: base.Choice, executor: base.Executor) -> list[str]:
    """Names of the state, published or not, that moves whenever a frozen layer is called."""
    modes = [trace.arguments.get("training") for trace in choice.function.traces]
    if not all(isinstance(mode, (bool, type(None))) for mode in modes):
        return []  # a tensor says at run time whether it moves
    names = {id(executor.variable_of(weight)): executor.name_of(weight) for weight in executor.weights}
    return [names.get(id(v), contents.name_of(v)) for v in assignments.assigned_variables(choice.function)]


def _moving_state_warning(names: list[str]) -> Warning:
    return (
        f"The layer is frozen, but its SavedModel assigns to {join_names(names)} whenever it is called, in inference "
        "mode too, so this state moves during fit."
    )
