"""HubHyperModel: a SavedModel, frozen or fine-tuned, and a head, for KerasTuner."""

import itertools
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import keras
import numpy as np

from keras_hub_layers._src.compat import models, optimizers
from keras_hub_layers._src.cut import cut
from keras_hub_layers._src.finetuning.data_loss import DataLoss
from keras_hub_layers._src.finetuning.unfreeze_callback import Unfreeze
from keras_hub_layers._src.layers import access
from keras_hub_layers._src.public import public
from keras_hub_layers._src.tuners.candidate import as_candidates
from keras_hub_layers._src.tuners.feature_cache import FeatureCache
from keras_hub_layers._src.tuners.head_training import copy_history, fit_head, model_of_head
from keras_hub_layers._src.tuners.hub_choice import hub_choice
from keras_hub_layers._src.tuners.model_pool import ModelPool
from keras_hub_layers._src.tuners.preflight import checkpoints_of, keras_tuner, objective_of, preflight
from keras_hub_layers._src.tuners.trainable_choice import trainable_choice
from keras_hub_layers._src.tuners.trial_model import TrialModel, free_memory
from keras_hub_layers.errors import TrainingError, warn

__all__ = ["HubHyperModel"]


@public("tuners")
class HubHyperModel(keras_tuner.HyperModel):
    """A model for KerasTuner: a SavedModel, frozen or fine-tuned, and a head of yours.

    The search chooses the candidate, whether it is frozen or tuned, how many groups are tuned, and the learning rates.
    Each SavedModel is loaded once per process, and gets its original weights at the start of each trial. Trials that
    leave it frozen train the head on features that are computed once (`finetuning.features`). Checkpoints hold only
    what was trained. Before the first trial every arm is tried on one batch: see `search`. The logs of each trial have
    `data_loss` and `val_data_loss` (`callbacks.DataLoss`), which compare frozen and fine-tuned models fairly:
    `keras_tuner.Objective("val_data_loss", "min")`.

    Args:
        candidates: Handles or `Candidate`s.
        head: Function `(hp, features)` from symbolic features to the model's outputs; hyperparameters of its own come
            from `hp`.
        loss: As `compile` takes it.
        metrics: Function without arguments that returns a list or dict as `compile` takes it, or such a list or dict
            of names. Defaults to `None`.
        optimizer: Function from a learning rate to an optimizer, or the name of one. Defaults to
            `keras.optimizers.Adam`.
        trainable: The values of `trainable` to search, or the only one. Defaults to `(False, True)`.
        depths: What may be unfrozen, as `trainable_choice` takes it. Defaults to `("all",)`.
        cached: Whether trials with a frozen SavedModel use cached features, or a directory to keep them in, which
            several processes may share. Defaults to `True`: in memory.
        **choices: Further arguments of `trainable_choice`.

    Raises:
        errors.TrainingError: An argument is of another kind, or there are no candidates.

    Example:

    ```python
    import keras
    import keras_tuner
    from keras_hub_layers import tuners

    hypermodel = tuners.HubHyperModel(
        ["path/to/one", "path/to/another"],
        head=lambda hp, x: keras.layers.Dense(10)(x),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
        depths=(1, 3, "all"),
    )
    tuner = keras_tuner.RandomSearch(hypermodel, "val_accuracy", max_trials=20)
    tuners.search(tuner, images, labels, epochs=5, validation_split=0.2)
    tuners.export_best(tuner, "path/to/best")
    ```
    """

    def __init__(
        self,
        candidates: Sequence[Any],
        head: Callable[[Any, Any], Any],
        *,
        loss: Any,
        metrics: Any = None,
        optimizer: Callable[[float], Any] | str = keras.optimizers.Adam,
        trainable: Sequence[bool] | bool = (False, True),
        depths: Any = ("all",),
        cached: bool | str | os.PathLike[str] = True,
        **choices: Any,
    ) -> None:
        super().__init__()
        self.candidates = as_candidates(candidates)
        self.pool = ModelPool()
        self.checked = False
        self._head, self._loss, self._metrics, self._optimizer = head, loss, metrics, _optimizer_maker(optimizer)
        self._choices = {**choices, "values": _flags(trainable), "depths": _as_tuple(depths)}
        self._is_cached = bool(cached)
        self._features = FeatureCache(None if isinstance(cached, bool) else cached)
        self._policy = keras.config.dtype_policy()

    def build(self, hp: Any) -> keras.Model:
        free_memory()
        keras.config.set_dtype_policy(self._policy)  # KerasTuner clears the session before each trial, and it with it
        candidate = hub_choice(hp, self.candidates)
        training = trainable_choice(hp, **self._choices)
        hub = candidate.layer(training, self.pool, name="hub")
        inputs = candidate.inputs(hub)
        model = TrialModel(inputs, self._outputs(hp, hub(candidate.preprocess(inputs))))
        model.set_pool(self.pool)
        self._compile(model, training.optimizer(hub, self._optimizer))
        # Slots that are made while the step is traced leave a graph each behind (TensorFlow 2.21, Keras 3.15).
        model.optimizer.build(model.trainable_variables)
        return model

    def _outputs(self, hp: Any, features: Any) -> Any:
        """What the user's head makes of the features."""
        outputs: Any = self._head(hp, features)
        leaves = keras.tree.flatten(outputs)
        if not leaves or not all(isinstance(leaf, keras.KerasTensor) for leaf in leaves):
            raise _wrong(
                "head", "a function (hp, features) that returns the model's outputs", f"one that returns {outputs!r}"
            )
        return outputs

    def fit(self, hp: Any, model: Any, *args: Any, **kwargs: Any) -> Any:
        """Train the model of one trial, as `model.fit` does; KerasTuner calls it.

        Args:
            hp: The hyperparameters of the trial.
            model: What `build` has made of them.
            *args: Arguments of `model.fit`.
            **kwargs: Likewise.
        """
        kwargs.update(zip(("x", "y", "batch_size", "epochs", "verbose", "callbacks"), args, strict=False))
        callbacks = keras.tree.flatten(kwargs.pop("callbacks", None) or [])
        if not self.checked:
            x, y = kwargs.get("x"), kwargs.get("y")
            rest = {name: value for name, value in kwargs.items() if name not in ("x", "y")}
            with models.strategy_scope(model):
                preflight(self, x, y, **{"objective": objective_of(callbacks), "callbacks": callbacks, **rest})
        if isinstance(model, TrialModel):
            model.set_checkpoints(checkpoints_of(callbacks))
        if not any(isinstance(callback, DataLoss) for callback in callbacks):
            callbacks = [DataLoss(), *callbacks]
        head, arguments = self._head_with_features(hp, model, callbacks, kwargs)
        if head is None:
            return copy_history(model.fit(**kwargs, callbacks=callbacks), callbacks)
        return copy_history(fit_head(model, head, callbacks=callbacks, **arguments), callbacks)

    def arms(self) -> Iterator[dict[str, Any]]:
        """The values of the hyperparameters that make a model another one: SavedModel, trainable and depth."""
        for candidate, flag in itertools.product(self.candidates, dict.fromkeys(map(bool, self._choices["values"]))):
            for depth in self._choices["depths"] if flag else (None,):
                name = self._choices.get("name", "trainable")
                arm = {"hub": candidate.name, name: flag}
                depth_name = "unfreeze" if name == "trainable" else f"{name}_unfreeze"
                yield {**arm, depth_name: str(depth)} if flag else arm

    def release(self) -> None:
        """Forget the SavedModels and the features; models that are in use keep theirs."""
        self.pool.release()
        self._features.clear()

    def _compile(self, model: keras.Model, optimizer: Any) -> None:
        metrics = self._metrics() if callable(self._metrics) else self._metrics or []
        model.compile(optimizer=optimizer, loss=self._loss, metrics=metrics)
        optimizers.sum_no_gradients(model.optimizer)

    def _head_with_features(
        self, hp: Any, model: Any, callbacks: Sequence[Any], kwargs: Mapping[str, Any]
    ) -> tuple[Any, dict[str, Any]]:
        """The compiled head of a model, and the arguments of `fit` with features for inputs; else `None`."""
        if not self._may_cache(model, callbacks, kwargs):
            return None, {}
        with models.strategy_scope(model):
            head = model_of_head(model, model.get_layer("hub").output)
            if head is None:
                return None, {}
            self._compile(head, model.optimizer)
        body = cut.cut(model, outputs="hub")  # outside of the scope: features are computed on one device
        name = hub_choice(hp, self.candidates).name
        try:
            return head, _replace_inputs(kwargs, lambda data: self._features.features(name, body, data))
        except TrainingError as err:
            warn(f"Trials compute all features in each epoch: {err}")
            self._is_cached = False
            return None, {}

    def _may_cache(self, model: Any, callbacks: Sequence[Any], kwargs: Mapping[str, Any]) -> bool:
        is_tuned = any(layer.trainable for layer in access.hub_layers(model))
        is_scheduled = any(isinstance(callback, Unfreeze) for callback in callbacks)
        is_counted = any(kwargs.get(name) for name in ("steps_per_epoch", "validation_steps"))
        is_ours = isinstance(model, TrialModel) and model.loss is self._loss  # else the tuner has compiled it anew
        has_targets = kwargs.get("y") is not None or not hasattr(kwargs.get("x"), "shape")
        return self._is_cached and is_ours and has_targets and not (is_tuned or is_scheduled or is_counted)


