"""What is traced, and how often: tracing is most of the time of a first step."""

import keras
import numpy as np
import producers

from keras_hub_layers import layers
from keras_hub_layers._src.layers import access


def test_each_mode_is_traced_once_whatever_the_batch_the_model_and_the_wrapper(produced):
    layer = layers.HubLayer(produced(producers.batch_norm, True), trainable=True)
    x, counts = np.ones((5, 1), "float32"), []

    def count():
        counts.append(access.loaded_object(layer).__call__.experimental_get_tracing_count())

    model = keras.Sequential([keras.Input((1,)), layer])
    count()
    model.predict(x, batch_size=2, verbose=0)  # 2, 2 and 1
    model.predict(x[:4], batch_size=3, verbose=0)
    keras.Sequential([keras.Input((3, 1)), keras.layers.TimeDistributed(layer)])(np.ones((2, 3, 1)))
    for size in (1, 2, 5):
        layer(x[:size])
    count()
    model.compile(keras.optimizers.SGD(), "mse")
    model.fit(x, x, batch_size=2, verbose=0)
    model.evaluate(x, x, batch_size=3, verbose=0)
    layer(x, training=True)
    count()
    assert counts == [1, 1, 2]
