"""Hypothesis: in a new process, `inspect` answers within a second, and 20 times faster than the SavedModel is loaded.

    python benchmarks/inspection.py [SAVED_MODEL ...]

Without arguments it takes the two models of the other benchmarks. Both sides are processes of their own, in turns: the
command line, and TensorFlow, which is imported and loads. An empty Python shows what of that is Python's own start.
What counts is the time of the processor, which other work on the machine changes least; that of the clock stands below.
"""

import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
from common import NAMES, Verdicts, model

ROUNDS = 7
LOAD = "import sys, tensorflow as tf; tf.saved_model.load(sys.argv[1])"


def seconds_of(*arguments: str) -> tuple[float, float]:
    """Processor and clock seconds of a Python process."""
    start, before = time.perf_counter(), os.times()
    subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    after = os.times()
    user, system = after.children_user - before.children_user, after.children_system - before.children_system
    return user + system, time.perf_counter() - start


def main(directories: list[str]) -> int:
    verdicts = Verdicts()
    for directory in directories:
        commands = {
            "load": ("-c", LOAD, directory),
            "inspect": ("-m", "keras_hub_layers", "inspect", directory),
            "empty": ("-c", ""),
        }
        measured = {name: np.zeros((ROUNDS, 2)) for name in commands}
        for number in range(ROUNDS):
            for name in commands if number % 2 else reversed(commands):
                measured[name][number] = seconds_of(*commands[name])
        size = Path(directory, "saved_model.pb").stat().st_size / 1e6
        name, ones = f"{Path(directory).name} ({size:.1f} MB)", np.ones(ROUNDS)
        for place, kind in enumerate(("processor", "clock")):
            load, inspect, empty = (seconds[:, place] for seconds in measured.values())
            limits = (0.05, 1.0) if kind == "processor" else (None, None)
            verdicts.timed(f"{name}: inspect, against loading, {kind}", load, inspect, limits[0])
            verdicts.timed(f"{name}: inspect, against a second, {kind}", ones, inspect, limits[1])
            verdicts.timed(f"{name}: an empty Python, against inspect, {kind}", inspect, empty, None)
    return verdicts.exit_code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:] or [model(name) for name in NAMES]))
