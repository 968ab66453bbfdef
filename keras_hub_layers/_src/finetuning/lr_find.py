"""lr_find(model, data): a learning rate to begin with, from the losses of a short trial."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np

from keras_hub_layers._src.compat import models
from keras_hub_layers._src.finetuning.arguments.fit_data import as_arrays, as_pair
from keras_hub_layers._src.finetuning.arguments.targets import check_model
from keras_hub_layers._src.finetuning.optimizer_slots import check_compiled, check_learning_rate
from keras_hub_layers._src.plots.learning_rates import LearningRates
from keras_hub_layers._src.public import public
from keras_hub_layers.errors import TrainingError, add_place, warn

__all__ = ["lr_find"]

_DIVERGED = 4.0  # times the best loss: from there on nothing is learnt about smaller rates
_SMOOTHING = 0.9
_LEAST_FALL = 0.05  # of the loss: less is noise


@public("finetuning")
def lr_find(
    model: keras.Model,
    data: Any,
    y: Any = None,
    *,
    start: float = 1e-7,
    end: float = 10.0,
    steps: int = 100,
    **kwargs: Any,
) -> LearningRates:
    """Try learning rates on a compiled model, from a small one to a large one, and suggest one to begin with.

    Each batch is trained with a higher rate than the one before, until the loss diverges or `end` is reached. Then
    everything is restored: weights, state of the optimizer, learning rate, random generators.

    Args:
        model: A compiled model; its optimizer has a float learning rate. What is trainable now is what is tried: call
            `finetuning.unfreeze` before, to find a rate for the time after unfreezing.
        data: What `fit` takes as `x` (a dataset, or inputs), or a tuple `(x, y)` or `(x, y, sample_weight)`; data
            frames, and lists and arrays of texts, work too. They are read again from the start if they end before
            `steps` batches.
        y: Targets, where the data are inputs alone. Defaults to `None`.
        start: The first learning rate. Defaults to 1e-7, as fastai's `lr_find`.
        end: The last one. Defaults to 10.
        steps: How many are tried, one for each batch; at least 10. Defaults to 100.
        **kwargs: Further arguments of `fit`, such as `batch_size` and `verbose`.

    Returns:
        `LearningRates`: `rates`, `losses`, `suggestion`; `print` shows a table, `plot()` the curve.

    Raises:
        errors.TrainingError: The model is not compiled, the rates do not rise, the learning rate of the optimizer
            cannot be set, or the loss is not finite from the start.

    Example:

    ```python
    from keras_hub_layers import finetuning

    found = finetuning.lr_find(model, (images, labels))
    print(found)
    finetuning.fine_tune(model, (images, labels), epochs=5, learning_rate=found.suggestion)
    ```

    Reference:

    - [Cyclical learning rates for training neural networks, Smith 2017](https://arxiv.org/abs/1506.01186)
    - [fastai: `Learner.lr_find`](https://docs.fast.ai/callback.schedule.html#learner.lr_find)
    """
    check_model(model, "finetuning.lr_find(model, data)")
    with add_place(f"lr_find, model {model.name!r}"):
        _check(model, start, end, steps)
        data = as_pair(data, y)
        x, *rest = map(as_arrays, data) if isinstance(data, tuple) else (data,)
        arguments = {**dict(zip(("y", "sample_weight"), rest, strict=False)), **kwargs}
        trial = _Trial(start, (end / start) ** (1 / (steps - 1)), steps)
        _fit_and_restore(model, x, arguments, trial)
        return trial.result()


class _Trial(keras.callbacks.Callback):
    """Raises the learning rate before each batch and keeps the smoothed loss after it."""

    def __init__(self, start: float, factor: float, steps: int) -> None:
        super().__init__()
        self.start, self.factor, self.steps = start, factor, steps
        self.rates: list[float] = []
        self.losses: list[float] = []
        self._mean = 0.0

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        self.rates.append(self.start * self.factor ** len(self.rates))
        model: Any = self.model
        model.optimizer.learning_rate = self.rates[-1]
        model.reset_metrics()  # or the logs have the mean of the epoch

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        loss = float((logs or {}).get("loss", math.nan))
        self._mean = _SMOOTHING * self._mean + (1 - _SMOOTHING) * loss
        smoothed = self._mean / (1 - _SMOOTHING ** len(self.rates))
        is_over = not math.isfinite(loss) or smoothed > _DIVERGED * min(self.losses, default=math.inf)
        if is_over:
            self.rates.pop()
        else:
            self.losses.append(smoothed)
        if is_over or len(self.rates) >= self.steps:
            model: Any = self.model
            model.stop_training = True

    def result(self) -> LearningRates:
        """What was measured, with the rate in the middle of the longest fall of the loss."""
        if len(self.losses) < 3:
            raise TrainingError(
                "The loss diverges at the first learning rates.",
                expected="a finite loss that does not grow at once",
                received=f"{len(self.losses)} batches with such a loss, from the rate {self.start:g} on",
                fix=f"finetuning.lr_find(model, data, start={self.start / 1000:g})   # and look for NaN in the data",
            )
        first, last = _longest_fall(self.losses)
        if self.losses[last] > (1 - _LEAST_FALL) * self.losses[first]:
            _warn_of_a_flat_curve(self.losses[first], self.losses[last], self.steps)
        return LearningRates(tuple(self.rates), tuple(self.losses), self.rates[(first + last) // 2])


def _longest_fall(losses: Sequence[float]) -> tuple[int, int]:
    """The first and the last place of the longest falling run of losses, in which others may stand between."""
    lengths, firsts = [1] * len(losses), list(range(len(losses)))
    for place, loss in enumerate(losses):
        for before in range(place):
            if losses[before] > loss and lengths[before] + 1 >= lengths[place]:  # of equal ones the latest
                lengths[place], firsts[place] = lengths[before] + 1, firsts[before]
    last = int(np.argmax(lengths))
    return firsts[last], last


def _warn_of_a_flat_curve(highest: float, lowest: float, steps: int) -> None:
    warn(
        f"lr_find: the loss hardly falls, from {highest:.4g} to {lowest:.4g}, so the suggestion says little. More and "
        f"larger batches show more: finetuning.lr_find(model, data, steps={2 * steps}, batch_size=128)"
    )


def _fit_and_restore(model: keras.Model, x: Any, arguments: Mapping[str, Any], trial: _Trial) -> None:
    optimizer: Any = model.optimizer
    history = getattr(model, "history", None)
    with models.strategy_scope(model):
        if not optimizer.built:
            optimizer.build(model.trainable_variables)
        variables = [*model.variables, *optimizer.variables]
        before = [np.array(keras.ops.convert_to_numpy(variable)) for variable in variables]
    try:
        model.fit(x, epochs=trial.steps, callbacks=[trial], **{"verbose": 0, **arguments})
    finally:
        with models.strategy_scope(model):
            for variable, value in zip(variables, before, strict=True):
                variable.assign(value)
        model.stop_training = False
        model.history = history


def _check(model: keras.Model, start: float, end: float, steps: int) -> None:
    check_compiled(model)
    if not model.built:
        raise TrainingError(
            "The model has no weights yet.",
            expected="a model that is built",
            received="a model that has not seen an input",
            fix="model(x[:1])   # builds it; or begin it with keras.Input(shape)",
        )
    if not 0 < start < end or steps < 10:
        raise TrainingError(
            "These are no rising learning rates.",
            expected="0 < start < end, and at least 10 steps",
            received=f"start={start!r}, end={end!r}, steps={steps!r}",
            fix="finetuning.lr_find(model, data, start=1e-7, end=10.0, steps=100)",
        )
    check_learning_rate(model)
