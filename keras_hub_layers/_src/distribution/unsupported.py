"""Strategies under which `fit` cannot be made to work, and what works under them."""

from typing import Any

import tensorflow as tf

from keras_hub_layers.errors import DistributionError

__all__ = ["check_strategy"]

_LOOP = """# make_dataset() makes a tf.data.Dataset of batches that repeats. Each worker calls it.
coordinator = tf.distribute.coordinator.ClusterCoordinator(strategy)
with strategy.scope():
    model = ...   # and its compile
    model.optimizer.build(model.trainable_variables)

@tf.function
def step(iterator):
    strategy.run(model.train_step, args=(next(iterator),))

@tf.function
def batches_of_a_worker():
    return strategy.distribute_datasets_from_function(lambda context: make_dataset())

iterator = iter(coordinator.create_per_worker_dataset(batches_of_a_worker))
for epoch in range(epochs):
    model.reset_metrics()
    for _ in range(steps_per_epoch):
        coordinator.schedule(step, args=(iterator,))
    coordinator.join()
    print(model.get_metrics_result())"""


def check_strategy(strategy: Any) -> None:
    """Raise an `errors.DistributionError` for a strategy under which a training loop in one process cannot work."""
    if isinstance(strategy, tf.distribute.ParameterServerStrategy):
        raise DistributionError(
            "Keras 3 cannot train under ParameterServerStrategy with fit(): fit() does not use the coordinator.",
            expected="MirroredStrategy or MultiWorkerMirroredStrategy, or steps that a ClusterCoordinator schedules",
            received="ParameterServerStrategy",
            where="the strategy of the scope",
            fix=_LOOP,
        )
