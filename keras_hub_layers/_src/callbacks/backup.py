"""Backup: save the state of a `fit` after each epoch, and continue from it after an interruption."""

import os
import sys
import uuid
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np

from keras_hub_layers._src.callbacks import backup_file, callback_states
from keras_hub_layers._src.callbacks.best_epoch import values_of
from keras_hub_layers._src.compat import fit, models
from keras_hub_layers._src.compat.workers import workers_of
from keras_hub_layers._src.export import destinations
from keras_hub_layers._src.finetuning.optimizer_slots import nested_optimizers
from keras_hub_layers._src.public import public
from keras_hub_layers.errors import DistributionError, TrainingError, add_place

__all__ = ["Backup"]


@public("callbacks")
class Backup(keras.callbacks.Callback):
    """Saves the state of a `fit` after each epoch. The same script, started again, continues with the next epoch.

    The backup holds:

    - all weights, and the state of random generators,
    - the optimizer with its slots, iterations and learning rate,
    - the history,
    - the schedule of `callbacks.Unfreeze`, and the best epoch of the export callbacks,
    - the state of `EarlyStopping`, `ReduceLROnPlateau` and `ModelCheckpoint`.

    The state of a callback of your own is saved too if it has two methods. `get_fit_state()` returns a dict of numbers,
    texts, lists and arrays. `set_fit_state(state)` takes that dict. If the data of an epoch come in the same order, the
    resumed `fit` ends with the same weights as a `fit` without interruption.

    The backup is one file, which is replaced in one step. So there is always a complete one. It is removed when `fit`
    has ended.

    Under a strategy of several workers, the chief writes the backup, and all workers read it. So all workers must share
    `directory`, and all have to be started again. Statistics that differ between the workers, such as the averages of
    batch normalization, continue from their mean.

    Backup must be the last entry of `callbacks=[...]`, after all callbacks whose state it saves.

    Args:
        directory: Where the backup is written, a path that no other `fit` uses. In a KerasTuner search each trial has a
            folder of its own in it.
        verbose: Whether to print where `fit` continues, 0 or 1. Defaults to 1.

    Raises:
        errors.TrainingError: At the start of `fit`: the backup is of another model or of other callbacks, or Backup is
            not the last callback.
        errors.DistributionError: The workers do not see the same backup.
        errors.ExportWriteError: Nothing can be written there.

    Example:

    ```python
    import keras
    from keras_hub_layers import callbacks, layers

    model = keras.Sequential([layers.HubLayer("path/to/saved_model", trainable=True), keras.layers.Dense(10)])
    model.compile("adam", "mse")
    model.fit(
        x, y, epochs=10,
        callbacks=[callbacks.ExportFinetuned("path/to/fine_tuned"), callbacks.Backup("path/to/backup")],
    )
    ```
    """

    def __init__(self, directory: str | os.PathLike[str], *, verbose: int = 1) -> None:
        super().__init__()
        self.directory = destinations.local_path(directory)
        self.verbose = verbose
        self._forget()

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != fit.CALLBACK_MODEL}

    def _forget(self) -> None:
        self._rows: list[dict[str, Any]] = []  # the logs of each epoch
        self._epochs: list[int] = []
        self._phases: list[Any] = []  # what `Unfreeze` has written into the history before the interruption

    def on_train_begin(self, logs: Any = None) -> None:
        self._forget()
        model: Any = self.model
        fit.start_at(model, None)
        with add_place(self._where):
            self._check_neighbours()
            destinations.by_chief(self._check_place, self._anchors)
            content = backup_file.read(self._path)
            self._compare_with_other_workers(None if content is None else str(content.get("id")))
            if content is not None:
                self._resume(content)

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self._resume_history()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        model: Any = self.model
        self._epochs.append(epoch)
        self._rows.append({name: _plain(value) for name, value in (logs or {}).items()})
        variables = self._variables()

        def write() -> str:
            content = {
                "id": uuid.uuid4().hex,
                "epoch": epoch + 1,
                "has_stopped": bool(model.stop_training),
                "optimizer": type(getattr(model, "optimizer", None)).__name__,
                "callbacks": callback_states.states_of(self._kept()),
                "variables": values_of(variables),
                "epochs": self._epochs,
                "rows": self._rows,
                "phases": [*self._phases, *getattr(getattr(model, "history", None), "phases", [])],
            }
            return backup_file.write(self._path, content)

        with add_place(self._where):
            destinations.by_chief(write, [variable.value for variable in variables])

    def on_train_end(self, logs: Any = None) -> None:
        self._resume_history()
        fit.start_at(self.model, None)
        with add_place(self._where):
            destinations.by_chief(self._remove, self._anchors)

    # -- resuming ------------------------------------------------------------------------------------------------

    def _resume(self, content: dict[str, Any]) -> None:
        model: Any = self.model
        kept = self._kept()
        names = [type(callback).__name__ for callback in kept]
        saved = [state["class"] for state in content["callbacks"]]
        if names != saved:
            raise self._other_model_error(f"the callbacks {names}", f"the callbacks {saved}")
        optimizer = type(getattr(model, "optimizer", None)).__name__
        if optimizer != content["optimizer"]:
            raise self._other_model_error(f"the optimizer {optimizer}", f"the optimizer {content['optimizer']}")
        callback_states.restore(kept, content["callbacks"])  # `Unfreeze` gives the optimizer its slots
        with models.strategy_scope(model):
            for nested in nested_optimizers(model.optimizer) if getattr(model, "optimizer", None) else ():
                if not nested.built:
                    nested.build(model.trainable_variables)
        variables, values = self._variables(), content["variables"]
        shapes, saved = [tuple(variable.shape) for variable in variables], [value.shape for value in values]
        if shapes != saved:
            raise self._other_model_error(_describe(shapes), _describe(saved))
        for variable, value in zip(variables, values, strict=True):
            as_stored = value if value.dtype.kind != "V" else value.view(np.asarray(values_of([variable])[0]).dtype)
            variable.assign(as_stored)
        self._rows, self._epochs, self._phases = content["rows"], content["epochs"], content["phases"]
        epoch = content["epoch"]
        params: dict[str, Any] = self.params or {}
        fit.start_at(model, max(epoch, params.get("epochs") or 0) if content["has_stopped"] else epoch)
        if self.verbose:
            sys.stdout.write(f"\nBackup: {epoch} epochs were complete, fit continues from {self._path}\n")

    def _resume_history(self) -> None:
        """Put the epochs before the interruption into the history, after all callbacks have begun."""
        model: Any = self.model
        history = getattr(model, "history", None)
        if history is None or not self._epochs or history.epoch:
            return
        history.epoch, history.history = list(self._epochs), {}
        for row in self._rows:
            for name, value in row.items():
                history.history.setdefault(name, []).append(value)
        if self._phases:
            history.phases = [*self._phases, *getattr(history, "phases", [])]
            self._phases = []

    def _other_model_error(self, received: str, saved: str) -> TrainingError:
        return TrainingError(
            "The backup is of another model, or of another fit.",
            expected=f"{saved}, as in the backup; or another directory; or no file there, to start from the beginning",
            received=received,
            where=self._path,
            fix=f"callbacks.Backup({self.directory + '_2'!r})",
        )

    def _compare_with_other_workers(self, backup: str | None) -> None:
        model: Any = self.model
        workers = workers_of(model.distribute_strategy)
        seen = [] if workers is None else workers.gather((backup or "none").encode())
        if workers is not None and len(set(seen)) > 1:
            ids = [each.decode() for each in seen]
            raise DistributionError(
                "The workers do not see the same backup.",
                expected="one directory that all workers share",
                received="; ".join(f"worker {index}: backup {each[:8]}" for index, each in enumerate(ids)),
                where=f"{self._path}, worker {workers.index} of {workers.count}",
                fix='callbacks.Backup("/a/directory/that/all/workers/share")',
            )

    # -- what is kept --------------------------------------------------------------------------------------------

    def _kept(self) -> list[Any]:
        """The callbacks before this one that have a state."""
        return [callback for callback in fit.callbacks_around(self)[0] if callback_states.has_state(callback)]

    def _variables(self) -> list[Any]:
        """The variables of the model and of its optimizer. Those of metrics are left out: each epoch resets them."""
        model: Any = self.model
        metrics = {id(variable) for metric in model.metrics for variable in metric.variables}
        optimizer = getattr(model, "optimizer", None)
        listed = [*model.variables, *(_variables_of_optimizer(optimizer) if optimizer is not None else ())]
        return list({id(variable): variable for variable in listed if id(variable) not in metrics}.values())

    @property
    def _anchors(self) -> list[Any]:
        """A variable, from which the strategy is known. Its value is not read."""
        model: Any = self.model
        return [variable.value for variable in model.variables[:1]]

    @property
    def _path(self) -> str:
        trial = [str(name) for name in fit.tuner_trial() or () if name is not None]
        return "/".join([self.directory, *trial, "backup.npz"])

    @property
    def _where(self) -> str:
        return f"Backup({self.directory!r})"

    def _check_place(self) -> str:
        destinations.check_scheme(self._path, "callbacks.Backup({})")
        if not destinations.is_remote(self._path):
            destinations.check_writable(os.path.dirname(self._path), self._path)
        return self._path

    def _remove(self) -> str:
        destinations.remove_file(self._path)
        return self._path

    def _check_neighbours(self) -> None:
        before, after = fit.callbacks_around(self)
        late = [type(callback).__name__ for callback in after if callback_states.has_state(callback)]
        if late:
            raise TrainingError(
                "Backup comes before callbacks whose state it has to save.",
                expected="Backup as the last of the callbacks",
                received=f"{' and '.join(late)} behind it",
                fix=f"callbacks=[..., callbacks.Backup({self.directory!r})]",
            )
        if any(getattr(callback, "swap_on_epoch", False) for callback in before):
            raise TrainingError(
                "SwapEMAWeights replaces the weights of the model at the end of an epoch. So Backup cannot save those "
                "that are trained.",
                expected="SwapEMAWeights(swap_on_epoch=False), which replaces them during the evaluation only",
                received="SwapEMAWeights(swap_on_epoch=True) before Backup",
                fix="keras.callbacks.SwapEMAWeights(swap_on_epoch=False)",
            )


def _variables_of_optimizer(optimizer: Any) -> Iterator[Any]:
    """The variables of an optimizer and of the optimizers inside it, also variables that they do not list."""
    yield from optimizer.variables
    for nested in nested_optimizers(optimizer):
        yield from nested.variables
        yield from (value for value in vars(nested).values() if isinstance(value, keras.Variable))


def _plain(value: Any) -> Any:
    return float(value) if np.ndim(value) == 0 else np.asarray(value)


def _describe(shapes: list[tuple[int, ...]]) -> str:
    listed = ", ".join(map(str, shapes[:6]))
    return f"{len(shapes)} variables of the shapes {listed}{', ...' if len(shapes) > 6 else ''}"
