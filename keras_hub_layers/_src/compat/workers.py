"""The processes that train one model together under a strategy of several workers, and what they tell each other."""

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf

from keras_hub_layers.errors import DistributionError

__all__ = ["Workers", "say_who_is_gone", "workers_of"]

_LONGEST = 8192  # bytes of what one worker may tell at once: all send equally many


@dataclass(frozen=True, eq=False)
class Workers:
    """The workers of a strategy, of which this process is one.

    TensorFlow 2.18 to 2.21: a variable that is synchronized on reading waits for all workers at each read, and nothing
    public lets one worker read it alone. `read_once` puts its own `reduce` on the strategy for that.

    Attributes:
        strategy: The strategy.
        index: The number of this worker; the chief has 0.
        count: How many there are.
    """

    strategy: Any
    index: int
    count: int

    @property
    def is_chief(self) -> bool:
        """Whether this worker is the one that writes."""
        return self.index == 0

    def gather(self, data: bytes) -> list[bytes]:
        """What each worker gave, in the order of the workers. Every worker has to call it at the same point.

        Args:
            data: What this worker tells; what is longer than some 8,000 bytes is cut.
        """
        sent = np.zeros(_LONGEST, "int32")
        data = data[: _LONGEST - 2]
        sent[:2] = self.index, len(data)
        sent[2 : 2 + len(data)] = np.frombuffer(data, "uint8")
        value = self.strategy.experimental_distribute_values_from_function(lambda _: tf.constant(sent[None]))
        with say_who_is_gone(self.strategy):
            rows = np.asarray(self.strategy.gather(value, axis=0))
        told = {int(row[0]): row[2 : 2 + row[1]].astype("uint8").tobytes() for row in rows}  # a worker has its replicas
        return [told[index] for index in range(self.count)]

    @contextlib.contextmanager
    def read_once(self, variables: Sequence[Any]) -> Iterator[None]:
        """Read variables on all workers now, so that the chief can read them alone in the block.

        A statistic that each worker has of its own, such as an average of batches, has the mean of all workers on the
        chief for the time of the block. Every worker has to begin the block at the same point.

        A variable that is synchronized on reading, such as a moving average of Keras 2, is read by
        `Strategy.reduce`, which waits for all workers. In the block that method gives what was read before, and raises
        for other variables instead of waiting for ever.
        """
        strategy, before = self.strategy, vars(self.strategy).get("reduce")
        values: dict[int, Any] = {}
        reduce = strategy.reduce
        is_open = True

        def reduce_once(reduce_op: Any, value: Any, axis: Any = None) -> Any:
            if not isinstance(value, tf.Variable):
                return reduce(reduce_op, value, axis=axis)
            if id(value) not in values:
                if not is_open:
                    raise RuntimeError(f"The variable {value.name} was not read on all workers before the chief alone.")
                values[id(value)] = reduce(reduce_op, value, axis=axis)
            return values[id(value)]

        copied = [variable for variable in variables if isinstance(variable, tf.distribute.DistributedValues)]
        strategy.reduce = reduce_once
        try:
            with say_who_is_gone(strategy):
                means = [(variable, self._mean(variable)) for variable in copied]
            is_open = False
            with _assigned_locally(means if self.is_chief else []):
                yield
        finally:
            if before is None:
                del strategy.reduce
            else:
                strategy.reduce = before

    def _mean(self, variable: Any) -> Any:
        """The mean of what the replicas of all workers hold; `None` where all hold the same by contract."""
        if variable.synchronization == tf.VariableSynchronization.ON_READ:
            value = tf.convert_to_tensor(variable)
            return value if variable.aggregation == tf.VariableAggregation.MEAN else None
        if variable.aggregation != tf.VariableAggregation.NONE or not variable.dtype.is_floating:
            return None
        copies = variable.values
        return self.strategy.reduce(
            "MEAN",
            self.strategy.experimental_distribute_values_from_function(
                lambda context: tf.convert_to_tensor(copies[context.replica_id_in_sync_group % len(copies)])
            ),
            axis=None,
        )


@contextlib.contextmanager
def _assigned_locally(means: Sequence[tuple[Any, Any]]) -> Iterator[None]:
    """Have the copies of this worker hold the means for the time of the block, where they do not already."""
    assigned = []
    for variable, mean in means:
        for copy in () if mean is None else variable.values:
            value, mean = np.asarray(copy), np.asarray(mean)
            if not np.allclose(value, mean, rtol=4 * np.finfo(np.float32).eps, atol=0, equal_nan=True):
                assigned.append((copy, value))
                copy.assign(mean)
    try:
        yield
    finally:
        for copy, value in assigned:
            copy.assign(value)


def workers_of(strategy: Any) -> Workers | None:
    """The workers of a strategy; `None` where one process trains alone, or a coordinator schedules what others do."""
    resolver = getattr(strategy, "cluster_resolver", None)
    if resolver is None or resolver.task_type is None:
        return None
    jobs = resolver.cluster_spec().as_dict()
    if "ps" in jobs:
        return None
    order = [(job, task) for job in ("chief", "worker") for task in range(len(jobs.get(job, ())))]
    task = (resolver.task_type, resolver.task_id)
    return Workers(strategy, order.index(task), len(order)) if task in order and len(order) > 1 else None


@contextlib.contextmanager
def say_who_is_gone(strategy: Any) -> Iterator[None]:
    """Raise an `errors.DistributionError` if TensorFlow ends a step in this block because a worker is gone.

    TensorFlow 2.18 to 2.21 raise an `UnavailableError` or an `AbortedError` then.
    """
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
