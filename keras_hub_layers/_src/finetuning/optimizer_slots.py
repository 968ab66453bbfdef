"""rebuild: have a built optimizer go on with other variables, without losing its slots."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import keras
import numpy as np

from keras_hub_layers._src.compat import models, optimizers
from keras_hub_layers.errors import TrainingError

__all__ = ["check_compiled", "check_learning_rate", "learning_rate_of", "rebuild", "renew_steps"]


Key = tuple[Any, ...]


_OF_ONE_WINDOW = ("gradient_accumulator",)  # a sum that is used up, or out of date


def rebuild(
    optimizer: keras.optimizers.Optimizer, variables: Sequence[Any], dropped: dict[Key, np.ndarray] | None = None
) -> None:
    """Have an optimizer that was built on some variables train others, without forgetting what it knows.

    Keras' optimizers are built for a fixed list of variables. This one is rebuilt in place (the object stays the same):
    its slots for variables that it trained before (momenta, accumulators, averages), its iterations and its learning
    rate are kept; the slots of variables that are new start as the optimizer starts them; those of variables that are
    no longer trained leave the optimizer. It is nothing to an optimizer that is not built yet.

    Args:
        optimizer: Any optimizer of Keras that has a config, also one inside another (`LossScaleOptimizer`).
        variables: The variables to train from now on, a list of `keras.Variable`.
        dropped: Where the slots of variables that are no longer trained are put, and found again when they are trained
            again; a dict to hand over each time. Defaults to `None`: they are forgotten.

    Raises:
        errors.TrainingError: The optimizer cannot be made anew from its config.
    """
    if not optimizer.built:
        return
    before = optimizers.built_variables(optimizer)
    if [id(v) for v in before] == [id(v) for v in variables]:
        return
    twin, keys = _copy_built_on(optimizer, before)
    if len(keys) != len(optimizer.variables):
        raise _not_alike(optimizer, f"{len(optimizer.variables)} variables, and {len(keys)} when made anew")
    own = sum(key[0] == "own" for key in keys)
    known: dict[Key, Any] = {**(dropped or {}), **dict(zip(keys, optimizer.variables, strict=True))}
    del twin
    by_id = {id(variable.value): variable for variable in variables}
    rebuilt, keys = _copy_built_on(optimizer, variables)
    if sum(key[0] == "own" for key in keys) != own:
        raise _not_alike(optimizer, "variables of which nothing says to which of the model's they belong")
    if dropped is not None:
        gone = {key for key in known if key[0] == "slot" and key[3] not in _OF_ONE_WINDOW} - set(keys)
        dropped.update({key: np.array(keras.ops.convert_to_numpy(known[key])) for key in gone})
    for key, variable in zip(keys, rebuilt.variables, strict=True):
        old = known.get(key)
        if old is None and key[0] == "slot" and key[3] == "average":
            old = by_id[key[2]]  # an average that starts at zero would pull the weights there
        if old is not None and tuple(old.shape) == tuple(variable.shape):
            variable.assign(np.array(keras.ops.convert_to_numpy(old)))
    optimizers.take_state(optimizer, rebuilt)


def _copy_built_on(optimizer: Any, variables: Sequence[Any]) -> tuple[Any, list[Key]]:
    """A copy of an optimizer, built on variables, and for each of its own variables what it is for."""
    try:
        copy = type(optimizer).from_config(optimizer.get_config())
    except Exception as err:
        raise _not_alike(optimizer, f"{type(err).__name__}: {err}") from err
    purposes: dict[int, Key] = {}
    for number, nested in enumerate(nested_optimizers(copy)):
        _record_slots(nested, number, purposes)
    copy.build(list(variables))
    for number, (nested, original) in enumerate(
        zip(nested_optimizers(copy), nested_optimizers(optimizer), strict=True)
    ):
        inner = getattr(nested, "inner_optimizer", None)
        if inner is not None and not inner.built:  # the LossScaleOptimizer of Keras 3.8 builds it at the first step
            inner.build(list(variables))
        del nested.add_variable_from_reference
        _find_slots(nested, number, purposes)
        optimizers.carry_over(original, nested)
    seen: Counter[Key] = Counter()
    keys = []
    for variable in copy.variables:
        # What has no variable of the model behind it (iterations, the loss scale) is known by its place among its like.
        key = purposes.get(id(variable), ("own",))
        keys.append((*key, seen[key]))
        seen[key] += 1
    return copy, keys


def _record_slots(nested: Any, number: int, purposes: dict[int, Key]) -> None:
    """Have an optimizer write down which slot it makes for which variable of the model."""
    make: Callable[..., Any] = nested.add_variable_from_reference

    def record_slot(reference_variable: Any, name: Any = None, *args: Any, **kwargs: Any) -> Any:
        slot = make(reference_variable, name, *args, **kwargs)
        purposes[id(slot)] = ("slot", number, id(getattr(reference_variable, "value", reference_variable)), name)
        return slot

    nested.add_variable_from_reference = record_slot


def _find_slots(nested: Any, number: int, purposes: dict[int, Key]) -> None:
    """Look for slots that were made otherwise, such as Adafactor's, in lists with one for each variable."""
    for name, slots, trained in optimizers.slots_of(nested):
        for slot, variable in zip(slots, trained, strict=True):
            purposes.setdefault(id(slot), ("slot", number, id(variable.value), name))


