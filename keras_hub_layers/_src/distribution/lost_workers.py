"""What is said where a worker has ended and the others wait for it in a step."""

import contextlib
from collections.abc import Iterator
from typing import Any

import tensorflow as tf

from keras_hub_layers._src.compat.workers import workers_of
from keras_hub_layers.errors import DistributionError

__all__ = ["say_who_is_gone"]


@contextlib.contextmanager
def say_who_is_gone(strategy: Any) -> Iterator[None]:
    """Raise an `errors.DistributionError` where TensorFlow ends a step of this block because a worker is gone."""
    try:
        yield
    except (tf.errors.UnavailableError, tf.errors.AbortedError) as err:
        workers = workers_of(strategy)
        if workers is None:
            raise
        said = str(err).partition("aborted by: ")[2] or str(err)
        raise DistributionError(
            "Another worker is gone, so this one cannot train on.",
            expected="all workers until the end",
            received=f"{type(err).__name__}: {said[:500]}",
            where=f"worker {workers.index} of {workers.count}",
            fix="# Start all workers again. With a backup they go on with the epoch that was interrupted:\n"
            "callbacks=[..., callbacks.Backup('/a/directory/that/all/workers/share')]",
        ) from err
