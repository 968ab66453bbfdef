"""Hypotheses: what an export costs, against what TensorFlow and Keras do on their own, side by side in one run.

    python benchmarks/export.py [ROUNDS]

1. A re-export of a loaded object takes at most 0.12 of the time of `tf.saved_model.save(obj, signatures=…)`, and keeps
   `saved_model.pb` byte by byte, for a MobileNetV2-like and a BERT-like model saved by Keras 2.
2. An export of a Keras model has at most 0.6 of the bytes of `model.export()`, and is no slower.
3. `.keras` and `.weights.h5` files without the optimizer have at most 1.1 of the bytes of the weights.

All with random weights, verification included; medians of ROUNDS interleaved rounds (default 5).
"""

import filecmp
import os
import statistics
import sys
import tempfile
import time
import warnings
from pathlib import Path

os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
import tensorflow as tf
import tf_keras

import keras_hub_layers as khl


def mobilenet(keras=keras):
    return keras.applications.MobileNetV2(weights=None, include_top=False, pooling="avg", input_shape=(96, 96, 3))


def bert(keras=keras, width: int = 384, depth: int = 8, words: int = 20000):
    layers = keras.layers
    ids = keras.Input((None,), dtype="int32", name="input_word_ids")
    h = layers.LayerNormalization()(layers.Embedding(words, width)(ids))
    for _ in range(depth):
        h = layers.LayerNormalization()(h + layers.MultiHeadAttention(6, width // 6, dropout=0.1)(h, h))
        h = layers.LayerNormalization()(h + layers.Dense(width)(layers.Dense(4 * width, activation="gelu")(h)))
    outputs = {"sequence_output": h, "pooled_output": layers.Dense(width, activation="tanh")(h[:, 0])}
    return keras.Model(ids, outputs)


def timed(work) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def size(path: str) -> int:
    files = [Path(path)] if os.path.isfile(path) else [file for file in Path(path).rglob("*") if file.is_file()]
    return sum(file.stat().st_size for file in files)


def re_export(build, folder: str, rounds: int) -> tuple[list[float], list[float]]:
    """Seconds of TensorFlow's and of our re-export of a SavedModel by Keras 2, whose weights have moved."""
    source = f"{folder}/source"
    build(tf_keras).save(source, save_format="tf")
    loaded = khl.load(source)
    for variable in loaded.trainable_variables:
        variable.assign_add(tf.ones_like(variable))
    theirs, ours = [], []
    for i in range(rounds):
        theirs.append(timed(lambda: tf.saved_model.save(loaded, f"{folder}/t{i}", signatures=loaded.signatures)))  # noqa: B023
        ours.append(timed(lambda: khl.export(loaded, f"{folder}/ours")))
    assert filecmp.cmp(f"{source}/saved_model.pb", f"{folder}/ours/saved_model.pb", shallow=False)
    return theirs, ours


def export(build, folder: str, rounds: int) -> tuple[list[float], list[float]]:
    """Seconds of Keras' and of our export; of a new model each time, so that none profits from an earlier trace."""
    theirs, ours = [], []
    for i in range(rounds):
        first, second = build(), build()
        theirs.append(timed(lambda: first.export(f"{folder}/keras{i}", verbose=False)))  # noqa: B023
        ours.append(timed(lambda: khl.export(second, f"{folder}/khl{i}")))  # noqa: B023
    return theirs, ours


def seconds(name: str, times: tuple[list[float], list[float]], limit: str) -> None:
    theirs, ours = map(statistics.median, times)
    row(name, f"{theirs:.3f} s", f"{ours:.3f} s", f"{ours / theirs:.3f}", limit)


def row(*cells: object) -> None:
    print(f"{cells[0]:<34}{cells[1]:>14}{cells[2]:>14}{cells[3]:>9}{cells[4]:>9}")


def main(rounds: int) -> None:
    warnings.simplefilter("ignore")
    print(f"TensorFlow {tf.__version__}, Keras {keras.__version__}, {os.cpu_count()} CPUs, medians of {rounds}\n")
    row("", "theirs", "ours", "ratio", "at most")
    for name, build in (("MobileNetV2-like", mobilenet), ("BERT-like", bert)):
        with tempfile.TemporaryDirectory() as folder:
            seconds(f"{name}: re-export", re_export(build, folder, rounds), "0.12")
        with tempfile.TemporaryDirectory() as folder:
            seconds(f"{name}: export, time", export(build, folder, rounds), "1")
            sizes = size(f"{folder}/keras0"), size(f"{folder}/khl0")
            row(f"{name}: export, bytes", f"{sizes[0]:,}", f"{sizes[1]:,}", f"{sizes[1] / sizes[0]:.3f}", "0.6")
            compiled = build()
            compiled.compile("adam", "mse")
            compiled.optimizer.build(compiled.trainable_variables)
            weights = sum(np.asarray(weight).nbytes for weight in compiled.weights)
            for suffix in (".keras", ".weights.h5"):
                written = size(khl.save(compiled, f"{folder}/model{suffix}"))
                row(f"{name}: {suffix}, bytes", f"{weights:,}", f"{written:,}", f"{written / weights:.3f}", "1.1")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 5)
