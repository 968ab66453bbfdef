"""An entry of the cache is there whole or not at all, whatever happens to the processes that make it."""

import itertools
import json
import os
import stat
import subprocess
import sys
import tempfile
import time

import pytest

from keras_hub_layers._src.files import locks
from keras_hub_layers._src.files.deadline import Deadline
from keras_hub_layers._src.resolve import cache as cache_module
from keras_hub_layers._src.resolve import work_names
from keras_hub_layers._src.resolve.cache import Cache, key_of
from keras_hub_layers.errors import HandleNotFoundError, HubError, ResolveError

HANDLE = "https://ada:secret@host/encoder/1"
KEY = "c2d4c9e2f8ee9f5ea7d9dcc6d1f5a9b1d2a7f4a0"


@pytest.fixture
def cache(tmp_path):
    return Cache(tmp_path / "root")


def filler(content=b"graph", sha256=None, name="tree"):
    """What makes a model of one file."""

    def fill(work):
        tree = os.path.join(work, name)
        os.mkdir(tree)
        with open(os.path.join(tree, "saved_model.pb"), "wb") as file:
            file.write(content)
        return tree, sha256

    return fill


def refuse(work):
    raise AssertionError("nothing was to be made")


def content(path):
    with open(os.path.join(path, "saved_model.pb"), "rb") as file:
        return file.read()


def litter(cache):
    mine = (
        ".locks",
        key_of(HANDLE),
        *(key_of(HANDLE) + suffix for suffix in (".manifest.json", ".descriptor.txt", ".lock")),
    )
    return sorted(set(os.listdir(cache.root)) - set(mine))


def test_the_key_is_that_of_tensorflow_hub():
    assert key_of("https://tfhub.dev/google/nnlm-en-dim50/2") == "74a841d6eb84e8d93d913d716fb5440d020cc291"


def test_an_entry_is_made_once_and_found_ever_after(cache):
    assert cache.find(HANDLE) is None
    path = cache.put(HANDLE, filler())
    assert path == cache.path(HANDLE)
    assert content(path) == b"graph"
    assert cache.find(HANDLE) == path
    assert cache.put(HANDLE, refuse) == path
    assert litter(cache) == []


def test_neither_password_nor_lock_of_tensorflow_hub_is_ever_on_disk(cache):
    path = cache.put(HANDLE, filler())
    for folder, _, names in os.walk(cache.root):
        for name in names:
            with open(os.path.join(folder, name), encoding="utf-8") as file:
                assert "secret" not in file.read()
    assert not os.path.exists(path + ".lock")


