"""Handles on the network become local directories: safely, once, and offline ever after."""

import hashlib
import json
import os
import re
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from faults import FaultyServer
from hostile import FILES, files, member, tar, tar_gz, write, zip_

from keras_hub_layers import layers, resolve
from keras_hub_layers._src.publish.server import serve_in_thread
from keras_hub_layers._src.resolve.cache import Cache
from keras_hub_layers.errors import (
    ArchiveError,
    ChecksumError,
    DownloadError,
    HandleError,
    HandleNotFoundError,
    OfflineError,
    ResolveError,
)

ARCHIVE = tar_gz()


@pytest.fixture
def server():
    with FaultyServer(ARCHIVE) as server:
        yield server


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch):
    monkeypatch.setattr(time, "sleep", lambda seconds: None)


def left(root=None):
    """What is in the cache, but for locks."""
    root = root or Cache().root
    return sorted(name for name in os.listdir(root) if name != ".locks") if os.path.isdir(root) else []


def test_the_hosting_protocol_is_asked_once(server):
    first = resolve(f"{server.base}/ok")
    assert files(first) == FILES
    assert resolve(f"{server.base}/ok") == first
    assert [(asked.path, asked.query) for asked in server.asked] == [("/ok", "tf-hub-format=compressed")]


@pytest.mark.parametrize(
    ("query", "sent"),
    [
        ("?a=b%2Fc", "a=b%2Fc&tf-hub-format=compressed"),
        ("?tf-hub-format=compressed", "tf-hub-format=compressed"),
        ("?x=tf-hub-format=compressed", "x=tf-hub-format=compressed&tf-hub-format=compressed"),
        ("#part", "tf-hub-format=compressed"),
    ],
)
def test_the_query_of_a_handle_is_kept(server, query, sent):
    resolve(f"{server.base}/ok{query}")
    assert server.asked[0].query == sent


def test_the_address_of_an_archive_is_asked_for_as_it_is(server):
    resolve(f"{server.base}/ok.tar.gz?X-Signature=1")
    assert (server.asked[0].path, server.asked[0].query) == ("/ok.tar.gz", "X-Signature=1")


@pytest.mark.parametrize("make", [tar, tar_gz, zip_])
def test_every_kind_of_archive_is_taken_whatever_its_name(make):
    with FaultyServer(make(FILES)) as server:
        assert files(resolve(f"{server.base}/ok")) == FILES


def test_a_model_in_one_top_directory_becomes_the_entry_itself():
    with FaultyServer(tar_gz({f"encoder/{name}": data for name, data in FILES.items()})) as server:
        assert files(resolve(f"{server.base}/ok")) == FILES


@pytest.mark.parametrize(
    ("fault", "error", "problem"),
    [
        ("status/404", HandleNotFoundError, "no such model"),
        ("status/403", DownloadError, "HTTP 403"),
        ("status/503", DownloadError, "attempt 4"),
        ("html", DownloadError, "Sign in"),
        ("html/application/gzip", ArchiveError, "Sign in"),
        ("empty", DownloadError, "empty"),
        ("lying-length/-9", ArchiveError, "end"),
        ("lying-length/-300", ArchiveError, "end"),
        ("lying-length/9", DownloadError, "attempt 4"),
        ("chunked/cut", DownloadError, "attempt 4"),
        ("closed", DownloadError, "attempt 4"),
        ("garbage", DownloadError, "attempt 4"),
        ("redirect-loop", DownloadError, "10 redirects"),
        ("unasked-206", DownloadError, "HTTP 206"),
    ],
)
def test_a_fault_is_one_clear_error_and_leaves_nothing(server, fault, error, problem):
    with pytest.raises(error, match=problem) as caught:
        resolve(f"{server.base}/{fault}")
    assert f"{server.base}/{fault}" in str(caught.value)
    assert left() == []


@pytest.mark.parametrize("fault", ["flaky/503/2", "truncated/once", "truncated/wrong-etag", "redirect/3", "encoded"])
def test_a_passing_fault_is_not_noticed(server, fault):
    assert files(resolve(f"{server.base}/{fault}")) == FILES


