"""The processes that train one model together under a strategy of several workers, and what they tell each other."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf

__all__ = ["Workers", "workers_of"]

_LONGEST = 4096  # bytes of what one worker may tell at once: all send equally many


@dataclass(frozen=True, eq=False)
class Workers:
    """The workers of a strategy, of which this process is one.

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
            data: What this worker tells; what is longer than some 4,000 bytes is cut.
        """
        sent = np.zeros(_LONGEST, "int32")
        data = data[: _LONGEST - 2]
        sent[:2] = self.index, len(data)
        sent[2 : 2 + len(data)] = np.frombuffer(data, "uint8")
        value = self.strategy.experimental_distribute_values_from_function(lambda _: tf.constant(sent[None]))
        rows = np.asarray(self.strategy.gather(value, axis=0))
        told = {int(row[0]): row[2 : 2 + row[1]].astype("uint8").tobytes() for row in rows}  # a worker has its replicas
        return [told[index] for index in range(self.count)]


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
