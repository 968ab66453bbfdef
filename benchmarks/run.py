"""Hypotheses: `HubLayer` loads in a third of the time, and then is as fast as the raw object in a hand-written loop.

    python benchmarks/run.py [--quick] [--rounds 5] [--processor] [--write] [--keep] [MODEL | DIRECTORY ...]

The contestants are the raw object, `hub.KerasLayer` under Keras 2, `keras.layers.TFSMLayer` (inference only) and
`HubLayer`. Each runs in a process of its own, and takes the same steps there, five steps of each in turn. A directory
stands for any SavedModel; it is loaded only. The curves show what grows with the number of functions, variables, layers
and trials.

Written are `results.md` and `results.svg` in `build/benchmarks`; `--write` puts them into `benchmarks/README.md`. It
leaves with 1 if a limit is missed. Seconds are those of the wall; with `--processor` those of the processor, if other
programs run. `--keep` keeps the models that are not named, and the curves, as the last run on this machine measured
them. `--quick` is for seeing that it runs: a tiny model, one round, all in this process.
"""

import argparse
import contextlib
import importlib.util
import io
import json
import os
import re
import shutil
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import common
import measure
import numpy as np
from contestant import Contestant, FailedError

HEADS = {
    "raw": "raw object",
    "keras_layer": "`hub.KerasLayer`",
    "tfsm_layer": "`TFSMLayer`",
    "ours": "`HubLayer`",
}
README = Path(__file__).with_name("README.md")
Results = dict[str, list[dict[str, float]]]  # side -> the rows of each round


@dataclass(frozen=True)
class Row:
    """A row of the tables.

    Attributes:
        key: Its name in the measurements.
        words: What it says.
        unit: `"s"`, `"MB"` or `""`.
        limits: Of the ratio, by the name of the model.
        reference: To what the ratio is: a side and the name of a row, or a number.
    """

    key: str
    words: str
    unit: str = "s"
    limits: dict[str, float] = field(default_factory=dict)
    reference: tuple[str, str] | float | None = None

    def references(self, results: Results) -> np.ndarray | None:
        """The values of the rounds that those of `HubLayer` are compared with."""
        if isinstance(self.reference, float):
            return np.full(len(results["ours"]), self.reference)
        side, key = self.reference or ("raw", self.key)
        return _values(results, side, key)


def _both(limit: float) -> dict[str, float]:
    return {"mobilenet": limit, "bert": limit}


LARGE = "large"  # whose weights are most of what it holds; it is loaded only
LIMIT_OF_OTHERS = 1.0  # for the load of any other SavedModel
FASTER = {"mobilenet": 0.8, "bert": 1.0}
ROWS = (
    Row("import", "import: TensorFlow and Keras, and for `HubLayer` what comes on top; to 0.1 s", "s", _both(1.0), 0.1),
    Row("load", "load", "s", _both(0.3)),
    Row("second load", "second load, beside the first; to the raw object's first", "s", _both(0.1), ("raw", "load")),
    Row("load memory", "peak memory of a load", "MB", _both(1.0)),
    Row("load memory", "the same; to the weights", "MB", {LARGE: 1.2}, ("raw", "weights")),
    Row("inspect", "a new process that loads, or that inspects", "s", _both(0.05)),
    Row("inspect", "the same; to one second", "s", _both(1.0), 1.0),
    Row("first step", "first training step; to `hub.KerasLayer`", "s", _both(0.9), ("keras_layer", "first step")),
    Row("step", "training step", "s", _both(1.02)),
    Row("step operations", "training step, operations", "", _both(1.02)),
    Row("frozen step", "step with a frozen layer", "s", FASTER),
    Row("first prediction", "first prediction"),
    Row("prediction", "prediction", "s", FASTER),
    Row("prediction operations", "prediction, operations", ""),
    Row("first fit", "first `train_on_batch`"),
    Row("fit", "`train_on_batch`", "s", _both(1.02)),
    Row("frozen fit", "`train_on_batch`, frozen", "s", _both(1.02)),
    Row("predict", "`predict_on_batch`", "s", FASTER),
    Row("training memory", "peak memory of a process that trains", "MB", _both(1.05)),
    Row("re-export", "re-export", "s", _both(0.15)),
    Row("export", "export of a Keras model like it, verified; to `model.export()`", "s", _both(1.15)),
    Row("export bytes", "the same, bytes", "MB", _both(0.6)),
    Row(".keras", "`.keras` without the optimizer; to the weights", "MB", _both(1.1), ("raw", "model weights")),
    Row(".weights.h5", "`.weights.h5`; to the weights", "MB", _both(1.1), ("raw", "model weights")),
)  # fmt: skip


