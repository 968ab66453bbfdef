"""ExportAtEnd: when the export callbacks export, the best epoch or the last. What they export is for each to say."""

import contextlib
import math
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import keras
import numpy as np

from keras_hub_layers._src.callbacks import best_epoch, checks
from keras_hub_layers._src.compat import fit
from keras_hub_layers._src.export import destinations, model_card
from keras_hub_layers._src.export import export as export_lib
from keras_hub_layers._src.export.verification import NotFinite
from keras_hub_layers._src.finetuning.optimizer_slots import learning_rate_of
from keras_hub_layers._src.text.progress import silence
from keras_hub_layers.errors import add_place, warn

__all__ = ["ExportAtEnd"]


@dataclass
class FitState:
    """What belongs to one `fit`; it is neither copied nor pickled.

    Attributes:
        targets: Destination -> the layer or model that is exported there; `None` before they were looked up.
        exports: Destination -> how it is written, decided once.
        trial: Id of the KerasTuner trial, and number of its execution if it has several.
        before: Destination -> the hashes of its weights at the start.
        epochs: How many had a score.
        best: The best score.
        best_weights: The weights of that epoch.
        logs: The logs of that epoch, or of the last one.
        rows: The logs of each epoch.
        losses: What counted as a regularization loss in the last epoch; `None` before the first.
        paths: What was exported.
    """

    targets: dict[str, Any] | None = None
    exports: dict[str, Any] = field(default_factory=dict)
    trial: tuple[str, ...] = ()
    before: dict[str, dict[str, bytes]] = field(default_factory=dict)
    epochs: int = 0
    best: float | None = None
    best_weights: list[np.ndarray] | None = None
    logs: dict[str, float] = field(default_factory=dict)
    rows: list[dict[str, float]] = field(default_factory=list)
    losses: frozenset[str] | None = None
    paths: list[str] = field(default_factory=list)


_KEPT = ("epochs", "best", "best_weights", "logs", "rows")  # of `FitState`, where `fit` goes on in another process


