"""LoadedExport: how a loaded object is written: as a copy of its source with a new checkpoint, or saved anew."""

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any

import tensorflow as tf

from keras_hub_layers._src.export import model_card, signatures, verification
from keras_hub_layers._src.inspect import inspect, interface
from keras_hub_layers._src.savedmodel import live_object
from keras_hub_layers._src.savedmodel import source as source_lib
from keras_hub_layers._src.savedmodel.checkpoints import compare, keys, rewrite
from keras_hub_layers._src.savedmodel.pruning import pruned_object
from keras_hub_layers.errors import ExportError, ExportWriteError, HubError, warn

__all__ = ["LoadedExport"]


class LoadedExport:
    """The export of an object from a SavedModel, or of a `tf.Module` of this process.

    Args:
        obj: The object.
        name: The object in words.
        signatures: Further functions by name, for an object that has no source. Defaults to none.
        **options: Those of a Keras export; none may be given.

    Raises:
        errors.ExportError: An option would change the interface of the source.
    """

    def __init__(self, obj: Any, name: str, *, signatures: Mapping[str, Any] | None = None, **options: Any) -> None:
        self.name = name
        self._object = obj
        self._source = source_lib.source_of(obj)
        self._variables = keys.live_variables(obj)
        self._given = dict(signatures or {})
        refused = [*options, *(["signatures"] if self._source is not None and signatures is not None else [])]
        if refused:
            raise _unchangeable(refused, inspect.inspect(obj))

    def variables(self) -> list[Any]:
        """The `tf.Variable`s whose values are exported."""
        return self._variables

    def may_stay(self, variable: Any) -> bool:
        """Whether a variable that is not finite is exported as it is.

        That is one which nothing uses or trains, such as a metric of Keras 2; and an infinite one, such as a mask,
        that cannot be trained and has the values of the source.
        """
        if self._source is None:
            return False
        whole = pruned_object.whole_object(self._object)
        if not any(each is variable for each in _variables_in_use(whole)):
            return True
        published = live_object.variables(whole, ())
        if any(each is variable for each in published.trainable) or not published.has_lists:
            return False
        return not bool(tf.reduce_any(tf.math.is_nan(variable))) and self._is_as_loaded(variable)

    def is_copy(self, directory: str) -> bool:
        """Whether what was written is the graph of the source, byte by byte."""
        if self._source is None:
            return False
        paths = [tf.io.gfile.join(folder, "saved_model.pb") for folder in (self._source.directory, directory)]
        if not all(tf.io.gfile.exists(path) for path in paths):
            return False
        first, second = (tf.io.gfile.GFile(path, "rb").read() for path in paths)
        return first == second

    def write(self, directory: str) -> None:
        """Write the SavedModel.

        Raises:
            errors.ExportError: The source is gone or was replaced, and its files are needed.
        """
        source = self._source
        if source is None:
            self._save_anew(directory)
            return
        source_lib.check_unchanged(source)
        try:
            rewrite.rewrite(source.directory, self._object, directory, variables=self._variables)
        except rewrite.SourceGone:
            if source.format != "tf2" or inspect.inspect(self._object).assets:
                raise
            warn(
                f"{self.name}: the SavedModel at {source.directory!r} is gone, so the object is saved anew with its "
                "signatures. Other files of the source, such as a model card, are lost."
            )
            self._save_anew(directory)
        except rewrite.CheckpointMismatch:
            if source.format != "tf2":
                raise
            self._save_anew(directory)

    def verify(self, directory: str, graphs: list[Any]) -> None:
        """Raise an `errors.ExportWriteError` unless the SavedModel holds and computes what the object does."""
        different = compare.different_keys(directory, self._object)
        if different:
            received = f"other values of {', '.join(different[:5])}"
            raise verification.not_whole(directory, "the weights of the live object", received)
        if self.is_copy(directory):
            return
        functions = self._signatures()
        runs = [verification.run_here(name, function, self._variables) for name, function in functions.items()]
        verification.check_runs(directory, graphs[0], [run for run in runs if run])

    def facts(self, directory: str) -> model_card.Facts:
        """What the model card says of what was written to a directory."""
        source = self._source
        if source is None or not self.is_copy(directory):
            info = inspect.inspect(self._object)
        else:
            info = inspect.of_files(directory, source)
        licence = model_card.licence_of(source.directory) if source else ""
        return dataclasses.replace(_describe(info, self.name), licences=(licence,))

    def _signatures(self) -> dict[str, Any]:
        given = {name: signatures.trace_signature(name, function) for name, function in self._given.items()}
        return {**dict(getattr(pruned_object.whole_object(self._object), "signatures", None) or {}), **given}

    def _save_anew(self, directory: str) -> None:
        """Without `signatures=`, TensorFlow picks any function that it finds as `serving_default`."""
        whole = pruned_object.whole_object(self._object)
        try:
            with tf.init_scope():
                tf.saved_model.save(whole, directory, signatures=self._signatures())
        except (HubError, OSError, tf.errors.OpError):
            raise
        except Exception as err:
            if self._given and "signature" in str(err).lower():
                raise signatures.refuse_signatures(list(self._given), err) from err
            raise _not_savable(err) from err

    def _is_as_loaded(self, variable: Any) -> bool:
        """Whether a variable has the values that the source's checkpoint has."""
        directory = self._source.directory if self._source else ""
        if not tf.io.gfile.exists(tf.io.gfile.join(directory, f"{keys.PREFIX}.index")):
            return False
        try:
            different = set(compare.different_keys(directory, self._object))
        except ExportWriteError:
            return False
        reader = tf.compat.v1.train.NewCheckpointReader(tf.io.gfile.join(directory, keys.PREFIX))
        places = keys.variables_by_key(self._object, reader).items()
        own = [key for key, parts in places if any(each is variable for each in parts)]
        return bool(own) and not different.intersection(own)


