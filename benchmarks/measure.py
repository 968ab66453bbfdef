"""What one contestant needs for each row of the tables, and for each point of the curves; `run.py` calls it.

    python benchmarks/measure.py rows SIDE NAME [--training] [--processor] [--in-turns]
    python benchmarks/measure.py curve SIDE KIND NUMBER [--processor]

The last line that it prints is JSON: seconds, megabytes (10⁶ bytes) and numbers by the names of the rows. One process
loads and predicts. Another one loads, trains and exports, with `--training`. With `--in-turns` it prints `turn` and the
name of a row before each measurement, and waits for a line of its input.
"""

import argparse
import filecmp
import gc
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import common
import numpy as np

# The rows that take turns, in the order in which they are measured.
ORDER = (
    "import", "load", "inspect", "second load", "frozen step", "first prediction", "prediction", "frozen fit",
    "predict", "first step", "step", "first fit", "fit", "export",
)  # fmt: skip
SIDES = ("raw", "keras_layer", "tfsm_layer", "ours")
LOAD = "import sys, tensorflow as tf; tf.saved_model.load(sys.argv[1])"


class Measurement:
    """The rows of one contestant.

    Args:
        side: One of `SIDES`.
        name: A model of `models.py`, or a directory, of which only loading is measured.
        clock: Says the time, in seconds.
        wait: Called with the name of a row before each measurement for it. Defaults to nothing.
    """

    def __init__(
        self, side: str, name: str, clock: Callable[[], float], wait: Callable[[str], None] = lambda row: None
    ) -> None:
        self.side, self.name, self._clock, self._wait = side, name, clock, wait
        self.rows: dict[str, float] = {}

    def predicting(self) -> dict[str, float]:
        """The rows of a process that loads and predicts; what the contestant cannot do is left out."""
        self._imports()
        import loops

        kind = self._kinds()
        if self.name not in loops.OUTPUT:
            given = self._arguments()
            self._loads(lambda: kind[self.side](self.name, **given), lambda: kind[self.side]("tiny"))
            return self.rows
        contestant = self._loads(lambda: kind[self.side](self.name), lambda: kind[self.side]("tiny"))
        self._frozen(contestant)
        return self.rows

    def training(self) -> dict[str, float]:
        """The rows of a process that loads, trains and exports."""
        contestant = self._kinds()[self.side](self.name)
        self._trained(contestant)
        if hasattr(contestant, "export"):
            with tempfile.TemporaryDirectory() as folder:
                self._export(contestant, folder)
        return self.rows

    def _kinds(self) -> dict[str, Any]:
        import loops

        return {"raw": loops.Raw, "keras_layer": loops.OldLayer, "tfsm_layer": loops.TFSM, "ours": loops.Ours}

    def _imports(self) -> None:
        self._wait("import")
        self.rows["import"] = self._took(lambda: (__import__("tensorflow"), __import__("keras")))[0]
        if self.side == "ours":  # beyond the others
            self.rows["import"] = self._took(lambda: __import__("keras_hub_layers.layers"))[0]

    def _arguments(self) -> dict[str, Any]:
        """The arguments of a layer that uses a SavedModel which is not one of ours."""
        if self.side != "ours":
            return {}
        import keras_hub_layers as khl

        proposed = khl.inspect(common.model(self.name)).arguments or {}
        return {key: value for key, value in proposed.items() if key != "handle"}

    def _loads(self, load: Callable[[], Any], load_tiny: Callable[[], Any]) -> Any:
        self._wait("load")
        load_tiny()  # what is imported and made by the first load of a process does not count
        gc.collect()
        common.forget_peak()
        before = common.peak_memory()
        self.rows["load"], first = self._took(load)
        self.rows["load memory"] = common.peak_memory() - before
        if self.side == "raw":
            variables = Path(common.model(self.name), "variables").glob("*.data-*")
            self.rows["weights"] = sum(path.stat().st_size for path in variables) / 1e6
        if self.side in ("raw", "ours") and not common.IS_QUICK:
            self._wait("inspect")
            self._inspect()
        self._wait("second load")
        self.rows["second load"], _second = self._took(load)
        return first

    def _inspect(self) -> None:
        """Seconds of a new process that says what is in the SavedModel, or loads it."""
        directory = common.model(self.name)
        command = ["-c", LOAD, directory] if self.side == "raw" else ["-m", "keras_hub_layers", "inspect", directory]
        start, before = time.perf_counter(), os.times()
        subprocess.run([sys.executable, *command], check=True, capture_output=True)
        after = os.times()
        of_processor = after.children_user + after.children_system - before.children_user - before.children_system
        is_wall = self._clock is time.perf_counter
        self.rows["inspect"] = time.perf_counter() - start if is_wall else of_processor

    def _frozen(self, contestant: Any) -> None:
        """Inference, and the training of a head, where nothing else is trained."""
        import loops

        contestant.train(False)
        if self.side != "tfsm_layer":
            frozen = loops.training_step(contestant, self.name, frozen=True)
            self._median("frozen step", frozen)
        predict = loops.prediction(contestant, self.name)
        self._wait("first prediction")
        self.rows["first prediction"], _ = self._took(predict)
        self._median("prediction", predict)
        self.rows["prediction operations"] = predict.operations()
        fit, predict = loops.keras_steps(contestant, trainable=False)
        if self.side != "tfsm_layer":
            self._median("frozen fit", fit)
        self._median("predict", predict)

    def _trained(self, contestant: Any) -> None:
        import loops

        contestant.train(True)
        self._wait("first step")
        step = loops.training_step(contestant, self.name)
        self.rows["first step"], _ = self._took(step)
        self._median("step", step)
        self.rows["training memory"] = common.peak_memory()
        self.rows["step operations"] = step.operations()
        self._wait("first fit")
        fit, _ = loops.keras_steps(contestant, trainable=True)
        self.rows["first fit"], _ = self._took(fit)
        self._median("fit", fit)

    def _export(self, contestant: Any, folder: str) -> None:
        """A re-export of the SavedModel, and an export of a Keras model like it."""
        import exports

        self._wait("export")
        if self.side == "ours":
            contestant.train(True)
        contestant.export(f"{folder}/first")  # what is imported and traced once does not count
        self.rows["re-export"], _ = self._took(lambda: contestant.export(f"{folder}/export"))
        if self.side == "ours":
            pair = (f"{place}/saved_model.pb" for place in (common.model(self.name), f"{folder}/export"))
            if not filecmp.cmp(*pair, shallow=False):
                raise AssertionError("the re-export has another graph")
        self.rows |= exports.rows(self.side, self.name, folder, self._took)

    def _took(self, function: Callable[[], Any]) -> tuple[float, Any]:
        """Seconds of a call, and its result. What was left before is collected first, so that it does not count."""
        if not common.IS_QUICK:
            gc.collect()
        start = self._clock()
        result = function()
        return self._clock() - start, result

    def _median(self, row: str, step: Callable[[], Any]) -> None:
        """A row with the seconds of a step: the median of 60 steps, five in each turn, after one that does not count.

        In a turn, the other contestants have had the caches of the processor. In a loop, the steps before have.
        """
        turns, steps = (1, 1) if common.IS_QUICK else (12, 5)
        self._wait(row)
        step()  # which may be the first
        seconds = []
        for _ in range(turns):
            self._wait(row)
            if not common.IS_QUICK:
                step()
            for _ in range(steps):
                start = self._clock()
                step()
                seconds.append(self._clock() - start)
        self.rows[row] = float(np.median(seconds))


def _wait_for_turn(row: str) -> None:
    print("turn", row, flush=True)
    sys.stdin.readline()


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("what", choices=["rows", "curve"])
    parser.add_argument("side", choices=SIDES)
    parser.add_argument("name")
    parser.add_argument("number", type=int, nargs="?")
    parser.add_argument("--processor", action="store_true")
    parser.add_argument("--in-turns", action="store_true")
    parser.add_argument("--training", action="store_true")
    given = parser.parse_args(arguments)
    clock = time.process_time if given.processor else time.perf_counter
    if given.what == "curve":
        import curves

        print(json.dumps(curves.point(given.side, given.name, given.number, clock)))
    else:
        wait = {"wait": _wait_for_turn} if given.in_turns else {}
        measurement = Measurement(given.side, given.name, clock, **wait)
        print(json.dumps(measurement.training() if given.training else measurement.predicting()))


if __name__ == "__main__":
    main()
