"""Read a zip strictly: regular files and directories, whose check sums fit."""

import os
import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO

from keras_hub_layers._src.resolve.archives.tar import CHUNK, Refused
from keras_hub_layers._src.resolve.archives.target import Target


def read_zip(file: BinaryIO, target: Target) -> None:
    """The standard library reads zip members and checks their sums; what a member may be is decided here."""
    count = _count_of_zip(file, target.members)
    with _damage():
        archive = zipfile.ZipFile(file)
    if len(archive.infolist()) != count:
        raise Refused("a damaged table of contents", is_damage=True)
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
        raise Refused(f"a damaged archive ({error})", is_damage=True) from error
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
        raise Refused("a truncated archive: its table of contents is missing", is_damage=True)
    count, length = (
        int.from_bytes(tail[end + 10 : end + 12], "little"),
        int.from_bytes(tail[end + 12 : end + 16], "little"),
    )
    if count == 0xFFFF or length > members * 1000:
        raise Refused("a table of contents that is larger than allowed", fix="pack it as .tar.gz")
    return count
