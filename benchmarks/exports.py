"""Rows of the export of a Keras model: seconds and bytes, and the bytes of files without the optimizer."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np


def mobilenet() -> Any:
    return keras.applications.MobileNetV2(weights=None, include_top=False, pooling="avg", input_shape=(96, 96, 3))


def bert(width: int = 384, depth: int = 8, words: int = 20000) -> Any:
    layers = keras.layers
    ids = keras.Input((None,), dtype="int32", name="input_word_ids")
    h = layers.LayerNormalization()(layers.Embedding(words, width)(ids))
    for _ in range(depth):
        h = layers.LayerNormalization()(h + layers.MultiHeadAttention(6, width // 6, dropout=0.1)(h, h))
        h = layers.LayerNormalization()(h + layers.Dense(width)(layers.Dense(4 * width, activation="gelu")(h)))
    outputs = {"sequence_output": h, "pooled_output": layers.Dense(width, activation="tanh")(h[:, 0])}
    return keras.Model(ids, outputs)


def tiny() -> Any:
    return keras.Sequential([keras.Input((8,)), keras.layers.Dense(8)])


MODELS = {"mobilenet": mobilenet, "bert": bert, "tiny": tiny}


def rows(side: str, name: str, folder: str, took: Callable[..., tuple[float, Any]]) -> dict[str, float]:
    """Seconds and megabytes. Each model is a new one, so that none profits from an earlier trace.

    Args:
        side: `"raw"` for Keras' own export, or `"ours"`.
        name: Which model.
        folder: A directory for the exports.
        took: Calls a function and gives its seconds.
    """
    os.makedirs(folder, exist_ok=True)
    model = MODELS[name]()
    path = os.path.join(folder, "of_keras")
    if side == "raw":
        seconds, _ = took(lambda: model.export(path, verbose=False))
        return {"export": seconds, "export bytes": _size(path), "model weights": _weights(model)}
    import keras_hub_layers as khl

    seconds, _ = took(lambda: khl.export(model, path))
    model.compile("adam", "mse")
    model.optimizer.build(model.trainable_variables)
    files = {suffix: _size(khl.save(model, os.path.join(folder, f"m{suffix}"))) for suffix in (".keras", ".weights.h5")}
    return {"export": seconds, "export bytes": _size(path), **files}


def _weights(model: Any) -> float:
    return sum(np.asarray(weight).nbytes for weight in model.weights) / 1e6


def _size(path: str) -> float:
    files = [Path(path)] if os.path.isfile(path) else [file for file in Path(path).rglob("*") if file.is_file()]
    return sum(file.stat().st_size for file in files) / 1e6
