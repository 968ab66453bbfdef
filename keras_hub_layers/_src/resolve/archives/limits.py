"""Limits: what an archive may unpack to."""

from dataclasses import dataclass, replace

from keras_hub_layers._src.resolve import environment

_FREE = 512 << 20  # bytes that any archive may unpack to, whatever its own size


@dataclass(frozen=True)
class Limits:
    """What an archive may unpack to.

    Attributes:
        max_bytes: Bytes in total. Defaults to 64 GiB.
        max_ratio: Times the archive's own size, once more than 512 MiB is unpacked. Defaults to 200.
        max_members: Files and directories. Defaults to 10 000.
    """

    max_bytes: int = 64 << 30
    max_ratio: int = 200
    max_members: int = 10_000

    @classmethod
    def from_environment(cls) -> "Limits":
        """The defaults, with `KERAS_HUB_LAYERS_MAX_BYTES` and `KERAS_HUB_LAYERS_MAX_MEMBERS`."""
        size, members, limits = environment.max_bytes(), environment.max_members(), cls()
        if size:  # whoever sets it has decided; the ratio is for those who have not
            limits = replace(limits, max_bytes=size, max_ratio=1 << 62)
        return replace(limits, max_members=members) if members else limits

    def budget(self, archive_size: int) -> int:
        """Bytes that an archive of this size may unpack to."""
        return min(self.max_bytes, max(_FREE, self.max_ratio * archive_size))