@pytest.mark.parametrize(
    "data",
    [
        tar_gz([member("../evil", b"x")]),
        tar_gz([member("saved_model.pb", b"x"), member("l", kind=b"2", linkname="/etc")]),
        ARCHIVE[:-10],
        ARCHIVE[:100] + b"\0" + ARCHIVE[101:],
        b"",
        tar_gz({"readme.txt": b"no model"}),
    ],
    ids=["traversal", "link", "cut", "flipped", "empty", "no model"],
)
def test_a_bad_archive_leaves_nothing(data):
    with FaultyServer(data) as server, pytest.raises(ResolveError, match=server.base):
        resolve(f"{server.base}/ok")
    assert left() == []


@pytest.mark.parametrize("pin", [None, hashlib.sha256(ARCHIVE).hexdigest()])
def test_a_body_that_arrives_damaged_is_fetched_again_once(server, pin):
    assert files(resolve(f"{server.base}/damaged/1", sha256=pin)) == FILES
    assert len(server.asked) == 2
    with pytest.raises(ChecksumError if pin else ArchiveError, match=r"not the one that was pinned|damaged|CRC"):
        resolve(f"{server.base}/damaged/2?other", sha256=pin)
    assert len(server.asked) == 4


def test_a_sound_body_of_another_pin_is_not_fetched_again(server):
    with pytest.raises(ChecksumError, match="not the one that was pinned"):
        resolve(f"{server.base}/ok", sha256="0" * 64)
    assert len(server.asked) == 1


def test_a_pin_is_checked_and_its_entry_found_offline(server, monkeypatch):
    pin = hashlib.sha256(ARCHIVE).hexdigest()
    path = resolve(f"{server.base}/ok", sha256=pin)
    monkeypatch.setenv("KERAS_HUB_LAYERS_OFFLINE", "1")
    assert resolve(f"{server.base}/ok", sha256=pin.upper()) == path
    with pytest.raises(OfflineError, match="network is switched off"):
        resolve(f"{server.base}/ok", sha256="0" * 64)


def test_a_wrong_pin_leaves_the_entry_that_is_there(server):
    path = resolve(f"{server.base}/ok")
    with pytest.raises(ChecksumError, match="not the one that was pinned"):
        resolve(f"{server.base}/ok", sha256="0" * 64)
    assert files(path) == FILES
    assert len(left()) == 3


def test_a_damaged_entry_heals_itself(server):
    path = resolve(f"{server.base}/ok")
    os.unlink(os.path.join(path, "assets/vocab.txt"))
    assert files(resolve(f"{server.base}/ok")) == FILES


def test_offline_answers_from_the_cache_or_at_once(server, monkeypatch):
    path = resolve(f"{server.base}/ok")
    monkeypatch.setenv("KERAS_HUB_LAYERS_OFFLINE", "1")
    assert resolve(f"{server.base}/ok") == path
    for handle in (f"{server.base}/other", "google/nnlm/tensorFlow2/en/1"):
        with pytest.raises(OfflineError, match="env -u KERAS_HUB_LAYERS_OFFLINE"):
            resolve(handle)
    assert len(server.asked) == 1


@pytest.mark.parametrize("value", ["0", "", "false"])
def test_offline_can_be_said_to_be_off(server, monkeypatch, value):
    monkeypatch.setenv("KERAS_HUB_LAYERS_OFFLINE", value)
    assert files(resolve(f"{server.base}/ok")) == FILES


def test_a_mirror_serves_instead_of_the_handle_s_own_host(server, monkeypatch, tmp_path):
    table = {"https://tfhub.dev/": f"{server.base}/", "https://tfhub.dev/acme/": str(tmp_path / "acme")}
    monkeypatch.setenv("KERAS_HUB_LAYERS_MIRRORS", json.dumps(table))
    assert files(resolve("https://tfhub.dev/ok")) == FILES
    write(tmp_path / "acme/encoder/1")
    assert resolve("https://tfhub.dev/acme/encoder/1") == str(tmp_path / "acme/encoder/1")
    (tmp_path / "table.json").write_text(json.dumps(table))
    monkeypatch.setenv("KERAS_HUB_LAYERS_MIRRORS", str(tmp_path / "table.json"))
    assert resolve("https://tfhub.dev/acme/encoder/1") == str(tmp_path / "acme/encoder/1")


@pytest.mark.parametrize("handle", ["gs://bucket/m", "s3://bucket/m", "hdfs://host/m"])
def test_remote_file_systems_are_left_to_tensorflow(handle):
    assert resolve(handle) == handle
    with pytest.raises(ChecksumError, match="remote file system"):
        resolve(handle, sha256="0" * 64)


