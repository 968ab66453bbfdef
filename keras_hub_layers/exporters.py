"""export(target, directory): write a Reusable SavedModel, verify it, and only then let it take its place."""

import os
import re
import tempfile
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import keras
import tensorflow as tf

from keras_hub_layers import checkpoints, checks, layers, loader, roots, swapping
from keras_hub_layers.errors import ExportError, ExportWriteError, HubError, HubWarning, explain

__all__ = ["Plan", "export", "place", "plan"]


@dataclass(frozen=True, eq=False)
class Plan:
    """How a target is written; decided once, used as often as it is exported.

    Attributes:
        write: Writes the SavedModel to a path that is an empty directory.
        verify: Raises unless the SavedModel at a path computes what the live target does.
        variables: The `tf.Variable`s whose values are exported.
        where: The target in words, for error texts.
    """

    write: Callable[[str], None]
    verify: Callable[[str], None]
    variables: Callable[[], list[Any]]
    where: str


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
            explain(
                "The destination exists already.",
                expected="a path that is free, or overwrite=True",
                received="overwrite=False",
                where=directory,
                fix=f"khl.export(target, {directory!r}, overwrite=True)",
            )
        )
    made = plan(target, trainable=trainable, input_spec=input_spec, signatures=signatures, assets=assets)
    check_finite(made)
    return place(made, directory, verify=verify)


def plan(target: Any, **options: Any) -> Plan:
    """Decide how a target is written; nothing is written yet.

    Args:
        target: As `export` takes it.
        **options: `trainable`, `input_spec`, `signatures` and `assets` of `export`.

    Raises:
        errors.ExportError: The target is of no kind that can be exported, or does not take these options.
    """
    given = {name: value for name, value in options.items() if value is not None}
    if isinstance(target, layers.HubLayer):
        return _plan_of_loaded(target.resolved_object, given, f"HubLayer {target.name!r}")
    if isinstance(target, keras.layers.Layer):
        return _plan_of_keras(roots.Root(target, **given), target)
    if isinstance(target, tf.Module) or _is_trackable(target):
        return _plan_of_loaded(target, given, f"an object of type {type(target).__name__}")
    raise ExportError(
        explain(
            "Nothing that can be exported.",
            expected="a HubLayer, a keras.Model or keras.layers.Layer, or a loaded object",
            received=f"an object of type {type(target).__name__}: {str(target)[:80]!r}",
            where="khl.export",
            fix='khl.export(model, "directory")',
        )
    )


def place(made: Plan, directory: str, *, versions: bool = False, verify: bool = True) -> str:
    """Write and verify a plan beside its destination, and let it take its place.

    Args:
        made: What to write.
        directory: The destination.
        versions: Whether to write `directory/<largest number + 1>` instead. Defaults to `False`.
        verify: Whether to read the export back before. Defaults to `True`.

    Returns:
        Path of the export, a `str`.

    Raises:
        errors.HubError: As `export`.
    """

    def write(path: str) -> None:
        made.write(path)
        if verify:
            made.verify(path)

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
        swap = swapping.versioning if versions else swapping.replacing
        with swap(directory) as work:
            write(work.path)
        return work.destination
    except HubError:
        raise
    except (OSError, tf.errors.OpError) as err:
        raise ExportWriteError(
            explain(
                "The export could not be written; what was there before is untouched.",
                expected="a destination with room that can be written to",
                received=f"{type(err).__name__}: {err}",
                where=directory,
                fix='free space or choose another place: khl.export(target, "another/directory")',
            )
        ) from err


def check_finite(made: Plan) -> None:
    """Raise an `errors.ExportError` if any weight is NaN or infinite."""
    broken = [
        variable.name
        for variable in made.variables()
        if variable.dtype.is_floating and not bool(tf.reduce_all(tf.math.is_finite(tf.convert_to_tensor(variable))))
    ]
    if broken:
        raise ExportError(
            explain(
                "Weights are NaN or infinite, so they are not exported; what was there before is untouched.",
                expected="finite weights",
                received=", ".join(broken[:5]) + (f" and {len(broken) - 5} more" if len(broken) > 5 else ""),
                where=made.where,
                fix="export the best epoch instead, and lower the learning rate:\n"
                'ExportFinetuned(directory, monitor="val_loss"), keras.optimizers.Adam(1e-4, clipnorm=1.0)',
            )
        )


