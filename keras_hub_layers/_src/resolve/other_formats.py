"""Models in other formats than SavedModel: what a file or a folder is, and the line that opens it."""

import os
import re
from collections.abc import Iterable
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


# Pattern of the file's name -> what it is, and the line; the first that matches counts.
_FILES = (
    (r".*\.weights\.h5", "the weights of a Keras model, without the model", "model.load_weights({path!r})"),
    (r".*\.(keras|h5|hdf5)", "a Keras model", "model = keras.saving.load_model({path!r})   # a layer as any other"),
    (r".*\.tflite", "a LiteRT (TFLite) model", "tf.lite.Interpreter({path!r})" + _OTHER),
    (r".*\.onnx", "an ONNX model", "onnxruntime.InferenceSession({path!r})" + _OTHER),
    (r".*\.safetensors", "weights without a graph", "safetensors.safe_open({path!r}, 'np')" + _OTHER),
    (r".*\.msgpack", "the weights of a Flax model", _FLAX + _OTHER),
    (r"pytorch_model.*\.bin|.*\.(pt|pth)", "a PyTorch model", "torch.load({path!r})" + _OTHER),
    (r"saved_model\.(pb|pbtxt|cpb)", "a file of a SavedModel, which is a directory", "HubLayer({folder!r})"),
    (r".*\.pb", "a frozen TF1 graph, which has no variables", _FROZEN + _OTHER),
    (r"model\.json", "a TensorFlow.js model", "tf.loadGraphModel({path!r}) in JavaScript" + _OTHER),
    (r"checkpoint|.*\.index|.*\.data-\d+-of-\d+", "a TensorFlow checkpoint: values without a graph", _CHECKPOINT),
)


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
    parent = os.path.dirname(path)
    if os.path.basename(path) in ("variables", "assets") and os.path.isfile(os.path.join(parent, "saved_model.pb")):
        return Format("a folder of the SavedModel above it", f"HubLayer({parent!r})")
    if "config.json" in names and "model.weights.h5" in names:
        if {"task.json", "tokenizer.json", "preprocessor.json"} & set(names):
            return Format("a KerasHub preset", f"model = keras_hub.models.Backbone.from_preset({path!r})")
        pack = f"os.rename(shutil.make_archive({path!r}, 'zip', {path!r}), {path + '.keras'!r})"
        return Format("a Keras model, unpacked", f"{pack}\nmodel = keras.saving.load_model({path + '.keras'!r})")
    for pattern, what, fix in _FILES:
        found = next((name for name in names if re.fullmatch(pattern, name, re.IGNORECASE)), None)
        if found is not None:
            return Format(f"{what} ({found})", fix.format(path=os.path.join(path, found), folder=path))
    return None
