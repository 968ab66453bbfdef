"""KerasTuner: handles, trainable and learning rates as hyperparameters."""

import itertools
import os
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import keras

from keras_hub_layers import _compat, exporters, features, grouping, pieces
from keras_hub_layers.arms import PreflightError, keras_tuner, objective_of, preflight
from keras_hub_layers.errors import HubWarning, TrainingError, explain
from keras_hub_layers.leases import SHARED, Leases
from keras_hub_layers.spaces import Candidate, Training, candidates_of, hub_choice, trainable_choice
from keras_hub_layers.trials import HEAD, TrialModel, fit_head, tidy
from keras_hub_layers.unfreezing import Unfreeze

__all__ = [
    "Candidate",
    "HubHyperModel",
    "PreflightError",
    "Training",
    "export_best",
    "hub_choice",
    "preflight",
    "search",
    "trainable_choice",
]


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
        optimizer: Function from a learning rate to an optimizer. Defaults to `keras.optimizers.Adam`.
        trainable: The values of `trainable` to search. Defaults to `(False, True)`.
        depths: What may be unfrozen, as `trainable_choice` takes it. Defaults to `("all",)`.
        cached: Whether trials with a frozen SavedModel use cached features, or a directory to keep them in, which
            several processes may share. Defaults to `True`: in memory.
        **choices: Further arguments of `trainable_choice`.

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
        optimizer: Callable[[float], Any] = keras.optimizers.Adam,
        trainable: Sequence[bool] = (False, True),
        depths: Sequence[Any] = ("all",),
        cached: bool | str | os.PathLike[str] = True,
        **choices: Any,
    ) -> None:
        super().__init__()
        self.candidates = candidates_of(candidates)
        self.leases = Leases()
        self.checked = False
        self._head, self._loss, self._metrics, self._optimizer = head, loss, metrics, optimizer
        self._choices = {**choices, "values": tuple(trainable), "depths": tuple(depths)}
        self._cached = cached
        self._features: dict[str, list[tuple[Any, Any]]] = {}

    def build(self, hp: Any) -> keras.Model:
        tidy()
        candidate = hub_choice(hp, self.candidates)
        training = trainable_choice(hp, **self._choices)
        hub = candidate.layer(training, self.leases, name="hub")
        inputs = candidate.inputs(hub)
        found = hub(inputs if candidate.preprocessor is None else candidate.preprocessor(inputs))
        stand_in = keras.tree.map_structure(lambda x: keras.Input(x.shape[1:], dtype=x.dtype), found)
        head = keras.Model(stand_in, self._head(hp, stand_in), name=HEAD)
        model = TrialModel(inputs, head(found)).lend(self.leases)
        self._compile(model, self._optimizer(training.learning_rate))
        # Slots that are made while the step is traced leave a graph each behind (TensorFlow 2.21, Keras 3.15).
        model.optimizer.build(model.trainable_variables)
        return model

    def fit(self, hp: Any, model: Any, *args: Any, **kwargs: Any) -> Any:
        if not self.checked:
            preflight(self, *args[:2], **{"objective": objective_of(kwargs.get("callbacks") or ()), **kwargs})
        if self._may_cache(model, kwargs):
            data = self._with_features(hp, model, args, dict(kwargs))
            if data is not None:
                head = model.get_layer(HEAD)
                self._compile(head, model.optimizer)
                return fit_head(model, head, **data)
        return model.fit(*args, **kwargs)

    def arms(self) -> Iterator[dict[str, Any]]:
        """The values of the hyperparameters that make a model another one: SavedModel, trainable and depth."""
        for candidate, flag in itertools.product(self.candidates, dict.fromkeys(map(bool, self._choices["values"]))):
            for depth in self._choices["depths"] if flag else (None,):
                arm = {"hub": candidate.name, self._choices.get("name", "trainable"): flag}
                yield {**arm, "unfreeze": str(depth)} if flag else arm

    def release(self) -> None:
        """Forget the SavedModels and the features; models that are in use keep theirs."""
        self.leases.release()
        self._features.clear()

    def _compile(self, model: keras.Model, optimizer: Any) -> None:
        metrics = self._metrics() if callable(self._metrics) else list(self._metrics or [])
        model.compile(optimizer=optimizer, loss=self._loss, metrics=metrics)
        _compat.sum_no_gradients(model.optimizer)

    def _may_cache(self, model: Any, kwargs: Mapping[str, Any]) -> bool:
        tuned = any(part.trainable for part in grouping.hub_layers(model))
        scheduled = any(isinstance(callback, Unfreeze) for callback in kwargs.get("callbacks") or ())
        counted = any(kwargs.get(name) for name in ("steps_per_epoch", "validation_steps"))
        return bool(self._cached) and isinstance(model, TrialModel) and not (tuned or scheduled or counted)

    def _with_features(self, hp: Any, model: Any, args: Any, kwargs: dict[str, Any]) -> dict[str, Any] | None:
        """The arguments of `fit` with features for inputs; `None` where that would be wrong."""
        names = ("x", "y", "batch_size", "epochs", "verbose", "callbacks")
        kwargs.update(zip(names, args, strict=False))
        body = pieces.cut(model, outputs="hub")
        label = hub_choice(hp, self.candidates).name
        x, y, weights = kwargs.pop("x"), kwargs.pop("y", None), kwargs.get("sample_weight")
        validation = kwargs.get("validation_data")
        try:
            if y is None:
                kwargs.setdefault("batch_size", _batch_size(x))
                x, y, *rest = self._remembered(label, body, x)
                kwargs.update(zip(("sample_weight",), rest, strict=False))
            else:
                x = self._remembered(label, body, x)
            if isinstance(validation, (tuple, list)):
                kwargs["validation_data"] = (self._remembered(label, body, validation[0]), *validation[1:])
            elif validation is not None:
                kwargs["validation_data"] = self._remembered(label, body, validation)
        except TrainingError as err:
            warnings.warn(f"Trials compute all features in each epoch: {err}", HubWarning, stacklevel=2)
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
        result = features.features(body, data, cache=cache)
        known.append((data, result))
        return result