def nested_optimizers(optimizer: Any) -> Iterator[Any]:
    """An optimizer and those inside it."""
    yield optimizer
    inner = getattr(optimizer, "inner_optimizer", None)
    for nested in [inner] if inner is not None else getattr(optimizer, "optimizers", None) or []:
        yield from nested_optimizers(nested)


def _not_alike(optimizer: Any, received: str) -> TrainingError:
    return TrainingError(
        "The optimizer cannot be copied, so it cannot continue with other variables.",
        expected="an optimizer that from_config(get_config()) copies",
        received=received,
        where=f"{type(optimizer).__name__} {optimizer.name!r}",
        fix="model.compile(keras.optimizers.Adam(1e-4), loss)   # an optimizer of Keras; or compile between fits",
    )


def renew_steps(model: keras.Model, dropped: dict[Any, Any] | None = None) -> None:
    """Have a compiled model train what is trainable now: a new train function, the optimizer with what it knows.

    Args:
        model: The model.
        dropped: As `rebuild` takes it.
    """
    with models.strategy_scope(model):  # slots live where the variables do
        rebuild(model.optimizer, model.trainable_variables, dropped)
    model.train_function = model.test_function = model.predict_function = None  # what is trained is traced into them
    model.make_train_function()


def check_compiled(model: keras.Model) -> None:
    """Refuse a model that has nothing to train with.

    Raises:
        errors.TrainingError: It is not compiled.
    """
    if not model.compiled or model.optimizer is None:
        raise TrainingError(
            "The model is not compiled.",
            expected="a model with an optimizer and a loss",
            received="a model without",
            fix="model.compile(keras.optimizers.Adam(1e-3), loss)",
        )


def check_learning_rate(model: Any) -> None:
    """Refuse an optimizer whose learning rate cannot be set, such as one with a schedule.

    Raises:
        errors.TrainingError: It cannot be set.
    """
    try:
        model.optimizer.learning_rate = learning_rate_of(model)
    except (AttributeError, TypeError) as err:
        raise TrainingError(
            "The learning rate of the optimizer cannot be set.",
            expected="an optimizer with a float learning rate",
            received=f"{type(model.optimizer).__name__}: {err}",
            fix="model.compile(keras.optimizers.Adam(1e-3), loss)",
        ) from err


def learning_rate_of(model: Any) -> float:
    """The learning rate of a compiled model now."""
    rate = model.optimizer.learning_rate
    try:
        return float(rate)
    except TypeError:  # the variable of a strategy
        return float(np.asarray(keras.ops.convert_to_numpy(rate)))
