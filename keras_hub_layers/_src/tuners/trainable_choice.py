"""trainable_choice(hp): let a search choose whether a SavedModel is fine-tuned, how deep, and how fast."""

from collections.abc import Sequence
from typing import Any

from keras_hub_layers._src.public import public
from keras_hub_layers._src.tuners.training import Training

__all__ = ["trainable_choice"]


@public("tuners")
def trainable_choice(
    hp: Any,
    *,
    name: str = "trainable",
    values: Sequence[bool] = (False, True),
    depths: Sequence[Any] = ("all",),
    head_rates: tuple[float, float] = (1e-4, 1e-2),
    tuning_rates: tuple[float, float] = (1e-6, 1e-3),
) -> Training:
    """Let a search choose whether a SavedModel is fine-tuned, how deep, and the learning rates that fit.

    The hyperparameters are `trainable` and `learning_rate`, and where `trainable` is true `tuning_rate` and `unfreeze`;
    with another `name`, it stands before the others' too (`encoder_learning_rate`).
    A head with random weights needs a far higher learning rate than the SavedModel before it, so each has its own rate.
    A hyperparameter is active only where it has a meaning, so that a search does not count equal trials as different
    ones. The result comes from the active ones.

    Args:
        hp: The `keras_tuner.HyperParameters`.
        name: Name of the hyperparameter, a Boolean. Defaults to `"trainable"`.
        values: The values to search. Defaults to `(False, True)`.
        depths: What may be unfrozen: numbers of groups, names of groups, patterns, `"all"`. Defaults to `("all",)`.
        head_rates: Least and greatest learning rate of what is not in the SavedModel. Defaults to `(1e-4, 1e-2)`: a
            factor of ten around Adam's default in Keras, 1e-3.
        tuning_rates: Least and greatest learning rate of the SavedModel while it is tuned. Defaults to `(1e-6, 1e-3)`;
            Keras' guide to transfer learning uses 1e-5, BERT's authors 2e-5 to 5e-5.

    Returns:
        A `Training`.

    Reference:

    - [Transfer learning and fine-tuning](https://keras.io/guides/transfer_learning/).
    - [BERT, Devlin et al. 2018](https://arxiv.org/abs/1810.04805), appendix A.3.
    """
    flags = list(dict.fromkeys(bool(value) for value in values))
    trainable = bool(hp.Boolean(name, default=flags[0]) if len(flags) > 1 else hp.Fixed(name, flags[0]))
    tuning_rate: Any = None
    depth: Any = None
    prefix = "" if name == "trainable" else f"{name}_"
    rate = float(hp.Float(prefix + "learning_rate", *head_rates, sampling="log", default=_geometric_mean(*head_rates)))
    if True in flags:
        with hp.conditional_scope(name, [True]):
            middle = _geometric_mean(*tuning_rates)
            tuning_rate = hp.Float(prefix + "tuning_rate", *tuning_rates, sampling="log", default=middle)
            depth = hp.Choice(prefix + "unfreeze", [str(depth) for depth in depths])
    if not trainable:
        return Training(False, rate, None)
    return Training(True, rate, next(value for value in depths if str(value) == depth), float(tuning_rate))


def _geometric_mean(least: float, greatest: float) -> float:
    """The middle of a range on the logarithmic scale."""
    return (least * greatest) ** 0.5