def test_the_uncompressed_protocol_gives_the_place_that_the_server_names(server, monkeypatch):
    monkeypatch.setenv("TFHUB_MODEL_LOAD_FORMAT", "UNCOMPRESSED")
    assert resolve(f"{server.base}/see-other/303/gs://bucket/m") == "gs://bucket/m"
    assert server.asked[0].query == "tf-hub-format=uncompressed"
    assert left() == []
    assert files(resolve(f"{server.base}/ok.tar.gz")) == FILES  # an archive's address is one


@pytest.mark.parametrize(
    ("fault", "error", "problem"),
    [
        ("see-other/303/file:///etc", DownloadError, "names no place"),
        ("see-other/302/gs://bucket/m", DownloadError, "HTTP 302"),
        ("ok", DownloadError, "HTTP 200"),
        ("status/404", HandleNotFoundError, "HTTP 404"),
        ("closed", DownloadError, "attempt 4"),
    ],
)
def test_any_other_answer_to_the_uncompressed_protocol_is_refused(server, monkeypatch, fault, error, problem):
    monkeypatch.setenv("TFHUB_MODEL_LOAD_FORMAT", "UNCOMPRESSED")
    with pytest.raises(error, match=problem):
        resolve(f"{server.base}/{fault}")


def test_a_kaggle_model_is_found_under_its_other_spelling(monkeypatch):
    monkeypatch.setenv("KERAS_HUB_LAYERS_OFFLINE", "1")
    page = "https://www.kaggle.com/models/google/nnlm/tensorFlow2/en-dim50/1"

    def fill(work):
        os.mkdir(f"{work}/tree")
        write_one(f"{work}/tree/saved_model.pb")
        return f"{work}/tree", None

    path = Cache().put(page, fill)
    assert resolve("google/nnlm/tensorflow2/en-dim50/1") == path
    longer = "https://www.kaggle.com/models/google/nnlm/frameworks/tensorFlow2/variations/en-dim50/versions/1"
    assert resolve(longer) == path


def test_a_kaggle_page_that_sends_no_archive_is_asked_for_it_at_the_address_for_programs(server, monkeypatch):
    monkeypatch.setenv("http_proxy", server.base)  # stands for the internet
    monkeypatch.setenv("no_proxy", "")
    handle = "http://www.kaggle.com/models/google/nnlm/tensorFlow2/en/3"
    path = resolve(handle)
    assert files(path) == FILES
    assert path == Cache().path(handle)
    assert [asked.path for asked in server.asked] == [
        "http://www.kaggle.com/models/google/nnlm/tensorFlow2/en/3",
        "http://www.kaggle.com/api/v1/models/google/nnlm/tensorFlow2/en/3/download",
    ]


def write_one(path):
    with open(path, "wb") as file:
        file.write(b"graph")


def test_a_cache_hit_needs_no_http_client(server):
    handle = f"{server.base}/ok"
    resolve(handle)
    code = f"""
import sys
from keras_hub_layers import resolve
resolve({handle!r})
print([name for name in ("requests", "tensorflow", "keras", "rich", "numpy") if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_errors_show_no_password(server):
    with pytest.raises(HandleNotFoundError, match=r"\*\*\*@127") as caught:
        resolve(f"{server.base}/status/404".replace("//", "//ada:secret@"))
    assert "secret" not in str(caught.value)


FORKS = """
import os, random, signal, sys, time
from keras_hub_layers._src.resolve import download, resolve as resolvers  # before the forks: they shall not wait
from keras_hub_layers._src.resolve.cache import Cache

def fork(handle):
    child = os.fork()
    if child == 0:
        try:
            resolvers.resolve(handle)
            os._exit(0)
        except BaseException as error:
            print(error, file=sys.stderr)
            os._exit(1)
    return child
"""


def run(code, *arguments):
    done = subprocess.run([sys.executable, "-c", FORKS + code, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_eight_processes_at_once_make_one_download():
    with FaultyServer(tar_gz({**FILES, "assets/large": bytes(10_000_000)})) as server:
        code = """
