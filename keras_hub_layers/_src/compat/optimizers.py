"""Private names of Keras' optimizers, each with its versions, its reason and a test."""

from collections.abc import Callable, Iterator
from typing import Any

import keras
import numpy as np

# -- optimizers --------------------------------------------------------------------------------------------------------


def built_variables(optimizer: Any) -> list[Any]:
    """The variables of the model that an optimizer was built for.

    Keras 3.8 to 3.15: `_trainable_variables`. No public name says them, and slots are made and counted in their order.
    Of a `LossScaleOptimizer` those of the optimizer inside, since in Keras 3.8 it has none itself.
    """
    inner = getattr(optimizer, "inner_optimizer", None)
    return list(optimizer._trainable_variables) if inner is None else built_variables(inner)


def slots_of(optimizer: Any) -> Iterator[tuple[str, list[Any], list[Any]]]:
    """(name, slots, the variables that they belong to) of each list of slots of an optimizer.

    Keras 3.8 to 3.15: an optimizer keeps a list with one slot (or `None`) per variable in an attribute, in the order of
    `_trainable_variables`; `_variables` holds all that are its own.
    """
    trained = built_variables(optimizer)
    for name, value in vars(optimizer).items():
        is_list = isinstance(value, (list, tuple)) and name not in ("_variables", "_trainable_variables")
        if is_list and len(value) == len(trained):
            yield name, list(value), trained


def take_state(optimizer: Any, other: Any) -> None:
    """Give an optimizer the state of another of its class, which is not to be used any more.

    Keras 3.8 to 3.15: an optimizer cannot be built twice. Written through `__dict__`, so that those who hold the object
    (the model, its compile config, callbacks, the user) go on with it.
    """
    optimizer.__dict__.clear()
    optimizer.__dict__.update(other.__dict__)


def carry_over(optimizer: Any, copy: Any) -> None:
    """Give a built copy of an optimizer, made from its config, what is neither in the config nor in `variables`.

    Keras 3.8 to 3.15: `exclude_from_weight_decay` keeps what it is told in attributes that are no arguments, and the
    sum of gradients that `sum_no_gradients` leaves out is an attribute too. Of a `Nadam` inside a `LossScaleOptimizer`,
    which turns the tracking of attributes off while it builds, the variable `_u_product` is not among `variables`.
    """
    listed = {id(variable) for variable in optimizer.variables}
    for name, value in vars(optimizer).items():
        if name not in vars(copy):
            if not hasattr(value, "assign"):
                vars(copy)[name] = value
        elif isinstance(value, keras.Variable) and id(value) not in listed:
            vars(copy)[name].assign(value)


def scale_updates(optimizer: Any, factor_at: Callable[[int], float]) -> None:
    """Have a built optimizer multiply its learning rate, variable by variable, weight decay included.

    Keras 3.8 to 3.15: `update_step(gradient, variable, learning_rate)` is public and gets the learning rate; which
    variable it is says `_get_variable_index`. Weight decay is applied before it, by `_apply_weight_decay(variables)`,
    with the one learning rate and the attribute `weight_decay`; Muon (Keras 3.10) has `adam_weight_decay` besides.
    On PyTorch most optimizers call `_parallel_update_step(gradients, variables, learning_rate)` in its place.
    """
    step = optimizer.update_step

    def update_step(gradient: Any, variable: Any, learning_rate: Any) -> Any:
        return step(gradient, variable, learning_rate * factor_at(optimizer._get_variable_index(variable)))

    def apply_weight_decay(variables: Any) -> None:
        by_factor: dict[float, list[Any]] = {}
        for variable in variables:
            by_factor.setdefault(factor_at(optimizer._get_variable_index(variable)), []).append(variable)
        for factor, same in by_factor.items():
            # A view with a weight decay of its own: the replicas of a strategy trace this in threads that take turns,
            # so an attribute of the optimizer itself that changed for a while would be seen by the others.
            view = object.__new__(type(optimizer))
            view.__dict__.update(vars(optimizer))
            for name in ("weight_decay", "adam_weight_decay"):
                if getattr(optimizer, name, None) is not None:
                    view.__dict__[name] = getattr(optimizer, name) * factor
            type(optimizer)._apply_weight_decay(view, same)

    optimizer.update_step = update_step
    optimizer._apply_weight_decay = apply_weight_decay
    if hasattr(optimizer, "_parallel_update_step"):
        optimizer._parallel_update_step = _scaled_parallel_step(optimizer, factor_at)


def _scaled_parallel_step(optimizer: Any, factor_at: Callable[[int], float]) -> Callable[..., None]:
    """One parallel step for each factor. Each starts with the same `_u_product`, which a step of Nadam changes."""
    step = optimizer._parallel_update_step

    def parallel_step(gradients: list[Any], variables: list[Any], learning_rate: Any) -> None:
        by_factor: dict[float, list[int]] = {}
        for place, variable in enumerate(variables):
            by_factor.setdefault(factor_at(optimizer._get_variable_index(variable)), []).append(place)
        product = getattr(optimizer, "_u_product", None)
        before = None if product is None else np.array(keras.ops.convert_to_numpy(product.value))
        for factor, places in by_factor.items():
            if product is not None:
                product.assign(before)
            step([gradients[i] for i in places], [variables[i] for i in places], learning_rate * factor)

    return parallel_step


def sum_no_gradients(optimizer: Any) -> None:
    """Let an optimizer that trains on one device skip the sum of gradients over devices.

    Keras 3.8 to 3.15: `_all_reduce_sum_gradients` on the TensorFlow backend calls `ReplicaContext.all_reduce`, which
    (TensorFlow 2.18 to 2.21) registers a gradient function for ever; that holds the graph of the training step, so each
    model that was trained stays in memory: tens of MB per trial of a search.
    """
    parts: list[Any] = [optimizer, getattr(optimizer, "inner_optimizer", None)]
    for nested in parts:
        strategy = getattr(nested, "_distribution_strategy", None)
        if strategy is not None and strategy.num_replicas_in_sync == 1:
            nested._all_reduce_sum_gradients = list
