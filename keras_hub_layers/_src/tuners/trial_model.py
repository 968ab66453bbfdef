"""TrialModel: the model of one trial, whose checkpoints hold only what was trained."""

import contextlib
import ctypes
import gc
import os
import tempfile
from collections.abc import Iterator, Sequence
from typing import Any

import h5py
import keras
import numpy as np

from keras_hub_layers._src.layers import access
from keras_hub_layers._src.public import public
from keras_hub_layers._src.tuners.model_pool import ModelPool
from keras_hub_layers.errors import TrainingError

__all__ = ["TrialModel", "free_memory"]


_OPTIMIZER = "optimizer/"


@public("tuners")
@keras.saving.register_keras_serializable(package="keras_hub_layers")
class TrialModel(keras.Model):
    """A functional model whose checkpoints leave out what the SavedModels inside came with, and hold the optimizer.

    A frozen SavedModel of a gigabyte then adds nothing to a checkpoint, and one of which a bias was tuned adds a bias.
    The rest is loaded from the SavedModel again, by `build` of the same hyperparameters. All other files that it writes
    are Keras' own, for any model of the same layers.
    """

    def set_pool(self, pool: ModelPool) -> None:
        """Tell the model which pool knows the first values of its SavedModels."""
        self.__dict__["_pool"] = pool

    def set_checkpoints(self, paths: Sequence[str]) -> None:
        """Tell the model which files are checkpoints of the search."""
        self.__dict__["_checkpoints"] = {os.path.abspath(path) for path in paths}

    def save_weights(self, filepath: Any, overwrite: bool = True, **kwargs: Any) -> None:
        """As Keras does; but a checkpoint of the search gets what differs from the SavedModels only, all at once."""
        path = os.fspath(filepath)
        if os.path.abspath(path) not in self.__dict__.get("_checkpoints", ()):
            super().save_weights(filepath, overwrite, **kwargs)
            return
        descriptor, work = tempfile.mkstemp(prefix=".work-", dir=os.path.dirname(os.path.abspath(path)))
        os.close(descriptor)
        try:
            with h5py.File(work, "w") as file:
                for name, weight, original in self._named_weights():
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
        """As Keras does; what a checkpoint of a search leaves out gets the value that it came with."""
        path = os.fspath(filepath)
        if not _is_checkpoint(path):
            super().load_weights(filepath, skip_mismatch, **kwargs)
            return
        with h5py.File(path, "r") as file:
            named = list(self._named_weights())
            saved: list[Any] = []
            file.visititems(lambda name, item: saved.append(name) if isinstance(item, h5py.Dataset) else None)
            own = [name for name, _, original in named if original is None]
            missing = [name for name in own if name not in file]
            slots = [name for name in saved if name.startswith(_OPTIMIZER)]
            unknown = sorted(set(saved) - set(slots) - {name for name, _, _ in named})
            if missing or unknown:
                raise _another_model(path, own, missing, unknown)
            for name, weight, original in named:
                weight.assign(file[name][()] if name in file else original)  # pyright: ignore
            self._assign_slots([file[f"{_OPTIMIZER}{number}"][()] for number in range(len(slots))])  # pyright: ignore

    def _assign_slots(self, values: Sequence[Any]) -> None:
        """Give the optimizer what it remembered, if it trains the same variables."""
        slots = self._slots()
        if [tuple(slot.shape) for slot in slots] == [np.shape(value) for value in values]:
            for slot, value in zip(slots, values, strict=True):
                slot.assign(value)

    def _slots(self) -> list[Any]:
        """What the optimizer remembers, so that a trial that Hyperband goes on with later goes on as it was."""
        optimizer: Any = getattr(self, "optimizer", None)
        return list(optimizer.variables) if optimizer is not None and optimizer.built else []

    def _named_weights(self) -> Iterator[tuple[str, Any, np.ndarray | None]]:
        """(name in a checkpoint, weight, the value that it came with or `None`) of each weight."""
        pool: ModelPool = self.__dict__.get("_pool") or ModelPool()  # a model that was loaded from a file has none
        inside: dict[int, tuple[str, Any]] = {}
        for number, layer in enumerate(access.hub_layers(self)):
            values = pool.first_values(layer)
            for place, weight in enumerate(access.weights(layer)):
                inside[id(weight)] = (f"hub_{number}/{place}", values.get(id(weight)))
        outside = 0
        for weight in self.weights:
            if id(weight) in inside:
                yield inside[id(weight)][0], weight, inside[id(weight)][1]
            else:
                yield f"model/{outside}", weight, None
                outside += 1


def _is_checkpoint(path: str) -> bool:
    """Whether a file is a checkpoint of a search; Keras' own files have other groups."""
    if not h5py.is_hdf5(path):
        return False
    with h5py.File(path, "r") as file:
        return all(name in ("model", "optimizer") or str(name).startswith("hub_") for name in file)


def _another_model(path: str, expected: list[str], missing: list[str], unknown: list[str]) -> TrainingError:
    return TrainingError(
        "The checkpoint is that of another model.",
        expected=f"values for {expected}",
        received=f"missing: {missing}, unknown: {unknown}",
        where=path,
        fix="tuner = keras_tuner.RandomSearch(..., overwrite=True)   # search anew",
    )


def free_memory() -> None:
    """Free the models of trials that have ended, and give the memory back to the operating system.

    Models are cycles of references. glibc keeps what was freed in pieces, and the more the larger the models are; other
    C libraries have no such function and do not need it.
    """
    gc.collect()
    with contextlib.suppress(AttributeError, OSError, TypeError):
        ctypes.CDLL(None).malloc_trim(0)
