"""The script for users of Estimator, as its page shows it; `TF_CONFIG` says whether it is one of several workers.

python estimator_page.py FOLDER PLACE
"""

import os
import sys

import clusters
import keras
import numpy as np
import prose
import tensorflow as tf

PAGE = prose.ROOT / "docs" / "migrate" / "estimator.md"
HANDLE = "path/or/url/of/a/saved_model"
TEXTS = np.array(["good world", "bad world", "good", "bad", "hello good", "hello bad", "good hello", "bad bad"])
LABELS = np.array([[1.0], [0.0]] * 4, "float32")


def run():
    """Run the script in this directory; return its history."""
    (script,) = (block.code for block in prose.blocks_of(PAGE) if "def make_model" in block.code)
    keras.utils.set_random_seed(0)
    names = {"tf": tf, "texts": TEXTS, "labels": LABELS}  # no tensors: the strategy has to come before the first one
    exec(script, names)
    return {name: [float(value) for value in values] for name, values in names["history"].history.items()}


def main(folder, place):
    os.chdir(place)
    clusters.tell(folder, run())


if __name__ == "__main__":
    main(*sys.argv[1:])
