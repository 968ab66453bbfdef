"""Hypothesis: on few examples the head first and then all of it scores at least as well as all of it from the start.

    python benchmarks/schedules.py [SEEDS]

Needs scikit-learn, for the data: its 1797 handwritten digits of 8 × 8 pixels. A small convolutional network learns the
digits 0 to 4 and becomes a SavedModel. Then the digits 5 to 9 are learned from 100 of their examples. Another 200 are
for choosing the learning rate of each way of training, out of the same three; the other 596 are held out for the score.
Each seed draws other examples, another head and another order. All have the same number of epochs and the same batches;
`fine_tune` runs with its defaults, except for a third of the epochs for the head.
"""

import itertools
import os
import statistics
import sys
import tempfile

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")

import keras
import numpy as np
from sklearn.datasets import load_digits

import keras_hub_layers as khl

EPOCHS, HEAD_EPOCHS, EXAMPLES, CHOOSING = 60, 20, 100, 200
RATES = (3e-4, 1e-3, 3e-3)


def backbone(directory: str, x: np.ndarray, y: np.ndarray) -> str:
    keras.utils.set_random_seed(0)
    body = keras.Sequential(
        [
            keras.Input((8, 8, 1)),
            keras.layers.Conv2D(16, 3, activation="relu", name="block_1"),
            keras.layers.Conv2D(32, 3, activation="relu", name="block_2"),
            keras.layers.Conv2D(64, 3, activation="relu", name="block_3"),
            keras.layers.Flatten(),
        ]
    )
    model = keras.Sequential([body, keras.layers.Dense(5)])
    model.compile(keras.optimizers.Adam(1e-3), keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    model.fit(x, y, epochs=30, verbose=0)
    return khl.export(body, directory)


def trained(handle: str, how: str, rate: float, seed: int, parts: list[tuple]) -> tuple[float, float]:
    """Accuracy on the examples for choosing, and on those held out."""
    keras.utils.set_random_seed(seed)
    hub = khl.layers.HubLayer(handle, trainable=how == "all from the start")
    model = keras.Sequential([keras.Input((8, 8, 1)), hub, keras.layers.Dense(5)])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(rate), loss, metrics=["accuracy"])
    train, choosing, held_out = parts
    if how.startswith("head first"):
        factor = {"rate_factor": float(how.split()[-1])} if how != "head first" else {}
        khl.finetuning.fine_tune(model, train, EPOCHS, head_epochs=HEAD_EPOCHS, batch_size=16, verbose=0, **factor)
    else:
        model.fit(*train, epochs=EPOCHS, batch_size=16, verbose=0)
    return float(model.evaluate(*choosing, verbose=0)[1]), float(model.evaluate(*held_out, verbose=0)[1])


def main(seeds: int, *hows: str) -> None:
    digits = load_digits()
    x, y = (digits.images[..., None] / 16).astype("float32"), digits.target
    old, new = y < 5, y >= 5
    with tempfile.TemporaryDirectory() as folder:
        handle = backbone(os.path.join(folder, "backbone"), x[old], y[old])
        for how in hows or ("head only", "all from the start", "head first"):
            results = {}
            for rate in RATES:
                results[rate] = []
                for seed in range(seeds):
                    order = np.random.default_rng(seed).permutation(int(new.sum()))
                    inputs, targets = x[new][order], y[new][order] - 5
                    cuts = [0, EXAMPLES, EXAMPLES + CHOOSING, len(order)]
                    parts = [(inputs[a:b], targets[a:b]) for a, b in itertools.pairwise(cuts)]
                    results[rate].append(trained(handle, how, rate, seed, parts))
            means = {rate: statistics.mean(first for first, _ in found) for rate, found in results.items()}
            best = max(means, key=means.__getitem__)
            scores = [second for _, second in results[best]]
            chosen = ", ".join(f"{rate:g}: {mean:.4f}" for rate, mean in means.items())
            each = " ".join(f"{score:.4f}" for score in scores)
            print(
                f"{how:<20} chosen Adam({best:g}) of {chosen}; held out: {statistics.mean(scores):.4f} = {each}",
                flush=True,
            )


main(int(sys.argv[1]) if len(sys.argv) > 1 else 5, *sys.argv[2:])
