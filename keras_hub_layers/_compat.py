"""Every private name of Keras and TensorFlow that the package touches: the version, the reason, a test.

Each entry is here because there is no public way. `tests/test_compat.py` holds one test per entry that
fails when the entry has gone, or when it is no longer needed.
"""

import contextlib
import importlib.util
import inspect
import json
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import keras
from keras.src.backend.common import global_state
from keras.src.random import seed_generator
from keras.src.saving import serialization_lib


def in_safe_mode() -> bool:
    """Whether Keras is loading a file with `safe_mode=True`.

    Keras 3.8 to 3.15: `serialization_lib.in_safe_mode()` is None outside a load. The public
    `enable_unsafe_deserialization` can only set it. Without it a file could smuggle a program in.
    """
    return bool(serialization_lib.in_safe_mode())


def is_saving_a_file() -> bool:
    """Whether Keras is writing a `.keras` file (or pickling), rather than reading a config for a clone.

    Keras 3.8 to 3.15: `saving_lib` serializes within an `ObjectSharingScope`, which sets this global.
    The graph must be in the config of a file, since assets are restored after construction, and must not be
    in the config that `clone_model` and users read.
    """
    return global_state.get_global_attribute("shared_objects/id_to_config_map") is not None


def pass_on(error: type[Exception]) -> None:
    """Have Keras raise errors of a class as they are.

    Keras 3.8 to 3.15: what `call` raises is raised anew with the values of the arguments behind the message: pages of
    pixels, and the message is off the screen. `_keras_call_info_injected` says that this was done already.
    """
    error._keras_call_info_injected = True  # type: ignore[attr-defined]


def take_inputs_as_they_are(layer: keras.layers.Layer) -> None:
    """Let a layer see its inputs unconverted: Python values, strings and ragged tensors of any dtype.

    Keras 3.8 to 3.15: `Layer.__call__` casts inputs to the compute dtype and refuses Python values as
    positional arguments. `autocast=False` is public but does not stop the conversion.
    """
    layer._convert_input_args = False
    layer._allow_non_tensor_positional_args = True


class _Adopted(keras.Variable):
    def _initialize(self, value: Any) -> None:
        self._value = value


def adopt(variable: Any, trainable: bool, name: str) -> keras.Variable:
    """A Keras variable that is the given `tf.Variable`, not a copy of it.

    Keras 3.15: `keras.Variable(tf_variable)` shares it, as long as the dtype is the same. Keras 3.8 copies; there
    the one method that makes the copy is overridden.
    """
    options = {"dtype": variable.dtype.name, "trainable": trainable, "autocast": False, "name": name}
    weight = keras.Variable(variable, **options)
    return weight if weight.value is variable else _Adopted(variable, **options)


def forget_input_shape(layer: keras.layers.Layer) -> None:
    """Drop the `input_shape=` of a layer, so that `Sequential` asks for the layer's dtype when it is built.

    Keras 3.8 to 3.15: `Sequential.add` makes a float `Input` of it, whatever the layer takes; `dtype=` has no say.
    """
    layer.__dict__.pop("_input_shape_arg", None)


def track(layer: keras.layers.Layer, variable: keras.Variable) -> None:
    """Make a layer own a variable that it did not create.

    Keras 3.8 to 3.15: `add_weight` copies; an attribute puts a frozen variable among the model's trainable ones.
    """
    layer._track_variable(variable)


class OwnLosses(keras.layers.Layer):
    """A layer whose published losses are computed anew whenever `losses` is read.

    Keras 3.8 to 3.15: `Model.losses` asks each layer for `_get_own_losses()`. `add_loss` takes no callables and,
    in `call`, counts a shared layer twice; a `regularizer` on a variable merges losses and vanishes when that one
    variable is frozen.
    """

    def published_losses(self) -> list[Any]:
        """The scalar losses to count; an empty list while frozen."""
        raise NotImplementedError

    def _get_own_losses(self) -> list[Any]:
        return [*super()._get_own_losses(), *self.published_losses()]


@contextlib.contextmanager
def watched(variables: Iterable[Any], is_trained: Callable[[Any], bool]) -> Iterator[None]:
    """Have a gradient tape watch just those `tf.Variable`s that are trained, within this block.

    TensorFlow 2.18 to 2.21: the flag is fixed at creation, and a restored function records what the flag says,
    not what the SavedModel publishes: a published variable with a false flag would get no gradient, a frozen one
    with a true flag is recorded in vain.
    """
    changed = []
    with _flags:
        for variable in variables:
            wanted = is_trained(variable)
            for part in (variable, *getattr(variable, "values", ())):
                if hasattr(part, "_trainable") and (part.trainable != wanted or id(part) in _changed):
                    count, before = _changed.get(id(part), (0, part._trainable))
                    _changed[id(part)] = (count + 1, before)
                    part._trainable = wanted
                    changed.append(part)
    try:
        yield
    finally:
        with _flags:
            for part in changed:
                count, before = _changed.pop(id(part))
                if count > 1:  # another thread is still inside
                    _changed[id(part)] = (count - 1, before)
                else:
                    part._trainable = before


