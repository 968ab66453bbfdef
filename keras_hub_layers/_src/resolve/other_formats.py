"""Models in other formats than SavedModel: what a file or a folder is, and the line that opens it."""

import json
import os
import re
from collections.abc import Iterable
from contextlib import suppress
from typing import NamedTuple


class Format(NamedTuple):
    """What something is that is no SavedModel.

    Attributes:
        what: In words, `"a Keras model"`.
        fix: The line that opens it, or that gives what belongs to it.
    """

    what: str
    fix: str


_OTHER = "   # and ask its publisher for a SavedModel, to use it in Keras"


_FLAX = "flax.serialization.msgpack_restore(open({path!r}, 'rb').read())"


_FROZEN = "tf.compat.v1.GraphDef.FromString(open({path!r}, 'rb').read())"


_CHECKPOINT = "tf.train.Checkpoint(model=model).restore(tf.train.latest_checkpoint({folder!r}))"


# What stands in a Git repository for a large file, when the file itself was not fetched.
_LFS_START = b"version https://git-lfs.github.com/spec/"


LFS_FIX = (
    "fetch the file itself. In a clone of the repository:\ngit lfs pull\n"
    "By URL: https://github.com/OWNER/REPO/raw/BRANCH/FILE, or https://huggingface.co/OWNER/REPO/resolve/BRANCH/FILE"
)


# Pattern of the file's name -> what it is, and the line; the first that matches counts.
_FILES = (
    (r".*\.weights\.h5", "the weights of a Keras model, without the model", "model.load_weights({path!r})"),
    (r".*\.(keras|h5|hdf5)", "a Keras model", "model = keras.saving.load_model({path!r})   # a layer as any other"),
    (r".*\.tflite", "a LiteRT (TFLite) model", "tf.lite.Interpreter({path!r})" + _OTHER),
    (r".*\.onnx", "an ONNX model", "onnxruntime.InferenceSession({path!r})" + _OTHER),
    (r".*\.safetensors", "weights without a graph", "safetensors.safe_open({path!r}, 'np')" + _OTHER),
    (r".*\.msgpack", "the weights of a Flax model", _FLAX + _OTHER),
    (r"pytorch_model.*\.bin|.*\.(pt|pth)", "a PyTorch model", "torch.load({path!r})" + _OTHER),
    (
        r"saved_model\.(pb|pbtxt|cpb)|fingerprint\.pb|keras_metadata\.pb|tfhub_module\.pb",
        "a file of a SavedModel, which is a directory",
        "HubLayer({folder!r})",
    ),
    (r".*\.pb", "a frozen TF1 graph, which has no variables", _FROZEN + _OTHER),
    (r"model\.json", "a TensorFlow.js model", "tf.loadGraphModel({path!r}) in JavaScript" + _OTHER),
    (r"checkpoint|.*\.index|.*\.data-\d+-of-\d+", "a TensorFlow checkpoint: values without a graph", _CHECKPOINT),
)


def is_lfs_pointer(start: bytes) -> bool:
    """Whether a file that begins like this is a Git-LFS pointer, and not what it stands for."""
    return start.startswith(_LFS_START)


def lfs_pointers(directory: str) -> list[str]:
    """The files of a SavedModel that are Git-LFS pointers, as relative paths."""
    pointers = []
    for folder in ("", "variables", "assets"):
        with suppress(FileNotFoundError, NotADirectoryError), os.scandir(os.path.join(directory, folder)) as entries:
            files = sorted(entry.name for entry in entries if entry.is_file() and entry.stat().st_size < 1024)
            for name in files:  # a pointer has some 130 bytes
                with suppress(OSError), open(os.path.join(directory, folder, name), "rb") as file:
                    pointers += [os.path.join(folder, name)] if is_lfs_pointer(file.read(len(_LFS_START))) else []
    return pointers


def of_file(path: str) -> Format | None:
    """What a file is, by its name; `None` if the name does not say."""
    name = os.path.basename(path)
    for pattern, what, fix in _FILES:
        if re.fullmatch(pattern, name, re.IGNORECASE):
            return Format(what, fix.format(path=path, folder=os.path.dirname(path)))
    return None


def of_folder(path: str, names: Iterable[str]) -> Format | None:
    """What a folder without a SavedModel is, by the names in it; `None` if they do not say."""
    names = sorted(names)
    if lost := _saved_model_without_graph(path, names):
        return lost
    parent = os.path.dirname(path)
    if os.path.basename(path) in ("variables", "assets") and os.path.isfile(os.path.join(parent, "saved_model.pb")):
        return Format("a folder of the SavedModel above it", f"HubLayer({parent!r})")
    if transformers := _transformers(path, names):
        return transformers
    if "config.json" in names and "model.weights.h5" in names:
        if {"task.json", "tokenizer.json", "preprocessor.json"} & set(names):
            return Format("a KerasHub preset", f"model = keras_hub.models.Backbone.from_preset({path!r})")
        pack = f"os.rename(shutil.make_archive({path!r}, 'zip', {path!r}), {path + '.keras'!r})"
        return Format("a Keras model, unpacked", f"{pack}\nmodel = keras.saving.load_model({path + '.keras'!r})")
    for pattern, what, fix in _FILES:
        member = next((name for name in names if re.fullmatch(pattern, name, re.IGNORECASE)), None)
        if member is not None:
            return Format(f"{what} ({member})", fix.format(path=os.path.join(path, member), folder=path))
    return None


def _saved_model_without_graph(path: str, names: list[str]) -> Format | None:
    """What is left of a SavedModel whose graph did not come with it."""
    signs = [name for name in ("fingerprint.pb", "tfhub_module.pb", "keras_metadata.pb") if name in names]
    if not signs and not os.path.isfile(os.path.join(path, "variables", "variables.index")):
        return None
    what = f"a SavedModel without its graph: saved_model.pb is missing beside {signs[0] if signs else 'variables'}"
    return Format(what, "copy or download the whole directory again: saved_model.pb, with variables and assets")


def _transformers(path: str, names: list[str]) -> Format | None:
    """The weights of a Transformers model, told by its configuration."""
    try:
        with open(os.path.join(path, "config.json"), encoding="utf-8") as file:
            config = json.load(file)
    except (OSError, ValueError):
        return None
    if not isinstance(config, dict) or not {"model_type", "architectures", "transformers_version"} & config.keys():
        return None
    weights = next((name for name in names if name.endswith((".bin", ".safetensors", ".h5", ".msgpack"))), None)
    if weights is None:
        return None
    repo = str(config.get("_name_or_path", ""))
    repo = repo if re.fullmatch(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*", repo) else "owner/repo"
    return Format(
        f"the weights of a Transformers model, without a graph ({weights})",
        f"if its repository on Hugging Face holds a SavedModel, name that:\nHubLayer('hf://{repo}')",
    )
