"""Archives from hostile sources: sound ones give their files, all others an error, and nothing escapes."""

import gzip
import io
import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
import zlib

import pytest
from hostile import FILES, header, member, tar, tar_gz, zip_

from keras_hub_layers._src.resolve.archives.limits import Limits
from keras_hub_layers._src.resolve.archives.unpack import find_saved_model, is_damaged, unpack
from keras_hub_layers.errors import ArchiveError

END = bytes(1024)
SMALL = Limits(max_bytes=1_000_000, max_members=100)


@pytest.fixture
def place(tmp_path):
    """A directory whose only neighbour is the archive: whatever else appears there has escaped."""
    return tmp_path / "place"


def tree(directory):
    files = [path for path in directory.rglob("*") if path.is_file()]
    return {path.relative_to(directory).as_posix(): path.read_bytes() for path in files}


def unpacked(data, place, limits=SMALL):
    place.mkdir()
    (place / "archive").write_bytes(data)
    try:
        unpack(place / "archive", place / "tree", limits=limits)
    finally:
        assert sorted(os.listdir(place)) == ["archive", "tree"]
        assert not any(os.path.islink(os.path.join(f, n)) for f, d, names in os.walk(place) for n in [*d, *names])
    return tree(place / "tree")


@pytest.mark.parametrize(
    "data",
    [tar(), tar_gz(), zip_(), gzip.compress(tar()[:5000], 0) + gzip.compress(tar()[5000:]), tar_gz() + bytes(100)],
    ids=["tar", "tar.gz", "zip", "tar.gz in two members", "padded tar.gz"],
)
def test_sound_archives_give_their_files(data, place):
    assert unpacked(data, place) == FILES


@pytest.mark.parametrize("data", [tar_gz({}), zip_({})])
def test_empty_archives_give_empty_directories(data, place):
    assert unpacked(data, place) == {}


def test_modes_and_dates_are_not_taken_over(place):
    unpacked(tar([member("a", b"x", mode=0o4777, mtime=1), member("d", kind=tarfile.DIRTYPE, mode=0)]), place)
    umask = os.umask(0)
    os.umask(umask)
    assert (place / "tree/a").stat().st_mode & 0o7777 == 0o666 & ~umask
    assert (place / "tree/d").stat().st_mode & 0o7777 == 0o777 & ~umask
    assert (place / "tree/a").stat().st_mtime > 1e9


NAMES = [
    "../evil",
    "a/../../evil",
    "/evil",
    "//evil",
    "a\\..\\..\\evil",
    "C:/evil",
    "c:evil",
    "..",
    "a/..",
    "a\nb",
    "a\x7f",
]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("make", [tar, tar_gz, zip_])
def test_names_that_lead_elsewhere_are_refused(name, make, place):
    with pytest.raises(ArchiveError, match="the name"):
        unpacked(make({name: b"evil"}), place)


@pytest.mark.parametrize("name", ["/".join("a" * 65), "n" * 256, "ä" * 128])
def test_names_beyond_measure_are_refused(name, place):
    with pytest.raises(ArchiveError, match="the name"):
        unpacked(tar({name: b"x"}), place)


@pytest.mark.parametrize("name", ["./saved_model.pb", "saved_model.pb", ".//./saved_model.pb"])
def test_harmless_spellings_of_a_name_are_one_name(name, place):
    assert unpacked(tar({name: b"x"}), place) == {"saved_model.pb": b"x"}


@pytest.mark.parametrize(
    "members",
    [
        [member("a", kind=tarfile.SYMTYPE, linkname="/etc/passwd")],
        [member("a", kind=tarfile.SYMTYPE, linkname=".."), member("a/evil", b"x")],
        [member("a", b"x"), member("b", kind=tarfile.LNKTYPE, linkname="a")],
        [member("a", kind=tarfile.CHRTYPE, devmajor=1, devminor=3)],
        [member("a", kind=tarfile.FIFOTYPE)],
    ],
)
def test_links_and_devices_are_refused(members, place):
    with pytest.raises(ArchiveError, match=r"link|device|pipe"):
        unpacked(tar_gz(members), place)


@pytest.mark.parametrize("mode", [0o120777, 0o010666, 0o020666, 0o140777])
def test_links_and_devices_in_a_zip_are_refused(mode, place):
    with pytest.raises(ArchiveError, match="link or device"):
        unpacked(zip_({"a": b"/etc/passwd"}, create_system=3, external_attr=mode << 16), place)


@pytest.mark.parametrize(
    "members",
    [
        [member("a", b"1"), member("a", b"2")],
        [member("a", b"1"), member("./a", b"2")],
        [member("a", b"1"), member("a/b", b"2")],
        [member("a/b", b"1"), member("a", b"2")],
        [member("a", b"1"), member("a", kind=tarfile.DIRTYPE)],
        [member(".", b"1")],
    ],
)
def test_two_members_for_one_place_are_refused(members, place):
    with pytest.raises(ArchiveError, match=r"twice|place is taken"):
        unpacked(tar(members), place)


