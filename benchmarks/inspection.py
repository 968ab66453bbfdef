"""Hypothesis: in a new process, `inspect` answers within a second, and 20 times faster than the SavedModel is loaded.

    python benchmarks/inspection.py [SAVED_MODEL ...]

Without arguments it takes the two models of the other benchmarks. Both sides are processes of their own, in turns: the
command line, and TensorFlow, which is imported and loads. An empty Python shows what of that is Python's own start.
"""

import subprocess
import sys
from pathlib import Path

import numpy as np
from common import NAMES, Verdicts, interleaved, model

LOAD = "import sys, tensorflow as tf; tf.saved_model.load(sys.argv[1])"


def run(*arguments: str) -> None:
    subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def main(directories: list[str]) -> int:
    verdicts = Verdicts()
    for directory in directories:
        seconds = interleaved(
            {
                "load": lambda directory=directory: run("-c", LOAD, directory),
                "inspect": lambda directory=directory: run("-m", "keras_hub_layers", "inspect", directory),
                "empty": lambda: run("-c", ""),
            },
            budget=30,
            warm_up=1,
        )
        size = Path(directory, "saved_model.pb").stat().st_size / 1e6
        name = f"{Path(directory).name} ({size:.1f} MB)"
        verdicts.timed(f"{name}: inspect, against loading", seconds["load"], seconds["inspect"], 0.05)
        one = np.ones(len(seconds["inspect"]))
        verdicts.timed(f"{name}: inspect, against a second", one, seconds["inspect"], 1.0)
        verdicts.timed(f"{name}: an empty Python, against inspect", seconds["inspect"], seconds["empty"], None)
    return verdicts.exit_code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:] or [model(name) for name in NAMES]))
