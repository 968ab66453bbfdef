"""A layer's config, and its SavedModel without weights as text: so a `.keras` file holds the graph and the assets."""

import base64
import io
import os
import shutil
import tempfile
import weakref
import zipfile
from collections.abc import Iterable
from typing import Any

from keras_hub_layers._src.inspect import code
from keras_hub_layers._src.savedmodel import load as load_lib
from keras_hub_layers._src.savedmodel import source as source_lib
from keras_hub_layers._src.savedmodel.checkpoints import rewrite
from keras_hub_layers._src.savedmodel.pruning import pruned_object
from keras_hub_layers._src.savedmodel.pruning.reach import Use
from keras_hub_layers.errors import ConfigError, LoadError, warn


class LiveHandle(str):
    """A handle in a config that a living layer gave out.

    Keras turns safe mode on by itself whenever it makes layers from configs, also for `clone_model`. A file or JSON
    holds plain text only, so this type tells the config of a layer of this process from one that somebody wrote.
    """


class EmbeddedHandle(LiveHandle):
    """A handle whose SavedModel came along in the config.

    Attributes:
        packed: The text that `pack` made.
    """

    packed: str

    def __new__(cls, handle: str, packed: str) -> "EmbeddedHandle":
        self = super().__new__(cls, handle)
        self.packed = packed
        return self


class LoadedHandle(LiveHandle):
    """A handle whose SavedModel is loaded already.

    Attributes:
        obj: The loaded object.
    """

    obj: Any

    def __new__(cls, handle: str, obj: Any) -> "LoadedHandle":
        self = super().__new__(cls, handle)
        self.obj = obj
        return self


def live_handle(handle: Any) -> LiveHandle:
    """The form of a handle, text or path, that goes into a config.

    Raises:
        errors.ConfigError: The handle is an object.
    """
    if not isinstance(handle, (str, os.PathLike)):
        raise _no_config(handle)
    return handle if isinstance(handle, EmbeddedHandle) else LiveHandle(os.fspath(handle))


def embed(config: dict[str, Any], obj: Any, weights: Iterable[Any]) -> dict[str, Any]:
    """A layer's config with the SavedModel in it, for a file that holds the weights elsewhere.

    Args:
        config: As `get_config` gives it out.
        obj: The loaded object of the layer.
        weights: The `tf.Variable`s of it whose values are stored elsewhere.
    """
    return {**config, "handle": str(config["handle"]), "embedded": pack(obj, weights)}


def extract(config: dict[str, Any]) -> dict[str, Any]:
    """The arguments of a layer from its config; a SavedModel that came along goes into the handle."""
    if isinstance(config.get("handle"), EmbeddedHandle):
        warn(
            f"handle {code.format_handle(config['handle'])}: this is a copy of a layer that came from a file, which "
            "holds the SavedModel's graph and not its first weights. They are NaN until they are set:\n"
            "copy.set_weights(model.get_weights())"
        )
    arguments = {name: value for name, value in config.items() if name != "embedded"}
    if "embedded" in config:
        arguments["handle"] = EmbeddedHandle(config["handle"], config["embedded"])
    return arguments


def pack(obj: Any, weights: Iterable[Any]) -> str:
    """The SavedModel that an object was loaded from, without these weights, as base64 text.

    Args:
        obj: An object that `loader.load` returned.
        weights: The `tf.Variable`s of it whose values are stored elsewhere.

    Raises:
        errors.ConfigError: The object was not loaded from a directory.
        errors.ExportError: The directory that it was loaded from is gone.
    """
    source = source_lib.source_of(obj)
    if source is None:
        raise _no_config(obj)
    source_lib.check_unchanged(source)
    buffer = io.BytesIO()
    with tempfile.TemporaryDirectory(prefix="keras_hub_layers_") as folder:
        model = os.path.join(folder, "model")
        rewrite.rewrite(source.directory, pruned_object.whole_object_if_loaded(obj), model, blank=weights)
        with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
            for path in sorted(_files(model)):
                archive.write(path, os.path.relpath(path, model))
    return base64.b85encode(buffer.getvalue()).decode("ascii")


def load(handle: EmbeddedHandle, tags: Any, options: Any, use: Use) -> Any:
    """Load an embedded SavedModel; its files stay for as long as the object (re-exports copy them).

    Raises:
        errors.LoadError: The text is damaged, or TensorFlow cannot load what it holds.
    """
    directory = tempfile.mkdtemp(prefix="keras_hub_layers_")
    try:
        with zipfile.ZipFile(io.BytesIO(base64.b85decode(handle.packed))) as archive:
            archive.extractall(directory)
        obj = load_lib.load_directory(directory, handle=str(handle), tags=tags, options=options, use=use)
    except (ValueError, zipfile.BadZipFile, OSError) as err:
        shutil.rmtree(directory, ignore_errors=True)
        if isinstance(err, LoadError):
            raise
        raise _damaged_error(handle, err) from err
    except BaseException:
        shutil.rmtree(directory, ignore_errors=True)
        raise
    weakref.finalize(obj, _remove, directory, os.getpid())  # at the latest when the process ends
    return obj


def _no_config(obj: Any) -> ConfigError:
    return ConfigError(
        "A layer that wraps an object of this process has no config, so it cannot be saved or cloned.",
        expected="a layer that was made from a handle",
        received=f"an object of type {type(obj).__name__}",
        fix='tf.saved_model.save(obj, "my_model"); layer = HubLayer("my_model")',
    )


def _damaged_error(handle: EmbeddedHandle, err: Exception) -> LoadError:
    return LoadError(
        "The SavedModel inside the file is damaged.",
        expected="the text that was written with the file",
        received=f"{type(err).__name__}: {err}",
        where=f"handle {code.format_handle(handle)}",
        fix="save the model again",
    )


def _remove(directory: str, process: int) -> None:
    """Delete the unpacked files, but not on behalf of a forked child."""
    if os.getpid() == process:
        shutil.rmtree(directory, ignore_errors=True)


def _files(folder: str) -> list[str]:
    return [os.path.join(parent, name) for parent, _, names in os.walk(folder) for name in names]
