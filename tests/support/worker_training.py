"""Trainings whose results are the same in one process and in several; and one worker that runs all of them.

python worker_training.py FOLDER SCALE TEXTS
"""

import contextlib
import sys
import time

import clusters
import keras
import numpy as np
import tensorflow as tf

from keras_hub_layers import callbacks, distribution, finetuning, layers

X = np.linspace(-1, 1, 16, dtype="float32")[:, None]
Y = (3 * X + 0.5 * X**2).astype("float32")
TEXTS = ["hello world", "good", "bad bad", "hello"] * 4
SCORES = np.arange(16, dtype="float32")[:, None] % 3
scope = contextlib.nullcontext  # or that of a strategy: models are made in it, and trained outside of it


def model_of(handle, optimizer=None, trainable=True, texts=False):
    with scope():
        hub = layers.HubLayer(handle, trainable=trainable, name="hub")
        inputs = keras.Input((), dtype="string") if texts else keras.Input((1,))
        model = keras.Sequential([inputs, hub, keras.layers.Dense(1, kernel_initializer="ones", name="head")])
        optimizer = optimizer or (lambda model: keras.optimizers.SGD(0.01))
        model.compile(optimizer(model), "mse", metrics=["mae"])
    return model


def dataset_of(inputs=X, targets=Y, size=8):
    return tf.data.Dataset.from_tensor_slices((inputs, targets)).batch(size)


def layerwise(model):
    return finetuning.layerwise(model, keras.optimizers.AdamW(0.05, weight_decay=0.1), decay=0.5)


def outcome(model, history=None, **more):
    values = {} if history is None else {k: [float(v) for v in vs] for k, vs in history.history.items()}
    weights = [np.asarray(keras.ops.convert_to_numpy(weight)).ravel().tolist() for weight in model.weights]
    return {"weights": weights, "history": values, **more}


def arrays(scale, texts):
    """`fit` with arrays and validation, then `evaluate`, also on a batch that is no whole one, and `predict`."""
    model = model_of(scale)
    history = model.fit(X, Y, batch_size=8, epochs=2, shuffle=False, verbose=0, validation_data=(X[:8], Y[:8]))
    evaluated = model.evaluate(X[:6], Y[:6], batch_size=6, verbose=0)
    rows = model.predict(X[:7], batch_size=4, verbose=0).ravel().tolist()
    return outcome(model, history, evaluated=evaluated, rows=rows, losses=[float(loss) for loss in model.losses])


def decayed(scale, texts):
    model = model_of(scale, layerwise)
    return outcome(model, model.fit(dataset_of(), epochs=2, shuffle=False, verbose=0))


def unfrozen(scale, texts):
    model = model_of(scale, lambda model: keras.optimizers.Adam(0.05), trainable=False)
    step = callbacks.Unfreeze({1: "all"}, verbose=0)
    return outcome(model, model.fit(dataset_of(), epochs=3, shuffle=False, verbose=0, callbacks=[step]))


def strings(scale, texts):
    model = model_of(texts, texts=True)
    return outcome(model, model.fit(dataset_of(tf.constant(TEXTS), SCORES), epochs=2, shuffle=False, verbose=0))


def mapped(scale, texts):
    """The layer in `tf.data`."""
    hub = layers.HubLayer(texts)
    dataset = dataset_of(tf.constant(TEXTS), SCORES).map(lambda text, score: (hub(text), score))
    with scope():
        model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1, kernel_initializer="ones")])
        model.compile(keras.optimizers.SGD(0.01), "mse")
    return outcome(model, model.fit(dataset, epochs=2, shuffle=False, verbose=0))


def loop(scale, texts):
    """`distribution.train` against `fit`."""
    model = model_of(scale, lambda model: keras.optimizers.Adam(0.05), trainable=False)
    step = callbacks.Unfreeze({1: "all"}, verbose=0)
    rest = {"epochs": 3, "validation_data": dataset_of(X[:8], Y[:8]), "callbacks": [step]}
    if scope is not contextlib.nullcontext:
        return outcome(model, distribution.train(model, dataset_of(), **rest))
    return outcome(model, model.fit(dataset_of(), shuffle=False, verbose=0, **rest))


CASES = (arrays, decayed, unfrozen, strings, mapped)


def run(cases, scale, texts):
    """The result of each case, by its name."""
    results = {}
    for case in cases:
        keras.utils.set_random_seed(0)
        started = time.process_time()
        results[case.__name__] = case(scale, texts)
        sys.stdout.write(f"{case.__name__}: {time.process_time() - started:.1f} s\n")
        sys.stdout.flush()
    return results


def error_of(function, *arguments, **keywords):
    """What a call raises, as text."""
    try:
        function(*arguments, **keywords)
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return ""


def main(folder, scale, texts):
    distribution.check_tf_config()
    global scope
    scope = tf.distribute.MultiWorkerMirroredStrategy().scope
    model = model_of(scale)
    results = {"fit of Keras alone": error_of(model.fit, X, Y, batch_size=8, verbose=0)}
    results |= run([loop], scale, texts)
    with scope():
        distribution.enable_fit()
        distribution.enable_fit()  # twice is as good as once
    results |= run(CASES, scale, texts)
    clusters.tell(folder, results)


if __name__ == "__main__":
    main(*sys.argv[1:])
