"""export(target, directory): write a Reusable SavedModel, verify it, and only then let it take its place."""

import dataclasses
import os
import re
import tempfile
from collections.abc import Mapping
from typing import Any

import keras
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2

from keras_hub_layers._src.export import destinations, model_card, verification
from keras_hub_layers._src.export.keras_export import KerasExport
from keras_hub_layers._src.export.loaded_export import LoadedExport
from keras_hub_layers._src.export.other_backends.rebuilt_export import RebuiltExport
from keras_hub_layers._src.files import atomic
from keras_hub_layers._src.files.write_errors import write_error
from keras_hub_layers._src.layers import access
from keras_hub_layers._src.layers.access import hub_layers
from keras_hub_layers._src.layers.hub_layer import HubLayer
from keras_hub_layers._src.public import public
from keras_hub_layers._src.savedmodel import meta_graphs
from keras_hub_layers._src.savedmodel.checkpoints import keys
from keras_hub_layers._src.text import words
from keras_hub_layers._src.text.progress import progress
from keras_hub_layers.errors import ExportError, HubError, LoadError, add_place, warn

__all__ = ["check_finite", "export", "make_export", "variables_of", "write_export"]


# Names that Keras and KerasTuner count out, which say nothing to a reader of the card.
_NAMED_BY_KERAS = re.compile(r"(sequential|functional|model|trial_model|hub_layer)(_\d+)?")


