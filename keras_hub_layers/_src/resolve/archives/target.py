"""Target: where the members of an archive go, and what may still go there."""

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from keras_hub_layers._src.resolve.archives.tar import Refused


@dataclass
class Target:
    """The directory that an archive becomes.

    Attributes:
        root: Its path; `None` to check and measure the members, and to write nothing.
        budget: Bytes that may still go into it.
        members: Files and directories that may still go into it.
    """

    root: str | None
    budget: int
    members: int
    _files: set[str] = field(default_factory=set)
    _directories: set[str] = field(default_factory=set)

    def add(self, name: str, is_directory: bool, pieces: Iterator[bytes]) -> None:
        """Take one member; `name` comes from the archive and is not trusted."""
        self.members -= 1
        if self.members < 0:
            raise Refused("more members than allowed", fix="export KERAS_HUB_LAYERS_MAX_MEMBERS=1000000")
        parts = _safe_parts(name)
        self._take_place(parts, is_directory, name)
        if self.root is None:
            for piece in pieces:
                self._spend(len(piece))
            return
        path = os.path.join(self.root, *parts)
        try:
            os.makedirs(path if is_directory else os.path.dirname(path), exist_ok=True)
            if is_directory:
                return
            with open(path, "xb") as file:
                for piece in pieces:
                    self._spend(len(piece))
                    file.write(piece)
        except (FileExistsError, NotADirectoryError, IsADirectoryError) as error:  # two names for one file
            raise _place_is_taken(name) from error

    def _take_place(self, parts: list[str], is_directory: bool, name: str) -> None:
        """Note which places a member needs, and refuse one whose place is taken."""
        above = ["/".join(parts[:depth]) for depth in range(1, len(parts))]
        place = "/".join(parts)
        if not is_directory and (not parts or place in self._files):
            raise Refused(f"the member {name!r} twice")
        others = self._files if is_directory else self._directories
        if place in others or not self._files.isdisjoint(above):
            raise _place_is_taken(name)
        self._directories.update(above, [place] if is_directory else [])
        if not is_directory:
            self._files.add(place)

    def _spend(self, size: int) -> None:
        self.budget -= size
        if self.budget < 0:
            raise Refused(
                "more bytes than allowed: it may be a decompression bomb",
                fix="if you trust the publisher: export KERAS_HUB_LAYERS_MAX_BYTES=1000000000000",
            )


def _place_is_taken(name: str) -> Refused:
    return Refused(f"the member {name!r}, whose place is taken by another member")


def _safe_parts(name: str) -> list[str]:
    """The components of a member's name, or Refused if it could lead out of the directory."""
    parts = [segment for segment in name.split("/") if segment not in ("", ".")]
    bad = name.startswith("/") or ".." in parts or re.search(r"[\\\x00-\x1f\x7f]|^[A-Za-z]:", name)
    if bad or len(parts) > 64 or any(len(segment.encode("utf-8", "replace")) > 255 for segment in parts):
        raise Refused(f"the name {name[:300]!r}, which leads out of the directory or cannot be a file's")
    return parts
