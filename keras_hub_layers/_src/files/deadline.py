"""Deadline: when a call ends that makes no progress."""

import time
from collections.abc import Callable


class Deadline:
    """The moment at which a call ends, moved on by whatever counts as progress.

    Args:
        seconds: How long the call may go on without progress.
        step: How many bytes count as progress. Defaults to 1.
        clock: Tells the time in seconds. Defaults to `time.monotonic`.
    """

    def __init__(self, seconds: float, step: int = 1, clock: Callable[[], float] = time.monotonic) -> None:
        self.seconds = seconds
        self.step = step
        self._clock = clock
        self.extend()

    def extend(self) -> None:
        """Note progress: from now on, the call has all of its seconds again."""
        self._end = self._clock() + self.seconds

    def left(self) -> float:
        """The seconds that are left, 0 at least."""
        return max(0.0, self._end - self._clock())