def test_a_directory_may_be_named_twice(place):
    members = [member("d", kind=tarfile.DIRTYPE), member("d/a", b"x"), member("d/", kind=tarfile.DIRTYPE)]
    assert unpacked(tar(members), place) == {"d/a": b"x"}


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_two_members_of_a_zip_for_one_place_are_refused(place):
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("a", b"1")
        archive.writestr("a", b"2")
    with pytest.raises(ArchiveError, match="twice"):
        unpacked(stream.getvalue(), place)


@pytest.mark.parametrize("make", [tar_gz, zip_])
def test_a_decompression_bomb_stops_at_the_budget(make, place):
    with pytest.raises(ArchiveError, match=r"(?s)more bytes than allowed.*KERAS_HUB_LAYERS_MAX_BYTES"):
        unpacked(make({"a": bytes(5_000_000)}), place)
    assert sum(len(data) for data in tree(place / "tree").values()) <= SMALL.max_bytes


def test_a_bomb_behind_the_end_mark_is_stopped_too(place):
    with pytest.raises(ArchiveError, match="behind its end"):
        unpacked(gzip.compress(header(b"a", b"0") + bytes(30_000_000)), place)


@pytest.mark.parametrize("make", [tar, tar_gz, zip_])
def test_nothing_is_written_of_an_archive_that_is_refused(make, place):
    """Whatever comes last in it: too much, too many, or a name that leads elsewhere."""
    for last in ({"b": bytes(900_000)}, {f"f{i}": b"" for i in range(100)}, {"../evil": b""}):
        shutil.rmtree(place, ignore_errors=True)
        with pytest.raises(ArchiveError, match=r"more bytes|more members|the name"):
            unpacked(make({"saved_model.pb": bytes(900_000), **last}), place)
        assert tree(place / "tree") == {}


def test_a_bomb_of_a_megabyte_is_refused_by_default_before_a_byte_is_written(place):
    place.mkdir()
    with tarfile.open(place / "archive", "w:gz", compresslevel=9) as archive, open("/dev/zero", "rb") as zeros:
        info = tarfile.TarInfo("saved_model.pb")
        info.size = 1_000_000_000
        archive.addfile(info, zeros)
    assert os.path.getsize(place / "archive") < 1_100_000
    with pytest.raises(ArchiveError, match=r"more bytes than allowed.*(?s:.*)export KERAS_HUB_LAYERS_MAX_BYTES="):
        unpack(place / "archive", place / "tree")
    assert tree(place / "tree") == {}


@pytest.mark.parametrize("make", [tar_gz, zip_])
def test_twenty_thousand_empty_files_are_refused_by_default(make, place):
    with pytest.raises(ArchiveError, match="more members than allowed"):
        unpacked(make({f"f{i}": b"" for i in range(20_000)}), place, Limits())
    assert tree(place / "tree") == {}


@pytest.mark.parametrize(
    ("data", "damaged"),
    [
        (tar_gz(), False),
        (tar_gz()[:-9], True),
        (tar_gz()[:60] + b"?" + tar_gz()[61:], True),
        (zip_()[:40], True),
        (tar_gz([member("l", kind=tarfile.SYMTYPE, linkname="x")]), False),
        (b"<html>", False),
    ],
    ids=["sound", "cut", "flipped", "zip cut", "link", "page"],
)
def test_damage_is_told_from_what_its_publisher_packed(data, damaged, tmp_path):
    (tmp_path / "archive").write_bytes(data)
    assert is_damaged(tmp_path / "archive") == damaged


def test_the_budget_follows_the_size_of_the_archive():
    assert Limits().budget(10_000_000) == 2_000_000_000
    assert Limits().budget(1000) == 512 << 20
    assert Limits().budget(1 << 40) == 64 << 30


@pytest.mark.parametrize("make", [tar, zip_])
def test_the_number_of_members_is_bounded(make, place):
    with pytest.raises(ArchiveError, match=r"(?s)more members than allowed.*MAX_MEMBERS"):
        unpacked(make({f"f{i}": b"" for i in range(101)}), place)


def test_a_zip_with_a_table_of_contents_beyond_measure_is_refused_unread(place):
    data = bytearray(zip_())
    end = data.rfind(b"PK\x05\x06")
    data[end + 12 : end + 16] = (200_000_000).to_bytes(4, "little")
    with pytest.raises(ArchiveError, match="table of contents that is larger"):
        unpacked(bytes(data), place)


@pytest.mark.parametrize("make", [tar_gz, zip_])
def test_a_flipped_bit_anywhere_is_noticed_or_changes_nothing(make, place):
    """The standard library's tar reader stops at tar's end mark and never compares gzip's check sum."""
    data = make(FILES)
    place.mkdir()
    noticed = 0
    for position in range(len(data)):
        (place / "archive").write_bytes(
            data[:position] + bytes([data[position] ^ 1 << position % 8]) + data[position + 1 :]
        )
        target = place / f"tree{position}"
        try:
            unpack(place / "archive", target, limits=SMALL)
        except ArchiveError:
            noticed += 1
        else:
            assert tree(target) == FILES
    assert noticed > len(data) // 2


