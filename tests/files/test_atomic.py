"""Whatever happens to a writer, a reader finds a whole export, and the next writer finds no litter."""

import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from keras_hub_layers import errors
from keras_hub_layers._src.files import atomic


def export(destination, text="new"):
    """Write a stand-in for a SavedModel through the module under test."""
    with atomic.replace_directory(str(destination)) as work:
        Path(work.path, "saved_model.pb").write_text(text)
        Path(work.path, "variables").mkdir(exist_ok=True)


def names(directory):
    return sorted(os.listdir(directory))


def test_a_free_destination_is_made_with_its_parents(tmp_path):
    export(tmp_path / "deep" / "model")
    assert names(tmp_path / "deep") == ["model"]
    assert (tmp_path / "deep" / "model" / "saved_model.pb").read_text() == "new"


def test_the_export_has_the_permissions_that_a_new_directory_has(tmp_path):
    (tmp_path / "plain").mkdir()
    export(tmp_path / "model")
    assert stat.S_IMODE((tmp_path / "model").stat().st_mode) == stat.S_IMODE((tmp_path / "plain").stat().st_mode)


@pytest.mark.parametrize("exchange", [True, False], ids=["exchange", "two renames"])
def test_a_previous_export_is_replaced_whole(tmp_path, monkeypatch, exchange):
    if not exchange:
        monkeypatch.setattr(atomic, "_exchange", lambda *_: False)
    export(tmp_path / "model", "old")
    (tmp_path / "model" / "assets").mkdir()
    (tmp_path / "model" / "assets" / "stale.txt").write_text("stale")
    export(tmp_path / "model")
    assert names(tmp_path) == ["model"]
    assert names(tmp_path / "model") == ["saved_model.pb", "variables"]
    assert (tmp_path / "model" / "saved_model.pb").read_text() == "new"


def test_files_of_the_user_stay_beside_the_new_export(tmp_path):
    export(tmp_path / "model", "old")
    (tmp_path / "model" / "notes.txt").write_text("mine")
    (tmp_path / "model" / "plots").mkdir()
    (tmp_path / "model" / "plots" / "loss.svg").write_text("mine too")
    (tmp_path / "model" / "tfhub_module.pb").write_text("of the old export")
    export(tmp_path / "model")
    assert names(tmp_path / "model") == ["notes.txt", "plots", "saved_model.pb", "variables"]
    assert (tmp_path / "model" / "plots" / "loss.svg").read_text() == "mine too"


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_an_error_leaves_the_previous_export_and_nothing_else(tmp_path, error):
    export(tmp_path / "model", "old")

    def fails():
        with atomic.replace_directory(str(tmp_path / "model")) as work:
            Path(work.path, "saved_model.pb").write_text("half")
            raise error("stop")

    with pytest.raises(error, match="stop"):
        fails()
    assert names(tmp_path) == ["model"]
    assert (tmp_path / "model" / "saved_model.pb").read_text() == "old"


def test_an_error_of_the_system_is_an_export_write_error(tmp_path):
    destination = str(tmp_path / "model")
    with pytest.raises(errors.ExportWriteError, match="No space left"), atomic.replace_directory(destination):
        raise OSError(28, "No space left on device")
    assert names(tmp_path) == []


def test_a_second_rename_that_fails_brings_the_previous_export_back(tmp_path, monkeypatch):
    export(tmp_path / "model", "old")
    monkeypatch.setattr(atomic, "_exchange", lambda *_: False)
    rename, calls = os.rename, []

    def fails_once(source, target):
        calls.append(source)
        if len(calls) == 2:
            raise OSError(5, "Input/output error")
        rename(source, target)

    monkeypatch.setattr(os, "rename", fails_once)
    with pytest.raises(errors.ExportWriteError, match="Input/output error"):
        export(tmp_path / "model")
    assert names(tmp_path) == ["model"]
    assert (tmp_path / "model" / "saved_model.pb").read_text() == "old"


