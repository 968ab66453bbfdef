"""Hypothesis: a training step, a frozen step and a prediction through HubLayer take at most 1.03 × a hand-written loop.

    python benchmarks/steps.py [mobilenet | bert]

The same `tf.function` loop, with Keras' Adam, runs over the raw loaded object and over a HubLayer, in turns; then what
`fit` and `predict` run, over a HubLayer and over the thinnest Keras layer that trains the raw object.
"""

import sys
from collections.abc import Callable
from typing import Any

import common
import loops

from keras_hub_layers import layers

LIMIT = 1.03
BUDGET = 5.0  # seconds for each comparison


def main(names: list[str]) -> int:
    verdicts = common.Verdicts()
    for name in names:
        _by_hand(verdicts, name)
        _by_keras(verdicts, name)
    return verdicts.exit_code


def _by_hand(verdicts: common.Verdicts, name: str) -> None:
    """The same hand-written loop over the raw loaded object, over another copy of it, and over a HubLayer."""
    kinds: dict[str, Callable[[Any], loops.Step]] = {
        "training step": lambda model: loops.training_step(model, name),
        "frozen step": lambda model: loops.training_step(model, name, frozen=True),
        "prediction": lambda model: loops.prediction(model, name),
    }
    for kind, make in kinds.items():
        trains = kind == "training step"
        variants = {"raw": make(loops.Raw(name)), "ours": make(loops.Ours(name, trains))}
        raw, ours = (step.operations() for step in variants.values())
        verdicts.row(f"{name}: {kind}, operations in its graph", f"{raw}", f"{ours}", ours / raw, LIMIT)
        if trains:
            variants["raw again"] = make(loops.Raw(name))
        seconds = common.interleaved(variants, BUDGET)
        verdicts.timed(f"{name}: {kind}, hand-written loop", seconds["raw"], seconds["ours"], LIMIT)
        if trains:
            verdicts.timed(f"{name}: control, the raw object twice", seconds["raw"], seconds["raw again"], None)


def _by_keras(verdicts: common.Verdicts, name: str) -> None:
    """What `fit` and `predict` run, over a HubLayer and over the thinnest Keras layer around the raw object."""
    for trainable in (True, False):
        fit, predict = loops.keras_steps(loops.Thin(name, trainable), name)
        hub = layers.HubLayer(common.model(name), trainable=trainable, output_key=loops.OUTPUT[name])
        our_fit, our_predict = loops.keras_steps(hub, name)
        seconds = common.interleaved({"thin": fit, "ours": our_fit}, BUDGET)
        kind = "fit's step" if trainable else "fit's frozen step"
        verdicts.timed(f"{name}: {kind}, against a thin Keras layer", seconds["thin"], seconds["ours"], LIMIT)
    seconds = common.interleaved({"thin": predict, "ours": our_predict}, BUDGET)
    verdicts.timed(f"{name}: predict's step, against a thin Keras layer", seconds["thin"], seconds["ours"], LIMIT)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:] or list(common.NAMES)))