def _values(results: Results, side: str, key: str) -> np.ndarray | None:
    """A row of all rounds; `None` where the side does not have it."""
    found = [rows[key] for rows in results.get(side, []) if key in rows]
    return np.array(found) if found else None


# -- measuring ---------------------------------------------------------------------------------------------------------


def run_measure(given: argparse.Namespace, *arguments: str) -> dict[str, float]:
    """What `measure.py` prints in a process of its own."""
    arguments += ("--processor",) * given.processor
    if common.IS_QUICK:
        with contextlib.redirect_stdout(io.StringIO()) as printed:
            measure.main([*arguments])
        return json.loads(printed.getvalue().splitlines()[-1])
    with Contestant(*arguments) as contestant:
        contestant.go_on()
    return contestant.result


def measure_rows(name: str, given: argparse.Namespace) -> Results:
    """All contestants, each step in turns."""
    for needed in (name, "tiny"):
        common.model(needed)
    sides = ("raw", "ours") if name == LARGE or os.sep in name else measure.SIDES
    if not importlib.util.find_spec("tensorflow_hub"):
        sides = tuple(side for side in sides if side != "keras_layer")
    results: Results = {side: [] for side in sides}
    for number in range(given.rounds):
        print(f"{name}, round {number + 1} of {given.rounds}", file=sys.stderr, flush=True)
        rows = measure_in_turns(name, sides, given)
        if "keras_layer" in sides or "tfsm_layer" in sides:  # else it is loaded only
            training = tuple(side for side in sides if side != "tfsm_layer")
            for side, further in measure_in_turns(name, training, given, "--training").items():
                rows[side] |= further
        for side in sides:
            results[side].append(rows[side])
    return results


def measure_in_turns(
    name: str, sides: Sequence[str], given: argparse.Namespace, *options: str
) -> dict[str, dict[str, float]]:
    """The rows of each side. One process measures at a time; all measure a row before any of them goes on to the next.

    What else the machine does changes from minute to minute, so the steps that are compared are close in time.
    """
    if common.IS_QUICK:
        return {side: run_measure(given, "rows", side, name, *options) for side in sides}
    options += ("--in-turns", *("--processor",) * given.processor)
    with contextlib.ExitStack() as stack:
        contestants = {side: stack.enter_context(Contestant("rows", side, name, *options)) for side in sides}
        for contestant in contestants.values():
            contestant.go_on()
        while waiting := [each for each in contestants.values() if each.row is not None]:
            min(waiting, key=lambda each: (measure.ORDER.index(each.row or ""), each.turns)).go_on()
        return {side: contestant.result for side, contestant in contestants.items()}


