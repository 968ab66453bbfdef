"""enable_fit(): make Keras' `fit` and `evaluate` work under strategies of several workers."""

from typing import Any

import keras
import tensorflow as tf

from keras_hub_layers._src.compat import distribution
from keras_hub_layers._src.compat.workers import say_who_is_gone, workers_of
from keras_hub_layers._src.distribution.check_workers import check_workers
from keras_hub_layers._src.distribution.unsupported import check_strategy
from keras_hub_layers._src.public import public
from keras_hub_layers.errors import DistributionError, warn

__all__ = ["enable_fit"]

_TESTED = (3, 15)  # the newest Keras whose source was read


@public("distribution")
def enable_fit() -> None:
    """Make `fit`, `evaluate` and `predict` work under a strategy. Call it in the scope of the strategy.

    Under `tf.distribute.MultiWorkerMirroredStrategy`, `fit` and `evaluate` of Keras 3 fail with every model. Under each
    strategy, they fail if the model takes strings. This call fixes both for the models that are made in the scope of
    the strategy. It does not change other models and other strategies. It overrides a private method of Keras 3.8 to
    3.15 (`TensorFlowTrainer._maybe_symbolic_build`). `distribution.train` needs no private name.

    The result is the same as that of one process that trains on the global batch. Each regularization loss is counted
    once. Two things differ, as under every strategy of TensorFlow:

    - If a batch cannot be split evenly, the examples of the smaller part have a larger weight in the mean over the
      replicas.
    - Batch normalization sees only the batch of its replica.

    Before a model trains for the first time, the workers compare their versions of this package, of Keras and of
    TensorFlow, and the contents of their `HubLayer`s. If these differ, they end with an error. If a worker dies, the
    others end with an error that says so. With `callbacks.Backup`, all continue after a restart.

    Raises:
        errors.DistributionError: It is called outside of the scope of a strategy, or Keras has changed.

    Example:

    ```python
    import keras
    import tensorflow as tf
    from keras_hub_layers import distribution, layers

    distribution.check_tf_config()
    strategy = tf.distribute.MultiWorkerMirroredStrategy()
    with strategy.scope():
        distribution.enable_fit()
        model = keras.Sequential([layers.HubLayer("path/to/saved_model", trainable=True), keras.layers.Dense(10)])
        model.compile("adam", "mse")
    model.fit(x, y, batch_size=64)   # the global batch: each of two workers trains on 32 examples of it
    ```
    """
    if not tf.distribute.has_strategy():
        raise DistributionError(
            "distribution.enable_fit() was called outside of the scope of a strategy.",
            expected="a call within the scope of a strategy",
            received="a call outside of any scope",
            where="distribution.enable_fit()",
            fix="with strategy.scope():\n    distribution.enable_fit()\n    model = ...   # and its compile",
        )
    strategy = tf.distribute.get_strategy()
    check_strategy(strategy)
    if not distribution.can_enable_fit():
        raise DistributionError(
            f"Keras {keras.__version__} no longer has the method that enable_fit() replaces.",
            expected="Keras 3.8 to 3.15",
            received=f"Keras {keras.__version__}",
            where="distribution.enable_fit()",
            fix="distribution.train(model, dataset, epochs=3)   # in place of model.fit(dataset, epochs=3)",
        )
    if tuple(map(int, keras.__version__.split(".")[:2])) > _TESTED:
        warn(
            f"distribution.enable_fit() was not tested with Keras {keras.__version__}. If fit() fails: "
            "distribution.train(model, dataset, epochs=3) uses only public names of Keras."
        )
    distribution.enable_fit(strategy, lambda model: _check(strategy, model), lambda: say_who_is_gone(strategy))


def _check(strategy: Any, model: keras.Model) -> None:
    if workers_of(strategy) is not None:
        check_workers(model)
