"""The networks of the demo, and how they are trained and compared."""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from keras_hub_layers._src.cli.demo.digits import Examples


def make_encoder() -> Any:
    """(None, 8, 8, 1) to features (None, 256), with all that fine-tuning has to get right."""
    x = inputs = keras.Input((8, 8, 1), name="image")
    for filters in (32, 64):
        for _ in range(2):
            l2 = keras.regularizers.L2(1e-4)
            x = keras.layers.Conv2D(filters, 3, padding="same", use_bias=False, kernel_regularizer=l2)(x)
            x = keras.layers.BatchNormalization(momentum=0.9)(x)
            x = keras.layers.ReLU()(x)
        x = keras.layers.MaxPooling2D()(x)
        x = keras.layers.Dropout(0.2)(x)
    return keras.Model(inputs, keras.layers.Flatten()(x), name="encoder")


def make_classifier(encoder: Any, classes: int, rate: float) -> Any:
    """A compiled model: an encoder and a head."""
    model = keras.Sequential([keras.Input((8, 8, 1)), encoder, keras.layers.Dense(classes)])
    compile_classifier(model, rate)
    return model


def compile_classifier(model: Any, rate: float) -> None:
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(rate), loss, metrics=["accuracy"])


def fit(
    model: Any,
    examples: Examples,
    epochs: int,
    advance: Callable[[], None],
    batch_size: int = 5,
    callback: Any = None,
) -> None:
    """Fit a model silently; `advance` is called after each epoch."""
    progress = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: advance())
    callbacks = [progress] if callback is None else [progress, callback]
    images, labels = examples.images, examples.labels
    model.fit(images, labels, batch_size=batch_size, epochs=epochs, verbose=0, callbacks=callbacks)


def accuracy(model: Any, examples: Examples) -> float:
    return float(model.evaluate(examples.images, examples.labels, verbose=0, return_dict=True)["accuracy"])


def values(weights: Any) -> list[np.ndarray]:
    """Copies of the values of weights."""
    return [np.array(keras.ops.convert_to_numpy(weight)) for weight in weights]


def difference(first: Any, second: Any) -> float:
    """The largest absolute difference of two arrays."""
    first, second = map(keras.ops.convert_to_numpy, (first, second))
    return float(np.max(np.abs(first - second)))