def search(tuner: Any, *args: Any, **kwargs: Any) -> None:
    """Try every arm on one batch, search, and release the SavedModels at the end.

    `tuner.search(...)` of a `HubHyperModel` does the same without the release, and with the trial of the arms within
    the first trial.

    Args:
        tuner: A tuner of KerasTuner, with a `HubHyperModel` or a hypermodel or `build` function of your own.
        *args: Arguments of `tuner.search`.
        **kwargs: Likewise.

    Raises:
        PreflightError: An arm cannot be trained, or the objective will not be among what `fit` reports.
    """
    hypermodel = tuner.hypermodel
    try:
        if not getattr(hypermodel, "checked", False) and _runs_trials(tuner) and not _is_chief():
            preflight(hypermodel, *args[:2], **{"objective": tuner.oracle.objective, **kwargs})
        tuner.search(*args, **kwargs)
    finally:
        SHARED.release()
        if isinstance(hypermodel, HubHyperModel):
            hypermodel.release()


def export_best(tuner: Any, directory: str | os.PathLike[str], layer: str | None = None, **kwargs: Any) -> str:
    """Export the model of the best trial, with the weights of its best epoch, as a Reusable SavedModel.

    Args:
        tuner: A tuner that has searched, or that was made again on its directory.
        directory: Where to export to.
        layer: Name of the layer to export alone: `"hub"` of a `HubHyperModel` is the SavedModel, fine-tuned. Defaults
            to `None`: the whole model.
        **kwargs: Further arguments of `keras_hub_layers.export`.

    Returns:
        The directory, a `str`.

    Raises:
        errors.TrainingError: No trial has ended well.
        errors.ExportError: It cannot be exported.
    """
    found = tuner.get_best_models(1)
    if not found:
        raise TrainingError(
            explain(
                "There is no best trial to export.",
                expected="a tuner with at least one trial that ended well",
                received="none",
                where=str(tuner.project_dir),
                fix="tuners.search(tuner, x, y, epochs=5, validation_split=0.2)",
            )
        )
    target: Any = found[0] if layer is None else found[0].get_layer(layer)
    return exporters.export(target, directory, **kwargs)


def _runs_trials(tuner: Any) -> bool:
    """Whether a tuner's trials build the hypermodel and train it, as KerasTuner's own do."""
    own = type(tuner).run_trial.__module__.startswith("keras_tuner.")
    return own and isinstance(tuner, keras_tuner.Tuner) and hasattr(tuner.hypermodel, "build")


def _is_chief() -> bool:
    """Whether this process only hands out trials, in KerasTuner's distributed mode."""
    return "KERASTUNER_ORACLE_IP" in os.environ and "chief" in os.environ.get("KERASTUNER_TUNER_ID", "")


def _batch_size(data: Any) -> int:
    """Examples in the first batch of a dataset."""
    return len(keras.tree.flatten(next(iter(data)))[0])
