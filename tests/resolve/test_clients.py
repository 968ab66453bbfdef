"""Kaggle's and Hugging Face's own clients, against local servers, through their own settings."""

import json
import os
import socket
import subprocess
import sys
import tempfile

import filelock
import pytest
from faults import FaultyServer
from hostile import FILES, files, write
from model_hubs import HuggingFace, Kaggle, serving

from keras_hub_layers import resolve
from keras_hub_layers._src.resolve.clients import client, resolve_hugging_face
from keras_hub_layers._src.resolve.handles import parse
from keras_hub_layers.errors import ChecksumError, MissingPackageError, OfflineError

KAGGLE_PORT = 7777  # KAGGLE_API_ENVIRONMENT=TEST means this one
NNLM = "google/nnlm/tensorFlow2/en"
pytestmark = pytest.mark.xdist_group("hubs")  # they share that port
TURN = filelock.FileLock(os.path.join(tempfile.gettempdir(), f"keras_hub_layers-tests-{KAGGLE_PORT}.lock"), timeout=120)


def run(code, *arguments, **environment):
    """Answers, errors and stdout of a fresh process: the clients read their settings when they are imported."""
    script = f"import sys, json, keras_hub_layers as khl\ndef show(x): print('>', json.dumps(x))\n{code}"
    command = [sys.executable, "-W", "ignore", "-c", script, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ, **environment})
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert all(line.startswith("> ") for line in lines), done.stdout  # a client's chatter belongs on stderr
    return [json.loads(line[2:]) for line in lines]


RESOLVE = """
for handle in sys.argv[1:]:
    try:
        show(khl.resolve(handle))
    except khl.errors.HubError as error:
        show([type(error).__name__, str(error)])
"""


@pytest.fixture
def hugging_face(tmp_path):
    hub = HuggingFace(
        {**{f"text/encoder/{name}": data for name, data in FILES.items()}, "text/model.safetensors": b"x"}
    )
    with serving(hub) as base:
        settings = {"HF_ENDPOINT": base, "HF_HOME": str(tmp_path / "hf"), "HF_HUB_DISABLE_TELEMETRY": "1"}
        yield hub, {**settings, "HF_HUB_DISABLE_PROGRESS_BARS": "1", "no_proxy": "*"}


@pytest.fixture
def kaggle(tmp_path):
    with TURN:  # of this run and of others on the machine
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", KAGGLE_PORT)) == 0:
                pytest.skip(f"port {KAGGLE_PORT}, which Kaggle's client wants for tests, is taken")
        hub = Kaggle(dict(FILES))
        with serving(hub, KAGGLE_PORT):
            settings = {"KAGGLE_API_ENVIRONMENT": "TEST", "KAGGLEHUB_CACHE": str(tmp_path / "kaggle"), "no_proxy": "*"}
            yield hub, {**settings, "KAGGLE_CONFIG_DIR": str(tmp_path), "HOME": str(tmp_path)}


def test_a_folder_of_a_hugging_face_repository_is_fetched_and_found_offline_ever_after(hugging_face):
    hub, settings = hugging_face
    handle = "hf://owner/repo/text/encoder@main"
    (path,) = run(RESOLVE, handle, **settings)
    assert files(path) == FILES
    assert not any("safetensors" in asked for asked in hub.asked)  # other frameworks' weights stay there
    hub.asked.clear()
    for switch in ("KERAS_HUB_LAYERS_OFFLINE", "HF_HUB_OFFLINE"):
        assert run(RESOLVE, handle, **settings, **{switch: "1"}) == [path]
    assert hub.asked == []


def test_a_half_deleted_hugging_face_model_is_fetched_again(hugging_face):
    _, settings = hugging_face
    (path,) = run(RESOLVE, "hf://owner/repo/text/encoder", **settings)
    os.unlink(os.path.realpath(os.path.join(path, "variables/variables.index")))
    assert run(RESOLVE, "hf://owner/repo/text/encoder", **settings) == [path]
    assert files(path) == FILES


def test_what_a_hugging_face_repository_does_not_hold_is_said(hugging_face):
    _, settings = hugging_face
    nothing, above, missing = run(
        RESOLVE, "hf://owner/repo/audio", "hf://owner/repo/text", "hf://owner/other", **settings
    )
    assert nothing[0] == "HandleNotFoundError"
    assert "The repository holds no SavedModel there." in nothing[1]
    assert above[0] == "HandleNotFoundError"
    assert missing[0] == "HandleNotFoundError"
    assert "hf://owner/other" in missing[1]
    (offline,) = run(RESOLVE, "hf://owner/repo", **settings, KERAS_HUB_LAYERS_OFFLINE="1")
    assert offline[0] == "OfflineError"