class ExportAtEnd(keras.callbacks.Callback):
    """Exports at the end of `fit`.

    It holds names and paths only, and looks the layers up on `self.model`: KerasTuner copies callbacks deeply, and
    a deep copy of a layer has other weights.
    """

    def __init__(
        self,
        directory: str | os.PathLike[str],
        layer: Any = None,
        *,
        monitor: str | None = None,
        mode: str = "auto",
        versioned: bool = False,
        on_nan: str = "raise",
        verbose: int = 1,
    ) -> None:
        super().__init__()
        self.directory = destinations.local_path(directory)
        self.layer = [_name(each) for each in layer] if isinstance(layer, (list, tuple)) else _name(layer)
        self.monitor = monitor
        self.mode = mode
        self.versioned = versioned
        self.on_nan = on_nan
        self.verbose = verbose
        self._state = FitState()
        with self._add_place():
            checks.check_choice("mode", mode, ("auto", "min", "max"))
            checks.check_choice("on_nan", on_nan, ("raise", "skip"))

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, fit.CALLBACK_MODEL: None, "_state": FitState()}

    @property
    def exported(self) -> list[str]:
        """Paths that were exported in the last `fit`, a list of `str`."""
        return list(self._state.paths)

    def export(self) -> list[str]:
        """Export now: the best epoch if there is one to monitor, else the weights of now.

        `fit` calls it at its end. Call it by hand after an interrupted `fit` or in a loop of your own.

        Returns:
            Paths of the exports, a list of `str`; empty where NaN was skipped.

        Raises:
            errors.ExportError: The weights are NaN or infinite and `on_nan="raise"`, or they cannot be exported.
            errors.ExportWriteError: Writing failed; what was there before is untouched.
        """
        paths: list[str] = []
        with self._add_place():
            targets = self._current_targets()
            if self._state.epochs and self._state.best_weights is None and self.monitor is not None:
                self._skip_or_raise(checks.refuse_scores(str(self.monitor)))
                return paths
            with self._with_best_weights():
                for destination, target in targets.items():
                    try:
                        path = self._write(destination, target)
                    except NotFinite as err:
                        self._skip_or_raise(err)
                        continue
                    paths.append(path)
                    self._say(f"{export_lib.name_target(target)} exported to {path}")
        self._state.paths += [path for path in paths if path not in self._state.paths]
        return paths

    def on_train_begin(self, logs: Any = None) -> None:
        trial = fit.tuner_trial() or ()
        self._state = FitState(trial=tuple(str(name) for name in trial if name is not None))
        with self._add_place():
            for destination, target in self._current_targets().items():
                self._check_target(destination, target)
            if self.monitor is not None:
                checks.check_monitor(self, self.monitor)
        late = checks.late_callbacks(self)
        if late:
            warn(
                f"{self._where}: {' and '.join(late)} comes after it in callbacks=[...], and changes the weights after "
                f"they were exported. Put {type(self).__name__} after it."
            )

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        logs, state = logs or {}, self._state
        state.rows.append(_numbers(logs))
        if self.monitor is None:
            state.logs = _numbers(logs)
            return
        if logs.get(self.monitor) is None:
            with self._add_place():
                checks.check_logs(self.model, self.monitor, logs)
            return
        self._warn_of_other_losses(epoch)
        with self._add_place():
            higher = checks.is_higher_better(self.model, self.monitor, self.mode)
        score = float(logs[self.monitor])
        state.epochs += 1
        if math.isfinite(score) and (state.best is None or (score > state.best if higher else score < state.best)):
            state.best, state.logs = score, _numbers(logs)
            state.best_weights = best_epoch.values_of(self._variables())
            self._say(f"epoch {epoch + 1}: {self.monitor} = {score:.5g} is the best so far")

    def on_train_end(self, logs: Any = None) -> None:
        self.export()

    def get_fit_state(self) -> dict[str, Any]:
        """What is known of the epochs so far, for `Backup`."""
        state = self._state
        kept = {name: getattr(state, name) for name in _KEPT}
        return {**kept, "losses": None if state.losses is None else sorted(state.losses)}

    def set_fit_state(self, state: dict[str, Any]) -> None:
        """Go on from what `get_fit_state` returned."""
        for name in _KEPT:
            setattr(self._state, name, state[name])
        self._state.losses = None if state["losses"] is None else frozenset(state["losses"])

    # -- for subclasses ------------------------------------------------------------------------------------------

    def _find_targets(self) -> dict[str, Any]:
        """Destination -> the layer or model that is exported there; an error if the model does not have it."""
        raise NotImplementedError

    def _check_target(self, destination: str, target: Any) -> None:
        """Raise if a target cannot be exported to its destination."""
        self._by_chief(lambda: destinations.check_place(destination, self.versioned))

    def _write(self, destination: str, target: Any) -> str:
        """Write one export, unless its weights are NaN or infinite."""
        return self._by_chief(lambda: self._write_here(destination, target), export_lib.variables_of(target))

    def _write_here(self, destination: str, target: Any) -> str:
        exports = self._state.exports
        if destination not in exports:
            exports[destination] = export_lib.make_export(target)
        made = exports[destination]
        export_lib.check_finite(made)
        self._check_training(destination, target)
        with silence(not self.verbose):
            return export_lib.write_export(made, destination, versions=self.versioned, training=self._training())

    def _training(self) -> model_card.Training:
        """What the model card says of this `fit`."""
        model: Any = self.model
        epochs, loss = self._state.rows, getattr(model, "loss", None)
        settings = {"optimizer": type(model.optimizer).__name__} if model.optimizer is not None else {}
        with contextlib.suppress(AttributeError, TypeError, ValueError):
            settings["learning rate at the end"] = f"{learning_rate_of(model):.6g}"
        if loss is not None and not isinstance(loss, (dict, list)):
            settings["loss"] = loss if isinstance(loss, str) else getattr(loss, "name", None) or type(loss).__name__
        if epochs:
            settings["epochs"] = f"{len(epochs)}"
        return model_card.Training(self._state.logs, epochs, settings)

    def _by_chief(self, write: Callable[[], Any], variables: Sequence[Any] = ()) -> Any:
        """Do in one process what concerns the destination, among several workers; `variables`: what it reads."""
        model: Any = self.model
        anchors = [*variables, *(variable.value for variable in model.variables[:1])]
        return destinations.by_chief(write, anchors, (NotFinite,))

    def _check_training(self, destination: str, target: Any) -> None:
        """Warn of what went wrong in the training of a target."""

    @property
    def _folder(self) -> str:
        """The directory, or that of the running KerasTuner trial below it."""
        return "/".join([self.directory, *self._state.trial])

    @property
    def _where(self) -> str:
        return f"{type(self).__name__}({self.directory!r})"

    def _add_place(self) -> contextlib.AbstractContextManager[None]:
        return add_place(self._where)

    # -- its own -------------------------------------------------------------------------------------------------

    def _current_targets(self) -> dict[str, Any]:
        if self._state.targets is None:
            checks.check_model(self.model)
            self._state.targets = self._find_targets()
        return self._state.targets

    def _variables(self) -> list[Any]:
        """The Keras variables whose best values are kept."""
        return [variable for target in self._current_targets().values() for variable in target.variables]

    @contextlib.contextmanager
    def _with_best_weights(self) -> Iterator[None]:
        """Have the best epoch's weights in the model for the time of a block."""
        if self._state.best_weights is None:
            yield
            return
        with best_epoch.assign_for_a_time(self._variables(), self._state.best_weights):
            yield

    def _warn_of_other_losses(self, epoch: int) -> None:
        """Warn where a loss is monitored and other regularization losses are in it than in the epoch before."""
        if self.monitor not in ("loss", "val_loss"):
            return
        before, now = self._state.losses, best_epoch.counted_losses(self.model)
        self._state.losses = now
        if before is not None and before != now:
            warn(checks.describe_change(self._where, str(self.monitor), epoch, before ^ now))

    def _skip_or_raise(self, error: Exception) -> None:
        """Raise or warn, as `on_nan` says."""
        if self.on_nan == "raise":
            raise error
        warn(str(error))

    def _say(self, text: str) -> None:
        if self.verbose:
            sys.stdout.write(f"\n{type(self).__name__}: {text}\n")


def _name(layer: Any) -> Any:
    """The name of a layer; names as they are."""
    return layer.name if isinstance(layer, keras.layers.Layer) else layer


def _numbers(logs: Any) -> dict[str, float]:
    return {name: float(value) for name, value in logs.items() if np.ndim(value) == 0}
