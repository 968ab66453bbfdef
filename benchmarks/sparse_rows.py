"""Hypothesis: training a large table needs no dense gradient, although each row reaches the optimizer once.

    python benchmarks/sparse_rows.py

The table has 1,000,000 rows of 64 floats (256 MB); a batch gathers 4,096 ids, 1,000 different ones at most. Each
measurement is a process of its own that takes three steps of SGD, which writes only the rows that it gets, and reports
its peak. "Raw" hands the rows of the loaded object on as they come, twice and more; "dense" sums them into a table.
"""

import os
import subprocess
import sys
from pathlib import Path
from statistics import median

import common

LIMITS = {"raw": 1.05, "dense": 0.75}
REPETITIONS = 3
STEPS = 3
ROWS, WIDTH, IDS = 1_000_000, 64, (64, 64)
DIRECTORY = common.MODELS / "table"


def main() -> int:
    if not (DIRECTORY / "saved_model.pb").exists():
        subprocess.run([sys.executable, __file__, "--make"], check=True, stderr=subprocess.DEVNULL)
    print(f"{common.machine()}\n")
    peaks: dict[str, list[float]] = {"raw": [], "dense": [], "HubLayer": []}
    for number in range(REPETITIONS):
        for variant in sorted(peaks, reverse=number % 2 == 0):
            command = [sys.executable, __file__, "--one", variant]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            peaks[variant].append(float(done.stdout.split()[-1]))
    ours, exit_code = median(peaks["HubLayer"]), 0
    for variant, limit in LIMITS.items():
        other = median(peaks[variant])
        exit_code |= ours / other > limit
        print(f"peak memory, to {variant}: {other:.0f} MB, {ours:.0f} MB, {ours / other:.3f} (limit {limit:.2f})")
    return exit_code


def _make() -> None:
    import tensorflow as tf

    root = tf.train.Checkpoint()
    root.table = tf.Variable(tf.zeros((ROWS, WIDTH)), name="table")
    spec = tf.TensorSpec((None, None), tf.int32)
    root.__call__ = tf.function(lambda ids: tf.gather(root.table, ids), input_signature=[spec])
    root.variables = root.trainable_variables = [root.table]
    os.makedirs(Path(DIRECTORY).parent, exist_ok=True)
    tf.saved_model.save(root, str(DIRECTORY))


def _one(variant: str) -> None:
    import keras
    import numpy as np
    import tensorflow as tf

    import keras_hub_layers as khl
    from keras_hub_layers import layers

    if variant == "HubLayer":
        layer = layers.HubLayer(str(DIRECTORY), trainable=True)
        call, weights = layer, layer.trainable_variables
    else:
        call = khl.load(str(DIRECTORY))
        weights = call.trainable_variables
    optimizer = keras.optimizers.SGD(0.1)
    optimizer.build(weights)
    ids = tf.constant(np.random.default_rng(0).integers(0, 1000, IDS), tf.int32)

    @tf.function
    def step() -> None:
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean((call(ids) - 1.0) ** 2)
        gradients = tape.gradient(loss, weights)
        if variant == "dense":
            gradients = [tf.convert_to_tensor(gradient) for gradient in gradients]
        optimizer.apply(gradients, weights)

    for _ in range(STEPS):
        step()
    print(common.peak_memory())


if __name__ == "__main__":
    if sys.argv[1:2] == ["--make"]:
        _make()
    elif sys.argv[1:2] == ["--one"]:
        _one(sys.argv[2])
    else:
        sys.exit(main())