# id of a variable -> how many blocks are inside `watched`, and its own flag
_changed: dict[int, tuple[int, bool]] = {}
_flags = threading.Lock()


def restore_optimizers_without_keras_2() -> None:
    """Have TensorFlow load SavedModels that hold an optimizer of Keras 2, also where Keras 2 is not installed.

    TensorFlow 2.18 to 2.21: the slots of such an optimizer are made by a class that only `tf_keras` registers; without
    it, loading ends with "'_UserObject' object has no attribute 'add_slot'", and most models that Keras 2 saved after
    `compile` have slots. TensorFlow's own copy of the class is registered under another name.
    """
    from tensorflow.python.keras.optimizer_v2 import optimizer_v2
    from tensorflow.python.saved_model import revived_types

    if "optimizer" in revived_types.registered_identifiers() or _is_installed("tf_keras"):
        return  # TensorFlow imports `tf_keras` by itself
    restored = optimizer_v2.RestoredOptimizer
    revived_types.register_revived_type(
        "optimizer",
        lambda obj: isinstance(obj, restored),
        versions=[
            revived_types.VersionedTypeRegistration(
                object_factory=lambda proto: restored(),
                version=2,
                min_producer_version=1,
                min_consumer_version=1,
                setter=restored._set_hyper,
            )
        ],
    )


def _is_installed(package: str) -> bool:
    try:
        return importlib.util.find_spec(package) is not None
    except ValueError:  # something that is no module stands in its place
        return False


# -- exporting -------------------------------------------------------------------------------------------------------


def flatten_layers(layer: keras.layers.Layer) -> list[keras.layers.Layer]:
    """A layer and every layer inside it, at any depth, each once.

    Keras 3.8 to 3.15: `_flatten_layers`. `Model.layers` is public, and neither goes deeper nor exists on layers.
    """
    return list(layer._flatten_layers())


def added_losses(layer: keras.layers.Layer) -> list[Any]:
    """The losses that depend on inputs: those of `add_loss` and of activity regularizers in the last call.

    Keras 3.8 to 3.15: `Layer.losses` mixes them with the regularizers of the weights.
    """
    return [loss for part in flatten_layers(layer) for loss in keras.layers.Layer._get_own_losses(part)]


def clear_losses(layer: keras.layers.Layer) -> None:
    """Forget the losses that a trace left in a layer: tensors of a graph that has ended.

    Keras 3.8 to 3.15: only `Layer.__call__` in eager mode and the trainer clear them, by this name.
    """
    layer._clear_losses()


def make_global_seed_generator() -> None:
    """Create the variable behind `keras.random` without `seed=`, which cannot be created inside a trace.

    Keras 3.8 to 3.15: it is made by the first draw. Drawing a number would make it too, and would change the
    numbers that training draws next.
    """
    seed_generator.global_seed_generator()


def graph_of(model: Any) -> Any:
    """The functional graph of a model, itself a model: of a `Sequential` the one inside it; `None` if there is none.

    Keras 3.8 to 3.15: `Sequential._functional` and `Functional._nodes_by_depth`. No public name tells the layers'
    applications in this model from those in others: `Layer.output` is the first one anywhere.
    """
    functional = getattr(model, "_functional", None) if isinstance(model, keras.Sequential) else model
    return functional if hasattr(functional, "_nodes_by_depth") else None


def graph_nodes(model: Any) -> list[Any]:
    """The applications of layers and operations in a functional graph (`graph_of`), from the inputs to the outputs.

    Keras 3.8 to 3.15: each has `operation`, `arguments` (`args`, `kwargs`), `output_tensors` and `is_input`.
    """
    return [node for depth in sorted(model._nodes_by_depth, reverse=True) for node in model._nodes_by_depth[depth]]


@contextlib.contextmanager
def without_optimizers(model: keras.Model) -> Iterator[None]:
    """Have a model and the models inside it look uncompiled, within this block. Not for several threads at once.

    Keras 3.8 to 3.15: `.keras` and `.weights.h5` files ignore `include_optimizer=False`. Written through `__dict__`,
    since attributes are tracked. `clone_model` is no way out: the clone is compiled too.
    """
    parts = [part for part in flatten_layers(model) if isinstance(part, keras.Model)]
    hidden = [
        (part.__dict__, {name: part.__dict__[name] for name in ("optimizer", "compiled") if name in part.__dict__})
        for part in parts
    ]
    try:
        for scope, before in hidden:
            scope.pop("optimizer", None)
            if "compiled" in before:
                scope["compiled"] = False
        yield
    finally:
        for scope, before in hidden:
            scope.update(before)


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
        found = getattr(scope.get("self"), "callbacks", None)
        listed: list[Any] = found if isinstance(found, list) else []
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


