"""DataLoss: the loss of the data, without regularization, in the logs of `fit`."""

import weakref
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import keras

from keras_hub_layers._src.compat import fit, models
from keras_hub_layers._src.layers import access
from keras_hub_layers._src.public import public
from keras_hub_layers.errors import warn

__all__ = ["DataLoss", "callbacks_with_data_loss", "totals_compared_by"]


@public("callbacks")
class DataLoss(keras.callbacks.Callback):
    """Adds `data_loss` and `val_data_loss` to the logs: the loss that `compile` names, without regularization.

    `loss` and `val_loss` are sums: the loss of the data, and all that is in `model.losses`. A `HubLayer` adds the
    regularization losses of its SavedModel while it is trained, and none while it is frozen. So these sums cannot be
    compared before and after unfreezing, nor between a frozen and a fine-tuned model. The loss of the data can.

    Put it before the callbacks that monitor these values, with `mode="min"`, which Keras cannot infer. Like `loss`, the
    values are means over the examples of an epoch. It computes nothing twice: it subtracts `model.losses` from what
    `model.compute_loss` returns. `finetuning.fine_tune` and `tuners.search` add it themselves. It does not work on JAX,
    where a warning says so.

    Example:

    ```python
    import keras
    from keras_hub_layers import callbacks, layers

    model = keras.Sequential([layers.HubLayer("path/to/saved_model"), keras.layers.Dense(10)])
    model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    model.fit(images, labels, validation_split=0.1, epochs=20, callbacks=[
        callbacks.DataLoss(),
        callbacks.Unfreeze({0: None, 3: "all"}),
        keras.callbacks.EarlyStopping("val_data_loss", mode="min", patience=2, restore_best_weights=True),
    ])
    ```
    """

    def __init__(self) -> None:
        super().__init__()
        self._forget()

    def __getstate__(self) -> dict[str, Any]:
        copied = DataLoss()
        return {**self.__dict__, **copied.__dict__}

    def measure(self, model: keras.Model) -> None:
        """Measure another model than the one that callbacks are told of: the part of it that is trained."""
        self._measured = model

    def on_train_begin(self, logs: Any = None) -> None:
        measured = self._measured
        self._forget()
        self._measured = measured
        early = [
            _monitor(other)
            for other in fit.callbacks_around(self)[0]
            if getattr(other, "monitor", None) in ("data_loss", "val_data_loss")
        ]
        if early:
            warn(
                f"DataLoss comes after {' and '.join(early)} in callbacks=[...], which look for its values before they "
                "are there. Put callbacks.DataLoss() first."
            )

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self._training = self._validation = None
        self._means.training.reset_state()

    def on_test_begin(self, logs: Any = None) -> None:
        self._training = self._means.training_loss()  # a `compute_loss` that is not told the mode mixes both from here
        self._means.testing.reset_state()

    def on_test_end(self, logs: Any = None) -> None:
        self._validation = self._means.testing_loss()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        training = self._means.training_loss() if self._training is None else self._training
        if training is None and not self._has_warned:
            self._has_warned = True
            warn(f"DataLoss has nothing to report: {_reason()}.")
        values = {"data_loss": training, "val_data_loss": self._validation}
        if logs is not None:
            logs.update({name: value for name, value in values.items() if value is not None})

    @property
    def _means(self) -> "_Means":
        return _means_of(self._measured or self.model)

    def _forget(self) -> None:
        """Be as before the first `fit`."""
        measured: Any = None
        value: float | None = None
        self._measured, self._training, self._validation, self._has_warned = measured, value, value, False


class _Means:
    """The means of a model's data loss over the examples seen in training and in evaluation."""

    def __init__(self) -> None:
        self.training = keras.metrics.Mean(name="data_loss")
        self.testing = keras.metrics.Mean(name="data_loss")

    def training_loss(self) -> float | None:
        """The mean over the examples seen since the last reset; `None` if there were none."""
        return _result(self.training)

    def testing_loss(self) -> float | None:
        return _result(self.testing)


_means: "weakref.WeakKeyDictionary[keras.Model, _Means]" = weakref.WeakKeyDictionary()


def _means_of(model: Any) -> _Means:
    """The means that the training and test steps of a model update; the first time, the steps are told to."""
    if model not in _means:
        with models.strategy_scope(model) as strategy:  # each replica has a part of the sums
            _means[model] = _Means()
        _extend_compute_loss(model, _means[model], getattr(strategy, "num_replicas_in_sync", 1))
        if model.train_function is not None:  # what they compute is traced into them
            model.train_function = None
            model.make_train_function()
        if model.test_function is not None:
            model.test_function = None
            model.make_test_function()
    return _means[model]


def _extend_compute_loss(model: Any, means: _Means, replicas: int) -> None:
    """Have a model update the means whenever it computes its loss."""
    compute_total = model.compute_loss

    def compute_loss(x: Any = None, y: Any = None, y_pred: Any = None, sample_weight: Any = None, **kwargs: Any) -> Any:
        total = compute_total(x, y, y_pred, sample_weight, **kwargs)
        # Each replica has its share of the total; `loss` in the logs is the mean of the share times their count.
        data_loss = keras.ops.multiply(keras.ops.cast(total, "float32"), replicas)
        for loss in model.losses:
            data_loss = keras.ops.subtract(data_loss, keras.ops.cast(keras.ops.sum(loss), "float32"))
        mean = means.training if kwargs.get("training", True) else means.testing
        mean.update_state(data_loss, sample_weight=_count_examples([x, y_pred]))
        return total

    model.compute_loss = compute_loss


def _count_examples(data: Any) -> Any:
    leaf: Any = next(leaf for leaf in keras.tree.flatten(data) if leaf is not None)
    shape: Any = None if hasattr(leaf, "nrows") else keras.ops.shape(leaf)
    return leaf.nrows() if shape is None else shape[0]


def _reason() -> str:
    if _is_supported():
        return "the model has a training step that does not call compute_loss()"
    return "on JAX, training steps update no variables but those of the model and its metrics"


def _is_supported() -> bool:
    return keras.backend.backend() != "jax"


def _result(mean: Any) -> float | None:
    count: Any = keras.ops.add(mean.count, 0.0)  # of several replicas: their sum
    return float(mean.result()) if float(count) > 0 else None


# -- who compares what cannot be compared ----------------------------------------------------------------------------


def totals_compared_by(callbacks: Iterable[Any]) -> list[str]:
    """What of some callbacks compares epochs by `loss` or `val_loss`, in words."""
    return list(_totals(callbacks))


def _totals(callbacks: Iterable[Any]) -> Iterator[str]:
    for callback in callbacks:
        objective: Any = getattr(callback, "objective", None)  # KerasTuner keeps the weights of the best epoch by it
        if getattr(callback, "monitor", None) in ("loss", "val_loss") and getattr(callback, "save_best_only", True):
            yield _monitor(callback)
        elif getattr(objective, "name", None) in ("loss", "val_loss"):
            yield f"the objective {objective.name!r} of the search"


def _monitor(callback: Any) -> str:
    return f"{type(callback).__name__}(monitor={callback.monitor!r})"


def callbacks_with_data_loss(model: keras.Model, callbacks: Sequence[Any]) -> list[Any]:
    """Callbacks with a `DataLoss` before them, where a SavedModel in the model publishes losses and none is there."""
    if not _is_supported() or any(isinstance(callback, DataLoss) for callback in callbacks):
        return list(callbacks)
    if not any(access.has_losses(layer) for layer in access.hub_layers(model)):
        return list(callbacks)
    return [DataLoss(), *callbacks]
