"""Hypotheses: constructing a `HubLayer` takes at most 0.30 × the processor time of `tf.saved_model.load`; a second one
of the same SavedModel in the process, which shares the functions of the first, at most 0.10 ×.

    python benchmarks/load.py [mobilenet | bert | DIRECTORY ...]

Four sides load a directory in turns: TensorFlow, a HubLayer that loads all (`KERAS_HUB_LAYERS_PRUNE=0`), one that loads
what it uses, and a further one beside it. Processor seconds, since other programs may be running; what a turn left is
collected before the next. A directory stands for any SavedModel, with the limit 1.0 and none for the second layer; one
without a usable `__call__` is used through a signature.
"""

import gc
import os
import sys
import time
from pathlib import Path

import common
import loops
import numpy as np
import tensorflow as tf

import keras_hub_layers as khl
from keras_hub_layers import layers
from keras_hub_layers._src.savedmodel.pruning import shared_part

LIMIT, LIMIT_OF_OTHERS, LIMIT_OF_SECOND = 0.30, 1.0, 0.10
ROUNDS = 5
SIDES = ("load", "0", "auto", "second")


def arguments(name: str, directory: str) -> dict:
    """The arguments of a layer that uses a SavedModel."""
    if name in loops.OUTPUT:
        return {"output_key": loops.OUTPUT[name]}
    return {key: value for key, value in (khl.inspect(directory).arguments or {}).items() if key != "handle"}


def seconds(side: str, directory: str, given: dict) -> float:
    """Processor seconds of one load."""
    os.environ["KERAS_HUB_LAYERS_PRUNE"] = "0" if side == "0" else "auto"
    shared_part.forget()
    first = layers.HubLayer(directory, **given) if side == "second" else None
    gc.collect()
    start = time.process_time()
    loaded = tf.saved_model.load(directory) if side == "load" else layers.HubLayer(directory, **given)
    took = time.process_time() - start
    del loaded, first
    return took


def main(names: list[str]) -> int:
    verdicts = common.Verdicts()
    for name in names:
        directory = common.model(name) if name in common.NAMES else name
        given = arguments(name, directory)
        for side in SIDES:
            seconds(side, directory, given)
        took = {side: np.zeros(ROUNDS) for side in SIDES}
        for number in range(ROUNDS):
            for side in SIDES if number % 2 else reversed(SIDES):
                took[side][number] = seconds(side, directory, given)
        limit = LIMIT if name in common.NAMES else LIMIT_OF_OTHERS
        short = Path(name).name
        verdicts.timed(f"{short}: HubLayer(directory) that loads all, against load", took["load"], took["0"], None)
        verdicts.timed(f"{short}: HubLayer(directory), against load", took["load"], took["auto"], limit)
        second = LIMIT_OF_SECOND if name in common.NAMES else None
        verdicts.timed(f"{short}: a second HubLayer(directory), against load", took["load"], took["second"], second)
    return verdicts.exit_code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:] or list(common.NAMES)))