@pytest.mark.parametrize("make", [tar, tar_gz, zip_])
@pytest.mark.parametrize("part", [0.1, 0.5, 0.9, 0.999])
def test_a_truncated_archive_is_noticed(make, part, place):
    data = make(FILES)
    data = data[: -len(data) + len(data.rstrip(b"\0"))] if make is tar else data
    with pytest.raises(ArchiveError, match="cannot be unpacked"):
        unpacked(data[: int(len(data) * part)], place)


def test_an_encrypted_zip_is_refused(place):
    data = zip_({"a": b"x"})
    data = data.replace(b"PK\x01\x02\x14\x03\x14\x00\x00\x00", b"PK\x01\x02\x14\x03\x14\x00\x01\x00")
    with pytest.raises(ArchiveError, match="encrypted"):
        unpacked(data, place)


@pytest.mark.parametrize(
    ("data", "shown"),
    [
        (b"", "an empty file"),
        (b"<html>Sign in</html>", "<html>Sign in</html>"),
        (b"\xfd7zXZ\x00rest", "7zXZ rest"),
        (b"BZh91AY&SY", "BZh91AY&SY"),
        (b"version https://git-lfs.github.com/spec/v1\n", "version https://git-lfs"),
        (bytes(10_000), "begins with"),
        (gzip.compress(b"not a tar", mtime=0), "ends before"),
        (gzip.compress(b"not a tar" * 1000, mtime=0), "damaged header"),
        (zlib.compress(b"x"), "begins with"),
    ],
)
def test_what_is_no_archive_is_shown(data, shown, place):
    with pytest.raises(ArchiveError, match=shown):
        unpacked(data, place)


def test_errors_name_the_source_and_not_the_temporary_file(place):
    place.mkdir()
    (place / "archive").write_bytes(b"x")
    with pytest.raises(ArchiveError, match=r"Where: https://host/m") as caught:
        unpack(place / "archive", place / "tree", source="https://host/m")
    assert str(place) not in str(caught.value)


@pytest.mark.skipif(not os.path.exists("/proc/self/status"), reason="peak memory is read from /proc")
def test_memory_stays_flat(place):
    place.mkdir()
    with tarfile.open(place / "large.tar.gz", "w:gz", compresslevel=1) as archive:
        info = tarfile.TarInfo("saved_model.pb")
        info.size = 100_000_000
        with open("/dev/zero", "rb") as zeros:
            archive.addfile(info, zeros)
    (place / "small.tar.gz").write_bytes(tar_gz())
    code = r"""
import re, sys
from keras_hub_layers._src.resolve.archives.unpack import unpack
def peak():
    with open("/proc/self/status") as status:
        return int(re.search(r"VmHWM:\s*(\d+)", status.read())[1])

unpack(sys.argv[1] + "/small.tar.gz", sys.argv[1] + "/small")
before = peak()
unpack(sys.argv[1] + "/large.tar.gz", sys.argv[1] + "/large")
print(peak() - before)
"""
    done = subprocess.run([sys.executable, "-c", code, str(place)], capture_output=True, text=True, check=True)
    assert int(done.stdout) < 8_000  # kB


def test_limits_are_read_from_the_environment(monkeypatch):
    assert Limits.from_environment() == Limits()
    monkeypatch.setenv("KERAS_HUB_LAYERS_MAX_BYTES", "5000000000")
    monkeypatch.setenv("KERAS_HUB_LAYERS_MAX_MEMBERS", "7")
    assert Limits.from_environment().budget(1) == 5_000_000_000
    assert Limits.from_environment().max_members == 7


@pytest.mark.parametrize(("where", "expected"), [("", "."), ("encoder", "encoder"), ("a/b/1", "a/b/1")])
def test_the_saved_model_of_an_archive_is_found(tmp_path, where, expected):
    (tmp_path / where / "assets").mkdir(parents=True)
    (tmp_path / where / "saved_model.pb").touch()
    (tmp_path / "README.md").touch()
    assert os.path.relpath(find_saved_model(str(tmp_path), "m.tar.gz"), tmp_path) == expected


def test_several_saved_models_are_an_error_that_lists_them(tmp_path):
    for name in ("encoder", "decoder"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "saved_model.pb").touch()
    with pytest.raises(ArchiveError, match=r"(?s)several SavedModels.*decoder, encoder"):
        find_saved_model(str(tmp_path), "m.tar.gz")


def test_no_saved_model_is_an_error_that_lists_what_is_there(tmp_path):
    (tmp_path / "model.keras").touch()
    with pytest.raises(ArchiveError, match=r"(?s)no SavedModel.*model\.keras.*Where: m\.tar\.gz"):
        find_saved_model(str(tmp_path), "m.tar.gz")
