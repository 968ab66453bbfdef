"""The trainings of `worker_training` and more on one device and on two replicas, in one process.

python mirrored_training.py FOLDER SCALE TEXTS
"""

import contextlib
import os
import sys
import warnings

import clusters
import keras
import keras_tuner
import numpy as np
import producers
import tensorflow as tf
import worker_training
from worker_training import X, Y, dataset_of, error_of, model_of, outcome

import keras_hub_layers as khl
from keras_hub_layers import callbacks, distribution, finetuning, layers, tuners

folder = "."


def is_mirrored():
    return worker_training.scope is not contextlib.nullcontext


def path_of(name):
    return os.path.join(folder, f"{name}_{'mirrored' if is_mirrored() else 'alone'}")


def uneven(scale, texts):
    """A batch of 5: replicas have 3 and 2, and the mean of their means is that of examples with these weights."""
    model = model_of(scale)
    weights = None if is_mirrored() else np.array([5 / 6] * 3 + [5 / 4] * 2, "float32")
    model.fit(X[:5], Y[:5], batch_size=5, sample_weight=weights, epochs=2, shuffle=False, verbose=0)
    return outcome(model)


def saved(scale, texts):
    """Trained, exported in three ways, saved, loaded and trained on."""
    model = model_of(scale, lambda model: keras.optimizers.Adam(0.05))
    targets = [callbacks.ExportFinetuned(path_of("tuned"), verbose=0)]
    targets += [callbacks.ExportPiece(path_of("whole"), verbose=0)]
    model.fit(dataset_of(), epochs=1, shuffle=False, verbose=0, callbacks=targets)
    khl.export(model.get_layer("hub"), path_of("exported"))
    rows = {name: np.ravel(layers.HubLayer(path_of(name))(X)).tolist() for name in ("tuned", "whole", "exported")}
    model.save(path_of("model") + ".keras")
    with worker_training.scope():
        loaded = keras.models.load_model(path_of("model") + ".keras", safe_mode=False)
    loaded.fit(dataset_of(), epochs=1, shuffle=False, verbose=0)
    return outcome(loaded, rows=rows, live=np.ravel(model(X)).tolist())


def cached(scale, texts):
    """Features of a layer and of a model that were made in the scope."""
    hub = model_of(scale, trainable=False).get_layer("hub")
    with worker_training.scope():
        model = keras.Sequential([keras.Input((1,)), layers.HubLayer(scale)])
    return [np.ravel(finetuning.features(part, X)).tolist() for part in (hub, model)]


def searched(scale, texts):
    """A search over SavedModels, with `distribution_strategy` where there is one."""
    strategy = {"distribution_strategy": worker_training.scope.__self__} if is_mirrored() else {}
    hypermodel = tuners.HubHyperModel(
        [scale], lambda hp, x: keras.layers.Dense(1, kernel_initializer="ones")(x), loss="mse"
    )
    tuner = keras_tuner.GridSearch(
        hypermodel, "val_loss", max_trials=2, directory=path_of("search"), project_name="search", **strategy
    )
    tuners.search(tuner, X, Y, epochs=1, shuffle=False, verbose=0, validation_data=(X, Y))
    best = tuner.get_best_models(1)[0]
    exported = layers.HubLayer(tuners.export_best(tuner, path_of("best")))
    return {
        "scores": [trial.score for trial in tuner.oracle.trials.values()],
        "best": np.ravel(best.evaluate(X, Y, verbose=0)).tolist(),
        "exported": np.ravel(exported(X)).tolist(),
    }


def called(scale, texts):
    """Outputs and losses of a layer within the scope and outside of it."""
    with worker_training.scope():
        hub = layers.HubLayer(scale, trainable=True)
        values = [np.ravel(hub(X)).tolist(), [float(loss) for loss in hub.losses]]
    return [*values, np.ravel(hub(X)).tolist()]


def resumed(scale, texts):
    """A `fit` that was interrupted in its second epoch, and goes on with a new model."""

    def train(*extra):
        model = model_of(scale, lambda model: keras.optimizers.Adam(0.05), trainable=False)
        kept = [callbacks.Unfreeze({1: "all"}, verbose=0), *extra, callbacks.Backup(path_of("backup"), verbose=0)]
        return outcome(model, model.fit(dataset_of(), epochs=3, shuffle=False, verbose=0, callbacks=kept))

    def crash(epoch, logs):
        if epoch == 1:
            raise InterruptedError("crash")

    assert "crash" in error_of(train, keras.callbacks.LambdaCallback(on_epoch_begin=crash))
    return train()


def staged(scale, texts):
    """A layer that is cut in two: lengths of texts on the host, where each text has a row."""
    with worker_training.scope():
        hub = layers.HubLayer(producers.text_length(path_of("length"), keras2=True), trainable=True)
        host, device = distribution.host_stage(hub), distribution.device_stage(hub)
        inputs = host.inputs()
        model = keras.Model(inputs, keras.layers.Dense(1, kernel_initializer="ones")(device(inputs)))
        model.compile(keras.optimizers.SGD(0.001), "mse")
    dataset = dataset_of(tf.constant(worker_training.TEXTS)[:, None], worker_training.SCORES)
    model.fit(dataset.map(lambda text, score: (host(text), score)), epochs=2, shuffle=False, verbose=0)
    return outcome(hub)


def split_after_the_host(texts):
    """The error of a batch that was split although its texts have no rows any more."""
    with worker_training.scope():
        hub = layers.HubLayer(texts, trainable=True)
        host, device = distribution.host_stage(hub), distribution.device_stage(hub)
        inputs = host.inputs()
        model = keras.Model(inputs, keras.layers.Dense(1)(device(inputs)))
        model.compile("sgd", "mse")
    dataset = dataset_of(tf.constant(worker_training.TEXTS), worker_training.SCORES)
    return error_of(model.fit, dataset.map(lambda text, score: (host(text), score)), shuffle=False, verbose=0)


TRAININGS = (worker_training.arrays, worker_training.decayed, worker_training.unfrozen, worker_training.strings)
CASES = (*TRAININGS, worker_training.loop, uneven, saved, resumed, staged, cached, searched, called)


def main(into, scale, texts, *names):
    global folder
    folder = into
    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
    warnings.simplefilter("ignore")
    cases = [case for case in CASES if not names or case.__name__ in names]
    results = {"alone": worker_training.run(cases, scale, texts)}
    worker_training.scope = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"]).scope
    model = model_of(texts, texts=True)
    results["strings of Keras alone"] = error_of(model.fit, tf.constant(["a"] * 4), np.ones((4, 1)), verbose=0)
    with worker_training.scope():
        distribution.enable_fit()
    results["split"] = split_after_the_host(texts)
    results["mirrored"] = worker_training.run(cases, scale, texts)
    clusters.tell(into, results)


if __name__ == "__main__":
    main(*sys.argv[1:])
