"""Unpack an untrusted archive into a directory.

A SavedModel consists of regular files and directories. Everything else that an archive can hold (links, devices,
names that lead elsewhere, twice the same name) is refused, not skipped; nothing but content is taken over (no modes,
owners or dates). An archive is accepted only when it is whole: its end mark and its checksums are read before
`unpack` returns.
"""

import gzip
import os
import re
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import BinaryIO

from keras_hub_layers._src.files.layout import SAVED_MODEL_FILES
from keras_hub_layers._src.resolve import environment, other_formats
from keras_hub_layers._src.resolve.tar import BLOCK, CHUNK, Refused, Stream, is_header, members
from keras_hub_layers.errors import ArchiveError


@dataclass(frozen=True)
class Limits:
    """What an archive may unpack to.

    Attributes:
        max_bytes: Bytes in total. Defaults to 64 GiB.
        max_ratio: Times the archive's own size, once more than 1 GiB is unpacked. Defaults to 200.
        max_members: Files and directories. Defaults to 100 000.
    """

    max_bytes: int = 64 << 30
    max_ratio: int = 200
    max_members: int = 100_000

    @classmethod
    def from_environment(cls) -> "Limits":
        """The defaults, with `KERAS_HUB_LAYERS_MAX_BYTES` and `KERAS_HUB_LAYERS_MAX_MEMBERS`."""
        size, members, limits = environment.max_bytes(), environment.max_members(), cls()
        if size:  # whoever sets it has decided; the ratio is for those who have not
            limits = replace(limits, max_bytes=size, max_ratio=1 << 62)
        return replace(limits, max_members=members) if members else limits

    def budget(self, archive_size: int) -> int:
        """Bytes that an archive of this size may unpack to."""
        return min(self.max_bytes, max(1 << 30, self.max_ratio * archive_size))


@dataclass
class _Target:
    """The directory that is being filled, and what may still go into it."""

    root: str
    budget: int
    members: int
    files: set[str] = field(default_factory=set)

    def add(self, name: str, is_directory: bool, pieces: Iterator[bytes]) -> None:
        """Create one member; `name` comes from the archive and is not trusted."""
        self.members -= 1
        if self.members < 0:
            raise Refused("more members than allowed", fix="export KERAS_HUB_LAYERS_MAX_MEMBERS=1000000")
        parts = _safe_parts(name)
        path = os.path.join(self.root, *parts)
        try:
            if is_directory:
                os.makedirs(path, exist_ok=True)
                return
            if not parts or path in self.files:
                raise Refused(f"the member {name!r} twice")
            self.files.add(path)
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with open(path, "xb") as file:
                for piece in pieces:
                    self.spend(len(piece))
                    file.write(piece)
        except (FileExistsError, NotADirectoryError, IsADirectoryError) as error:
            raise Refused(f"the member {name!r}, whose place is taken by another member") from error

    def spend(self, size: int) -> None:
        self.budget -= size
        if self.budget < 0:
            raise Refused(
                "more bytes than allowed: it may be a decompression bomb",
                fix="if you trust the publisher: export KERAS_HUB_LAYERS_MAX_BYTES=1000000000000",
            )


def unpack(
    archive: str | os.PathLike[str],
    directory: str | os.PathLike[str],
    *,
    source: str | None = None,
    limits: Limits | None = None,
) -> None:
    """Unpack a .tar, .tar.gz or .zip archive, told by its content, into a new directory.

    Args:
        archive: Path of the archive.
        directory: Path of the directory to create. After a failure it may hold a part: remove it.
        source: What error messages call the archive. Defaults to its path.
        limits: Defaults to `Limits.from_environment()`.

    Raises:
        ArchiveError: The archive is damaged or holds something that a SavedModel does not need.
        OSError: The directory cannot be written.
    """
    limits = limits or Limits.from_environment()
    os.mkdir(directory)
    target = _Target(os.path.abspath(directory), limits.budget(os.path.getsize(archive)), limits.max_members)
    try:
        with open(archive, "rb") as file:
            _reader(file)(file, target)
    except Refused as error:
        raise _bad(source or archive, str(error), error.fix) from error
    except (zlib.error, gzip.BadGzipFile, EOFError) as error:
        raise _bad(source or archive, f"a damaged archive ({error})", Refused("").fix) from error