def measure_curves(given: argparse.Namespace) -> dict[str, dict[str, list[tuple[float, float]]]]:
    """Kind -> side -> the points of its curve, medians of half as many rounds."""
    import curves

    found: dict[str, dict[str, list[tuple[float, float]]]] = {}
    for kind, (numbers, _, _) in curves.CURVES.items():
        found[kind] = {"raw": [], "ours": []}
        for number in (1,) if common.IS_QUICK else numbers:
            print(f"curve of {kind}: {number}", file=sys.stderr, flush=True)
            points: Results = {side: [] for side in found[kind]}
            for _ in range(max(1, given.rounds // 2)):
                for side in points:
                    points[side].append(run_measure(given, "curve", side, kind, str(number)))
            for side, several in points.items():
                found[kind][side].append((several[0]["x"], float(np.median([p["seconds"] for p in several]))))
    return found


# -- showing -----------------------------------------------------------------------------------------------------------


def table(name: str, results: Results) -> tuple[str, list[str]]:
    """Markdown, and the limits that are missed. Behind a value of the others stands its ratio to the raw object."""
    head = ["", *(HEADS[side] for side in results), "ratio", "95 %", "limit"]
    lines, missed = [f"| {' | '.join(head)} |", "|---" * len(head) + "|"], []
    for row in ROWS:
        ours, reference = _values(results, "ours", row.key), row.references(results)
        if ours is None:
            continue
        cells = [_cell(_values(results, side, row.key), row.unit) for side in results]
        limit, ratio, interval = row.limits.get(name), "", ""
        if reference is not None and reference.all():
            ratio, low, high = common.ratio(ours, reference)
            if limit is not None and ratio > limit:
                missed.append(f"{name}: {row.words}: {ratio:.3f} > {limit:g}")
            interval = f"{low:.3f} – {high:.3f}" if low != high else ""
            ratio = f"{ratio:.3f}"
        lines.append(f"| {' | '.join([row.words, *cells, ratio, interval, '' if limit is None else f'{limit:g}'])} |")
    return "\n".join(lines), missed


def _cell(several: np.ndarray | None, unit: str) -> str:
    if several is None:
        return ""
    middle = float(np.median(several))
    if unit == "s":
        return f"{middle:.2f} s" if middle >= 1 else f"{1000 * middle:.2f} ms"
    return f"{middle:.1f} MB" if unit else f"{middle:.0f}"


def load_table(tables: dict[str, Results]) -> tuple[str, list[str]]:
    """As `table`, for SavedModels that are loaded only: a line for each."""
    head = ["load", HEADS["raw"], HEADS["ours"], "ratio", "95 %", "limit", "second", "inspect"]
    lines, missed = [f"| {' | '.join(head)} |", "|---" * len(head) + "|"], []
    for name, results in tables.items():
        raw, ours = (_values(results, side, "load") for side in ("raw", "ours"))
        second, inspect = (_cell(_values(results, "ours", key), "s") for key in ("second load", "inspect"))
        ratio, low, high = common.ratio(ours, raw)
        if ratio > LIMIT_OF_OTHERS:
            missed.append(f"{name}: load: {ratio:.3f} > {LIMIT_OF_OTHERS:g}")
        interval = f"{low:.3f} – {high:.3f}" if low != high else ""
        cells = (_cell(raw, "s"), _cell(ours, "s"), f"{ratio:.3f}", interval, f"{LIMIT_OF_OTHERS:g}", second, inspect)
        lines.append(f"| {' | '.join([Path(name).name, *cells])} |")
    return "\n".join(lines), missed


def curve_table(found: dict[str, Any]) -> str:
    """Markdown: the points of each curve."""
    import curves

    lines = ["| | number | raw object | `HubLayer` | ratio |", "|---" * 5 + "|"]
    for kind, sides in found.items():
        _, counted, timed = curves.CURVES[kind]
        for (x, raw), (_, ours) in zip(sides["raw"], sides["ours"], strict=True):
            lines.append(f"| {counted}: {timed} | {x:.0f} | {raw:.2f} s | {ours:.2f} s | {ours / raw:.3f} |")
    return "\n".join(lines)


def draw(path: Path, tables: dict[str, Results], found: dict[str, Any]) -> None:
    """A picture of the ratios to the raw object, and of the curves."""
    import curves
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, 1 + len(found), figsize=(6 + 3.2 * len(found), 5), layout="constrained")
    left, *others = np.atleast_1d(axes)
    keys = ("load", "second load", "first step", "step", "frozen step", "prediction", "fit", "predict", "re-export")
    names = [name for name in tables if os.sep not in name]
    for name, mark, colour in zip(names, "osd^", ("C0", "C1", "C2", "C3"), strict=False):
        for place, key in enumerate(keys):
            ours, raw = (_values(tables[name], side, key) for side in ("ours", "raw"))
            if ours is not None and raw is not None:
                ratio, low, high = common.ratio(ours, raw)
                left.plot([low, high], [place, place], color="0.6", linewidth=3, zorder=1)
                left.plot(ratio, place, mark, color=colour, label=name if not place else None, zorder=2)
    left.axvline(1, color="0.3", linewidth=1)
    left.set(xscale="log", xlabel="time, HubLayer / raw object", yticks=range(len(keys)), yticklabels=keys)
    ticks = (0.05, 0.1, 0.2, 0.5, 1, 2)
    left.set_xticks(ticks, labels=[f"{tick:g}" for tick in ticks])
    left.minorticks_off()
    left.invert_yaxis()
    left.legend()
    for axis, (kind, sides) in zip(others, found.items(), strict=True):
        _, counted, timed = curves.CURVES[kind]
        for side, points in sides.items():
            axis.plot(*np.array(points).T, "o-", label=HEADS[side].strip("`"))
        axis.set(xlabel=counted, ylabel="seconds", title=timed, ylim=(0, None))
        axis.legend()
    figure.savefig(path)
    pyplot.close(figure)


def report(given: argparse.Namespace, tables: dict[str, Results], found: dict[str, Any]) -> list[str]:
    """Write the Markdown, the picture and the raw numbers; the limits that are missed."""
    folder = Path(given.out)
    folder.mkdir(parents=True, exist_ok=True)
    clock = "of the processor" if given.processor else "of the wall"
    rounds = f"rounds: {given.rounds} (their medians), of the curves {max(1, given.rounds // 2)}"
    parts, missed = [f"{common.machine()}; {rounds}; seconds {clock}."], []
    directories = {name: results for name, results in tables.items() if os.sep in name}
    shown = {name: table(name, results) for name, results in tables.items() if name not in directories}
    if directories:
        shown["Other SavedModels"] = load_table(directories)
    for title, (text, over) in shown.items():
        parts.append(f"### {title}\n\n{text}")
        missed += over
    parts += ["### Curves", curve_table(found), "![Ratios and curves](results.svg)"]
    text = "\n\n".join(parts) + "\n"
    (folder / "results.md").write_text(text, encoding="utf-8")
    (folder / "results.json").write_text(json.dumps({"tables": tables, "curves": found}), encoding="utf-8")
    draw(folder / "results.svg", tables, found)
    if given.write:
        begin, end = "<!-- run.py -->\n", "<!-- end of run.py -->"
        page = re.sub(f"{begin}.*{end}", lambda _: f"{begin}\n{text}\n{end}", README.read_text("utf-8"), flags=re.S)
        README.write_text(page, encoding="utf-8")
        shutil.copy(folder / "results.svg", README.parent)
    print(text)
    return missed


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help="models of models.py, or directories")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--processor", action="store_true")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--keep", action="store_true")
    parser.add_argument("--out", default=str(common.MODELS))
    given = parser.parse_args(arguments)
    common.IS_QUICK = given.quick
    if given.quick:
        given.names, given.rounds = ["tiny", common.model("tiny")], 1
    started = time.perf_counter()
    tables = {}
    for name in given.names or (*common.NAMES, LARGE):
        try:
            tables[name] = measure_rows(name, given)
            print(
                f"{name}\n{(load_table({name: tables[name]}) if os.sep in name else table(name, tables[name]))[0]}",
                file=sys.stderr,
            )
        except FailedError as err:
            if os.sep not in name:
                raise
            print(f"left out: {err}", file=sys.stderr)
    last = json.loads(Path(given.out, "results.json").read_text("utf-8")) if given.keep else {"tables": {}}
    missed = report(given, {**last["tables"], **tables}, last["curves"] if given.keep else measure_curves(given))
    print(f"{time.perf_counter() - started:.0f} s", file=sys.stderr)
    for line in missed:
        print(f"missed: {line}")
    return bool(missed) and not given.quick


if __name__ == "__main__":
    sys.exit(main())
