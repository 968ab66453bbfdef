"""One of two workers that export together, in several ways, and what it has seen.

python worker_exports.py FOLDER NORM_OF_KERAS_2 RAW_NORM SHARED
"""

import contextlib
import os
import sys
import warnings

import clusters
import keras
import numpy as np
import tensorflow as tf
from worker_training import X, error_of

import keras_hub_layers as khl
from keras_hub_layers import callbacks, distribution, layers


def model_of(scope, handle):
    with scope():
        hub = layers.HubLayer(handle, trainable=True, name="hub")
        model = keras.Sequential([keras.Input((1,)), hub, keras.layers.BatchNormalization(), keras.layers.Dense(1)])
        model.compile(keras.optimizers.SGD(0.01), "mse")
    return model


def fit(model, *targets):
    data = tf.data.Dataset.from_tensor_slices((X, 3 * X)).batch(8)
    model.fit(data, epochs=2, shuffle=False, verbose=0, callbacks=list(targets))


def own_values(model):
    """What this worker holds of each weight, and no other."""
    values = [weight.value.values[0] for weight in model.weights]
    return [np.asarray(value).ravel().tolist() for value in values]


@contextlib.contextmanager
def read_only(directory):
    """A directory that nobody can write to, also not root, who becomes another user."""
    os.makedirs(directory, exist_ok=True)
    os.chmod(directory, 0o555)
    is_root = os.geteuid() == 0
    if is_root:
        os.seteuid(65534)
    try:
        yield
    finally:
        if is_root:
            os.seteuid(0)


def main(folder, norm, raw, shared):
    warnings.simplefilter("error", khl.errors.HubWarning)
    scope = tf.distribute.MultiWorkerMirroredStrategy().scope
    with scope():
        distribution.enable_fit()
    results = {}
    for name, handle in (("keras2", norm), ("raw", raw)):
        model = model_of(scope, handle)
        best = callbacks.ExportFinetuned(f"{shared}/{name}", monitor="loss", verbose=0)
        fit(model, best, callbacks.ExportPiece(f"{shared}/{name}_whole", versioned=True, verbose=0))
        results[name] = {
            "exported": best.exported,
            "values": own_values(model),
            "paths": [
                khl.export(model.get_layer("hub"), f"{shared}/{name}_by_hand"),
                khl.save(model, f"{shared}/{name}.keras"),
            ],
        }
        results[name]["values afterwards"] = own_values(model)
        fit(model)  # nothing of what was exchanged is left over
    results["no directory"] = error_of(khl.export, model, f"{shared}/file/export")
    results["exists"] = error_of(khl.export, model, f"{shared}/raw", overwrite=False)
    results["no directory for fit"] = error_of(fit, model, callbacks.ExportFinetuned(f"{shared}/file/export"))
    results["steps"] = steps = []
    count = keras.callbacks.LambdaCallback(on_train_batch_begin=lambda batch, logs: steps.append(batch))
    with read_only(f"{folder}/read_only"):
        for kind in (callbacks.ExportFinetuned, callbacks.Backup):
            results[f"read-only for {kind.__name__}"] = error_of(fit, model, count, kind(f"{folder}/read_only/new"))
    model.layers[-1].kernel.assign([[np.nan]])
    results["nan"] = error_of(khl.export, model, f"{shared}/raw_by_hand")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        skipping = callbacks.ExportPiece(f"{shared}/raw_by_hand", on_nan="skip", verbose=0)
        fit(model, skipping)
    results["skipped"] = [skipping.exported, [str(w.message) for w in caught if w.category is khl.errors.HubWarning]]
    results["files"] = sorted(os.listdir(shared))
    clusters.tell(folder, results)


if __name__ == "__main__":
    main(*sys.argv[1:])
