"""The model of one trial: its checkpoints hold what was trained, and its head can be trained alone."""

import os
import tempfile
from typing import Any

import h5py
import keras
import numpy as np

from keras_hub_layers._src.layers import access
from keras_hub_layers._src.tuners.model_pool import Leases
from keras_hub_layers.errors import TrainingError

__all__ = ["HEAD", "TrialModel"]


HEAD = "head"


_OPTIMIZER = "optimizer/"


@keras.saving.register_keras_serializable(package="keras_hub_layers")
class TrialModel(keras.Model):
    """A functional model whose weight files leave out what the SavedModels inside came with, and hold the optimizer.

    A frozen SavedModel of a gigabyte then adds nothing to a checkpoint, and one of which a bias was tuned adds a bias.
    The rest is loaded from the SavedModel again, by `build` of the same hyperparameters.
    """

    def lend(self, leases: Leases) -> "TrialModel":
        """Tell the model whose SavedModels it uses."""
        self.__dict__["_leases"] = leases
        return self

    def save_weights(self, filepath: Any, overwrite: bool = True, **kwargs: Any) -> None:
        """Write the weights that differ from those that the SavedModels came with, whole or not at all."""
        path = os.fspath(filepath)
        descriptor, work = tempfile.mkstemp(prefix=".work-", dir=os.path.dirname(os.path.abspath(path)))
        os.close(descriptor)
        try:
            with h5py.File(work, "w") as file:
                for name, weight, original in self._by_name():
                    value = np.asarray(keras.ops.convert_to_numpy(weight))
                    if original is None or not np.array_equal(value, original, equal_nan=value.dtype.kind == "f"):
                        file.create_dataset(name, data=value)
                for number, slot in enumerate(self._slots()):
                    file.create_dataset(f"{_OPTIMIZER}{number}", data=np.asarray(keras.ops.convert_to_numpy(slot)))
            os.replace(work, path)
        finally:
            if os.path.exists(work):
                os.unlink(work)

    def load_weights(self, filepath: Any, skip_mismatch: bool = False, **kwargs: Any) -> None:
        """Read such a file: what is not in it gets the value that it came with."""
        with h5py.File(os.fspath(filepath), "r") as file:
            named = list(self._by_name())
            missing = [name for name, _, original in named if original is None and name not in file]
            found: list[str] = []
            file.visititems(lambda name, item: found.append(name) if isinstance(item, h5py.Dataset) else None)
            saved = [name for name in found if name.startswith(_OPTIMIZER)]
            unknown = sorted(set(found) - set(saved) - {name for name, _, _ in named})
            if missing or unknown:
                raise TrainingError(
                    "The checkpoint is that of another model.",
                    expected=f"values for {[name for name, _, original in named if original is None]}",
                    received=f"missing: {missing}, unknown: {unknown}",
                    where=os.fspath(filepath),
                    fix="tuner = keras_tuner.RandomSearch(..., overwrite=True)   # search anew",
                )
            for name, weight, original in named:
                weight.assign(file[name][()] if name in file else original)  # pyright: ignore
            slots = self._slots()
            kept: list[Any] = [file[f"{_OPTIMIZER}{number}"] for number in range(len(saved))]
            if [tuple(slot.shape) for slot in slots] == [value.shape for value in kept]:  # else trained otherwise
                for slot, value in zip(slots, kept, strict=True):
                    slot.assign(value[()])

    def _slots(self) -> list[Any]:
        """What the optimizer remembers, so that a trial that Hyperband goes on with later goes on as it was."""
        optimizer: Any = getattr(self, "optimizer", None)
        return list(optimizer.variables) if optimizer is not None and optimizer.built else []

    def _by_name(self) -> Any:
        """(name in the file, weight, the value that it came with or `None`) of each weight."""
        leases: Leases = self.__dict__.get("_leases") or Leases()  # a model that was loaded from a file has none
        inside: dict[int, tuple[str, Any]] = {}
        for number, layer in enumerate(access.hub_layers(self)):
            values = leases.values_of(layer)
            for place, weight in enumerate(access.weights(layer)):
                inside[id(weight)] = (f"hub_{number}/{place}", values.get(id(weight)))
        rest = 0
        for weight in self.weights:
            if id(weight) in inside:
                yield inside[id(weight)][0], weight, inside[id(weight)][1]
            else:
                yield f"model/{rest}", weight, None
                rest += 1