def _training_step() -> Any | None:
    """The frame of the innermost `train_step` of a model, if it is being traced."""
    import tensorflow as tf

    if not tf.inside_function():
        return None
    frame = inspect.currentframe()
    while frame is not None:
        code = frame.f_code
        if code.co_name == "train_step" and code.co_argcount:
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
    metrics = [part for metric in model.metrics for part in (metric, *getattr(metric, "metrics", ()))]
    return next((getattr(metric, "_direction", None) for metric in metrics if metric.name == name), None)


# -- optimizers --------------------------------------------------------------------------------------------------------


def trained_by(optimizer: Any) -> list[Any]:
    """The variables of the model that an optimizer was built for.

    Keras 3.8 to 3.15: `_trainable_variables`. No public name says them, and slots are made and counted in their order.
    Of a `LossScaleOptimizer` those of the optimizer inside, since in Keras 3.8 it has none itself.
    """
    inner = getattr(optimizer, "inner_optimizer", None)
    return list(optimizer._trainable_variables) if inner is None else trained_by(inner)


def slots_of(optimizer: Any) -> Iterator[tuple[str, list[Any], list[Any]]]:
    """(name, slots, the variables that they belong to) of each list of slots of an optimizer.

    Keras 3.8 to 3.15: an optimizer keeps a list with one slot (or `None`) per variable in an attribute, in the order of
    `_trainable_variables`; `_variables` holds all that are its own.
    """
    trained = trained_by(optimizer)
    for name, value in vars(optimizer).items():
        is_list = isinstance(value, (list, tuple)) and name not in ("_variables", "_trainable_variables")
        if is_list and len(value) == len(trained):
            yield name, list(value), trained


def become(optimizer: Any, other: Any) -> None:
    """Give an optimizer the state of another of its class, which is not to be used any more.

    Keras 3.8 to 3.15: an optimizer cannot be built twice. Written through `__dict__`, so that those who hold the object
    (the model, its compile config, callbacks, the user) go on with it.
    """
    optimizer.__dict__.clear()
    optimizer.__dict__.update(other.__dict__)


def carry_over(optimizer: Any, copy: Any) -> None:
    """Give a copy of an optimizer, made from its config, what is not in the config.

    Keras 3.8 to 3.15: `exclude_from_weight_decay` keeps what it is told in attributes that are no arguments, and the
    sum of gradients that `sum_no_gradients` leaves out is an attribute too.
    """
    for name, value in vars(optimizer).items():
        if name not in vars(copy) and not hasattr(value, "assign"):
            vars(copy)[name] = value


def scale_updates(optimizer: Any, factor_at: Callable[[int], float]) -> None:
    """Have a built optimizer multiply its learning rate, variable by variable, weight decay included.

    Keras 3.8 to 3.15: `update_step(gradient, variable, learning_rate)` is public and gets the learning rate; which
    variable it is says `_get_variable_index`. Weight decay is applied before it, by `_apply_weight_decay(variables)`,
    with the one learning rate and the attribute `weight_decay`; Muon (Keras 3.10) has `adam_weight_decay` besides.
    """
    step, decay = optimizer.update_step, optimizer._apply_weight_decay

    def update_step(gradient: Any, variable: Any, learning_rate: Any) -> Any:
        return step(gradient, variable, learning_rate * factor_at(optimizer._get_variable_index(variable)))

    def apply_weight_decay(variables: Any) -> None:
        names = ("weight_decay", "adam_weight_decay")
        full = {name: value for name in names if (value := getattr(optimizer, name, None)) is not None}
        if not full:
            return
        parts: dict[float, list[Any]] = {}
        for variable in variables:
            parts.setdefault(factor_at(optimizer._get_variable_index(variable)), []).append(variable)
        try:
            for factor, part in parts.items():
                for name, value in full.items():
                    setattr(optimizer, name, value * factor)
                decay(part)
        finally:
            for name, value in full.items():
                setattr(optimizer, name, value)

    optimizer.update_step = update_step
    optimizer._apply_weight_decay = apply_weight_decay


def sum_no_gradients(optimizer: Any) -> None:
    """Let an optimizer that trains on one device skip the sum of gradients over devices.

    Keras 3.8 to 3.15: `_all_reduce_sum_gradients` on the TensorFlow backend calls `ReplicaContext.all_reduce`, which
    (TensorFlow 2.18 to 2.21) registers a gradient function for ever; that holds the graph of the training step, so each
    model that was trained stays in memory: tens of MB per trial of a search.
    """
    parts: list[Any] = [optimizer, getattr(optimizer, "inner_optimizer", None)]
    for part in parts:
        strategy = getattr(part, "_distribution_strategy", None)
        if strategy is not None and strategy.num_replicas_in_sync == 1:
            part._all_reduce_sum_gradients = list