Export = KerasExport | LoadedExport | RebuiltExport


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
    `serve`. The optimizer is left out, and each weight is stored once. Weights that are frozen now stay frozen for
    everybody who loads the export.

    The export of a `HubLayer` or a loaded object is a drop-in replacement of its source, with the current weights: all
    files but the checkpoint are the same, byte by byte. Where that is not possible, TensorFlow saves the object again
    with its signatures.

    The SavedModel is written beside its destination, verified, and then exchanged. So at any moment `directory` holds
    either the complete previous export or the complete new one. On a remote file system it becomes a new numbered
    directory below `directory`.

    Args:
        target: A `HubLayer`, a built `keras.Model` or `keras.layers.Layer`, or an object from
            `keras_hub_layers.load`, `tf.saved_model.load` or of type `tf.Module`.
        directory: Where to write: a path that is free, empty, or holds an earlier export.
        trainable: For a Keras model: `True` publishes all weights as trainable, whatever is frozen now, also the
            kernels below LoRA; only quantized ones, which are integers, stay frozen. `False` publishes none.
            Defaults to `None`: as they are now.
        input_spec: For a Keras layer that does not know its inputs: a `tf.TensorSpec` or other `tf.TypeSpec`, or a
            list or dict of them, with the batch axis. Defaults to `None`: as it was built.
        signatures: For a Keras model, or an object that was not loaded: dict of functions by name, which are added;
            one named `serving_default` or `serve` replaces the export's own. A concrete function, a `tf.function`, or
            a Python function; one without an `input_signature` is called with the inputs of the model. Defaults to
            none.
        assets: For a Keras model: dict of what else to put on the exported object, by attribute name: the path of a
            file (which is copied), a Keras layer (which becomes a piece: `HubLayer(directory, piece=name)`), or a
            TensorFlow trackable. Defaults to none.
        overwrite: Whether to replace an earlier export. Defaults to `True`.
        verify: Whether to read the export back and compare its outputs before it takes its place. Defaults to `True`.

    Returns:
        Path of the export, a `str`: `directory`, or on a remote file system `directory/<version>`.

    Raises:
        errors.ExportError: The target cannot be exported this way, its source is gone, its weights are NaN or
            infinite, it calls Python functions, or the destination holds something else. Nothing was written.
        errors.ExportWriteError: Writing or verifying failed. The destination is as it was.
        errors.BackendError: A Keras model on JAX or PyTorch that another process cannot make again on TensorFlow.

    Example:

    ```python
    import keras
    import keras_hub_layers as khl

    model = keras.Sequential([keras.Input((8,), name="features"), keras.layers.Dense(2)])
    khl.export(model, "my_model")
    layer = khl.layers.HubLayer("my_model", trainable=True)
    ```
    """
    if isinstance(target, (str, os.PathLike)) and not isinstance(directory, (str, os.PathLike)):
        raise _swapped(target, directory)
    directory = destinations.local_path(directory)
    destinations.check_scheme(directory)

    def write() -> str:
        if not overwrite and tf.io.gfile.exists(directory) and not destinations.is_remote(directory):
            raise _exists(directory)
        made = make_export(target, trainable=trainable, input_spec=input_spec, signatures=signatures, assets=assets)
        check_finite(made)
        return write_export(made, directory, verify=verify)

    with add_place(name_target(target)):
        return destinations.by_chief(write, variables_of(target), (verification.NotFinite,))


def _swapped(target: Any, directory: Any) -> ExportError:
    name = "model" if isinstance(directory, keras.Model) else "layer"
    return ExportError(
        "The arguments are in the wrong order: first what is exported, then the directory.",
        expected="khl.export(target, directory)",
        received=f"khl.export({target!r}, {name_target(directory)})",
        where="khl.export",
        fix=f"khl.export({name}, {os.fspath(target)!r})",
    )


def _exists(directory: str) -> ExportError:
    return ExportError(
        "The destination exists already.",
        expected="a path that is free, or overwrite=True",
        received="overwrite=False",
        where=directory,
        fix=f"khl.export(target, {directory!r}, overwrite=True)",
    )


def variables_of(target: Any) -> list[Any]:
    """The `tf.Variable`s whose values an export of a target may read."""
    if not isinstance(target, keras.layers.Layer):
        published = getattr(target, "variables", None)
        if isinstance(published, (list, tuple)) and published and not any(map(_is_distributed, published)):
            return list(published)  # all others were made in the same scope
        return keys.live_variables(target) if _is_trackable(target) else []
    variables = [weight.value for weight in target.variables]
    if any(map(_is_distributed, variables)):
        variables += [
            variable for hub in hub_layers(target) for variable in keys.live_variables(access.loaded_object(hub))
        ]
    return list({id(variable): variable for variable in variables}.values())


def make_export(target: Any, **options: Any) -> Export:
    """Decide how a target is written; nothing is written yet.

    Args:
        target: As `export` takes it.
        **options: `trainable`, `input_spec`, `signatures` and `assets` of `export`.

    Raises:
        errors.ExportError: The target is of no kind that can be exported, or does not take these options.
    """
    given = {name: value for name, value in options.items() if value is not None}
    if isinstance(target, HubLayer):
        return LoadedExport(access.loaded_object(target), name_target(target), **given)
    if isinstance(target, keras.layers.Layer):
        is_native = keras.backend.backend() == "tensorflow"
        return KerasExport(target, **given) if is_native else RebuiltExport(target, **given)
    if isinstance(target, tf.Module) or _is_trackable(target):
        return LoadedExport(target, name_target(target), **given)
    raise ExportError(
        "This cannot be exported.",
        expected="a HubLayer, a keras.Model or keras.layers.Layer, or a loaded object",
        received=f"an object of type {type(target).__name__}: {str(target)[:80]!r}",
        fix=f'khl.export(khl.load({os.fspath(target)!r}), "directory")   # it takes no handle'
        if isinstance(target, (str, os.PathLike))
        else 'khl.export(model, "directory")',
    )


def name_target(target: Any) -> str:
    """A target in words: its type, and its name if it is a layer."""
    if isinstance(target, keras.layers.Layer):
        return f"{type(target).__name__} {target.name!r}"
    return f"an object of type {type(target).__name__}"


def check_finite(made: Export) -> None:
    """Raise a `verification.NotFinite` if a weight that is used or trained is NaN or infinite."""
    broken = [v.name for v in made.variables() if not verification.is_finite(v) and not made.may_stay(v)]
    if broken:
        raise verification.refuse_values(broken)


def write_export(
    made: Export,
    directory: str,
    *,
    versions: bool = False,
    verify: bool = True,
    training: model_card.Training | None = None,
) -> str:
    """Write and verify an export beside its destination, and let it take its place.

    Args:
        made: What to write.
        directory: The destination.
        versions: Whether to write `directory/<largest number + 1>` instead. Defaults to `False`.
        verify: Whether to read the export back before. Defaults to `True`.
        training: What the model card says of the training. Defaults to `None`: nothing.

    Returns:
        Path of the export, a `str`.

    Raises:
        errors.HubError: As `export`.
    """

    def write(path: str) -> None:
        _write_and_check(made, path, verify)
        earlier = "" if versions else directory
        files = [os.path.join(folder, name) for folder, _, names in os.walk(path) for name in names]
        size = sum(os.path.getsize(file) for file in files if os.path.basename(file) != model_card.NAME)
        facts = made.facts(path)
        if _NAMED_BY_KERAS.fullmatch(facts.title):
            facts = dataclasses.replace(facts, title=os.path.basename(directory.rstrip("/")) or facts.title)
        model_card.write_card(path, earlier, model_card.make_card(facts, training or model_card.Training(), size))

    try:
        if destinations.is_remote(directory):
            with tempfile.TemporaryDirectory() as folder:
                path = os.path.join(folder, "export")
                write(path)
                return destinations.upload(path, directory)
        swap = atomic.add_version if versions else atomic.replace_directory
        with swap(directory) as work:
            write(work.path)
        return work.destination
    except HubError:
        raise
    except (OSError, tf.errors.OpError) as err:
        raise write_error(err, directory) from err


def _write_and_check(made: Export, path: str, verify: bool) -> None:
    with progress(f"writing the export of {made.name}"):
        made.write(path)
    try:
        graphs = meta_graphs.read_meta_graphs(path, saved_model_pb2.SavedModel)  # TensorFlow runs them
    except LoadError as err:
        raise verification.not_whole(path, "a saved_model.pb that parses", str(err)) from err
    calls = verification.find_python_calls(graphs)
    if calls and not made.is_copy(path):
        raise verification.refuse_python(calls)
    if calls:
        warn(
            f"{made.name}: its SavedModel calls Python functions (tf.numpy_function or tf.py_function) at "
            f"{words.join_names(calls)}: in another process these calls fail, in the source and in the export."
        )
    if verify:
        with progress(f"verifying the export of {made.name}: it is read back and run"):
            verification.check_files(path, graphs)
            made.verify(path, graphs)


def _is_distributed(variable: Any) -> bool:
    return isinstance(variable, tf.distribute.DistributedValues)


def _is_trackable(obj: Any) -> bool:
    try:
        tf.train.TrackableView.children(obj)
    except (AttributeError, ValueError, TypeError):
        return False
    return True
