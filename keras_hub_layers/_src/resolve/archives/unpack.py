"""Unpack an untrusted archive into a directory.

A SavedModel consists of regular files and directories. Everything else that an archive can hold (links, devices,
names that lead elsewhere, twice the same name) is refused, not skipped; nothing but content is taken over (no modes,
owners or dates). An archive is read twice: only when it is known to be whole, sound and small enough, to its end mark
and its checksums, is the first byte written.
"""

import gzip
import os
import re
import zlib
from collections.abc import Callable
from typing import BinaryIO

from keras_hub_layers._src.files.layout import saved_models_below
from keras_hub_layers._src.resolve import other_formats
from keras_hub_layers._src.resolve.archives.limits import Limits
from keras_hub_layers._src.resolve.archives.tar import BLOCK, CHUNK, Refused, Stream, is_header, members
from keras_hub_layers._src.resolve.archives.target import Target
from keras_hub_layers._src.resolve.archives.zip import read_zip
from keras_hub_layers._src.text.words import join_names
from keras_hub_layers.errors import ArchiveError

_DAMAGES = (zlib.error, gzip.BadGzipFile, EOFError)


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
        directory: Path of the directory to create. After a failure it is empty, or holds a part: remove it.
        source: What error messages call the archive. Defaults to its path.
        limits: Defaults to `Limits.from_environment()`.

    Raises:
        ArchiveError: The archive is damaged or holds something that a SavedModel does not need.
        OSError: The directory cannot be written.
    """
    limits = limits or Limits.from_environment()
    os.mkdir(directory)
    try:
        for root in (None, os.path.abspath(directory)):
            _read(archive, Target(root, limits.budget(os.path.getsize(archive)), limits.max_members))
    except Refused as error:
        raise _bad(source or archive, str(error), error.fix) from error
    except _DAMAGES as error:
        raise _bad(source or archive, f"a damaged archive ({error})", Refused("").fix) from error


def is_damaged(archive: str | os.PathLike[str]) -> bool:
    """Whether the bytes of an archive are not those that were packed: another copy of it may be sound."""
    limits = Limits.from_environment()
    try:
        _read(archive, Target(None, limits.budget(os.path.getsize(archive)), limits.max_members))
    except Refused as error:
        return error.is_damage or _is_damaged_gzip(archive, limits.budget(os.path.getsize(archive)))
    except _DAMAGES:
        return True
    return False


def find_saved_model(directory: str, source: str) -> str:
    """The one directory below (or at) `directory` that holds a SavedModel.

    Raises:
        ArchiveError: There is none, or there are several; the message lists what is there.
    """
    models = saved_models_below(directory)
    if len(models) == 1:
        return models[0]
    other = None if models else other_formats.of_folder(directory, os.listdir(directory))
    inside = sorted(os.path.relpath(path, directory) for path in models) or sorted(os.listdir(directory))
    listing = join_names(inside, 20)
    raise ArchiveError(
        "The archive holds several SavedModels." if models else "The archive holds no SavedModel.",
        expected="exactly one directory with a saved_model.pb",
        received=(f"{other.what}: " if other else "") + (listing or "an empty archive"),
        where=source,
        fix="unpack it and give the directory that you want: tar -xzf model.tar.gz && HubLayer('./…')"
        if models
        else "pack the directory that holds saved_model.pb: keras-hub-layers pack DIRECTORY model.tar.gz",
    )


def _is_damaged_gzip(archive: str | os.PathLike[str], budget: int) -> bool:
    """Whether gzip's checksum tells of damage, which may have changed a name or a kind of a member."""
    try:
        with gzip.open(archive) as stream:
            while budget > 0 and (piece := stream.read(CHUNK)):
                budget -= len(piece)
    except gzip.BadGzipFile as error:
        return "CRC" in str(error) or "length" in str(error)
    except _DAMAGES:
        return True
    return False


def _read(archive: str | os.PathLike[str], target: Target) -> None:
    with open(archive, "rb") as file:
        _reader(file)(file, target)


def _reader(file: BinaryIO) -> Callable[[BinaryIO, Target], None]:
    """The function that can read this file, by its first bytes."""
    start = file.read(BLOCK)
    file.seek(0)
    if start.startswith(b"\x1f\x8b"):
        return _read_tar_gz
    if start.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        return read_zip
    if len(start) == BLOCK and (start[257:262] == b"ustar" or is_header(start)):
        return _read_tar
    if other_formats.is_lfs_pointer(start):
        shown = start[:40].decode("ascii", "replace")
        raise Refused(f"a Git-LFS pointer in place of the archive ({shown!r})", fix=other_formats.LFS_FIX)
    shown = re.sub(r"[^\x20-\x7e]+", " ", start[:100].decode("latin-1")).strip()
    raise Refused(f"a file that begins with {shown!r}" if start else "an empty file")


def _read_tar_gz(file: BinaryIO, target: Target) -> None:
    """Read to the very end: only there does gzip tell whether the bytes are sound."""
    with gzip.GzipFile(fileobj=file) as stream:
        _read_tar(stream, target)


def _read_tar(file: Stream, target: Target) -> None:
    for member in members(file):
        target.add(member.name, member.is_directory, member.pieces)


def _bad(source: object, received: str, fix: str) -> ArchiveError:
    return ArchiveError(
        "The archive cannot be unpacked.",
        expected="a whole .tar.gz, .tar or .zip with regular files and directories only",
        received=received,
        where=source,
        fix=fix,
    )
