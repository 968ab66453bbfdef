"""Unfreeze: a callback that changes, epoch by epoch, what is trained of a `HubLayer`."""

import math
import sys
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import keras

from keras_hub_layers._src.compat import fit
from keras_hub_layers._src.finetuning import data_loss, groups, patterns
from keras_hub_layers._src.finetuning.optimizer_slots import check_learning_rate, learning_rate_of, renew_steps
from keras_hub_layers._src.finetuning.unfreeze import unfreeze
from keras_hub_layers._src.layers import access, hub_layer
from keras_hub_layers._src.public import public
from keras_hub_layers.errors import TrainingError, add_place, warn

__all__ = ["Unfreeze"]


@public("callbacks")
class Unfreeze(keras.callbacks.Callback):
    """Unfreezes a `HubLayer` step by step during one `fit`: for example first its head, and later the rest.

    At the start of each epoch of the schedule it sets which weights are trained. The model gets a new train function.
    The optimizer keeps its iterations, and its slots (momenta, accumulators) for the variables that it trained before.
    Loss, metrics and callbacks stay, and `fit` returns one history.

    While any variable of the layer is trained, the whole SavedModel runs in training mode. So batch normalization also
    moves its averages in groups that are still frozen. A warning tells you of such a schedule.
    `HubLayer(arguments={"training": False})` keeps inference mode while weights are tuned.

    The history that `fit` returns has a list `phases` with a dict for each change: `epoch` (from 0), `which`,
    `parameters` (how many of the model are trained) and `learning_rate`. `finetuning.plot_history` marks them.

    It holds names and numbers only, so it can be copied deeply, as KerasTuner does with callbacks. Callbacks that set
    the learning rate themselves come after it, and so do `callbacks.Backup` and `BackupAndRestore`, which then resume
    with all slots. When `fit` starts at a later epoch, it starts with what the schedule says for that epoch. Where the
    SavedModel publishes regularization losses, `loss` and `val_loss` change with what is trained: monitor
    `callbacks.DataLoss` instead.

    Args:
        schedule: Dict of epoch (an `int`, counted from 0) to what is trained from then on, as
            `finetuning.patterns` takes it: an `int` n for the last n groups, the name of a group, a regular expression,
            `"all"`, `"norms"`, `"biases"`, a list of these; `None` for nothing of the layer. Before its first epoch
            the layer is as the user set it.
        layer: Name of the `HubLayer`, or a list of names. Defaults to `None`: each one in the model.
        learning_rates: Dict of epoch to the learning rate from then on, a `float`. Defaults to `None`: unchanged.
        warmup: Number of batches in which the learning rate rises linearly from 0, each time that the schedule has
            unfrozen something. Defaults to 0.
        verbose: Whether to print each change, 0 or 1. Defaults to 1.

    Raises:
        errors.TrainingError: At the start of `fit`: the model has no such layer, a selection matches nothing, or the
            learning rate of the optimizer cannot be set.

    Example:

    ```python
    import keras
    from keras_hub_layers import callbacks, layers

    model = keras.Sequential([layers.HubLayer("path/to/saved_model"), keras.layers.Dense(10)])
    model.compile(keras.optimizers.Adam(1e-3), keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    model.fit(
        images, labels, epochs=10,
        callbacks=[callbacks.Unfreeze({0: None, 2: 3, 5: "all"}, learning_rates={2: 1e-4, 5: 1e-5})],
    )
    ```

    Reference:

    - [Universal language model fine-tuning, Howard and Ruder 2018](https://arxiv.org/abs/1801.06146)
    """

    # What belongs to one fit; not copied and not pickled.
    _of_one_fit: ClassVar[dict[str, Any]] = {
        "_model": None,
        "_phase": None,
        "_given": None,
        "_rate": None,
        "_steps": 0,
        "_dropped": None,
    }

    def __init__(
        self,
        schedule: Mapping[int, Any],
        layer: Any = None,
        *,
        learning_rates: Mapping[int, float] | None = None,
        warmup: int = 0,
        verbose: int = 1,
    ) -> None:
        super().__init__()
        if not isinstance(schedule, Mapping):
            raise _no_schedule("a dict from epochs to what is trained from then on", repr(schedule))
        self.schedule = dict(schedule)
        self.layer = [_name(item) for item in layer] if isinstance(layer, (list, tuple)) else _name(layer)
        self.learning_rates = dict(learning_rates or {})
        self.warmup = warmup
        self.verbose = verbose
        self.__dict__.update(self._of_one_fit)
        for epoch in [*self.schedule, *self.learning_rates]:
            if isinstance(epoch, bool) or not isinstance(epoch, int) or epoch < 0:
                raise _no_schedule("epochs for keys: integers that count from 0", repr(epoch))

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, **self._of_one_fit}

    # -- Keras' protocol -----------------------------------------------------------------------------------------

    def on_train_begin(self, logs: Any = None) -> None:
        model = self._model
        self.__dict__.update(self._of_one_fit)
        self._model = model
        layers = self._layers()
        for layer in layers:
            if not layer.trainable:
                access.freeze(layer)
            self._check_and_warn_of_moving_averages(layer)
        self._check_rate()
        self._warn_of_unlike_losses(layers)
        self._warn_of_the_end()
        self._prepare_to_resume()

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        rate = _in_force(self.learning_rates, epoch)
        phase = _in_force(self.schedule, epoch)
        is_new = phase is not None and phase != self._phase
        if rate is not None and rate != self._given:
            self._given, self._rate = rate, float(self.learning_rates[rate])
            self._trained_model.optimizer.learning_rate = self._rate
        elif is_new and self.warmup and not self._is_rising:
            self._rate = learning_rate_of(self._trained_model)  # other callbacks may have lowered it
        if phase is None or not is_new:
            return
        if self._is_rising:
            self._trained_model.optimizer.learning_rate = self._rate  # what was rising to it ends here
        self._enter(phase)
        self._announce(epoch, self.schedule[phase])

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        if self._is_rising:
            self._steps = min(self._steps + (self._trained_model.steps_per_execution or 1), self.warmup)
            self._trained_model.optimizer.learning_rate = self._rate * self._steps / self.warmup

    @property
    def _is_rising(self) -> bool:
        """Whether the learning rate still rises to what it is to be."""
        return self._steps < self.warmup and self._phase is not None and self.schedule[self._phase] is not None

    def _enter(self, phase: int) -> None:
        """Train what the schedule says from this one of its epochs on."""
        self._phase, self._steps = phase, 0
        for layer in self._layers():
            unfreeze(layer, self.schedule[phase])
        self._dropped = {} if self._dropped is None else self._dropped
        renew_steps(self._trained_model, self._dropped)

    def _prepare_to_resume(self) -> None:
        """Give the optimizer the slots that the backup of an interrupted `fit` holds, before it is restored."""
        before, after = fit.callbacks_around(self)
        for backup in (*before, *after):
            if not isinstance(backup, keras.callbacks.BackupAndRestore):
                continue
            epoch = fit.backup_of(backup)
            phase = None if epoch is None else _in_force(self.schedule, epoch)
            if phase is None:
                continue
            if backup in before:
                warn(
                    "BackupAndRestore stands before Unfreeze, so it restores an optimizer that does not fit, and "
                    "its state is lost. Put Unfreeze first: callbacks=[Unfreeze(...), BackupAndRestore(...)]."
                )
            else:
                self._enter(phase)
                self._steps = self.warmup  # its rise is over

    def get_fit_state(self) -> dict[str, Any]:
        """Where in the schedule it is, and the slots of what is not trained now, for `Backup`."""
        places = {id(variable.value): place for place, variable in enumerate(self._trained_model.variables)}
        dropped = [[list(_with_place(key, places)), value] for key, value in (self._dropped or {}).items()]
        rate = None if self._rate is None else float(self._rate)
        return {"phase": self._phase, "given": self._given, "rate": rate, "steps": self._steps, "dropped": dropped}

    def set_fit_state(self, state: dict[str, Any]) -> None:
        """Go on from what `get_fit_state` returned, with an optimizer that has its slots but not their values."""
        if state["phase"] is not None:
            self._enter(state["phase"])
        self._given, self._rate, self._steps = state["given"], state["rate"], state["steps"]
        variables = self._trained_model.variables
        ids = {place: id(variable.value) for place, variable in enumerate(variables)}
        self._dropped = {_with_place(key, ids): value for key, value in state["dropped"]} or self._dropped

    @property
    def _trained_model(self) -> Any:
        """The model that `fit` trains."""
        return self.model

    # -- checks --------------------------------------------------------------------------------------------------

    def _layers(self) -> list[hub_layer.HubLayer]:
        layers = access.hub_layers(self._trained_model)
        wanted = [self.layer] if isinstance(self.layer, str) else self.layer
        if wanted is None:  # a preprocessor has nothing to train
            layers = [layer for layer in layers if access.trainable_candidates(layer)] or layers
        chosen = [layer for layer in layers if wanted is None or layer.name in wanted]
        if not chosen or not set(wanted or ()) <= {layer.name for layer in chosen}:
            raise self._no_such_layer([layer.name for layer in layers])
        return chosen

    def _no_such_layer(self, names: list[str]) -> TrainingError:
        return TrainingError(
            "The model has no such HubLayer to unfreeze.",
            expected=f"one of {names}" if names else "a model with a HubLayer",
            received=f"layer={self.layer!r}",
            where=f"Unfreeze, model {self._trained_model.name!r}",
            fix=f"callbacks.Unfreeze(schedule, layer={names[0]!r})"
            if names
            else "layers.HubLayer(handle)   # as a layer of the model",
        )

    def _check_rate(self) -> None:
        if not self.learning_rates and not self.warmup:
            return
        with add_place("Unfreeze(learning_rates=..., warmup=...)"):
            check_learning_rate(self._trained_model)

    def _warn_of_the_end(self) -> None:
        """Say so if nothing of the schedule happens in this fit. Trials of a search may be short on purpose."""
        params: dict[str, Any] = self.params or {}
        epochs = params.get("epochs")
        if epochs and self.schedule and min(self.schedule) >= epochs and fit.tuner_trial() is None:
            warn(
                f"Unfreeze: nothing of the schedule happens: fit ends after {epochs} epochs, counted from 0, and the "
                f"schedule begins at epoch {min(self.schedule)}. To run all of it: model.fit(..., "
                f"epochs={max(self.schedule) + 1})."
            )

    def _check_and_warn_of_moving_averages(self, layer: hub_layer.HubLayer) -> None:
        """Look up what the schedule selects; say so, once, where the averages of frozen groups will move."""
        selections = {
            repr(which): patterns.select(layer, which) for which in self.schedule.values() if which is not None
        }
        if True not in layer.interface.training_modes or access.fixed_arguments(layer).get("training") is False:
            return
        parts = groups.groups(layer)
        for which, selection in selections.items():
            names = set(selection.names)
            frozen = [group for group in parts if names.isdisjoint(group.tunable)]
            moving = [group.name for group in frozen if groups.moving_averages(layer, group)]
            if moving:
                warn(
                    f"{access.place(layer)}: while {which} is trained, batch normalization moves its averages in the "
                    f"frozen groups {moving} too. To keep them: HubLayer(handle, arguments={{'training': False}})."
                )
                return

    def _warn_of_unlike_losses(self, layers: list[hub_layer.HubLayer]) -> None:
        """Say so if callbacks compare epochs by a loss that holds regularization in some of them only."""
        params: dict[str, Any] = self.params or {}
        ahead = {
            which is not None for epoch, which in self.schedule.items() if epoch < (params.get("epochs") or math.inf)
        }
        first = {layer.trainable for layer in layers} if min(self.schedule, default=0) else set()
        comparing = data_loss.totals_compared_by([other for side in fit.callbacks_around(self) for other in side])
        names = [layer.name for layer in layers if access.has_losses(layer)]
        if names and comparing and len(ahead | first) > 1:
            warn(
                f"Unfreeze: the SavedModels of {names} publish regularization losses, which are part of 'loss' and "
                f"'val_loss' only while they are trained, so {' and '.join(comparing)} "
                "compares epochs that are not alike. To compare them by the loss of the data:\n"
                "callbacks=[callbacks.DataLoss(), callbacks.Unfreeze(schedule), "
                "keras.callbacks.EarlyStopping('val_data_loss', mode='min')]"
            )

    def _announce(self, epoch: int, which: Any) -> None:
        """Say what is trained from this epoch on, and write it into the `History`."""
        model = self._trained_model
        rate = learning_rate_of(model) if self._rate is None else self._rate
        count = sum(math.prod(variable.shape) for variable in model.trainable_variables)
        phase = {"epoch": epoch, "which": which, "parameters": count, "learning_rate": rate}
        vars(model.history).setdefault("phases", []).append(phase)
        if self.verbose:
            rising = f", after {self.warmup} batches" if self._is_rising else ""
            sys.stdout.write(
                f"\nUnfreeze: epoch {epoch + 1}: {which!r} of the layer, {count:,} parameters of the model train, "
                f"learning rate {rate:.3g}{rising}\n"
            )


def _no_schedule(expected: str, received: str) -> TrainingError:
    return TrainingError(
        "The schedule does not say what to train at which epoch.",
        expected=expected,
        received=received,
        where="Unfreeze",
        fix='callbacks.Unfreeze({0: None, 2: "all"}, learning_rates={2: 1e-5})',
    )


def _with_place(key: Sequence[Any], places: Mapping[int, int]) -> tuple[Any, ...]:
    """The key of a slot, with another number for the variable of the model that it belongs to."""
    kind, number, variable, *rest = key
    return (kind, number, places[variable], *rest)


def _in_force(schedule: Mapping[int, Any], epoch: int) -> int | None:
    """The last key of a schedule that is not after an epoch."""
    return max((key for key in schedule if key <= epoch), default=None)


def _name(layer: Any) -> Any:
    """The name of a layer; names as they are."""
    return layer.name if isinstance(layer, keras.layers.Layer) else layer
