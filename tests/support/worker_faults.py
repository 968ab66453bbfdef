"""One of two workers that meet a fault, and what it has seen.

python worker_faults.py FOLDER SCALE HALF SHARED differences|swap
"""

import os
import signal
import sys

import clusters
import keras
import tensorflow as tf
import worker_training
from worker_training import dataset_of, error_of, model_of

import keras_hub_layers as khl
from keras_hub_layers import distribution, layers
from keras_hub_layers._src.files import atomic

NEWER = "9.9.9"  # of this package, on the second worker


def compare(index, results, scale, half, shared):
    """Train another SavedModel on the second worker, then with another version, then without the file."""
    steps = []
    count = keras.callbacks.LambdaCallback(on_train_batch_begin=lambda batch, logs: steps.append(batch))
    model = model_of(half if index == 1 else scale)
    results["another SavedModel"] = error_of(model.fit, dataset_of(), verbose=0, callbacks=[count])
    if index == 1:
        sys.path.insert(0, shared)  # what is installed there, is found first
    results["another version"] = error_of(distribution.train, model_of(scale), dataset_of(), callbacks=[count])
    results["steps"] = steps
    if index == 1:
        yield results
        layers.HubLayer(os.path.join(shared, "missing"))
    results["a worker without the file"] = error_of(lambda: model_of(scale).fit(dataset_of(), verbose=0))
    yield results


def swap(index, results, scale, half, shared):
    """Export twice. The chief dies in the second export, after it has moved the first one aside."""
    model = model_of(scale)
    model.fit(dataset_of(), epochs=1, shuffle=False, verbose=0)
    hub, rename = model.get_layer("hub"), os.rename
    khl.export(hub, f"{shared}/export")
    yield {"first": hub(worker_training.X).numpy().ravel().tolist()}
    hub.trainable_weights[0].assign(9.0)

    def rename_and_die(source, target):
        rename(source, target)
        os.kill(os.getpid(), signal.SIGKILL)

    if index == 0:
        atomic._exchange = lambda *_: False  # as on a file system that cannot exchange two names
        os.rename = rename_and_die
    yield {"second": error_of(khl.export, hub, f"{shared}/export")}


def main(folder, scale, half, shared, mode):
    task = distribution.check_tf_config()
    worker_training.scope = tf.distribute.MultiWorkerMirroredStrategy().scope
    with worker_training.scope():
        distribution.enable_fit()
    results = {}
    for part in {"differences": compare, "swap": swap}[mode](task.index, results, scale, half, shared):
        results |= part
        clusters.tell(folder, results)


if __name__ == "__main__":
    main(*sys.argv[1:])
