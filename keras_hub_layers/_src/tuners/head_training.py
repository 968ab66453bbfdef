"""fit_head: train the layers behind the features of a trial's model alone, as `model.fit` would."""

from typing import Any

import keras

from keras_hub_layers._src.finetuning.data_loss import DataLoss

__all__ = ["copy_history", "fit_head", "model_of_head"]


class _PassOnStop(keras.callbacks.Callback):
    """Hands a wish to stop on, from the model that the callbacks see to the one that is trained."""

    def __init__(self, trained: keras.Model) -> None:
        super().__init__()
        self._trained = trained

    def on_train_begin(self, logs: Any = None) -> None:
        model: Any = self.model
        model.stop_training = False

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self.on_epoch_end(0)

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        model: Any = self.model
        if model.stop_training:
            self._trained.stop_training = True


def model_of_head(model: keras.Model, features: Any) -> keras.Model | None:
    """The part of a functional model behind some of its tensors, with the same layers; its inputs are a list.

    Args:
        model: The whole model.
        features: Symbolic tensors within it, a structure of them.

    Returns:
        The part; `None` if there is nothing behind: an output of the model is one of the tensors.
    """
    leaves = keras.tree.flatten(features)
    outputs = keras.tree.flatten(model.output)
    if any(output is leaf for output in outputs for leaf in leaves):
        return None
    return keras.Model(leaves, model.output)


def fit_head(model: keras.Model, head: Any, x: Any, callbacks: Any, **kwargs: Any) -> Any:
    """Train the compiled head of a model on features, as `model.fit` would, seen by callbacks as the model.

    Args:
        model: The whole model.
        head: The part of it behind the features, compiled with the same optimizer.
        x: The features.
        callbacks: Those of the trial.
        **kwargs: Further arguments of `fit`.

    Returns:
        The `History`.
    """
    verbose = kwargs.get("verbose", "auto")
    listed = keras.callbacks.CallbackList(
        [*callbacks, _PassOnStop(head)],
        add_history=True,
        add_progbar=verbose != 0,
        model=model,
        verbose=verbose,
        epochs=kwargs.get("epochs", 1),
        steps=None,
    )
    for callback in callbacks:
        if isinstance(callback, DataLoss):
            callback.measure(head)
    head.history = model.history
    return head.fit(x, callbacks=listed, **kwargs)


def copy_history(history: Any, callbacks: Any) -> keras.callbacks.History:
    """What a `fit` reports, without its model, which KerasTuner would keep while it makes that of the next execution.

    Args:
        history: The `History`.
        callbacks: Those of the trial: KerasTuner has one for all executions.
    """
    for callback in callbacks:
        if type(callback).__module__.startswith("keras_tuner."):
            callback.set_model(None)
    copy = keras.callbacks.History()
    copy.history, copy.epoch = history.history, history.epoch
    return copy
