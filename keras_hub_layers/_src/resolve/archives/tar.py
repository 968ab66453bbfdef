"""Read a tar stream strictly: names, sizes and contents of regular files and directories, and nothing else.

The standard library's reader trusts the sizes in the headers and passes over what it does not know; on a hostile
stream either is a hole. A SavedModel needs only a small part of the format, so that part is read here: ustar, GNU's
long names and large sizes, and the path and size of POSIX extended headers. All else is refused by name.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

CHUNK = 1 << 18  # bytes


BLOCK = 512  # bytes


_LONGEST_HEADER = 1 << 16  # bytes of a name or of extended headers


_LONGEST_PADDING = 1 << 24  # bytes of zeros behind the end mark


_MOST_HEADERS = 16  # extended headers in a row


_SPECIAL = {
    b"1": "a hard link", b"2": "a symbolic link", b"3": "a device", b"4": "a device", b"6": "a named pipe",
    b"S": "a sparse file", b"D": "a directory dump", b"M": "a part of a volume", b"7": "a contiguous file",
}  # fmt: skip


class Stream(Protocol):
    """What is read: any binary stream."""

    def read(self, size: int, /) -> bytes: ...


class Refused(Exception):
    """What is wrong with an archive, and what to do about it.

    Args:
        received: What it is, or holds.
        fix: Defaults to fetching it again.
        is_damage: Whether another copy of the same archive may be sound. Defaults to `False`.
    """

    def __init__(
        self,
        received: str,
        fix: str = "fetch it again; if it stays so, ask its publisher for a sound one",
        is_damage: bool = False,
    ) -> None:
        super().__init__(received)
        self.fix = fix
        self.is_damage = is_damage


@dataclass(frozen=True)
class Member:
    """A regular file or directory; `pieces` must be used up before the next member is asked for."""

    name: str
    is_directory: bool
    pieces: Iterator[bytes]


def members(stream: Stream) -> Iterator[Member]:
    """The members of a tar stream, which is read to its very end.

    Args:
        stream: The uncompressed bytes.

    Yields:
        One `Member` after the other.

    Raises:
        Refused: Something that a SavedModel does not need.
        EOFError: The stream ends before its end mark.
    """
    extended: dict[str, str] = {}
    in_a_row = 0
    while (header := _exactly(stream, BLOCK)) != bytes(BLOCK):
        if not is_header(header):
            raise Refused("a damaged header", is_damage=True)
        kind, size = header[156:157], _number(header[124:136])
        if kind in (b"x", b"g", b"L"):
            in_a_row += 1
            if size > _LONGEST_HEADER or in_a_row > _MOST_HEADERS:
                raise Refused(f"extended headers beyond measure ({size} bytes, {in_a_row} in a row)")
            body = _exactly(stream, _padded_size(size))[:size]
            if kind == b"x":
                extended |= _read_extended(body)
            elif kind == b"L":
                extended["path"] = _text(body.rstrip(b"\0"))
            continue
        name = extended.get("path") or _name(header)
        size = int(extended.get("size", size))
        extended, in_a_row = {}, 0
        if kind not in (b"0", b"\0", b"5"):
            raise Refused(f"{_SPECIAL.get(kind, 'a member of unknown type')} ({name!r})")
        is_directory = kind == b"5" or (kind == b"\0" and name.endswith("/"))
        if is_directory and size:
            raise Refused(f"a directory with content ({name!r})")
        yield Member(name, is_directory, _pieces(stream, size))
        _exactly(stream, _padded_size(size) - size)
    behind = 0
    while rest := stream.read(CHUNK):
        behind += len(rest)
        if rest.strip(b"\0") or behind > _LONGEST_PADDING:
            raise Refused("something behind its end")


def is_header(block: bytes) -> bool:
    """Whether a block of 512 bytes is a tar header: its check sum fits."""
    try:
        return sum(block[:148]) + sum(block[156:]) + 8 * 32 == _number(block[148:156])
    except Refused:
        return False


def _pieces(stream: Stream, size: int) -> Iterator[bytes]:
    while size:
        piece = stream.read(min(CHUNK, size))
        if not piece:
            raise EOFError("it ends within a member")
        size -= len(piece)
        yield piece


def _exactly(stream: Stream, size: int) -> bytes:
    """Exactly so many bytes; the callers bound `size`."""
    data = stream.read(size) if size else b""
    if len(data) != size:
        raise EOFError("it ends before its end mark")
    return data


def _padded_size(size: int) -> int:
    return -(-size // BLOCK) * BLOCK


def _number(field: bytes) -> int:
    """A size in octal, or in GNU's base 256 for files from 8 GiB."""
    if field[0] == 0x80:
        return int.from_bytes(field[1:], "big")
    text = field.strip(b" \0")
    if not re.fullmatch(rb"[0-7]*", text):
        raise Refused("a header with a size that is no number")
    return int(text or b"0", 8)


def _name(header: bytes) -> str:
    name = _text(header[:100].split(b"\0", 1)[0])
    prefix = _text(header[345:500].split(b"\0", 1)[0]) if header[257:263] == b"ustar\0" else ""
    return f"{prefix}/{name}" if prefix else name


def _text(data: bytes) -> str:
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise Refused(f"the name {data[:100]!r}, which is not UTF-8") from error


def _read_extended(body: bytes) -> dict[str, str]:
    """The path and size of an extended header; a sparse file is refused, the rest does not concern us."""
    fields: dict[str, str] = {}
    while body:
        match = re.match(rb"(\d{1,5}) ", body)
        start, length = (match.end(), int(match[1])) if match else (0, 0)
        key, equals, value = body[start : length - 1].partition(b"=")
        if not start < length <= len(body) or body[length - 1 : length] != b"\n" or not equals:
            raise Refused("a damaged extended header", is_damage=True)
        if key.startswith(b"GNU.sparse"):
            raise Refused("a sparse file")
        if key == b"size" and not re.fullmatch(rb"\d{1,18}", value):
            raise Refused("a header with a size that is no number")
        if key in (b"path", b"size"):
            fields[key.decode()] = _text(value)
        body = body[length:]
    return fields
