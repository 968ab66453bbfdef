"""One of two workers that keep a backup; the second may be killed in the middle of an epoch.

python worker_backup.py FOLDER SCALE SHARED killed|whole
"""

import os
import signal
import sys

import clusters
import keras
import tensorflow as tf
import worker_training
from worker_training import dataset_of, error_of, model_of, outcome

from keras_hub_layers import callbacks, distribution


class Death(keras.callbacks.Callback):
    """Kills this process in the second batch of the third epoch."""

    def on_epoch_begin(self, epoch, logs=None):
        self.now = epoch

    def on_train_batch_begin(self, batch, logs=None):
        if (self.now, batch) == (2, 1):
            os.kill(os.getpid(), signal.SIGKILL)


def fit(scale, shared, *extra):
    """A model after 4 epochs in which a layer is unfrozen and its best epoch exported."""
    model = model_of(scale, lambda model: keras.optimizers.Adam(0.05), trainable=False)
    targets = [callbacks.Unfreeze({1: "all"}, verbose=0)]
    targets += [callbacks.ExportFinetuned(f"{shared}/export", monitor="mae", verbose=0), *extra]
    return outcome(model, model.fit(dataset_of(), epochs=4, shuffle=False, verbose=0, callbacks=targets))


def main(folder, scale, shared, mode):
    task = distribution.check_tf_config()
    worker_training.scope = tf.distribute.MultiWorkerMirroredStrategy().scope
    with worker_training.scope():
        distribution.enable_fit()
    backup = callbacks.Backup(f"{shared}/backup", verbose=0)
    if mode == "killed":
        fit(scale, shared, backup, *([Death()] if task.index == 1 else []))
        return
    results = {"resumed": fit(scale, shared, backup), "files": sorted(os.listdir(shared))}
    for name, place in (("not shared", f"{shared}/own{task.index}"), ("no directory", f"{shared}/file/backup")):
        results[name] = error_of(fit, scale, shared, callbacks.Backup(place, verbose=0))
    clusters.tell(folder, results)


if __name__ == "__main__":
    main(*sys.argv[1:])
