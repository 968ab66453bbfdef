"""One process of a distributed search: the chief, or a worker; run by test_tuners_distributed.

python tuner_worker.py HANDLE DIRECTORY
"""

import json
import os
import sys

import keras
import keras_tuner
import numpy as np

from keras_hub_layers import callbacks, tuners

X = np.linspace(-1, 1, 16, dtype="float32")[:, None]


def main(handle: str, directory: str) -> None:
    hypermodel = tuners.HubHyperModel(
        [handle], lambda hp, x: keras.layers.Dense(1, kernel_initializer="ones")(x), loss="mse"
    )
    tuner = keras_tuner.RandomSearch(
        hypermodel, "val_loss", max_trials=4, seed=1, directory=directory, project_name="search"
    )
    export = callbacks.ExportFinetuned(os.path.join(directory, "exports"), verbose=0)
    tuners.search(tuner, X, 3 * X, epochs=1, validation_data=(X, 3 * X), verbose=0, callbacks=[export])
    if "chief" in os.environ["KERASTUNER_TUNER_ID"]:
        best = tuner.get_best_models(1)[0]
        path = tuners.export_best(tuner, os.path.join(directory, "best"), trainable=True)
        trials = {trial.trial_id: trial.status for trial in tuner.oracle.trials.values()}
        score = float(tuner.oracle.get_best_trials(1)[0].score)
        found = float(best.evaluate(X, 3 * X, verbose=0))
        sys.stdout.write(json.dumps({"trials": trials, "score": score, "found": found, "path": path}) + "\n")


main(*sys.argv[1:])
