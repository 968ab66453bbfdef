"""Each arm of a search is tried once before chance decides."""

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

from keras_hub_layers._src.tuners.preflight import keras_tuner

__all__ = ["arms_of", "holds", "try_each_first"]


Arm = dict[str, Any]


# Their first trials are random. A grid has an order of its own, and another oracle may mean its choice.
_RANDOM = tuple(
    getattr(keras_tuner.oracles, name)
    for name in ("RandomSearchOracle", "BayesianOptimizationOracle", "HyperbandOracle")
)


def arms_of(tuner: Any) -> list[Arm]:
    """The arms of a tuner's search: those of its hypermodel, or, of another, frozen and tuned.

    In a hypermodel of the user's own they are found by what `trainable_choice` registers: a Boolean, and a
    `tuning_rate` that is active where it is true.
    """
    if hasattr(tuner.hypermodel, "arms"):
        return list(tuner.hypermodel.arms())
    space = tuner.oracle.get_space().space
    names = {hp.name for hp in space}
    flags = [hp.name for hp in space if type(hp).__name__ == "Boolean"]
    rates = {name: "tuning_rate" if name == "trainable" else f"{name}_tuning_rate" for name in flags}
    return [{name: flag} for name in flags if rates[name] in names for flag in (False, True)]


def holds(values: Any, arm: Arm) -> bool:
    """Whether the values of a trial's hyperparameters are those of an arm."""
    return all(name in values and values[name] == value for name, value in arm.items())


@contextlib.contextmanager
def try_each_first(tuner: Any) -> Iterator[None]:
    """Have a tuner that begins at random begin with the arms that no trial of it has had, within this block."""
    oracle = tuner.oracle
    if not isinstance(oracle, _RANDOM):
        yield
        return
    arms = arms_of(tuner)
    populate = oracle.populate_space

    def populate_space(trial_id: str) -> Any:
        chosen = populate(trial_id)
        values = chosen.get("values")
        if not values or "tuner/trial_id" in values:  # Hyperband goes on with an earlier trial
            return chosen
        tried = [trial.hyperparameters.values for trial in oracle.trials.values()]
        arm = _next_arm(arms, tried)
        return chosen if arm is None else {**chosen, "values": _in_arm(oracle, values, arm)}

    oracle.populate_space = populate_space
    try:
        yield
    finally:
        del oracle.populate_space


def _next_arm(arms: Sequence[Arm], tried: Sequence[Arm]) -> Arm | None:
    """The arm that no trial has had and that has the most values that none has had: for a search of few trials."""
    waiting = [arm for arm in arms if not any(holds(values, arm) for values in tried)]
    seen = {(name, str(value)) for values in tried for name, value in values.items()}
    return max(waiting, key=lambda arm: sum((n, str(v)) not in seen for n, v in arm.items()), default=None)


def _in_arm(oracle: Any, values: Arm, arm: Arm) -> Arm:
    """Values of a trial with those of an arm, and with random ones for what is active only there."""
    space = keras_tuner.HyperParameters()
    for hp in oracle.get_space().space:  # a parent comes before those that hang on it
        space.merge([hp])
        if space.is_active(hp):
            space.values[hp.name] = arm.get(hp.name, values.get(hp.name, hp.random_sample(len(oracle.trials))))
    own = {name: value for name, value in values.items() if name.startswith("tuner/")}
    return {**space.values, **own}
