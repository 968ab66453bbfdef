"""Packing gives the same bytes for the same files, and what it packs comes back; publishing checks first."""

import os
import signal
import subprocess
import sys
import tarfile

import pytest
from hostile import FILES, files, write

from keras_hub_layers import pack, publish, resolve
from keras_hub_layers._src.files.manifests import sha256_of
from keras_hub_layers.errors import ExportError, ExportWriteError, HandleError


@pytest.fixture
def model(tmp_path):
    return write(tmp_path / "export")


def test_what_was_packed_comes_back(model, tmp_path):
    (model / "assets" / "empty").mkdir()
    archive = pack(model, tmp_path / "m.tar.gz")
    assert archive == str(tmp_path / "m.tar.gz")
    again = resolve(archive)
    assert files(again) == FILES
    assert os.path.isdir(f"{again}/assets/empty")


def test_the_same_files_give_the_same_bytes(model, tmp_path):
    first = sha256_of(pack(model, tmp_path / "one.tar.gz"))
    other = write(tmp_path / "elsewhere" / "other", dict(reversed(FILES.items())))
    for number, path in enumerate(sorted(other.rglob("*"), reverse=True)):
        os.chmod(path, 0o700 + number)
        os.utime(path, (number, number))
    assert sha256_of(pack(other, tmp_path / "two.tgz")) == first
    (other / "saved_model.pb").write_bytes(b"Graph")
    assert sha256_of(pack(other, tmp_path / "three.tgz")) != first


def test_the_archive_tells_nothing_about_who_made_it(model, tmp_path):
    with tarfile.open(pack(model, tmp_path / "m.tar.gz")) as archive:
        for info in archive:
            assert (info.uid, info.gid, info.uname, info.gname, info.mtime) == (0, 0, "", "", 0)
    data = (tmp_path / "m.tar.gz").read_bytes()
    assert data[4:8] == bytes(4)  # gzip's date
    assert not data[3]  # gzip's flags: no file name


def test_the_tar_program_reads_it(model, tmp_path):
    pack(model, tmp_path / "m.tar.gz")
    command = ["tar", "-tzf", str(tmp_path / "m.tar.gz")]
    names = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    assert [name for name in names if not name.endswith("/")] == sorted(FILES)


def test_links_to_files_are_packed_as_files(model, tmp_path):
    (tmp_path / "blob").write_bytes(b"blob")
    (model / "assets" / "link").symlink_to(tmp_path / "blob")
    assert files(resolve(pack(model, tmp_path / "m.tar.gz"))) == {**FILES, "assets/link": b"blob"}


def make_directory_link(model):
    (model / "assets" / "up").symlink_to("..")


def make_broken_link(model):
    (model / "assets" / "lost").symlink_to("nowhere")


def make_pipe(model):
    os.mkfifo(model / "pipe")


@pytest.mark.parametrize("make", [make_directory_link, make_broken_link, make_pipe])
def test_what_cannot_be_packed_is_said_and_leaves_nothing(model, tmp_path, make):
    make(model)
    with pytest.raises(ExportError, match="Only regular files"):
        pack(model, tmp_path / "m.tar.gz")
    assert os.listdir(tmp_path) == ["export"]


@pytest.mark.parametrize(("name", "received"), [("nothing", "no such directory"), ("export/assets", "vocab.txt")])
def test_what_holds_no_saved_model_is_not_packed(model, tmp_path, name, received):
    with pytest.raises(ExportError, match=rf"(?s)no SavedModel to share.*{received}"):
        pack(tmp_path / name, tmp_path / "m.tar.gz")


def test_an_archive_has_the_name_of_one(model, tmp_path):
    with pytest.raises(ExportError, match=r"(?s)is a \.tar\.gz.*m\.zip"):
        pack(model, tmp_path / "m.zip")


def test_a_place_that_cannot_be_written_is_said(model, tmp_path):
    with pytest.raises(ExportWriteError, match=r"(?s)cannot be written.*No such file"):
        pack(model, tmp_path / "nowhere" / "m.tar.gz")


def test_a_failure_keeps_the_archive_that_was_there(model, tmp_path):
    pack(model, tmp_path / "m.tar.gz")
    before = sha256_of(tmp_path / "m.tar.gz")
    (model / "assets" / "large").write_bytes(os.urandom(100_000))
    code = f"""
import resource
from keras_hub_layers import pack
resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))
pack({str(model)!r}, {str(tmp_path / "m.tar.gz")!r})
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "ExportWriteError: The archive cannot be written." in done.stderr
    assert sha256_of(tmp_path / "m.tar.gz") == before
    assert sorted(os.listdir(tmp_path)) == ["export", "m.tar.gz"]


@pytest.mark.parametrize("place", [".", "assets"])
def test_an_archive_within_the_model_is_refused_with_a_place_beside_it(model, place):
    before = sorted(os.listdir(model))
    with pytest.raises(ExportError, match=f"(?s)would lie in the SavedModel itself.* {model}.tar.gz"):
        pack(model, model / place / "m.tar.gz")
    assert sorted(os.listdir(model)) == before


@pytest.mark.parametrize("handle", ["https://tfhub.dev/x", "/a/path", "google/nnlm/tensorFlow2/en/1", "gs://b/m"])
def test_publishing_goes_to_kaggle_or_hugging_face_only(model, handle):
    with pytest.raises(HandleError, match=r"(?s)cannot be published there.*hf://owner/repo"):
        publish(model, handle)


def test_what_holds_no_saved_model_is_not_published(tmp_path):
    with pytest.raises(ExportError, match="no SavedModel to share"):
        publish(tmp_path, "hf://owner/repo", dry_run=True)


def test_what_a_killed_process_left_is_swept_by_the_next_one(model, tmp_path):
    places = tmp_path / "places"
    places.mkdir()
    code = f"""
import os, signal
from keras_hub_layers._src.publish import pack
pack.write_tar = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
pack.pack({str(model)!r}, {str(places / "m.tar.gz")!r})
"""
    done = subprocess.run([sys.executable, "-c", code], check=False, timeout=60)
    assert done.returncode == -signal.SIGKILL
    assert len(os.listdir(places)) == 1
    assert files(resolve(pack(model, places / "m.tar.gz"))) == FILES
    assert os.listdir(places) == ["m.tar.gz"]
