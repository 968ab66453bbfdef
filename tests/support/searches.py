"""Small searches: a SavedModel of two variables, a hypermodel over it, and a tuner."""

import keras
import keras_tuner
import numpy as np
import producers
import tensorflow as tf

from keras_hub_layers import tuners

X = np.linspace(-1, 1, 16, dtype="float32")[:, None]
Y = 3 * X


def scale(directory, a=0.5):
    """y = a·b·x with a = 0.5 and b = 1, named `bottom/a` and `top/b`."""
    root = tf.train.Checkpoint()
    root.a, root.b = tf.Variable(a, name="bottom/a"), tf.Variable(1.0, name="top/b")
    root.__call__ = tf.function(lambda x: root.b * (root.a * x), input_signature=[tf.TensorSpec((None, 1))])
    root.variables = root.trainable_variables = [root.a, root.b]
    return producers.save(root, directory)


def head(hp, x):
    return keras.layers.Dense(1, use_bias=hp.Boolean("bias"), kernel_initializer="ones")(x)


def hypermodel_of(*handles, **kwargs):
    return tuners.HubHyperModel(list(handles), head, loss="mse", **{"depths": (1, "all"), **kwargs})


def tuner_of(hypermodel, directory, kind="RandomSearch", trials=4, **kwargs):
    size = {"max_epochs": 2, "factor": 2} if kind == "Hyperband" else {"max_trials": trials}
    return getattr(keras_tuner, kind)(
        hypermodel, "val_loss", directory=str(directory), project_name="search", **{"seed": 1, **size, **kwargs}
    )


def search(tuner, epochs=2, **kwargs):
    tuners.search(tuner, X, Y, epochs=epochs, validation_data=(X, Y), verbose=0, **kwargs)
