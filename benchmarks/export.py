"""Hypothesis: exporting costs little more than writing the weights.

    python benchmarks/export.py

1. A re-export of a loaded object takes at most 0.15 × the time of `tf.saved_model.save(obj, signatures=…)`, and keeps
   `saved_model.pb` byte by byte.
2. An export of a Keras model has at most 0.6 × the bytes of `model.export()`, and is no slower.
3. `.keras` and `.weights.h5` files without the optimizer have at most 1.1 × the bytes of the weights.

Our exports are verified within the time. The SavedModels of 1. are by Keras 2, with weights that have moved since.
"""

import filecmp
import os
import sys
import tempfile
import time
import warnings
from pathlib import Path

import common
import numpy as np

ROUNDS = 7


def mobilenet():
    import keras

    return keras.applications.MobileNetV2(weights=None, include_top=False, pooling="avg", input_shape=(96, 96, 3))


def bert(width: int = 384, depth: int = 8, words: int = 20000):
    import keras

    layers = keras.layers
    ids = keras.Input((None,), dtype="int32", name="input_word_ids")
    h = layers.LayerNormalization()(layers.Embedding(words, width)(ids))
    for _ in range(depth):
        h = layers.LayerNormalization()(h + layers.MultiHeadAttention(6, width // 6, dropout=0.1)(h, h))
        h = layers.LayerNormalization()(h + layers.Dense(width)(layers.Dense(4 * width, activation="gelu")(h)))
    outputs = {"sequence_output": h, "pooled_output": layers.Dense(width, activation="tanh")(h[:, 0])}
    return keras.Model(ids, outputs)


def re_export(verdicts: common.Verdicts, name: str) -> None:
    import tensorflow as tf

    import keras_hub_layers as khl

    source = common.model(name)
    loaded = khl.load(source)
    for variable in loaded.trainable_variables:
        variable.assign_add(tf.ones_like(variable))
    with tempfile.TemporaryDirectory() as folder:
        seconds = common.interleaved(
            {
                "save": lambda: tf.saved_model.save(loaded, f"{folder}/save", signatures=loaded.signatures),
                "export": lambda: khl.export(loaded, f"{folder}/export"),
            },
            budget=30,
            warm_up=1,
        )
        assert filecmp.cmp(f"{source}/saved_model.pb", f"{folder}/export/saved_model.pb", shallow=False)
    verdicts.timed(f"{name}: re-export, to tf.saved_model.save", seconds["save"], seconds["export"], 0.15)


def export(verdicts: common.Verdicts, name: str, build) -> None:
    """A new model in each round, so that none profits from an earlier trace."""
    import keras_hub_layers as khl

    theirs, ours = np.zeros(ROUNDS), np.zeros(ROUNDS)
    with tempfile.TemporaryDirectory() as folder:
        for i in range(-1, ROUNDS):  # the first round warms up
            first, second = build(), build()
            theirs[i] = _seconds(lambda model=first: model.export(f"{folder}/keras", verbose=False))
            ours[i] = _seconds(lambda model=second: khl.export(model, f"{folder}/khl"))
        verdicts.timed(f"{name}: export, to model.export", theirs, ours, 1.0)
        _bytes(verdicts, f"{name}: bytes, to model.export", _size(f"{folder}/keras"), _size(f"{folder}/khl"), 0.6)


def save(verdicts: common.Verdicts, name: str, build) -> None:
    import keras_hub_layers as khl

    model = build()
    model.compile("adam", "mse")
    model.optimizer.build(model.trainable_variables)
    weights = sum(np.asarray(weight).nbytes for weight in model.weights)
    with tempfile.TemporaryDirectory() as folder:
        for suffix in (".keras", ".weights.h5"):
            written = _size(khl.save(model, f"{folder}/model{suffix}"))
            _bytes(verdicts, f"{name}: {suffix} without optimizer, to the weights", weights, written, 1.1)


def _seconds(work) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def _size(path: str) -> int:
    if os.path.isfile(path):
        return os.path.getsize(path)
    return sum(file.stat().st_size for file in Path(path).rglob("*") if file.is_file())


def _bytes(verdicts: common.Verdicts, what: str, reference: int, measured: int, limit: float) -> None:
    verdicts.row(what, f"{reference / 1e6:.1f} MB", f"{measured / 1e6:.1f} MB", measured / reference, limit)


def main() -> int:
    warnings.simplefilter("ignore")
    verdicts = common.Verdicts()
    for name in common.NAMES:
        re_export(verdicts, name)
    for name, build in (("mobilenet", mobilenet), ("bert", bert)):
        export(verdicts, name, build)
        save(verdicts, name, build)
    return verdicts.exit_code


if __name__ == "__main__":
    sys.exit(main())
