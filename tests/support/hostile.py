"""Archives, sound and hostile, made byte by byte where the standard library would refuse to."""

import gzip
import io
import tarfile
import zipfile
from collections.abc import Iterable
from pathlib import Path

FILES = {
    "saved_model.pb": b"graph",
    "variables/variables.index": b"index",
    "variables/variables.data-00000-of-00001": bytes(range(256)) * 40,
    "assets/vocab.txt": "ä\nö\n".encode(),
}


def member(
    name: str, data: bytes = b"", kind: bytes = tarfile.REGTYPE, **fields: object
) -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(name)
    info.size, info.type = len(data), kind
    for field, value in fields.items():
        setattr(info, field, value)
    return info, data


def tar(
    members: Iterable[tuple[tarfile.TarInfo, bytes]] | dict[str, bytes] = FILES, format: int = tarfile.PAX_FORMAT
) -> bytes:
    """A plain tar; a dict gives regular files."""
    stream = io.BytesIO()
    pairs = [member(name, data) for name, data in members.items()] if isinstance(members, dict) else members
    with tarfile.open(fileobj=stream, mode="w", format=format) as archive:
        for info, data in pairs:
            archive.addfile(info, io.BytesIO(data))
    return stream.getvalue()


def tar_gz(members: Iterable[tuple[tarfile.TarInfo, bytes]] | dict[str, bytes] = FILES) -> bytes:
    return gzip.compress(tar(members), 1, mtime=0)


def zip_(files: dict[str, bytes] = FILES, **changes: object) -> bytes:
    """A zip; `changes` are set on every member's ZipInfo."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            info = zipfile.ZipInfo(name)
            info.compress_type = zipfile.ZIP_DEFLATED
            for field, value in changes.items():
                setattr(info, field, value)
            archive.writestr(info, data)
    return stream.getvalue()


def header(name: bytes, size: bytes, kind: bytes = b"0") -> bytes:
    """One block of a tar header, with any size field, and a check sum that fits."""
    block = bytearray(512)
    block[:100] = name.ljust(100, b"\0")
    block[124:136] = size.ljust(12, b"\0")
    block[156:157] = kind
    block[257:265] = b"ustar\x0000"
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)


def write(directory, files=FILES):
    for name, data in files.items():
        (directory / name).parent.mkdir(parents=True, exist_ok=True)
        (directory / name).write_bytes(data)
    return directory


def files(directory):
    paths = [path for path in Path(directory).rglob("*") if path.is_file()]
    return {path.relative_to(directory).as_posix(): path.read_bytes() for path in paths}