children = [fork(sys.argv[1]) for _ in range(8)]
print([os.waitpid(child, 0)[1] for child in children])
"""
        assert run(code, f"{server.base}/ok") == "[0, 0, 0, 0, 0, 0, 0, 0]\n"
        assert len(server.asked) == 1
    assert len(left()) == 3


def test_eight_processes_at_once_without_working_locks_make_one_whole_entry():
    payload = {**FILES, "assets/large": bytes(3_000_000)}
    with FaultyServer(tar_gz(payload)) as server:
        code = """
import filelock
filelock.FileLock.acquire = lambda *arguments, **options: None  # as on some network file systems
filelock.FileLock.release = lambda *arguments, **options: None
children = [fork(sys.argv[1]) for _ in range(8)]
print([os.waitpid(child, 0)[1] for child in children])
"""
        assert run(code, f"{server.base}/ok") == "[0, 0, 0, 0, 0, 0, 0, 0]\n"
        assert len(server.asked) > 1
        assert files(resolve(f"{server.base}/ok")) == payload
    assert len(left()) == 3


def test_eight_threads_at_once_make_one_download():
    with FaultyServer(tar_gz({**FILES, "assets/large": bytes(3_000_000)})) as server:
        with ThreadPoolExecutor(8) as pool:
            paths = list(pool.map(resolve, [f"{server.base}/ok"] * 8))
        assert len(server.asked) == 1
    assert len(set(paths)) == 1


def test_killed_at_any_moment_the_cache_is_whole_or_empty_and_the_next_one_succeeds():
    payload = {**FILES, "assets/large": bytes(20_000_000)}
    with FaultyServer(tar_gz(payload)) as server:
        code = """
random.seed(0)
start = time.perf_counter()
os.waitpid(fork(sys.argv[1] + "?0"), 0)
whole = time.perf_counter() - start
found = []
for moment in range(10):
    handle = f"{sys.argv[1]}?{moment + 1}"
    child = fork(handle)
    time.sleep(random.random() * whole)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    before = Cache().find(handle)
    assert before is None or len(os.listdir(before + "/assets")) == 2, before
    found.append(bool(before))
    assert os.waitpid(fork(handle), 0)[1] == 0
    assert Cache().find(handle)
print(found, [name for name in os.listdir(Cache().root) if name.endswith(".tmp")])
"""
        assert run(code, f"{server.base}/ok").endswith(" []\n")
        assert files(resolve(f"{server.base}/ok?5")) == payload


STEPS = """
import shutil
from pathlib import Path
archive, state = sys.argv[1:]
root = Cache().root

def fill(letter):
    def fill(work):
        for name in ("saved_model.pb", "assets/a.txt", "assets/b.txt"):
            Path(work, "tree", name).parent.mkdir(parents=True, exist_ok=True)
            Path(work, "tree", name).write_text(letter)
        return work + "/tree", letter * 64
    return fill

def prepare():
    if state == "damaged":
        os.unlink(resolvers.resolve(archive) + "/variables/variables.index")
    elif state == "pinned":
        Cache().put("handle", fill("a"))

def act():
    return Cache().put("handle", fill("b"), "b" * 64) if state == "pinned" else resolvers.resolve(archive)

def contents(path):
    return {file.relative_to(path).as_posix(): file.read_bytes() for file in Path(path).rglob("*") if file.is_file()}

prepare()
before = contents(Cache().entries()[0].path) if state == "pinned" else None
after = contents(act())
for step in range(1000):
    shutil.rmtree(root)
    prepare()
    child = os.fork()
    if child == 0:
        left = [step]
        def hook(event, arguments):
            if event in ("os.remove", "os.rmdir") or (event.startswith(("open", "os.")) and root in repr(arguments)):
                left[0] -= 1
                if left[0] < 0:
                    os.kill(os.getpid(), signal.SIGKILL)
        sys.addaudithook(hook)
        act()
        os._exit(0)
    _, status = os.waitpid(child, 0)
    for entry in Cache().entries():
        assert Cache().verify(entry) or contents(entry.path) in (before, after), step
        assert contents(entry.path) == after or not Cache().find("handle", "b" * 64), step
    assert contents(act()) == after, step
    (entry,) = Cache().entries()
    assert not Cache().verify(entry), step
    Cache().put("the next writer", fill("c"))
    assert not [name for name in os.listdir(root) if name.endswith(".tmp")], step
    if status == 0:
        break
