"""What the benchmarks share: the models and their batches, the interleaved clock, ratios, and the machine."""

import contextlib
import os
import platform
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from importlib import metadata
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")  # the limits are stated for a CPU
os.environ["KERAS_BACKEND"] = "tensorflow"

import numpy as np

MODELS = Path(__file__).resolve().parents[1] / "build" / "benchmarks"
IS_QUICK = False  # whether to see only that the scripts run: all in one process, nothing more often than needed
NAMES = ("mobilenet", "bert")
BATCH = {"mobilenet": 8, "bert": 4, "tiny": 4}
WIDTH = {"mobilenet": 1280, "bert": 256, "tiny": 8}  # of the features
BERT = {"layers": 4, "width": 256, "heads": 4, "tokens": 64, "vocabulary": 8000}


def model(name: str) -> str:
    """The directory of a SavedModel, made in a process of its own if it is not there; a path stays as it is.

    Args:
        name: One of those that `models.py` makes, or a path.
    """
    if os.sep in name:
        return name
    directory = MODELS / name
    if not (directory / "saved_model.pb").exists():
        print(f"making the SavedModel {directory}", file=sys.stderr, flush=True)
        if IS_QUICK:
            import models

            models.make(name, str(directory))
            return str(directory)
        maker = Path(__file__).with_name("models.py")
        subprocess.run([sys.executable, str(maker), name, str(directory)], check=True, stderr=subprocess.DEVNULL)
    return str(directory)


def batch(name: str):
    """One batch of inputs and labels, tensors."""
    import tensorflow as tf

    random, size = np.random.default_rng(0), BATCH[name]
    labels = tf.constant(random.integers(0, 10, size), tf.int32)
    if name == "mobilenet":
        return tf.constant(random.random((size, 96, 96, 3)), tf.float32), labels
    if name == "tiny":
        return tf.constant(random.random((size, 8)), tf.float32), labels
    shape = (size, BERT["tokens"])
    ids = tf.constant(random.integers(0, BERT["vocabulary"], shape), tf.int32)
    return {"input_word_ids": ids, "input_mask": tf.ones_like(ids), "input_type_ids": tf.zeros_like(ids)}, labels


def interleaved(variants: dict[str, Callable[[], object]], budget: float, warm_up: int = 5) -> dict[str, np.ndarray]:
    """Seconds of each call: all variants once in each round, the order reversed in every other round.

    There are as many rounds as take `budget` seconds, at least 9.
    """
    names = list(variants)
    for _ in range(warm_up):
        begin = time.perf_counter()
        for name in names:
            variants[name]()
        took = time.perf_counter() - begin
    rounds = max(9, int(budget / took))
    seconds = {name: np.zeros(rounds) for name in names}
    for number in range(rounds):
        for name in names if number % 2 else reversed(names):
            start = time.perf_counter()
            variants[name]()
            seconds[name][number] = time.perf_counter() - start
    return seconds


def ratio(of: np.ndarray, to: np.ndarray) -> tuple[float, float, float]:
    """The ratio of medians, and its 95 % interval from 2000 resamplings of the rounds."""
    picks = np.random.default_rng(0).integers(0, len(of), (2000, len(of)))
    resampled = np.median(of[picks], axis=1) / np.median(to[picks], axis=1)
    low, high = np.percentile(resampled, [2.5, 97.5])
    return float(np.median(of) / np.median(to)), float(low), float(high)


def peak_memory() -> float:
    """Megabytes that this process has had at most."""
    unit = 1e6 if sys.platform == "darwin" else 1e3  # ru_maxrss is in bytes there, in kilobytes elsewhere
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit


def forget_peak() -> None:
    """Have `peak_memory` begin anew with what this process has in memory now; on Linux only."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def machine() -> str:
    """Processor, cores and versions, in one line."""
    versions = ", ".join(f"{name} {metadata.version(name)}" for name in ("tensorflow", "keras", "tf-keras"))
    return f"{_processor()}, {os.cpu_count()} cores, Python {platform.python_version()}, {versions}"


def _processor() -> str:
    lines: Iterable[str] = ()
    if os.path.exists("/proc/cpuinfo"):
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())
