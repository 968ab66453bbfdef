"""HubHyperModel: a SavedModel, frozen or fine-tuned, and a head, for KerasTuner."""

import itertools
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import keras
import numpy as np

from keras_hub_layers._src.compat import optimizers
from keras_hub_layers._src.cut import cut
from keras_hub_layers._src.finetuning import features as features_lib
from keras_hub_layers._src.finetuning.unfreeze import Unfreeze
from keras_hub_layers._src.layers import access
from keras_hub_layers._src.public import public
from keras_hub_layers._src.tuners.head_training import fit_head, parted
from keras_hub_layers._src.tuners.memory import tidy
from keras_hub_layers._src.tuners.model_pool import Leases
from keras_hub_layers._src.tuners.preflight import keras_tuner, objective_of, preflight
from keras_hub_layers._src.tuners.search_space import candidates_of, hub_choice, trainable_choice
from keras_hub_layers._src.tuners.trial_model import HEAD, TrialModel
from keras_hub_layers.errors import TrainingError, warn

__all__ = ["HubHyperModel"]


@public("tuners")
class HubHyperModel(keras_tuner.HyperModel):
    """A model for KerasTuner: a SavedModel, frozen or fine-tuned, and a head of yours.

    The search chooses among candidates, between frozen and tuned, how deep, and the learning rate of each. Each
    SavedModel is loaded once per process, and has its own weights again at the start of each trial. Trials that leave
    it frozen train the head on features that are computed once (`finetuning.features`). Checkpoints hold what was
    trained only. Before the first trial every arm is tried on one batch: see `search`.

    Args:
        candidates: Handles or `Candidate`s.
        head: Function `(hp, features)` from symbolic features to the model's outputs; hyperparameters of its own come
            from `hp`.
        loss: As `compile` takes it.
        metrics: Function without arguments that returns a list as `compile` takes it, or such a list of names. Defaults
            to `None`.
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
        self.candidates = candidates_of(candidates)
        self.leases = Leases()
        self.checked = False
        self._head, self._loss, self._metrics, self._optimizer = head, loss, metrics, _maker(optimizer)
        self._choices = {**choices, "values": _flags(trainable), "depths": _several(depths)}
        self._cached = cached
        self._policy = keras.config.dtype_policy()
        self._features: dict[str, list[tuple[Any, Any]]] = {}

    def build(self, hp: Any) -> keras.Model:
        tidy()
        keras.config.set_dtype_policy(self._policy)  # KerasTuner clears the session before each trial, and it with it
        candidate = hub_choice(hp, self.candidates)
        training = trainable_choice(hp, **self._choices)
        hub = candidate.layer(training, self.leases, name="hub")
        inputs = candidate.inputs(hub)
        found = hub(candidate.preprocessed(inputs))
        stand_in = _stand_in(found)
        head = keras.Model(stand_in, self._outputs(hp, stand_in), name=HEAD)
        model = TrialModel(inputs, head(found)).lend(self.leases)
        self._compile(model, training.optimizer(hub, self._optimizer))
        # Slots that are made while the step is traced leave a graph each behind (TensorFlow 2.21, Keras 3.15).
        model.optimizer.build(model.trainable_variables)
        return model

    def _outputs(self, hp: Any, features: Any) -> Any:
        """What the user's head makes of the features."""
        found: Any = self._head(hp, features)
        leaves = keras.tree.flatten(found)
        if not leaves or not all(isinstance(leaf, keras.KerasTensor) for leaf in leaves):
            raise _wrong(
                "head", "a function (hp, features) that returns the model's outputs", f"one that returns {found!r}"
            )
        return found

    def fit(self, hp: Any, model: Any, *args: Any, **kwargs: Any) -> Any:
        if not self.checked:
            preflight(self, *args[:2], **{"objective": objective_of(kwargs.get("callbacks") or ()), **kwargs})
        if self._may_cache(model, kwargs):
            data = self._with_features(hp, model, args, dict(kwargs))
            if data is not None:
                head = model.get_layer(HEAD)
                self._compile(head, model.optimizer)
                return parted(fit_head(model, head, **data), kwargs.get("callbacks"))
        return parted(model.fit(*args, **kwargs), kwargs.get("callbacks"))

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
        self.leases.release()
        self._features.clear()

    def _compile(self, model: keras.Model, optimizer: Any) -> None:
        metrics = self._metrics() if callable(self._metrics) else list(self._metrics or [])
        model.compile(optimizer=optimizer, loss=self._loss, metrics=metrics)
        optimizers.sum_no_gradients(model.optimizer)

    def _may_cache(self, model: Any, kwargs: Mapping[str, Any]) -> bool:
        tuned = any(part.trainable for part in access.hub_layers(model))
        scheduled = any(isinstance(callback, Unfreeze) for callback in kwargs.get("callbacks") or ())
        counted = any(kwargs.get(name) for name in ("steps_per_epoch", "validation_steps"))
        ours = isinstance(model, TrialModel) and model.loss is self._loss  # else the tuner has compiled it anew
        return bool(self._cached) and ours and not (tuned or scheduled or counted)

    def _with_features(self, hp: Any, model: Any, args: Any, kwargs: dict[str, Any]) -> dict[str, Any] | None:
        """The arguments of `fit` with features for inputs; `None` where that would be wrong."""
        names = ("x", "y", "batch_size", "epochs", "verbose", "callbacks")
        kwargs.update(zip(names, args, strict=False))
        body = cut.cut(model, outputs="hub")
        label = hub_choice(hp, self.candidates).name
        x, y, weights = kwargs.pop("x"), kwargs.pop("y", None), kwargs.get("sample_weight")
        validation = kwargs.get("validation_data")
        try:
            if y is None:
                kwargs.setdefault("batch_size", _batch_size(x))
                found = self._remembered(label, body, x)
                if not isinstance(found, tuple):  # no targets: the loss needs the model as it is
                    return None
                x, y, *rest = found
                kwargs.update(zip(("sample_weight",), rest, strict=False))
            else:
                x = self._remembered(label, body, x)
            if isinstance(validation, (tuple, list)):
                kwargs["validation_data"] = (self._remembered(label, body, validation[0]), *validation[1:])
            elif validation is not None:
                kwargs["validation_data"] = self._remembered(label, body, validation)
        except TrainingError as err:
            warn(f"Trials compute all features in each epoch: {err}")
            self._cached = False
            return None
        return {**kwargs, "x": x, "y": y, **({} if weights is None else {"sample_weight": weights})}

    def _remembered(self, label: str, body: keras.Model, data: Any) -> Any:
        """The features of some data, from memory if they were computed before."""
        known = self._features.setdefault(label, [])
        for given, result in known:
            if given is data:
                return result
        cache = None if isinstance(self._cached, bool) else self._cached
        result = features_lib.features(body, data, cache=cache)
        known.append((data, result))
        return result