def _replace_inputs(kwargs: Mapping[str, Any], features_of: Callable[[Any], Any]) -> dict[str, Any]:
    """The arguments of `fit` with the features of their inputs, whose leaves are a list."""

    def pair(data: Any) -> Any:
        result = features_of(data)
        if not isinstance(result, tuple):
            raise TrainingError("The dataset has no targets, so its features alone cannot be trained on.")
        return (_leaves(result[0]), *result[1:])

    arguments = dict(kwargs)
    x, validation = arguments.pop("x"), arguments.get("validation_data")
    if arguments.get("y") is not None:
        arguments["x"] = _leaves(features_of(x))
    else:
        if not arguments.get("batch_size"):
            arguments["batch_size"] = _batch_size(x)
        arguments.update(zip(("x", "y", "sample_weight"), pair(x), strict=False))
    if isinstance(validation, (tuple, list)):
        arguments["validation_data"] = (_leaves(features_of(validation[0])), *validation[1:])
    elif validation is not None:
        arguments["validation_data"] = pair(validation)
    return arguments


def _leaves(features: Any) -> Any:
    leaves = keras.tree.flatten(features)
    return leaves[0] if len(leaves) == 1 else leaves


def _optimizer_maker(optimizer: Any) -> Callable[[float], Any]:
    """A function from a learning rate to an optimizer."""
    if isinstance(optimizer, str):
        kind: Any = type(keras.optimizers.get(optimizer))
        return lambda rate: kind(learning_rate=rate)
    if not callable(optimizer) or isinstance(optimizer, keras.optimizers.Optimizer):
        raise _wrong("optimizer", "a function from a learning rate to an optimizer, or a name", repr(optimizer))
    return optimizer


def _flags(trainable: Any) -> tuple[bool, ...]:
    flags = _as_tuple(trainable)
    if not flags or not all(isinstance(flag, (bool, np.bool_)) for flag in flags):
        raise _wrong("trainable", "True, False or both of them", repr(trainable))
    return tuple(map(bool, flags))


def _as_tuple(values: Any) -> tuple[Any, ...]:
    """A tuple as it is, a list as one, and the tuple of a single value."""
    return tuple(values) if isinstance(values, (list, tuple)) else (values,)


def _wrong(name: str, expected: str, received: str) -> TrainingError:
    right = {
        "head": "head=lambda hp, features: keras.layers.Dense(10)(features)",
        "optimizer": "optimizer=keras.optimizers.Adam",
        "trainable": "trainable=(False, True)",
    }
    return TrainingError(
        f"HubHyperModel has another kind of {name}.",
        expected=expected,
        received=received,
        where=f"HubHyperModel({name}=...)",
        fix=right[name],
    )


def _batch_size(data: Any) -> int:
    """Examples in the first batch of a dataset."""
    return len(keras.tree.flatten(next(iter(data)))[0])
