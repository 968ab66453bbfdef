"""What a device does with a `HubLayer`, in one script that ends within eight minutes.

    python benchmarks/gpu.py [--quick] [--minutes 7.5] [mobilenet | bert | tiny]

1. Correctness: on the device, outputs and gradients are those of the processor, without TensorFloat-32.
2. Rows: `HubLayer` and the raw object in turns, as in `run.py`.
3. Mixed precision: under `mixed_float16` a `HubLayer` computes what it computes without, and trains to finite losses.
4. XLA: with `jit=True` the losses of `fit` are those without XLA, and how long its steps take.
5. A re-export of what was trained on the device is loaded on the processor, with the same outputs.

It prints Markdown, and leaves with 1 if a check fails. What there is no time for is left out, and named. Without a GPU
it runs on the processor, to see that it runs; `--quick` takes the tiny model.
"""

import argparse
import os
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from typing import Any

os.environ.setdefault("CUDA_VISIBLE_DEVICES", "0")  # before `common`, which hides all
os.environ.setdefault("TF_FORCE_GPU_ALLOW_GROWTH", "true")  # the trial of XLA is another process

import common
import exports
import keras
import loops
import numpy as np
import tensorflow as tf

from keras_hub_layers import layers


class Report:
    """Sections within a time, with rows of ratios and of checks.

    Args:
        seconds: When to begin no further section.
    """

    def __init__(self, seconds: float) -> None:
        self.failed: list[str] = []
        self.left_out: list[str] = []
        self._end = time.perf_counter() + seconds

    def section(self, title: str, work: Callable[["Report"], None]) -> None:
        """Run a part of the script, if there is time left."""
        started = time.perf_counter()
        print(f"\n### {title}\n", flush=True)
        self.left_out.append(title)
        if started > self._end:
            print("left out: no time")
            return
        try:
            work(self)
        except Exception as err:
            self.check(f"{title} ({type(err).__name__}: {err})", False)
        self.left_out.remove(title)
        print(f"\n{time.perf_counter() - started:.0f} s", flush=True)

    def end(self) -> int:
        """Print what failed and what was left out. Return the exit status."""
        for title, several in (("failed", self.failed), ("left out, or not to its end", self.left_out)):
            print(f"\n{len(several)} {title}" + "".join(f"\n- {what}" for what in several), flush=True)
        return bool(self.failed)

    def check(self, what: str, is_right: bool) -> None:
        print(f"- {'right' if is_right else '**WRONG**'}: {what}", flush=True)
        self.failed += [] if is_right else [what]

    def same(self, what: str, received: Any, expected: Any, tolerance: float) -> None:
        """Check that two nests agree: the distance of all numbers, to the size of all."""
        pairs = list(zip(tf.nest.flatten(received), tf.nest.flatten(expected), strict=True))
        distance = sum(float(np.sum((np.asarray(a, "float64") - np.asarray(b, "float64")) ** 2)) for a, b in pairs)
        size = sum(float(np.sum(np.asarray(b, "float64") ** 2)) for _, b in pairs)
        error = (distance / max(size, 1e-30)) ** 0.5
        self.check(f"{what}: relative distance {error:.1e}, at most {tolerance:.0e}", error <= tolerance)

    def ratio(self, what: str, reference: np.ndarray, measured: np.ndarray) -> None:
        value, low, high = common.ratio(measured, reference)
        medians = " | ".join(f"{1000 * float(np.median(seconds)):.2f} ms" for seconds in (reference, measured))
        print(f"| {what} | {medians} | {value:.3f} | {low:.3f} – {high:.3f} |", flush=True)

    def megabytes(self, what: str, reference: float, measured: float) -> None:
        ratio = f"{measured / reference:.3f}" if reference else ""
        print(f"| {what} | {reference:.1f} MB | {measured:.1f} MB | {ratio} | |", flush=True)


def peak_of_device(step: Callable[[], Any]) -> float:
    """Megabytes that a GPU has in use at most during a step; 0 without a GPU."""
    if not tf.config.list_physical_devices("GPU"):
        step()
        return 0.0
    tf.config.experimental.reset_memory_stats("GPU:0")
    step()
    return tf.config.experimental.get_memory_info("GPU:0")["peak"] / 1e6


def head(*columns: str) -> None:
    print(f"| {' | '.join(['', *columns, 'ratio', '95 %'])} |\n{'|---' * (len(columns) + 3)}|")


def seconds_of(function: Callable[[], Any]) -> float:
    return took(function)[0]