def _stand_in(found: Any) -> Any:
    """Symbolic inputs of the head, like the features; those of a dict are named as its keys."""
    if isinstance(found, dict):
        return {key: keras.Input(x.shape[1:], dtype=x.dtype, name=key) for key, x in found.items()}
    return keras.tree.map_structure(lambda x: keras.Input(x.shape[1:], dtype=x.dtype), found)


def _maker(optimizer: Any) -> Callable[[float], Any]:
    """A function from a learning rate to an optimizer."""
    if isinstance(optimizer, str):
        kind: Any = type(keras.optimizers.get(optimizer))
        return lambda rate: kind(learning_rate=rate)
    if not callable(optimizer) or isinstance(optimizer, keras.optimizers.Optimizer):
        raise _wrong("optimizer", "a function from a learning rate to an optimizer, or a name", repr(optimizer))
    return optimizer


def _flags(trainable: Any) -> tuple[bool, ...]:
    flags = _several(trainable)
    if not flags or not all(isinstance(flag, (bool, np.bool_)) for flag in flags):
        raise _wrong("trainable", "True, False or both of them", repr(trainable))
    return tuple(map(bool, flags))


def _several(values: Any) -> tuple[Any, ...]:
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
        fix=f"tuners.HubHyperModel(candidates, ..., {right[name]})",
    )


def _batch_size(data: Any) -> int:
    """Examples in the first batch of a dataset."""
    return len(keras.tree.flatten(next(iter(data)))[0])