print(step)
"""


@pytest.mark.parametrize("state", ["absent", "damaged", "pinned"])
def test_killed_at_every_single_step_on_the_disk_an_entry_is_whole_or_known_to_be_broken(tmp_path, state):
    (tmp_path / "m.tar.gz").write_bytes(ARCHIVE)
    steps = int(run(STEPS, str(tmp_path / "m.tar.gz"), state))
    assert 20 < steps < 1000


def test_tensorflow_hub_and_hub_layer_share_servers_and_entries(tmp_path, monkeypatch):

    monkeypatch.setenv("TFHUB_CACHE_DIR", str(tmp_path / "shared"))
    write(tmp_path / "models/encoder")
    write(tmp_path / "models/decoder")
    code = """
import sys
import tensorflow as tf
import tensorflow_hub as hub

class HalfPlusOne(tf.Module):
    @tf.function(input_signature=[tf.TensorSpec([None], tf.float32)])
    def __call__(self, x):
        return x / 2 + 1

tf.saved_model.save(HalfPlusOne(), sys.argv[2])
print(hub.load(sys.argv[1] + "/half")([2.0]).numpy()[0])
print(hub.resolve(sys.argv[1] + "/decoder"), flush=True)
sys.stdin.readline()
print(hub.resolve(sys.argv[1] + "/encoder"))
"""
    with serve_in_thread(tmp_path / "models") as base:
        ours = resolve(f"{base}/encoder")
        command = [sys.executable, "-W", "ignore", "-c", code, base, str(tmp_path / "models/half")]
        hub = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert hub.stdout
        assert hub.stdout.readline() == "2.0\n"
        theirs = hub.stdout.readline().strip()
    assert hub.communicate("the server is gone\n")[0].strip() == ours
    assert resolve(f"{base}/decoder") == theirs
    assert files(theirs) == files(ours) == FILES
    assert {entry.handle for entry in Cache().entries()} == {
        f"{base}/{name}" for name in ("encoder", "decoder", "half")
    }
    half = resolve(f"{base}/half")
    assert layers.HubLayer(f"{base}/half")(np.array([4.0], "float32")).numpy().tolist() == [3.0]
    assert "fingerprint.pb" in os.listdir(half)


@pytest.mark.parametrize(
    ("page", "meant"),
    [
        (
            "https://github.com/me/models/blob/main/encoder.tar.gz",
            "https://github.com/me/models/raw/main/encoder.tar.gz",
        ),
        (
            "https://huggingface.co/me/models/blob/main/encoder.tar.gz?x=1",
            "https://huggingface.co/me/models/resolve/main/encoder.tar.gz",
        ),
        ("https://huggingface.co/me/encoder", "hf://me/encoder"),
        ("https://huggingface.co/me/models/tree/v2/encoder", "hf://me/models/encoder@v2"),
        ("https://drive.google.com/file/d/1aB/view?usp=sharing", "https://drive.google.com/uc?export=download&id=1aB"),
        ("https://www.dropbox.com/s/1aB/encoder.tar.gz?dl=0", "https://www.dropbox.com/s/1aB/encoder.tar.gz?dl=1"),
        (
            "https://www.kaggle.com/models/google/nnlm",
            "https://www.kaggle.com/models/google/nnlm/tensorFlow2/VARIATION/1",
        ),
    ],
)
def test_a_page_about_a_model_is_refused_unasked_with_the_address_of_the_model(monkeypatch, page, meant):
    monkeypatch.setattr("keras_hub_layers._src.resolve.download.download", None)  # asking would fail in another way
    with pytest.raises(
        HandleError, match=r"(?s)address of a page.*" + re.escape(f"HubLayer({meant!r})") + "$"
    ) as caught:
        resolve(page)
    assert isinstance(caught.value, ValueError)


@pytest.mark.parametrize(
    "handle", ["https://www.kaggle.com/models/google/nnlm/{}/en/1", "google/nnlm/{}/en", "google/nnlm/{}/en/1"]
)
def test_a_variation_for_another_framework_is_refused_unasked(handle):
    meant = re.escape(f"HubLayer({handle.format('tensorFlow2')!r})")
    with pytest.raises(HandleError, match=rf"(?s)another framework.*a variation for tfLite.*{meant}$"):
        resolve(handle.format("tflite"))