def outputs_and_gradients(contestant: Any, device: str) -> Any:
    """Features, and the gradients of their mean square for all weights, in inference mode: free of chance."""
    inputs, _ = common.batch(contestant.name)
    with tf.device(device):
        copies = tf.nest.map_structure(tf.identity, inputs)
        with tf.GradientTape() as tape:
            outputs = contestant(copies, False)
            loss = tf.reduce_mean(outputs**2)
        weights = [weight.value for weight in contestant.weights]
        gradients = tape.gradient(loss, weights, unconnected_gradients="zero")
    return outputs.numpy(), [tf.convert_to_tensor(gradient).numpy() for gradient in gradients]


def correctness(name: str, device: str) -> Callable[[Report], None]:
    def work(report: Report) -> None:
        tf.config.experimental.enable_tensor_float_32_execution(False)
        with tf.device("CPU:0"):
            on_processor = outputs_and_gradients(loops.Ours(name), "CPU:0")
        ours, raw = loops.Ours(name), loops.Raw(name)
        place = ours.weights[0].value.device
        report.check(f"the weights are on {place}", device.rpartition("/")[2] in place)
        received, expected = (outputs_and_gradients(contestant, device) for contestant in (ours, raw))
        report.same("outputs, to the processor", received[0], on_processor[0], 1e-4)
        report.same("gradients, to the processor", received[1], on_processor[1], 1e-2)
        report.same("outputs, to the raw object", received[0], expected[0], 1e-6)
        report.same("gradients, to the raw object", received[1], expected[1], 1e-4)
        tf.config.experimental.enable_tensor_float_32_execution(True)

    return work


def rows(name: str, budget: float) -> Callable[[Report], None]:
    def work(report: Report) -> None:
        head("raw object", "`HubLayer`")
        made = {"raw": lambda: loops.Raw(name), "ours": lambda: loops.Ours(name)}
        loads = {side: np.array([seconds_of(make) for _ in range(3)]) for side, make in made.items()}
        report.ratio("a further load", loads["raw"], loads["ours"])
        sides = {side: make() for side, make in made.items()}
        steps = {side: loops.training_step(contestant, name) for side, contestant in sides.items()}
        first, peaks = {}, {}
        for side, step in steps.items():
            first[side] = np.array([seconds_of(step)])
            peaks[side] = peak_of_device(step)
        report.ratio("first training step", first["raw"], first["ours"])
        report.megabytes("peak memory of the device in a training step", peaks["raw"], peaks["ours"])
        compare(report, "training step", steps, budget)
        by_keras = {side: loops.keras_steps(contestant, True)[0] for side, contestant in sides.items()}
        compare(report, "`train_on_batch`", by_keras, budget)
        by_keras = {side: loops.keras_steps(contestant, False)[1] for side, contestant in sides.items()}
        compare(report, "`predict_on_batch`", by_keras, budget)
        frozen = {side: loops.training_step(contestant, name, frozen=True) for side, contestant in sides.items()}
        compare(report, "step with a frozen layer", frozen, budget)
        predictions = {side: loops.prediction(contestant, name) for side, contestant in sides.items()}
        compare(report, "prediction", predictions, budget)

    return work


def compare(report: Report, what: str, steps: dict[str, Callable[[], Any]], budget: float) -> None:
    """A row of two steps in turns; the first of them is the reference."""
    measured = common.interleaved(steps, budget, warm_up=2)
    report.ratio(what, *measured.values())


def mixed_precision(name: str, budget: float) -> Callable[[Report], None]:
    def work(report: Report) -> None:
        inputs, labels = common.batch(name)
        expected = loops.Ours(name)(inputs, False)
        plain = loops.keras_model(loops.Ours(name), True)
        keras.config.set_dtype_policy("mixed_float16")
        try:
            ours = loops.Ours(name)
            outputs = ours(inputs, False)
            report.check(f"outputs stay {outputs.dtype.name}", outputs.dtype == expected.dtype)
            report.same("outputs, to those without the policy", outputs, expected, 1e-3)
            model = loops.keras_model(ours, True)
            losses = [model.train_on_batch(inputs, labels) for _ in range(5)]
            report.check(f"losses are finite: {losses[0]:.3f} … {losses[-1]:.3f}", bool(np.all(np.isfinite(losses))))
            report.check("the optimizer scales losses", "LossScale" in type(model.optimizer).__name__)
            head("float32", "`mixed_float16`")
            models = {"plain": plain, "mixed": model}
            steps = {key: lambda model=model: model.train_on_batch(inputs, labels) for key, model in models.items()}
            compare(report, "`train_on_batch`", steps, budget)
        finally:
            keras.config.set_dtype_policy("float32")

    return work


