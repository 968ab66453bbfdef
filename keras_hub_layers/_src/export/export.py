"""export(target, directory): write a Reusable SavedModel, verify it, and only then let it take its place."""

import os
import shutil
import tempfile
from collections.abc import Mapping
from typing import Any

import tensorflow as tf

from keras_hub_layers._src.export import model_card, plan, targets
from keras_hub_layers._src.export.destinations import _upload, is_remote, local_path
from keras_hub_layers._src.files import atomic
from keras_hub_layers._src.files.write_errors import write_error
from keras_hub_layers._src.public import public
from keras_hub_layers._src.text import words
from keras_hub_layers.errors import ExportError, HubError

__all__ = ["check_finite", "export", "is_chief", "place"]


@public()
def export(
    target: Any,
    directory: str | os.PathLike[str],
    *,
    trainable: bool | None = None,
    input_spec: Any = None,
    signatures: Mapping[str, Any] | None = None,
    assets: Mapping[str, Any] | None = None,
    overwrite: bool = True,
    verify: bool = True,
) -> str:
    """Write a Reusable SavedModel that others can load, call and fine-tune.

    A Keras model or layer is traced for inference and for training, with a free batch axis, and published
    with its variables, regularization losses, lookup tables and assets, and the signatures `serving_default` and
    `serve`; without the optimizer, and each weight once. What is frozen now is frozen for those who load it.

    A `HubLayer` or a loaded object is written again as a drop-in replacement of what it was loaded from, with the
    weights of now: all files but the checkpoint are the same, byte by byte. Where that cannot be, TensorFlow saves
    it anew with the signatures that it has.

    The SavedModel is written beside its destination, verified and swapped in, so that `directory` holds the
    previous export or the new one, whole, at any moment. On a remote file system it becomes a new numbered
    directory below `directory`.

    Args:
        target: A `HubLayer`, a built `keras.Model` or `keras.layers.Layer`, or an object from
            `keras_hub_layers.load`, `tf.saved_model.load` or of type `tf.Module`.
        directory: Where to write: a path that is free, empty, or holds an earlier export.
        trainable: For a Keras model: `True` publishes all weights as trainable, whatever is frozen now; `False`
            none. Defaults to `None`: as they are now.
        input_spec: For a Keras layer that does not know its inputs: a `tf.TensorSpec` or other `tf.TypeSpec`, or a
            list or dict of them, with the batch axis. Defaults to `None`: as it was built.
        signatures: For a Keras model: dict of further `tf.function`s with an `input_signature`, by name.
            Defaults to none.
        assets: For a Keras model: dict of what else to put on the exported object, by attribute name: the path of a
            file (which is copied), a Keras layer (which becomes a piece: `HubLayer(directory, piece=name)`), or a
            TensorFlow trackable. Defaults to none.
        overwrite: Whether to replace an earlier export. Defaults to `True`.
        verify: Whether to read the export back and compare its outputs before it takes its place. Defaults to `True`.

    Returns:
        Path of the export, a `str`: `directory`, or on a remote file system `directory/<version>`.

    Raises:
        errors.ExportError: The target cannot be exported this way, its source is gone, its weights are NaN or
            infinite, or the destination holds something else. Nothing was written.
        errors.ExportWriteError: Writing or verifying failed. The destination is as it was.
        errors.BackendError: A Keras model on another backend than TensorFlow's.

    Example:

    ```python
    import keras
    import keras_hub_layers as khl

    model = keras.Sequential([keras.Input((8,), name="features"), keras.layers.Dense(2)])
    khl.export(model, "my_model")
    layer = khl.layers.HubLayer("my_model", trainable=True)
    ```
    """
    directory = local_path(directory)
    if not overwrite and tf.io.gfile.exists(directory) and not is_remote(directory):
        raise ExportError(
            "The destination exists already.",
            expected="a path that is free, or overwrite=True",
            received="overwrite=False",
            where=directory,
            fix=f"khl.export(target, {directory!r}, overwrite=True)",
        )
    made = targets.plan(target, trainable=trainable, input_spec=input_spec, signatures=signatures, assets=assets)
    check_finite(made)
    return place(made, directory, verify=verify)


def place(
    made: plan.Plan,
    directory: str,
    *,
    versions: bool = False,
    verify: bool = True,
    metrics: Mapping[str, float] | None = None,
) -> str:
    """Write and verify a plan beside its destination, and let it take its place.

    Args:
        made: What to write.
        directory: The destination.
        versions: Whether to write `directory/<largest number + 1>` instead. Defaults to `False`.
        verify: Whether to read the export back before. Defaults to `True`.
        metrics: Names and values for the model card. Defaults to none.

    Returns:
        Path of the export, a `str`.

    Raises:
        errors.HubError: As `export`.
    """

    def write(path: str) -> None:
        made.write(path)
        if verify:
            made.verify(path)
        if made.facts is not None:
            _write_card(path, "" if versions else directory, model_card.card(made.facts(), metrics or {}))

    try:
        if not is_chief(made.variables()):  # every worker takes part in reading the variables; one writes
            with tempfile.TemporaryDirectory() as folder:
                made.write(os.path.join(folder, "export"))
            return directory
        if is_remote(directory):
            with tempfile.TemporaryDirectory() as folder:
                path = os.path.join(folder, "export")
                write(path)
                return _upload(path, directory)
        swap = atomic.add_version if versions else atomic.replace_directory
        with swap(directory) as work:
            write(work.path)
        return work.destination
    except HubError:
        raise
    except (OSError, tf.errors.OpError) as err:
        raise write_error(err, directory) from err


def _write_card(path: str, destination: str, text: str) -> None:
    """Put a model card into an export, unless its source or its destination has one that somebody wrote."""
    card = os.path.join(path, model_card.NAME)
    earlier = os.path.join(destination, model_card.NAME)
    if destination and os.path.isfile(earlier) and not model_card.is_untouched(_read(earlier)):
        shutil.copyfile(earlier, card)
    elif not os.path.exists(card) or model_card.is_untouched(_read(card)):
        with open(card, "w", encoding="utf-8") as file:
            file.write(text)


def _read(path: str) -> str:
    with open(path, encoding="utf-8", errors="replace") as file:
        return file.read()


def check_finite(made: plan.Plan) -> None:
    """Raise an `errors.ExportError` if any weight is NaN or infinite."""
    broken = [v.name for v in made.variables() if v.dtype.is_floating and not _is_finite(tf.convert_to_tensor(v))]
    if broken:
        raise ExportError(
            "Weights are NaN or infinite, so they are not exported; what was there before is untouched.",
            expected="finite weights",
            received=words.listed(broken),
            where=made.where,
            fix="export the best epoch instead, and lower the learning rate:\n"
            'ExportFinetuned(directory, monitor="val_loss"), keras.optimizers.Adam(1e-4, clipnorm=1.0)',
        )


def _is_finite(values: Any) -> bool:
    """Whether no value is NaN or infinite. A finite sum proves it, in half the time of a look at each."""
    return bool(tf.math.is_finite(tf.reduce_sum(values))) or bool(tf.reduce_all(tf.math.is_finite(values)))


def is_chief(variables: list[Any]) -> bool:
    """Whether this process writes, among the workers of a distribution strategy."""
    for variable in variables:
        resolver = getattr(getattr(variable, "distribute_strategy", None), "cluster_resolver", None)
        if resolver is not None and resolver.task_type is not None:
            return resolver.task_type == "chief" or (
                resolver.task_type == "worker"
                and resolver.task_id == 0
                and "chief" not in resolver.cluster_spec().as_dict()
            )
    return True
