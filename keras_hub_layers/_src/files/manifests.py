"""What a cached SavedModel consists of: the record beside it, and whether the directory still agrees with it."""

import hashlib
import json
import os
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field

from keras_hub_layers._src.files.layout import size_of

_SUFFIX = ".manifest.json"


@dataclass(frozen=True)
class Manifest:
    """What was stored, and when.

    Attributes:
        handle: The handle, without password.
        files: Relative path (with "/") to size in bytes and SHA-256.
        archive_sha256: Of the archive's bytes; None when there was no archive.
        created: In seconds since the epoch. Defaults to now.
    """

    handle: str
    files: dict[str, tuple[int, str]]
    archive_sha256: str | None = None
    created: float = field(default_factory=time.time)

    @staticmethod
    def path(directory: str) -> str:
        """Where the manifest of a directory is: beside it, so that the directory stays as it was published."""
        return directory + _SUFFIX

    @classmethod
    def read(cls, directory: str) -> "Manifest | None":
        """The manifest of a directory; None when there is none that can be read."""
        try:
            with open(cls.path(directory), encoding="utf-8") as file:
                fields = json.load(file)
            fields["files"] = {str(name): (int(size), str(sha)) for name, (size, sha) in fields["files"].items()}
            manifest = cls(**fields)
            return manifest if manifest.files else None
        except (OSError, ValueError, TypeError, KeyError, AttributeError):
            return None

    def to_json(self) -> str:
        """The text that `read` reads."""
        return json.dumps(asdict(self), indent=1)

    def fits(self, directory: str) -> bool:
        """Whether every file is there with its size; contents are not read (see `differences`)."""
        return all(size_of(os.path.join(directory, name)) == size for name, (size, _) in self.files.items())

    def differences(self, directory: str) -> list[str]:
        """What is missing, unexpected or changed; every file is read."""
        there, wanted = contents(directory), self.files
        return [
            *(f"missing: {name}" for name in sorted(wanted.keys() - there.keys())),
            *(f"unexpected: {name}" for name in sorted(there.keys() - wanted.keys())),
            *(f"changed: {name}" for name in sorted(wanted.keys() & there.keys()) if wanted[name] != there[name]),
        ]


def sizes(directory: str) -> Iterator[tuple[str, int]]:
    """Relative path (with "/") and size in bytes of every file below a directory."""
    for folder, _, names in os.walk(directory):
        for name in names:
            path = os.path.join(folder, name)
            yield os.path.relpath(path, directory).replace(os.sep, "/"), size_of(path) or 0


def contents(directory: str) -> dict[str, tuple[int, str]]:
    """Size and SHA-256 of every file below a directory."""
    return {name: (size, sha256_of(os.path.join(directory, name))) for name, size in sorted(sizes(directory))}


def sha256_of(path: str | os.PathLike[str]) -> str:
    """The SHA-256 of a file's bytes, hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
