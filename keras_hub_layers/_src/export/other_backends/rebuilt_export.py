"""RebuiltExport: a new process makes the model again on TensorFlow, from its config and weights, and exports it."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_hub_layers._src import sample_inputs, tensorflow_process
from keras_hub_layers._src.export import model_card, verification
from keras_hub_layers._src.export.save import save
from keras_hub_layers._src.inspect import specs
from keras_hub_layers._src.savedmodel import live_functions
from keras_hub_layers.errors import BackendError, ExportError, warn

_CODE = "from keras_hub_layers._src.export.other_backends import rebuild; rebuild.answer()"
_SECONDS = 3600  # that it may take: it loads TensorFlow and the model, and verifies what it wrote
_TOLERANCE = 1e-3  # relative to the largest number: two backends round differently


class RebuiltExport:
    """The export of a Keras model of another backend than TensorFlow's; the members are those of `KerasExport`.

    Args:
        layer: A `keras.Model` that is built.
        trainable: As `keras_hub_layers.export` takes it.
        **others: Further arguments of it, of which only files as `assets` can be handed on.

    Raises:
        errors.BackendError: The model, or an argument, cannot be handed to another process.
    """

    def __init__(self, layer: Any, *, trainable: bool | None = None, **others: Any) -> None:
        self.name = f"{type(layer).__name__} {layer.name!r}"
        self._layer = layer
        self._options = {"trainable": trainable, "assets": _paths(others.pop("assets", None))}
        self._facts: dict[str, Any] = {}
        if others:
            raise _refusal(f"{', '.join(f'{name}=' for name in others)}, which needs tensors of TensorFlow")
        if not isinstance(layer, keras.Model):
            raise _refusal(f"a {type(layer).__name__}, which is no keras.Model and cannot be saved by itself")

    def variables(self) -> list[Any]:
        """None of TensorFlow's."""
        return []

    def may_stay(self, variable: Any) -> bool:
        return False

    def is_copy(self, directory: str) -> bool:
        return False

    def write(self, directory: str) -> None:
        """Write the SavedModel.

        Raises:
            errors.ExportError: The model cannot be made again on TensorFlow, or a weight is NaN or infinite.
        """
        broken = [weight.path for weight in self._layer.weights if not verification.is_finite(weight)]
        if broken:
            raise verification.refuse_values(broken)
        with tempfile.TemporaryDirectory() as folder:
            model, exported = os.path.join(folder, "model.keras"), os.path.join(folder, "export")
            save(self._layer, model)
            self._facts = _run({"model": model, "directory": exported, **self._options})
            os.remove(os.path.join(exported, model_card.NAME))  # it is written anew
            shutil.copytree(exported, directory, dirs_exist_ok=True)
        for note in self._facts["notes"]:
            warn(f"{self._layer.name!r}: {note}")

    def verify(self, directory: str, graphs: list[Any]) -> None:
        """Raise an `errors.ExportWriteError` unless the SavedModel computes what the model computes here."""
        loaded = tf.saved_model.load(directory)
        function: Any = live_functions.call_function(loaded)
        inputs = sample_inputs.made_up(specs.spec_of(function.usable_traces[0].inputs))
        there = tf.nest.flatten(loaded(inputs, training=False))
        here = keras.tree.flatten(self._layer(tf.nest.map_structure(np.asarray, inputs), training=False))
        for result, tensor in zip(here, there, strict=True):
            known: Any = keras.ops.convert_to_numpy(result)
            value: Any = np.asarray(tensor)
            apart = np.abs(known.astype("float64") - value.astype("float64")).max(initial=0.0)
            if known.shape != value.shape or not apart <= _TOLERANCE * max(1.0, np.abs(known).max(initial=0.0)):
                raise verification.not_whole(
                    directory,
                    f"the outputs that the model has on the backend {keras.backend.backend()!r}",
                    f"others, which differ by up to {apart:.1e}",
                )

    def facts(self, directory: str) -> model_card.Facts:
        """What the model card says."""
        return model_card.Facts(**self._facts)


def _paths(assets: Mapping[str, Any] | None) -> dict[str, str] | None:
    """Assets that are paths of files."""
    for name, value in (assets or {}).items():
        if not isinstance(value, (str, os.PathLike)):
            raise _refusal(f"assets={{{name!r}: a {type(value).__name__}}}, which is no path of a file")
    return None if assets is None else {name: os.path.abspath(os.fspath(value)) for name, value in assets.items()}


def _run(request: dict[str, Any]) -> dict[str, Any]:
    """What the new process says of the export."""
    try:
        reply = tensorflow_process.run(_CODE, request, _SECONDS)
    except subprocess.TimeoutExpired as err:
        raise _failure(f"a process that took more than {_SECONDS} s") from err
    except OSError as err:
        raise _failure(f"a process that could not be started: {err}") from err
    if not reply.answers:
        raise _failure(f"the process ended with status {reply.status}: {reply.last_error}")
    answer = reply.answers[-1]
    if "error" in answer:
        raise _failure(answer["error"])
    return answer


def _refusal(received: str) -> BackendError:
    return BackendError(
        f"A Keras model is exported from the backend {keras.backend.backend()!r} by another process, on TensorFlow.",
        expected="a keras.Model that can be saved as a .keras file, and no other arguments than files as assets",
        received=received,
        fix='keras_hub_layers.save(model, "model.keras")   # export it in a process with KERAS_BACKEND=tensorflow',
    )


def _failure(received: str) -> ExportError:
    return ExportError(
        "The model could not be made again on TensorFlow, which its export needs.",
        expected="layers of Keras, or registered classes of a module that another process can import, in keras.ops",
        received=received,
        fix='keras_hub_layers.save(model, "model.keras")   # export it in a process with KERAS_BACKEND=tensorflow',
    )
