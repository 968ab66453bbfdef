"""Bounds: what a transfer may take."""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from keras_hub_layers._src.files.deadline import Deadline
from keras_hub_layers._src.resolve import environment


@dataclass(frozen=True)
class Bounds:
    """What a transfer may take. `Bounds.from_environment()` is what `resolve` uses.

    A call ends after `2 * silence` seconds without progress, all its tries and the waits between them together.
    Progress is `min_speed` bytes per second, on average over `silence` seconds.

    Attributes:
        attempts: First try and retries together. Defaults to 4.
        connect: Seconds until the connection stands. Defaults to 20.
        silence: Seconds that one try may go on without progress; a later try has half of the seconds that the call has
            left. Defaults to 60.
        min_speed: Bytes per second below which there is no progress. Defaults to 1024.
        backoff: Seconds before the first retry; doubled before each further one. Defaults to 0.5.
        longest_wait: Seconds that a server may ask to wait (`Retry-After`). Defaults to 60.
        redirects: How many redirects are followed. Defaults to 10.
        max_bytes: Size of the file, in bytes. Defaults to 64 GiB.
        clock: Tells the time in seconds. Defaults to `time.monotonic`.
    """

    attempts: int = 4
    connect: float = 20.0
    silence: float = 60.0
    min_speed: float = 1024.0
    backoff: float = 0.5
    longest_wait: float = 60.0
    redirects: int = 10
    max_bytes: int = 64 << 30
    clock: Callable[[], float] = time.monotonic

    @classmethod
    def from_environment(cls) -> "Bounds":
        """The defaults, with the settings of the environment.

        They are `KERAS_HUB_LAYERS_TIMEOUT` (silence, in seconds), `KERAS_HUB_LAYERS_MIN_SPEED` (bytes per second) and
        `KERAS_HUB_LAYERS_MAX_BYTES`.
        """
        bounds = cls()
        if timeout := environment.timeout():
            bounds = replace(bounds, connect=min(bounds.connect, timeout), silence=timeout)
        if speed := environment.min_speed():
            bounds = replace(bounds, min_speed=speed)
        size = environment.max_bytes()
        return replace(bounds, max_bytes=size) if size else bounds

    def deadline(self) -> Deadline:
        """When a call that begins now ends, if it makes no progress."""
        return Deadline(2 * self.silence, max(1, int(self.min_speed * self.silence)), self.clock)