@pytest.mark.parametrize("variable", ["TFHUB_CACHE_DIR", "KERAS_HUB_LAYERS_CACHE"])
def test_the_environment_chooses_the_directory(variable, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv(variable, "~/models")
    assert Cache().root == str(tmp_path / "models")


def test_the_default_is_a_directory_of_the_user(tmp_path, monkeypatch):
    monkeypatch.delenv("KERAS_HUB_LAYERS_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert Cache().root == str(tmp_path / "keras_hub_layers")


def test_a_remote_cache_is_refused(monkeypatch):
    monkeypatch.setenv("TFHUB_CACHE_DIR", "gs://bucket/cache")
    with pytest.raises(ResolveError, match=r"(?s)remote file system.*gs://bucket/cache"):
        Cache()


def test_a_failure_leaves_nothing_behind(cache):
    def fill(work):
        filler()(work)
        raise ResolveError("no luck")

    with pytest.raises(ResolveError, match="no luck"):
        cache.put(HANDLE, fill)
    assert os.listdir(cache.root) == [".locks"]


def test_an_interruption_leaves_nothing_behind(cache):
    def fill(work):
        filler()(work)
        raise KeyboardInterrupt("Ctrl-C")

    with pytest.raises(KeyboardInterrupt, match="Ctrl-C"):
        cache.put(HANDLE, fill)
    assert os.listdir(cache.root) == [".locks"]


def damage_remove(path):
    os.unlink(os.path.join(path, "saved_model.pb"))


def damage_truncate(path):
    with open(os.path.join(path, "saved_model.pb"), "wb"):
        pass


def damage_replace(path):
    damage_remove(path)
    os.rmdir(path)
    with open(path, "wb") as file:
        file.write(b"a file")


@pytest.mark.parametrize("damage", [damage_remove, damage_truncate, damage_replace])
def test_a_half_deleted_entry_is_made_anew(cache, damage):
    damage(cache.put(HANDLE, filler()))
    assert cache.find(HANDLE) is None
    assert content(cache.put(HANDLE, filler(b"again"))) == b"again"
    assert litter(cache) == []


def test_an_entry_that_lost_its_manifest_is_judged_by_its_files(cache):
    path = cache.put(HANDLE, filler())
    os.unlink(path + ".manifest.json")
    assert cache.find(HANDLE) == path
    assert cache.find(HANDLE, "ab" * 32) is None


def test_a_pin_asks_for_the_same_archive(cache):
    cache.put(HANDLE, filler(sha256="ab" * 32))
    assert cache.find(HANDLE, "AB" * 32)
    assert cache.find(HANDLE, "cd" * 32) is None
    assert content(cache.put(HANDLE, filler(b"new", "cd" * 32), "cd" * 32)) == b"new"


def test_an_entry_whose_archive_is_unknown_is_fetched_again_but_not_replaced_by_its_like(cache):
    path = cache.put(HANDLE, filler())
    inode = os.stat(path).st_ino
    assert cache.put(HANDLE, filler(sha256="ab" * 32), "ab" * 32) == path
    assert os.stat(path).st_ino == inode  # someone may be reading it
    assert cache.find(HANDLE, "ab" * 32) == path


def test_a_pin_never_fits_an_entry_whose_manifest_was_not_written(cache, monkeypatch):
    cache.put(HANDLE, filler(b"one", "ab" * 32))

    def crash(*arguments):
        raise KeyboardInterrupt("as if the power went")

    monkeypatch.setattr(cache_module, "_write", crash)
    with pytest.raises(KeyboardInterrupt, match="power"):
        cache.put(HANDLE, filler(b"two", "cd" * 32), "cd" * 32)
    assert content(cache.find(HANDLE)) == b"two"
    assert cache.find(HANDLE, "ab" * 32) is None


def test_an_entry_is_readable_for_others_as_the_umask_says(cache):
    before = os.umask(0o022)
    try:
        path = cache.put(HANDLE, filler())
    finally:
        os.umask(before)
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o755
    assert stat.S_IMODE(os.stat(os.path.join(path, "saved_model.pb")).st_mode) == 0o644


def test_left_overs_of_killed_processes_are_swept_and_others_are_not(cache):
    cache.put("other", filler())
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    host = work_names.host()
    ours = f"{KEY}.{host}-{dead.pid}-0123456789ab.tmp"
    live = f"{KEY}.{host}-{os.getpid()}-0123456789ab.tmp"
    foreign = f"{KEY}.elsewhere-{dead.pid}-0123456789ab.tmp"
    old = f"{KEY}.elsewhere-1-0123456789ab.tmp"
    theirs = f"{KEY}.0123456789abcdef0123456789abcdef.tmp"  # tensorflow_hub's
    for name in (ours, live, foreign, old, theirs):
        os.makedirs(os.path.join(cache.root, name, "tree"))
    os.utime(os.path.join(cache.root, old), (0, 0))
    cache.put(HANDLE, filler())
    assert [name for name in litter(cache) if name.endswith(".tmp")] == sorted([live, foreign, theirs])


def test_whoever_waits_for_a_lock_finds_what_its_holder_made(cache):
    holder = Cache(cache.root)
    with holder.lock(HANDLE):
        holder._make(HANDLE, filler(b"holder's"), None, HANDLE)
    assert content(cache.put(HANDLE, refuse)) == b"holder's"


def test_a_holder_without_a_sign_of_life_is_not_waited_for(cache, monkeypatch):
    monkeypatch.setattr(locks, "PATIENCE", 0.05)
    with Cache(cache.root).lock(HANDLE):
        assert content(cache.put(HANDLE, filler())) == b"graph"


def test_the_growth_of_a_work_directory_is_a_sign_of_life(cache):
    signs = []

    def fill(work):
        signs.append(work_names.signs_of_life(cache.root, key_of(HANDLE)))
        tree, _ = filler(b"1")(work)
        signs.append(work_names.signs_of_life(cache.root, key_of(HANDLE)))
        with open(os.path.join(tree, "saved_model.pb"), "ab") as file:
            file.write(b"2")
        signs.append(work_names.signs_of_life(cache.root, key_of(HANDLE)))
        return tree, None

    cache.put(HANDLE, fill)
    assert signs == [[], [("tree/saved_model.pb", 1)], [("tree/saved_model.pb", 2)]]
    assert work_names.signs_of_life(cache.root, key_of("another handle")) == []


def test_work_that_grows_by_less_than_the_minimum_is_not_waited_for(cache, monkeypatch):
    sizes = itertools.count(1)
    monkeypatch.setattr(work_names, "signs_of_life", lambda *_: [("archive", next(sizes))])
    with Cache(cache.root).lock(HANDLE):
        assert content(cache.put(HANDLE, filler(), deadline=Deadline(0.02, step=1000))) == b"graph"
    assert next(sizes) == 4  # one look of the holder, two of whoever waits


def test_a_lock_of_tensorflow_hub_is_neither_waited_for_nor_touched(cache):
    os.makedirs(cache.root)
    with open(cache.path(HANDLE) + ".lock", "w") as file:
        file.write("host.1.abc")
    assert content(cache.put(HANDLE, filler())) == b"graph"
    assert os.path.exists(cache.path(HANDLE) + ".lock")


def test_two_that_finish_at_once_leave_one_whole_entry(cache):
    def fill(work):
        cache._make(HANDLE, filler(b"first"), None, HANDLE)  # as if there were no locks
        return filler(b"second")(work)

    assert content(cache.put(HANDLE, fill)) == b"first"
    assert litter(cache) == []


def test_listing_tells_size_handle_and_date(cache):
    before = time.time()
    cache.put(HANDLE, filler(sha256="ab" * 32))
    cache.put("/m.tar.gz#key", filler(b"archive"), label="/m.tar.gz")
    first, second = sorted(cache.entries(), key=lambda e: e.size)
    assert (first.handle, first.size, first.archive_sha256) == ("https://***@host/encoder/1", 5, "ab" * 32)
    assert (second.handle, second.size, second.verifiable) == ("/m.tar.gz", 7, True)
    assert before - 1 <= first.created <= time.time() + 1
    assert cache.select("/m.tar.gz") == [second]
    assert cache.select(HANDLE) == [first]
    assert cache.select(first.key) == [first]


def test_an_entry_is_chosen_by_whatever_resolve_takes_and_by_what_it_prints(cache, tmp_path, monkeypatch):
    page = "https://www.kaggle.com/models/google/nnlm/tensorFlow2/en-dim50/1"
    archive = str(tmp_path / "m.tar.gz")
    cache.put(page, filler(b"kaggle"))
    cache.put(f"{archive}#key", filler(b"archive"), label=archive)
    cache.put("https://mirror/encoder/1", filler(b"mirrored"))
    mirrored, packed, kaggle = sorted(cache.entries(), key=lambda entry: -entry.size)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("KERAS_HUB_LAYERS_MIRRORS", '{"https://tfhub.dev/google": "https://mirror"}')
    for text in ("google/nnlm/tensorFlow2/en-dim50/1", page, kaggle.path, kaggle.key[:12]):
        assert cache.select(text) == [kaggle]
    for text in ("m.tar.gz", "./m.tar.gz", "~/m.tar.gz", f"file://{archive}"):
        assert cache.select(text) == [packed]
    assert cache.select("https://tfhub.dev/google/encoder/1") == [mirrored]
    with pytest.raises(HandleNotFoundError, match="not in the cache"):
        cache.select("")


def test_listing_an_absent_cache_gives_nothing(tmp_path):
    assert Cache(tmp_path / "nothing").entries() == []


def test_entries_of_tensorflow_hub_are_listed_too(cache):
    path = cache.path("https://tfhub.dev/x/1")
    os.makedirs(path)
    with open(os.path.join(path, "saved_model.pb"), "wb") as file:
        file.write(b"graph")
    with open(path + ".descriptor.txt", "w") as file:
        file.write("Module: https://tfhub.dev/x/1\nDownload Time: 2020-01-01\nDownloader Hostname: h (PID:1)")
    (entry,) = cache.entries()
    assert (entry.handle, entry.verifiable, entry.size) == ("https://tfhub.dev/x/1", False, 5)
    assert cache.verify(entry) == []
    os.mkdir(os.path.join(path, "variables"))
    assert cache.verify(entry) == ["incomplete: the SavedModel's file or some variables are missing"]


def test_removing_takes_everything_that_belongs_to_an_entry(cache):
    cache.put(HANDLE, filler())
    (entry,) = cache.select(HANDLE)
    cache.remove(entry)
    assert os.listdir(cache.root) == [".locks"]
    with pytest.raises(HandleNotFoundError, match=r"(?s)not in the cache.*\(the cache is empty\)"):
        cache.select(HANDLE)


def test_an_unknown_handle_is_an_error_that_lists_the_known_ones(cache):
    cache.put(HANDLE, filler())
    with pytest.raises(HandleNotFoundError, match=r"https://\*\*\*@host/encoder/1"):
        cache.select("https://host/decoder")


@pytest.fixture
def read_only(tmp_path):
    """A cache that holds one entry and may be read by everybody, written by nobody."""
    with tempfile.TemporaryDirectory() as directory:
        os.chmod(directory, 0o755)
        cache = Cache(os.path.join(directory, "root"))
        cache.put(HANDLE, filler())
        for folder, _, _ in os.walk(directory):
            os.chmod(folder, 0o555)
        yield cache
        for folder, _, _ in os.walk(directory):
            os.chmod(folder, 0o755)


def test_a_read_only_cache_answers_what_it_holds_and_says_what_it_cannot(read_only):
    code = f"""
import os
import filelock  # before the change of user, who may not be allowed to read Python's own files
from keras_hub_layers._src.resolve.cache import Cache
from keras_hub_layers.errors import ResolveError
if os.getuid() == 0:
    os.setuid(65534)  # root may write anywhere
cache = Cache({read_only.root!r})
assert cache.find({HANDLE!r})
assert cache.put({HANDLE!r}, None) == cache.path({HANDLE!r})
for work in (lambda: cache.put("other", None), lambda: cache.remove(cache.entries()[0])):
    try:
        work()
    except ResolveError as error:
        print(error)
assert cache.find({HANDLE!r})
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("The cache cannot be written.") == 2
    assert "PermissionError: Permission denied" in done.stdout
    assert "export TFHUB_CACHE_DIR=" in done.stdout


def test_a_full_disk_is_said_and_leaves_nothing(cache):
    cache.put("other", filler())
    code = f"""
import os, resource
from keras_hub_layers._src.resolve.cache import Cache
def fill(work):
    os.mkdir(work + "/tree")
    with open(work + "/tree/saved_model.pb", "wb") as file:
        file.write(bytes(100_000))
    return work + "/tree", None
resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))
Cache({cache.root!r}).put({HANDLE!r}, fill)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "ResolveError: The cache cannot be written." in done.stderr
    assert "File too large" in done.stderr
    assert litter(cache) == sorted(n for n in os.listdir(cache.root) if n.startswith(key_of("other")))


def test_a_cache_that_is_a_file_is_said(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(HubError, match="cannot be written"):
        Cache(tmp_path / "file").put(HANDLE, refuse)
    with pytest.raises(HubError, match="is a file, not a directory"):
        Cache(tmp_path / "file").entries()


def test_a_manifest_is_json_for_other_programs(cache):
    path = cache.put(HANDLE, filler(sha256="ab" * 32))
    with open(path + ".manifest.json") as file:
        manifest = json.load(file)
    assert manifest["archive_sha256"] == "ab" * 32
    assert manifest["files"]["saved_model.pb"][0] == 5