def find_saved_model(directory: str, source: str) -> str:
    """The one directory below (or at) `directory` that holds a SavedModel.

    Raises:
        ArchiveError: There is none, or there are several; the message lists what is there.
    """
    found = []
    for path, folders, files in os.walk(directory):
        if any(name in files for name in SAVED_MODEL_FILES):
            found.append(path)
            folders.clear()
    if len(found) == 1:
        return found[0]
    other = None if found else other_formats.of_folder(directory, os.listdir(directory))
    inside = sorted(os.path.relpath(path, directory) for path in found) or sorted(os.listdir(directory))
    listing = ", ".join(inside[:20]) + (", …" if len(inside) > 20 else "")
    raise ArchiveError(
        "The archive holds several SavedModels." if found else "The archive holds no SavedModel.",
        expected="exactly one directory with a saved_model.pb",
        received=(f"{other.what}: " if other else "") + (listing or "an empty archive"),
        where=source,
        fix="unpack it and give the directory that you want: tar -xzf model.tar.gz && HubLayer('./…')"
        if found
        else "pack the directory that holds saved_model.pb: keras-hub-layers pack DIRECTORY model.tar.gz",
    )


def _reader(file: BinaryIO) -> Callable[[BinaryIO, _Target], None]:
    """The function that can read this file, by its first bytes."""
    start = file.read(BLOCK)
    file.seek(0)
    if start.startswith(b"\x1f\x8b"):
        return _read_tar_gz
    if start.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        return _read_zip
    if len(start) == BLOCK and (start[257:262] == b"ustar" or is_header(start)):
        return _read_tar
    shown = re.sub(r"[^\x20-\x7e]+", " ", start[:100].decode("latin-1")).strip()
    raise Refused(f"a file that begins with {shown!r}" if start else "an empty file")


def _read_tar_gz(file: BinaryIO, target: _Target) -> None:
    """Read to the very end: only there does gzip tell whether the bytes are sound."""
    with gzip.GzipFile(fileobj=file) as stream:
        _read_tar(stream, target)


def _read_tar(file: Stream, target: _Target) -> None:
    for member in members(file):
        target.add(member.name, member.is_directory, member.pieces)


def _read_zip(file: BinaryIO, target: _Target) -> None:
    """The standard library reads zip members and checks their sums; what a member may be is decided here."""
    count = _count_of_zip(file, target.members)
    with _damage():
        archive = zipfile.ZipFile(file)
    if len(archive.infolist()) != count:
        raise Refused("a damaged table of contents")
    for info in archive.infolist():
        mode = info.external_attr >> 16
        if info.flag_bits & 1:
            raise Refused(f"an encrypted member ({info.filename!r})")
        if info.create_system == 3 and mode & 0o170000 not in (0, 0o100000, 0o040000):
            raise Refused(f"a link or device ({info.filename!r})")
        if info.orig_filename != info.filename:
            raise Refused(f"the name {info.orig_filename!r}")
        target.add(info.filename, info.is_dir(), _zip_pieces(archive, info))


def _zip_pieces(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> Iterator[bytes]:
    with _damage():
        member = archive.open(info)
    with member:
        while True:
            with _damage():
                piece = member.read(CHUNK)
            if not piece:
                return
            yield piece


@contextmanager
def _damage() -> Iterator[None]:
    """Whatever the standard library raises while it reads a damaged zip."""
    try:
        yield
    except (zipfile.BadZipFile, zlib.error, struct.error, OSError, EOFError, LookupError, ArithmeticError) as error:
        raise Refused(f"a damaged archive ({error})") from error
    except (ValueError, NotImplementedError, RuntimeError) as error:
        raise Refused(f"a zip of an unknown kind ({error})") from error


def _count_of_zip(file: BinaryIO, members: int) -> int:
    """How many members a zip announces; a table of contents that would not fit into memory is refused unread."""
    file.seek(0, os.SEEK_END)
    size = file.tell()
    file.seek(max(0, size - (1 << 16) - 22))
    tail = file.read()
    file.seek(0)
    end = tail.rfind(b"PK\x05\x06")
    if end < 0 or len(tail) < end + 22:
        raise Refused("a truncated archive: its table of contents is missing")
    count, length = (
        int.from_bytes(tail[end + 10 : end + 12], "little"),
        int.from_bytes(tail[end + 12 : end + 16], "little"),
    )
    if count == 0xFFFF or length > members * 1000:
        raise Refused("a table of contents that is larger than allowed", fix="pack it as .tar.gz")
    return count


def _safe_parts(name: str) -> list[str]:
    """The components of a member's name, or Refused if it could lead out of the directory."""
    parts = [part for part in name.split("/") if part not in ("", ".")]
    bad = name.startswith("/") or ".." in parts or re.search(r"[\\\x00-\x1f\x7f]|^[A-Za-z]:", name)
    if bad or len(parts) > 64 or any(len(part.encode("utf-8", "replace")) > 255 for part in parts):
        raise Refused(f"the name {name[:300]!r}, which leads out of the directory or cannot be a file's")
    return parts


def _bad(source: object, received: str, fix: str) -> ArchiveError:
    return ArchiveError(
        "The archive cannot be unpacked.",
        expected="a whole .tar.gz, .tar or .zip with regular files and directories only",
        received=received,
        where=source,
        fix=fix,
    )
