"""doctor looks at the cache and the network's settings, and shows no password."""

import os
from types import SimpleNamespace

import pytest

from keras_hub_layers._src.cli.doctor import cache_and_network
from keras_hub_layers._src.cli.doctor.finding import OK, PROBLEM, WARNING
from keras_hub_layers._src.resolve.cache import Cache


@pytest.fixture(autouse=True)
def _no_settings(monkeypatch):
    for name in (*cache_and_network._PROXIES, *cache_and_network._CERTIFICATES):
        monkeypatch.delenv(name, raising=False)


def found(topic):
    return [finding for finding in cache_and_network.check() if finding.topic == topic]


def put(text, content=b"graph"):
    def fill(work):
        model = os.path.join(work, "model")
        os.mkdir(model)
        with open(os.path.join(model, "saved_model.pb"), "wb") as file:
            file.write(content)
        return model, None

    return Cache().put(text, fill)


def test_fresh_surroundings_have_no_problem_and_nothing_is_made(tmp_path):
    assert {finding.level for finding in cache_and_network.check()} == {OK}
    assert found("cache")[0].text == f"{tmp_path / 'cache'} (KERAS_HUB_LAYERS_CACHE), 0 models, 0 B"
    assert not (tmp_path / "cache").exists()
    assert os.listdir(tmp_path) == []


def test_models_are_counted_and_broken_ones_named():
    put("https://example.org/a", b"1" * 2000)
    path = put("https://example.org/b", b"2" * 1000)
    assert "2 models, 3.0 kB" in found("cache")[0].text
    with open(os.path.join(path, "saved_model.pb"), "wb") as file:
        file.write(b"2")
    broken = found("cache")[1]
    assert broken.level == PROBLEM
    assert broken.fix == "keras-hub-layers cache remove https://example.org/b"


def test_left_overs_are_counted(tmp_path):
    (tmp_path / "cache" / f"{'a' * 40}.host-1-{'b' * 12}.tmp").mkdir(parents=True)
    assert "1 unfinished download;" in found("cache")[1].text


def test_a_cache_that_cannot_be_written_is_a_problem(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("TFHUB_CACHE_DIR", str(tmp_path / "file" / "cache"))
    assert found("cache")[0].level == PROBLEM
    assert f"{tmp_path / 'file'} is a file" in found("cache")[0].text
    monkeypatch.setenv("TFHUB_CACHE_DIR", "gs://bucket/cache")
    assert "remote file system" in found("cache")[0].text


def test_a_full_disk_is_noticed(monkeypatch):
    monkeypatch.setattr(cache_and_network.shutil, "disk_usage", lambda path: SimpleNamespace(free=1.5e9))
    assert found("cache")[1].text == "only 1.5 GB are free"


def test_offline_is_said(monkeypatch):
    assert found("network")[0].level == OK
    monkeypatch.setenv("KERAS_HUB_LAYERS_OFFLINE", "1")
    assert (found("network")[0].level, found("network")[0].fix) == (WARNING, "unset KERAS_HUB_LAYERS_OFFLINE")


def test_passwords_of_proxies_and_mirrors_are_hidden(monkeypatch):
    monkeypatch.setenv("HTTPS_PROXY", "http://me:secret@proxy:8080")
    monkeypatch.setenv("HTTP_PROXY", "me:secret@proxy:8080")
    monkeypatch.setenv("KERAS_HUB_LAYERS_MIRRORS", '{"https://tfhub.dev/": "https://me:secret@hub.example.com/"}')
    assert found("proxy")[0].text == "HTTPS_PROXY=http://***@proxy:8080\nHTTP_PROXY=***@proxy:8080"
    assert found("mirrors")[0].text == "https://tfhub.dev/ -> https://***@hub.example.com/"
    assert "secret" not in str(cache_and_network.check())


@pytest.mark.parametrize(
    ("name", "value", "topic", "text"),
    [
        ("KERAS_HUB_LAYERS_MIRRORS", "{", "mirrors", "cannot be read"),
        ("KERAS_HUB_LAYERS_TIMEOUT", "soon", "settings", "KERAS_HUB_LAYERS_TIMEOUT cannot be read"),
        ("SSL_CERT_FILE", "/nowhere/ca.pem", "certificates", "'/nowhere/ca.pem', which is not there"),
    ],
)
def test_settings_that_cannot_be_used_are_problems(monkeypatch, name, value, topic, text):
    monkeypatch.setenv(name, value)
    assert found(topic)[0].level == PROBLEM
    assert text in found(topic)[0].text
    assert name in found(topic)[0].text + found(topic)[0].fix


def test_certificates_that_are_not_checked_are_a_warning(monkeypatch):
    monkeypatch.setenv("TFHUB_DISABLE_CERT_VALIDATION", "true")
    assert found("certificates")[0].level == WARNING
