"""train(): a training loop over `Model.train_step` for every strategy, without private names of Keras."""

import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_hub_layers._src.compat import distribution
from keras_hub_layers._src.compat.workers import say_who_is_gone
from keras_hub_layers._src.distribution.check_workers import check_workers
from keras_hub_layers._src.distribution.unsupported import check_strategy
from keras_hub_layers._src.public import public
from keras_hub_layers.errors import DistributionError

__all__ = ["train"]


@public("distribution")
def train(
    model: keras.Model,
    dataset: Any,
    *,
    epochs: int = 1,
    initial_epoch: int = 0,
    steps_per_epoch: int | None = None,
    validation_data: Any = None,
    callbacks: Sequence[keras.callbacks.Callback] = (),
) -> keras.callbacks.History:
    """Train a compiled model on a dataset under its strategy, in place of `fit`.

    It is a loop over `strategy.run(model.train_step)`. It uses only public names of Keras and TensorFlow. So it
    continues to work if a new Keras breaks `distribution.enable_fit`. It trains as `fit` does, with loss, metrics,
    regularization losses, callbacks and the history of the epochs. It prints nothing. At the end of a batch, callbacks
    get no values, because all workers would have to compute them together.

    Args:
        model: A compiled model that was made in the scope of its strategy.
        dataset: A `tf.data.Dataset` of global batches, which are split over the replicas; or the result of
            `strategy.experimental_distribute_dataset` or `strategy.distribute_datasets_from_function`.
        epochs: The training stops before the epoch with this number, an `int`. Defaults to 1.
        initial_epoch: The epoch to start with, an `int`. Defaults to 0.
        steps_per_epoch: How many batches an epoch has, for datasets that repeat. Defaults to `None`: all of them.
        validation_data: A dataset like `dataset`, evaluated after each epoch. Defaults to `None`.
        callbacks: Callbacks, a list of `keras.callbacks.Callback`. Defaults to none.

    Returns:
        The history, a `keras.callbacks.History`.

    Raises:
        errors.DistributionError: `dataset` is not a dataset, or it is empty; the strategy is not supported; the workers
            differ.

    Example:

    ```python
    import keras
    import tensorflow as tf
    from keras_hub_layers import distribution, layers

    strategy = tf.distribute.MirroredStrategy()
    with strategy.scope():
        model = keras.Sequential([layers.HubLayer("path/to/saved_model", trainable=True), keras.layers.Dense(1)])
        model.compile("adam", "mse")
    dataset = tf.data.Dataset.from_tensor_slices((x, y)).batch(8)
    history = distribution.train(model, dataset, epochs=2)
    ```
    """
    strategy = model.distribute_strategy
    check_strategy(strategy)
    batches = _distribute(strategy, dataset, "dataset")
    held_out = None if validation_data is None else _distribute(strategy, validation_data, "validation_data")
    check_workers(model)
    _build(model, batches)
    train_step, test_step = _steps(model)
    loop = keras.callbacks.CallbackList(
        list(callbacks), add_history=True, model=model, epochs=epochs, steps=steps_per_epoch, verbose=0
    )
    model.stop_training = False
    loop.on_train_begin()
    step_of_last_trace = model.train_function  # `callbacks.Unfreeze` sets another one when it changes what is trained
    logs: dict[str, float] = {}
    iterator = None
    for epoch in range(distribution.start_epoch(model, initial_epoch), epochs):
        model.reset_metrics()
        loop.on_epoch_begin(epoch)
        if model.train_function is not step_of_last_trace:
            step_of_last_trace, (train_step, test_step) = model.train_function, _steps(model)
        iterator = iter(batches) if iterator is None or steps_per_epoch is None else iterator
        if not _run(train_step, itertools.islice(iterator, steps_per_epoch), loop, model):
            raise _no_batches(epoch)
        logs = _results(model)
        if held_out is not None:
            model.reset_metrics()
            loop.on_test_begin()
            for batch in held_out:
                test_step(batch)
            logs |= {f"val_{name}": value for name, value in _results(model).items()}
            loop.on_test_end()
        loop.on_epoch_end(epoch, logs)
        if model.stop_training:
            break
    model.optimizer.finalize_variable_values(model.trainable_weights)
    loop.on_train_end(logs)
    return model.history


def _distribute(strategy: Any, dataset: Any, name: str) -> Any:
    if isinstance(dataset, tf.distribute.DistributedDataset):
        return dataset
    if isinstance(dataset, tf.data.Dataset):
        return strategy.experimental_distribute_dataset(dataset)
    raise DistributionError(
        f"{name} is not a dataset.",
        expected="a tf.data.Dataset of batches",
        received=type(dataset).__name__,
        where="distribution.train",
        fix=f"{name} = tf.data.Dataset.from_tensor_slices((x, y)).batch(64)",
    )


def _build(model: Any, batches: Any) -> None:
    """Make all variables before a step is traced. A traced step cannot make variables on several replicas."""
    for batch in batches:
        model.distribute_strategy.run(model.test_step, args=(batch,))  # makes those of the metrics
        break
    with model.distribute_strategy.scope():
        if not model.optimizer.built:
            model.optimizer.build(model.trainable_variables)


def _steps(model: Any) -> list[Callable[..., None]]:
    """Two functions that run the model's training step and its test step on each replica. They are not traced yet."""
    strategy = model.distribute_strategy

    def on_each_replica(step: Callable[..., Any]) -> Callable[..., None]:
        def run(batch: Any) -> None:
            strategy.run(step, args=(batch,))

        compiled = run if model.run_eagerly else tf.function(run, autograph=False, reduce_retracing=True)

        def run_among_workers(batch: Any) -> None:
            with say_who_is_gone(strategy):
                compiled(batch)

        return run_among_workers

    return [on_each_replica(model.train_step), on_each_replica(model.test_step)]


def _run(step: Callable[..., None], batches: Iterator[Any], loop: Any, model: Any) -> int:
    """Run a step on each batch; return how many there were."""
    count = 0
    for count, batch in enumerate(batches, 1):
        loop.on_train_batch_begin(count - 1)
        step(batch)
        loop.on_train_batch_end(count - 1)
        if model.stop_training:
            break
    return count


def _results(model: Any) -> dict[str, float]:
    results = {name: keras.ops.convert_to_numpy(value) for name, value in model.get_metrics_result().items()}
    return {name: float(np.asarray(value)) for name, value in results.items()}


def _no_batches(epoch: int) -> DistributionError:
    return DistributionError(
        f"The dataset gave no batch in epoch {epoch + 1}.",
        expected="at least one batch in each epoch",
        received="an empty dataset, or steps_per_epoch with a dataset that does not repeat",
        where="distribution.train",
        fix="dataset = dataset.repeat()   # with steps_per_epoch=...",
    )
