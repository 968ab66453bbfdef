"""Hypothesis: constructing a HubLayer takes at most 1.05 × `tf.saved_model.load`.

    python benchmarks/construction.py [mobilenet | bert]

Both load the same directory, in turns; what a turn left is collected before the next.
"""

import sys

import common
import loops
import tensorflow as tf

from keras_hub_layers import layers

LIMIT = 1.05
BUDGET = 50.0  # seconds for each model


def main(names: list[str]) -> int:
    verdicts = common.Verdicts()
    for name in names:
        directory, key = common.model(name), loops.OUTPUT[name]

        variants = {
            "load": lambda directory=directory: tf.saved_model.load(directory) and None,
            "construct": lambda directory=directory, key=key: layers.HubLayer(directory, output_key=key) and None,
        }
        seconds = common.interleaved(variants, BUDGET, warm_up=1, clean=True)
        what = f"{name}: HubLayer(directory), against tf.saved_model.load"
        verdicts.timed(what, seconds["load"], seconds["construct"], LIMIT)
    return verdicts.exit_code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:] or list(common.NAMES)))