def test_a_file_and_a_directory_of_something_else_are_refused_and_kept(tmp_path):
    (tmp_path / "file").write_text("mine")
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "cat.jpg").write_text("mine")
    with pytest.raises(errors.ExportError, match="Received: a file"):
        export(tmp_path / "file")
    with pytest.raises(errors.ExportError, match=r"a directory with cat\.jpg"):
        export(tmp_path / "photos")
    assert names(tmp_path) == ["file", "photos"]
    assert names(tmp_path / "photos") == ["cat.jpg"]


def test_a_link_to_a_directory_stays_a_link_and_its_target_is_replaced(tmp_path):
    export(tmp_path / "real", "old")
    (tmp_path / "link").symlink_to(tmp_path / "real", target_is_directory=True)
    export(tmp_path / "link")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real" / "saved_model.pb").read_text() == "new"
    assert names(tmp_path) == ["link", "real"]


KILLED = """
import os, signal, sys
from pathlib import Path
from keras_hub_layers._src.files import atomic, work_directories
destination, moment = sys.argv[1:]
die = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
if moment == "two renames":
    atomic._exchange = lambda *_: False
    rename = os.rename
    def rename_and_die(source, target):
        rename(source, target)
        die()
    os.rename = rename_and_die
if moment == "swapped":
    work_directories.remove = die
with atomic.replace_directory(destination) as work:
    Path(work.path, "saved_model.pb").write_text("from the killed one")
    if moment == "writing":
        die()
"""


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGKILL")
@pytest.mark.parametrize(
    ("moment", "found"), [("writing", "old"), ("swapped", "from the killed one"), ("two renames", "old")]
)
def test_after_kill_9_a_whole_export_is_found_and_the_litter_is_swept(tmp_path, moment, found):
    model = tmp_path / "model"
    export(model, "old")
    done = subprocess.run([sys.executable, "-c", KILLED, str(model), moment], check=False, timeout=60)
    assert done.returncode == -signal.SIGKILL
    assert len(names(tmp_path)) == 2, "the killed process left its work"
    atomic.recover(str(model))
    assert (model / "saved_model.pb").read_text() == found
    export(model)
    assert names(tmp_path) == ["model"]
    assert (model / "saved_model.pb").read_text() == "new"


def test_the_work_of_a_living_writer_is_not_swept(tmp_path):
    with atomic.replace_directory(str(tmp_path / "model")) as work:
        Path(work.path, "saved_model.pb").write_text("slow")
        export(tmp_path / "model", "fast")
        assert os.path.exists(work.path)
    assert names(tmp_path) == ["model"]
    assert (tmp_path / "model" / "saved_model.pb").read_text() == "slow"


def test_versions_count_on_from_the_largest_number(tmp_path):
    (tmp_path / "models" / "7").mkdir(parents=True)
    (tmp_path / "models" / "007.txt").write_text("not a version")
    with atomic.add_version(str(tmp_path / "models")) as work:
        Path(work.path, "saved_model.pb").write_text("eight")
    assert work.destination == str(tmp_path / "models" / "8")
    assert (tmp_path / "models" / "8" / "saved_model.pb").read_text() == "eight"
    assert names(tmp_path / "models") == ["007.txt", "7", "8"]


def test_two_writers_of_versions_get_two_numbers(tmp_path):
    with atomic.add_version(str(tmp_path)) as first, atomic.add_version(str(tmp_path)) as second:
        for work in (first, second):
            Path(work.path, "saved_model.pb").write_text("x")
    assert sorted([first.destination, second.destination]) == [str(tmp_path / "1"), str(tmp_path / "2")]
    assert names(tmp_path) == ["1", "2"]


def test_versions_are_not_put_into_a_savedmodel(tmp_path):
    export(tmp_path / "model")
    with pytest.raises(errors.ExportError, match="a SavedModel itself"), atomic.add_version(str(tmp_path / "model")):
        pass
    assert names(tmp_path / "model") == ["saved_model.pb", "variables"]