def _variables_in_use(obj: Any) -> Iterable[Any]:
    """Those that a function of the object captures, or that it publishes as trainable."""
    yield from live_object.variables(obj, ()).trainable
    for node in tf.train.TrackableView(obj).descendants():
        for function in getattr(node, "concrete_functions", None) or [node]:
            yield from getattr(function, "variables", None) or () if hasattr(function, "graph") else ()
    for function in (getattr(obj, "signatures", None) or {}).values():
        yield from function.variables


def _describe(info: interface.Interface, name: str) -> model_card.Facts:
    signature = info.signatures.get("serving_default") or next(iter(info.signatures.values()), None)
    return model_card.Facts(
        title=info.handle.rstrip("/").rpartition("/")[2] or name,
        origin=info.handle,
        inputs={name: str(spec) for name, spec in sorted(signature.inputs.items())} if signature else {},
        outputs={name: str(spec) for name, spec in sorted(signature.outputs.items())} if signature else {},
        traces=tuple(map(str, info.traces)),
        fine_tunable=info.fine_tunable,
        reason=info.reason,
        losses=info.regularization_losses,
        pieces=info.pieces,
        assets=info.assets,
        pixel_range=info.pixel_range,
    )


def _unchangeable(options: Iterable[str], source: interface.Interface) -> ExportError:
    """The error for options that a re-export has not; the fix is a model around the layer, which has them."""
    inputs = source.traces[0].inputs if source.traces else None
    if isinstance(inputs, dict):
        pairs = ", ".join(f"{key!r}: {_input(spec, key)}" for key, spec in inputs.items())
        code = f"inputs = {{{pairs}}}\nmodel = keras.Model(inputs, layer(inputs))"
    elif inputs is not None and not isinstance(inputs, list):
        code = f"model = keras.Sequential([{_input(inputs)}, layer])"
    else:
        code = "model = keras.Sequential([keras.Input(shape), layer])"
    return ExportError(
        "A re-export keeps exactly the interface of its source, its signatures too.",
        expected="none of trainable, input_spec, signatures, assets",
        received=", ".join(f"{name}=" for name in options),
        fix=f"{code}   # layer: the HubLayer, or HubLayer(loaded)\n"
        f'khl.export(model, "directory")   # its interface is yours: {", ".join(f"{name}=..." for name in options)}',
    )


def _input(spec: Any, name: str | None = None) -> str:
    named = f", name={name!r}" if name else ""
    return f"keras.Input({tuple(spec.shape[1:]) if spec.shape else ()}, dtype={spec.dtype!r}{named})"


def _not_savable(error: Exception) -> ExportError:
    text = str(error)
    if "untracked" in text:
        fix = "obj.table = table   # each table and variable that its functions use, as an attribute"
    else:
        fix = "try it with TensorFlow alone: tf.saved_model.save(obj, 'directory')"
    return ExportError(
        "The object cannot be saved.",
        expected="an object whose functions can be traced and whose tables and variables are its attributes",
        received=f"{type(error).__name__}: {text}",
        fix=fix,
    )
