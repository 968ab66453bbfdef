"""Hypotheses about a search with MobileNetV2, 96 × 96 pixels, width 0.35 where nothing else is said, on the processor.

    python benchmarks/trials.py [TRIALS]

1. The second and later trials get the SavedModel in at most 0.15 × the time of the first load.
2. An epoch of the head on cached features is at least 10 × as fast as one that computes them, with width 1.0 and
   1024 examples in batches of 32. With a smaller network or fewer examples the costs of `fit` itself weigh more.
3. The memory at the start of each of 30 trials is flat: within ±5 % of what it is after the first five.
"""

import os
import statistics
import sys
import tempfile
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")

import keras
import keras_tuner
import numpy as np
import tensorflow as tf
import tf_keras

from keras_hub_layers import tuners


def memory() -> float:
    """Resident memory in MB (10⁶ bytes), of Linux."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


class EpochTimes(keras.callbacks.Callback):
    """Seconds of each epoch."""

    def __init__(self) -> None:
        super().__init__()
        self.seconds: list[float] = []

    def on_epoch_begin(self, epoch, logs=None):
        self._start = time.perf_counter()

    def on_epoch_end(self, epoch, logs=None):
        self.seconds.append(time.perf_counter() - self._start)


def saved(folder: str, width: float) -> str:
    """MobileNetV2 with random weights, saved by Keras 2."""
    handle = os.path.join(folder, f"mobile_{width}")
    network = tf_keras.applications.MobileNetV2((96, 96, 3), width, include_top=False, weights=None, pooling="avg")
    tf.saved_model.save(network, handle)
    return handle


def space(handle: str, used: list[float] | None = None) -> tuners.HubHyperModel:
    """What is searched; that it can be trained is known. Each build of a model adds the memory before it to `used`."""

    def head(hp, features):
        if used is not None:
            used.append(memory())
        return keras.layers.Dense(4)(features)

    hypermodel = tuners.HubHyperModel(
        [tuners.Candidate(handle, input_shape=(96, 96, 3), label="mobile")],
        head,
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        depths=(1, "all"),
    )
    hypermodel.checked = True
    return hypermodel


def head_on_features(hypermodel: tuners.HubHyperModel, x: np.ndarray, y: np.ndarray, what: str) -> None:
    """Six epochs of each kind, the first left out of the median: it makes the train function."""
    hp, slow, fast = keras_tuner.HyperParameters(), EpochTimes(), EpochTimes()
    model = hypermodel.build(hp)
    model.fit(x, y, epochs=6, verbose=0, callbacks=[slow])
    start = time.perf_counter()
    hypermodel.fit(hp, model, x, y, epochs=1, verbose=0, callbacks=[])
    once = time.perf_counter() - start
    hypermodel.fit(hp, model, x, y, epochs=6, verbose=0, callbacks=[fast])
    computed, cached = (statistics.median(times.seconds[1:]) for times in (slow, fast))
    print(
        f"{what}, {len(x)} examples: an epoch that computes features {computed:.3f} s, on cached ones {cached:.4f} s: "
        f"{computed / cached:.1f} × as fast; computing them once, with an epoch: {once:.2f} s",
        flush=True,
    )


def main(trials: int) -> None:
    x = np.random.default_rng(0).random((1024, 96, 96, 3), dtype="float32")
    y = np.arange(1024) % 4
    with tempfile.TemporaryDirectory() as folder:
        wide = space(saved(folder, 1.0))
        head_on_features(wide, x, y, "width 1.0")
        wide.release()
        handle = saved(folder, 0.35)
        hypermodel = space(handle)

        lent = []
        for _ in range(6):
            start = time.perf_counter()
            layer = hypermodel.pool.layer(handle, name="hub")
            lent.append(time.perf_counter() - start)
            del layer
        later = statistics.median(lent[1:])
        print(f"first load {lent[0]:.2f} s; later, median of 5 {later:.2f} s: {later / lent[0]:.3f} ×", flush=True)

        for examples in (128, 1024):
            head_on_features(hypermodel, x[:examples], y[:examples], "width 0.35")

        if not trials:
            return
        hypermodel.release()
        used: list[float] = []
        tuner = keras_tuner.RandomSearch(
            space(handle, used), "loss", max_trials=trials, seed=1, directory=folder, project_name="search"
        )
        tuner.search(x[:32], y[:32], epochs=1, verbose=0)
        used = used[-trials:]  # before them the tuner has built models to learn the hyperparameters
        reference = used[5]
        print("MB at the start of each trial: " + " ".join(f"{value:.0f}" for value in used))
        print(
            f"{len(used)} trials: from the seventh on {min(used[6:]) / reference:.3f} to "
            f"{max(used[6:]) / reference:.3f} × the memory at the start of the sixth"
        )


main(int(sys.argv[1]) if len(sys.argv) > 1 else 30)