def local_path(directory: str | os.PathLike[str]) -> str:
    """A destination as a plain path: `~` expanded, `file://` removed; of another file system as it is."""
    path = os.fspath(directory)
    return os.path.expanduser(path.removeprefix("file://"))


def is_remote(directory: str) -> bool:
    """Whether a path names a file system other than the local one."""
    return re.match(r"[a-z][a-z0-9+.-]*://", directory) is not None


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


# -- loaded objects ----------------------------------------------------------------------------------------------------


def _plan_of_loaded(obj: Any, given: Mapping[str, Any], where: str) -> Plan:
    if given:
        raise ExportError(
            explain(
                "A re-export keeps the interface of its source.",
                expected="none of trainable, input_spec, signatures, assets",
                received=", ".join(f"{name}=" for name in given),
                where=where,
                fix="wrap it to change the interface: keras.Sequential([keras.Input(shape), layer])",
            )
        )
    source = loader.source_of(obj)

    def write(path: str) -> None:
        if source is None:
            _save_anew(obj, path)
            return
        try:
            checkpoints.rewrite(source.directory, obj, path)
        except checkpoints.SourceGone:
            if source.format != "tf2" or _has_assets(obj):
                raise
            warnings.warn(
                f"{where}: the SavedModel at {source.directory!r} is gone, so the object is saved anew with its "
                "signatures; other files that lay there, such as a model card, are lost.",
                HubWarning,
                stacklevel=2,
            )
            _save_anew(obj, path)
        except checkpoints.CheckpointMismatch:
            if source.format != "tf2":
                raise
            _save_anew(obj, path)

    def verify(path: str) -> None:
        checks.check_files(path)
        differing = checkpoints.differing(path, obj)
        if differing:
            raise checks.broken(path, "the weights of the live object", f"other values of {', '.join(differing[:5])}")

    return Plan(write=write, verify=verify, variables=lambda: checkpoints.live_variables(obj), where=where)


def _save_anew(obj: Any, path: str) -> None:
    """Without `signatures=`, TensorFlow picks any function that it finds as `serving_default`."""
    signatures = dict(getattr(obj, "signatures", None) or {})
    with tf.init_scope():
        tf.saved_model.save(obj, path, signatures=signatures)


def _has_assets(obj: Any) -> bool:
    return any(isinstance(node, tf.saved_model.Asset) for node in tf.train.TrackableView(obj).descendants())


def _is_trackable(obj: Any) -> bool:
    try:
        tf.train.TrackableView.children(obj)
    except (AttributeError, ValueError, TypeError):
        return False
    return True


# -- Keras models ------------------------------------------------------------------------------------------------------


def _plan_of_keras(root: roots.Root, layer: Any) -> Plan:
    def verify(path: str) -> None:
        checks.check_files(path)
        root.verify(path)

    return Plan(
        write=root.save,
        verify=verify,
        variables=lambda: list(root.object.variables),
        where=f"{type(layer).__name__} {layer.name!r}",
    )


# -- remote file systems -----------------------------------------------------------------------------------------------


def _upload(path: str, directory: str) -> str:
    """Copy to a new version; `saved_model.pb` last, since readers take its presence for the whole."""
    names = tf.io.gfile.listdir(directory) if tf.io.gfile.isdir(directory) else []
    version = swapping.next_version([name.rstrip("/") for name in names])
    destination = tf.io.gfile.join(directory, str(version))
    files = [os.path.join(folder, name) for folder, _, found in os.walk(path) for name in found]
    try:
        for file in sorted(files, key=lambda file: (os.path.relpath(file, path) == "saved_model.pb", file)):
            target = tf.io.gfile.join(destination, os.path.relpath(file, path).replace(os.sep, "/"))
            tf.io.gfile.makedirs(target.rpartition("/")[0])
            tf.io.gfile.copy(file, target)
    except BaseException:
        if tf.io.gfile.exists(destination):
            tf.io.gfile.rmtree(destination)
        raise
    return destination