def test_a_kaggle_shorthand_is_fetched_and_found_offline_ever_after(kaggle):
    hub, settings = kaggle
    newest, versioned = run(RESOLVE, NNLM, f"{NNLM}/3", **settings)
    assert newest == versioned
    assert files(newest) == FILES
    hub.asked.clear()
    assert run(RESOLVE, f"{NNLM}/3", **settings) == [newest]
    assert run(RESOLVE, NNLM, NNLM.lower(), **settings, KERAS_HUB_LAYERS_OFFLINE="1") == [newest, newest]
    assert hub.asked == []


def test_a_half_deleted_kaggle_model_is_fetched_again(kaggle):
    _, settings = kaggle
    (path,) = run(RESOLVE, NNLM, **settings)
    os.unlink(os.path.join(path, "saved_model.pb"))
    assert run(RESOLVE, f"{NNLM}/3", **settings) == [path]
    assert files(path) == FILES


def test_a_kaggle_page_that_wants_a_login_is_left_to_the_client(kaggle):
    _, settings = kaggle
    page = f"http://www.kaggle.com/models/{NNLM}/3"
    with FaultyServer(b"") as site:
        settings = {**settings, "http_proxy": site.base, "no_proxy": "localhost"}
        (path,) = run(RESOLVE, page, **settings)
        assert files(path) == FILES
        assert [asked.path for asked in site.asked] == [page, f"http://www.kaggle.com/api/v1/models/{NNLM}/3/download"]
        ((kind, text),) = run(RESOLVE, page.replace("google", "nobody"), **settings)
    assert kind == "DownloadError"
    assert "HTTP 403" in text
    assert "pip install 'keras-hub-layers[kaggle]'" in text


def test_what_kaggle_does_not_have_is_said(kaggle):
    _, settings = kaggle
    ((kind, text),) = run(RESOLVE, "nobody/nnlm/tensorFlow2/en/1", **settings)
    assert kind == "HandleNotFoundError"
    assert "nobody/nnlm/tensorFlow2/en/1" in text


def test_publishing_to_hugging_face_sends_the_files_unless_it_is_a_dry_run(hugging_face, tmp_path):
    hub, settings = hugging_face
    directory = str(write(tmp_path / "export"))
    code = "show(str(khl.publish(sys.argv[1], 'hf://owner/repo/tuned', dry_run=bool(sys.argv[2:]))))"
    (plan,) = run(code, directory, "dry", **settings, HF_TOKEN="hf_test")
    assert plan.startswith("would publish hf://owner/repo/tuned")
    assert "saved_model.pb" in plan
    assert hub.asked == []
    (report,) = run(code, directory, **settings, HF_TOKEN="hf_test")
    assert report == plan.replace("would publish", "published")
    assert hub.uploaded == {f"tuned/{name}": data for name, data in FILES.items()}
    assert hub.notes[0].get("private") or hub.notes[0]["visibility"] == "private"  # the client's versions differ


def test_publishing_to_kaggle_sends_the_files(kaggle, tmp_path):
    hub, settings = kaggle
    code = f"show(str(khl.publish(sys.argv[1], {NNLM!r}, notes='better')))"
    run(code, str(write(tmp_path / "export")), **settings, KAGGLE_USERNAME="me", KAGGLE_KEY="k")
    assert hub.uploaded == {name.rsplit("/", 1)[-1]: data for name, data in FILES.items()}
    assert "CreateModelInstance" in hub.asked


@pytest.mark.parametrize("handle", ["hf://owner/repo", NNLM])
def test_a_pin_is_refused_where_there_is_no_archive(handle):
    with pytest.raises(ChecksumError, match="file by file"):
        resolve(handle, sha256="0" * 64)


def test_a_missing_client_is_said_with_its_pip_line():
    with pytest.raises(MissingPackageError, match=r"pip install 'keras-hub-layers\[kaggle\]'"):
        client("a_package_that_nobody_has", "kaggle")


def test_offline_never_asks_the_network(monkeypatch, tmp_path):
    monkeypatch.setenv("KERAS_HUB_LAYERS_OFFLINE", "1")
    monkeypatch.setenv("KAGGLEHUB_CACHE", str(tmp_path))
    with pytest.raises(OfflineError, match="network is switched off"):
        resolve(NNLM)
    with pytest.raises(OfflineError, match="client failed"):
        resolve_hugging_face(parse("hf://owner/a_repository_that_is_in_no_cache"), None)
