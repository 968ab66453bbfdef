"""The error for a step in which a worker waits for another worker that has ended."""

import contextlib
from collections.abc import Iterator
from typing import Any

import tensorflow as tf

from keras_hub_layers._src.compat.workers import workers_of
from keras_hub_layers.errors import DistributionError

__all__ = ["say_who_is_gone"]


@contextlib.contextmanager
def say_who_is_gone(strategy: Any) -> Iterator[None]:
    """Raise an `errors.DistributionError` if TensorFlow ends a step in this block because a worker is gone."""
    try:
        yield
    except (tf.errors.UnavailableError, tf.errors.AbortedError) as err:
        workers = workers_of(strategy)
        if workers is None:
            raise
        said = str(err).partition("aborted by: ")[2] or str(err)
        raise DistributionError(
            "Another worker is gone, so this one cannot continue.",
            expected="all workers until the end of the training",
            received=f"{type(err).__name__}: {said[:500]}",
            where=f"worker {workers.index} of {workers.count}",
            fix="# Start all workers again. With a backup they continue with the epoch that was interrupted:\n"
            "callbacks=[..., callbacks.Backup('/a/directory/that/all/workers/share')]",
        ) from err
