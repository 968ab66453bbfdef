"""What both export callbacks share: when to export, the best epoch or the last."""

import math
import os
import sys
from collections.abc import Iterator, Sequence
from typing import Any, ClassVar

import keras
import numpy as np

from keras_hub_layers._src.callbacks.best_epoch import _HIGHER_IS_BETTER, _LOWER_IS_BETTER, _Assigned
from keras_hub_layers._src.compat import fit
from keras_hub_layers._src.export import destinations, export
from keras_hub_layers._src.export import plan as plan_lib
from keras_hub_layers._src.text.words import nearest
from keras_hub_layers.errors import ExportError, HubError, warn

__all__ = ["ExportAtEnd"]


class ExportAtEnd(keras.callbacks.Callback):
    """When to export: at the end of `fit`, the best epoch or the last. What to export is for subclasses to say.

    It holds names and paths only, and looks the layers up on `self.model`: KerasTuner copies callbacks deeply, and
    a deep copy of a layer has other weights.
    """

    # What belongs to one fit; not copied and not pickled.
    _of_one_fit: ClassVar[dict[str, Any]] = {
        fit.CALLBACK_MODEL: None, "_plans": None, "_snapshot": None, "_best": None, "_epochs": 0, "_logs": {},
        "_trial": (), "_paths": (),
    }  # fmt: skip

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
        self.layer = [_name(part) for part in layer] if isinstance(layer, (list, tuple)) else _name(layer)
        self.monitor = monitor
        self.mode = mode
        self.versioned = versioned
        self.on_nan = on_nan
        self.verbose = verbose
        self.__dict__.update(self._of_one_fit)
        self._check_choice("mode", mode, ("auto", "min", "max"))
        self._check_choice("on_nan", on_nan, ("raise", "skip"))

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, **self._of_one_fit}

    @property
    def exported(self) -> list[str]:
        """Paths that were exported in the last `fit`, a list of `str`."""
        return list(self._paths)

    def export(self) -> list[str]:
        """Export now: the best epoch if there is one to monitor, else the weights of now.

        `fit` calls it at its end. Call it by hand after an interrupted `fit` or in a loop of your own.

        Returns:
            Paths of the exports, a list of `str`; empty where NaN was skipped.

        Raises:
            errors.ExportError: The weights are NaN or infinite and `on_nan="raise"`, or they cannot be exported.
            errors.ExportWriteError: Writing failed; what was there before is untouched.
        """
        if self._plans is None:
            self._plans = dict(self._make_plans())
        if self._epochs and self._snapshot is None and self.monitor is not None:
            return self._not_finite(
                f"No epoch had a finite {self.monitor!r}, so there is no best one to export; what was there before is "
                "untouched."
            )
        paths = []
        with self._best_weights():
            for destination, plan in self._plans.items():
                try:
                    export.check_finite(plan)
                except ExportError as err:
                    paths += self._not_finite(str(err), err)
                    continue
                path = self._write(plan, destination)
                paths.append(path)
                self._say(f"{plan.where} exported to {path}")
        self._paths = (*self._paths, *paths)
        return paths

    # -- Keras' protocol -----------------------------------------------------------------------------------------

    def on_train_begin(self, logs: Any = None) -> None:
        model = self.model
        self.__dict__.update(self._of_one_fit)
        self.set_model(model)
        trial = fit.tuner_trial()
        if trial is not None:
            self._trial = tuple(str(part) for part in trial if part is not None)
        self._check_targets()
        self._check_monitor()
        self._check_order()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        logs = logs or {}
        if self.monitor is None:
            self._logs = _numbers(logs)
            return
        score = logs.get(self.monitor)
        if score is None:
            self._check_missing(logs)
            return
        self._epochs += 1
        score, higher = float(score), self._higher_is_better()
        if math.isfinite(score) and (self._best is None or (score > self._best if higher else score < self._best)):
            self._best, self._logs = score, _numbers(logs)
            self._snapshot = [np.array(keras.ops.convert_to_numpy(v)) for v in self._exported_variables()]
            self._say(f"epoch {epoch + 1}: {self.monitor} = {score:.5g} is the best so far")

    def on_train_end(self, logs: Any = None) -> None:
        self.export()

    # -- for subclasses ------------------------------------------------------------------------------------------

    def _check_targets(self) -> None:
        """Raise if what is to be exported cannot be found in the model, or its destination cannot be used."""
        raise NotImplementedError

    def _exported_variables(self) -> list[Any]:
        """The Keras variables whose best values are kept."""
        raise NotImplementedError

    def _make_plans(self) -> Iterator[tuple[str, plan_lib.Plan]]:
        """(destination, plan) of each export."""
        raise NotImplementedError

    def _write(self, plan: plan_lib.Plan, destination: str) -> str:
        return export.place(plan, destination, versions=self.versioned, metrics=self._logs)

    # -- the best epoch ------------------------------------------------------------------------------------------

    def _best_weights(self) -> Any:
        """Have the best epoch's weights in the model for the time of a block."""
        return _Assigned(self._exported_variables() if self._snapshot is not None else [], self._snapshot or [])

    def _higher_is_better(self) -> bool:
        if self.mode != "auto":
            return self.mode == "max"
        name = str(self.monitor).removeprefix("val_")
        direction = fit.metric_direction(self.model, name)
        if direction is not None:
            return direction == "up"
        parts = name.lower()
        if any(word in parts for word in _LOWER_IS_BETTER):
            return False
        if any(word in parts for word in _HIGHER_IS_BETTER):
            return True
        raise ExportError(
            "It is not known whether more or less of the monitored value is better.",
            expected='mode="min" or mode="max" for a metric that Keras knows no direction of',
            received=f"monitor={self.monitor!r}, mode='auto'",
            where=self._where,
            fix=f'{type(self).__name__}(directory, monitor={self.monitor!r}, mode="max")',
        )

    # -- checks --------------------------------------------------------------------------------------------------

    @property
    def _where(self) -> str:
        return f"{type(self).__name__}({self.directory!r})"

    @property
    def _folder(self) -> str:
        """The directory, or that of the running KerasTuner trial below it."""
        return "/".join([self.directory, *self._trial]) if self._trial else self.directory

    def _check_choice(self, name: str, value: Any, allowed: Sequence[str]) -> None:
        if value not in allowed:
            raise ExportError(
                f"{name} has a value that it does not know.",
                expected=" or ".join(map(repr, allowed)),
                received=f"{name}={value!r}",
                where=self._where,
                fix=f"{type(self).__name__}({self.directory!r}, {name}={allowed[0]!r})",
            )

    def _check_model(self) -> None:
        if self.model is None:
            raise ExportError(
                "The callback has no model to export.",
                expected="export() after model.fit(callbacks=[callback]), or after callback.set_model(model)",
                received="no model",
                where=self._where,
                fix="callback.set_model(model); callback.export()",
            )

    def _check_destination(self, destination: str) -> None:
        model: Any = self.model
        if export.is_chief([variable.value for variable in model.variables]):
            destinations.check_place(destination, self.versioned)

    def _check_monitor(self) -> None:
        if self.monitor is None:
            return
        validation = fit.validation_of_fit(self.model)
        if not self.monitor.startswith("val_") or validation is None or validation[0]:
            return
        # A callback of the user may put such a value into the logs.
        if all(type(other).__module__.startswith("keras.src") for other in fit.callbacks_around(self)[0]):
            raise ExportError(
                "The monitored value will never be there: fit() has no validation data.",
                expected="validation_data= or validation_split= in fit(), or a value of the training data",
                received=f"monitor={self.monitor!r}",
                where=self._where,
                fix=f"{type(self).__name__}(directory, monitor={self.monitor.removeprefix('val_')!r})",
            )

    def _check_missing(self, logs: Any) -> None:
        validation = fit.validation_of_fit(self.model)
        if str(self.monitor).startswith("val_") and validation is not None and validation[1] != 1:
            return  # an epoch without validation
        raise ExportError(
            "The monitored value is not in the logs.",
            expected=f"one of {sorted(logs)}",
            received=f"monitor={self.monitor!r}",
            where=self._where,
            fix=f"{type(self).__name__}(directory, monitor={nearest(self.monitor, sorted(logs)) or 'loss'!r})",
        )

    def _check_order(self) -> None:
        late = [
            type(other).__name__
            for other in fit.callbacks_around(self)[1]
            if getattr(other, "restore_best_weights", False) or isinstance(other, keras.callbacks.SwapEMAWeights)
        ]
        if late:
            warn(
                f"{self._where}: {' and '.join(late)} comes after it in callbacks=[...], and changes the weights after "
                f"they were exported. Put {type(self).__name__} behind it."
            )

    def _not_finite(self, text: str, cause: HubError | None = None) -> list[str]:
        """Raise or warn, as `on_nan` says."""
        if self.on_nan == "raise":
            raise cause or ExportError(
                text,
                expected=f"a finite {self.monitor!r} in at least one epoch",
                received="NaN or infinite ones only",
                where=self._where,
                fix="lower the learning rate: keras.optimizers.Adam(1e-4, clipnorm=1.0)",
            )
        warn(text)
        return []

    def _say(self, text: str) -> None:
        if self.verbose:
            sys.stdout.write(f"\n{type(self).__name__}: {text}\n")


def _name(layer: Any) -> Any:
    """The name of a layer; names as they are."""
    return layer.name if isinstance(layer, keras.layers.Layer) else layer


def _numbers(logs: Any) -> dict[str, float]:
    return {name: float(value) for name, value in logs.items() if np.ndim(value) == 0}
