"""Tar streams of every producer are read alike; what a SavedModel does not need is refused by name."""

import io
import subprocess
import tarfile

import pytest
from hostile import FILES, header, member, tar

from keras_hub_layers._src.resolve.archives.tar import Refused, members

END = bytes(1024)
LONG = "/".join(["d" * 90] * 4) + "/saved_model.pb"
PAIR = b"30 GNU.sparse.realsize=100000\n"


def read(data):
    return {m.name: None if m.is_directory else b"".join(m.pieces) for m in members(io.BytesIO(data))}


@pytest.mark.parametrize("format", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_the_standard_library_s_formats_are_read_alike(format):
    files = {**FILES, LONG: b"long", "ünï/ç.pb": b"", "e" * 100: b"100", "a/" + "f" * 99: b"99"}
    if format == tarfile.USTAR_FORMAT:
        files.pop(LONG)
    assert read(tar(files, format)) == files


@pytest.mark.parametrize("format", ["gnu", "oldgnu", "posix", "ustar", "v7"])
def test_the_formats_of_the_tar_program_are_read_alike(format, tmp_path):
    for name, data in FILES.items():
        (tmp_path / "m" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "m" / name).write_bytes(data)
    command = ["tar", f"--format={format}", "-C", str(tmp_path / "m"), "-cf", "-", "."]
    done = subprocess.run(command, capture_output=True, check=True)
    found = read(done.stdout)
    assert {name.removeprefix("./"): data for name, data in found.items() if data is not None} == FILES
    assert {name for name, data in found.items() if data is None} == {"./", "./assets/", "./variables/"}


def test_large_sizes_are_read_in_base_256_and_in_extended_headers():
    size = (3).to_bytes(11, "big")
    assert read(header(b"a", b"\x80" + size) + b"abc".ljust(512, b"\0") + END) == {"a": b"abc"}
    extended = b"9 size=3\n"
    data = header(b"x", b"%o" % len(extended), b"x") + extended.ljust(512, b"\0") + header(b"a", b"0")
    assert read(data + b"abc".ljust(512, b"\0") + END) == {"a": b"abc"}


def test_what_a_producer_notes_about_a_file_does_not_matter():
    info, data = member("saved_model.pb", b"graph", mtime=1.5, uid=1 << 30, uname="ü")
    info.pax_headers = {"LIBARCHIVE.xattr.user.x": "y", "SCHILY.dev": "1"}
    assert read(tar([(info, data)])) == {"saved_model.pb": b"graph"}


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        (tarfile.LNKTYPE, "hard link"),
        (tarfile.SYMTYPE, "symbolic link"),
        (tarfile.CHRTYPE, "device"),
        (tarfile.BLKTYPE, "device"),
        (tarfile.FIFOTYPE, "named pipe"),
        (tarfile.CONTTYPE, "contiguous file"),
        (tarfile.GNUTYPE_SPARSE, "sparse file"),
        (b"Z", "unknown type"),
    ],
)
def test_everything_but_files_and_directories_is_refused_by_name(kind, name):
    with pytest.raises(Refused, match=name):
        read(header(b"evil", b"0", kind) + END)


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (header(b"a", b"-1") + END, "no number"),
        (header(b"a", b"9") + END, "no number"),
        (header(b"a", b"0x10") + END, "no number"),
        (header(b"d/", b"3", b"5") + END, "directory with content"),
        (header(b"x", b"%o" % (1 << 30), b"x") + END, "beyond measure"),
        (header(b"x", b"%o" % (1 << 30), b"L") + END, "beyond measure"),
        (header(b"x", b"0", b"g") * 20 + END, "beyond measure"),
        (header(b"x", b"10", b"x") + b"8 path=a".ljust(512, b"\0") + END, "damaged extended header"),
        (header(b"x", b"11", b"x") + b"0 path=a\n".ljust(512, b"\0") + END, "damaged extended header"),
        (header(b"x", b"12", b"x") + b"10 size=-1\n".ljust(512, b"\0") + END, "damaged|no number"),
        (header(b"x", b"36", b"x") + PAIR.ljust(512, b"\0") + END, "sparse file"),
        (header(b"\xff\xfe", b"0") + END, "not UTF-8"),
        (header(b"a", b"0").replace(b"a", b"b", 1) + END, "damaged header"),
        (b"\xff" * 512 + END, "damaged header"),
        (header(b"a", b"0") + END + b"\0" * 512 + b"more", "behind its end"),
        (header(b"a", b"0") + bytes(1 << 25), "behind its end"),
    ],
)
def test_what_is_not_as_it_should_be_is_refused(data, problem):
    with pytest.raises(Refused, match=problem):
        read(data)


@pytest.mark.parametrize("cut", [0, 100, 512, 600, 1024, -1024, -1025, -513])
def test_a_stream_without_its_end_mark_is_not_whole(cut):
    data = header(b"a", b"10") + b"12345678".ljust(512, b"\0") + END
    whole = data[: len(data) - 512]  # one empty block ends it
    assert read(whole) == {"a": b"12345678"}
    with pytest.raises(EOFError, match="it ends"):
        read(whole[: len(whole) + cut - 512 if cut < 0 else cut])


def test_a_stream_of_zeros_holds_nothing():
    assert read(END) == {}