def xla(name: str, budget: float) -> Callable[[Report], None]:
    def work(report: Report) -> None:
        # Losses are compared where the layer is frozen: while it trains, dropout draws other numbers under XLA.
        inputs, labels = common.batch(name)
        start = time.perf_counter()
        compiled = Jit(name)
        reason = "XLA can be used" if compiled.hub.supports_jit else "XLA was refused"
        report.check(f"{reason}, after {time.perf_counter() - start:.0f} s", compiled.hub.supports_jit)
        frozen = {jit: loops.keras_model(contestant, False, jit_compile=jit) for jit, contestant in
                  ((False, loops.Ours(name)), (True, compiled))}  # fmt: skip
        report.check("the model is compiled with XLA", frozen[True].jit_compile is True)
        losses = {jit: [model.train_on_batch(inputs, labels) for _ in range(5)] for jit, model in frozen.items()}
        report.same("losses of a frozen layer, to those without XLA", losses[True], losses[False], 1e-3)
        head("without", "XLA")
        compare(report, "`train_on_batch`, frozen", _steps(frozen, inputs, labels), budget)
        trained = {jit: loops.keras_model(contestant, True, jit_compile=jit) for jit, contestant in
                   ((False, loops.Ours(name)), (True, Jit(name)))}  # fmt: skip
        compare(report, "`train_on_batch`", _steps(trained, inputs, labels), budget)

    return work


class Jit(loops.Ours):
    """`HubLayer(jit=True)`."""

    def make(self, directory: str, **arguments: Any) -> Any:
        return super().make(directory, jit=True, **arguments)


def _steps(models: dict[bool, Any], inputs: Any, labels: Any) -> dict[str, Callable[[], Any]]:
    return {str(jit): lambda model=model: model.train_on_batch(inputs, labels) for jit, model in models.items()}


def re_export(name: str) -> Callable[[Report], None]:
    def work(report: Report) -> None:
        inputs, labels = common.batch(name)
        ours = loops.Ours(name)
        loops.keras_model(ours, True).train_on_batch(inputs, labels)
        expected = ours(inputs, False).numpy()
        with tempfile.TemporaryDirectory() as folder:
            seconds = np.array([seconds_of(lambda: ours.export(f"{folder}/export")) for _ in range(3)])
            raw = loops.Raw(name)
            of_tensorflow = np.array([seconds_of(lambda: raw.export(f"{folder}/raw")) for _ in range(3)])
            with tf.device("CPU:0"):
                again = layers.HubLayer(f"{folder}/export", output_key=loops.OUTPUT[name])
                received = again(tf.nest.map_structure(tf.identity, inputs)).numpy()
            report.same("outputs of a re-export, on the processor", received, expected, 1e-2)
            rows = {side: exports.rows(side, name, f"{folder}/{side}_keras", took) for side in ("raw", "ours")}
            head("TensorFlow, Keras", "`HubLayer`, `export`")
            report.ratio("re-export", of_tensorflow, seconds)
            report.ratio("export of a Keras model", *(np.array([row["export"]]) for row in rows.values()))
            report.megabytes("the same, bytes", *(row["export bytes"] for row in rows.values()))

    return work


def took(function: Callable[[], Any]) -> tuple[float, Any]:
    """Seconds of a call, and its result."""
    start = time.perf_counter()
    result = function()
    return time.perf_counter() - start, result


def _stop(report: Report) -> None:
    """End the process, also while TensorFlow compiles something."""
    print("\nstopped: no time", flush=True)
    os._exit(report.end())


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help="models of models.py")
    parser.add_argument("--minutes", type=float, default=7.5)
    parser.add_argument("--quick", action="store_true")
    given = parser.parse_args(arguments)
    names, budget = (["tiny"], 0.0) if given.quick else (given.names or list(common.NAMES), 3.0)
    gpus = tf.config.list_physical_devices("GPU")
    device = "/device:GPU:0" if gpus else "/device:CPU:0"
    details = tf.config.experimental.get_device_details(gpus[0]).get("device_name") if gpus else "no GPU"
    print(f"{details}; {common.machine()}")
    report = Report(60 * given.minutes)
    timer = threading.Timer(60 * given.minutes + 20, _stop, [report])
    timer.daemon = True
    timer.start()
    parts = {
        "correctness": lambda name: correctness(name, device),
        "rows": lambda name: rows(name, budget),
        "mixed precision": lambda name: mixed_precision(name, budget),
        "re-export": re_export,
        "XLA": lambda name: xla(name, budget),
    }
    for title, part in parts.items():
        for name in names:
            common.model(name)
            report.section(f"{name}: {title}", part(name))
    timer.cancel()
    return report.end()


if __name__ == "__main__":
    sys.exit(main())
