"""Each setting of the environment is read as it is meant, or said to be unreadable with a line to paste."""

import pytest

from keras_hub_layers._src.resolve import environment
from keras_hub_layers._src.text import progress
from keras_hub_layers.errors import HandleError, ResolveError

NUMBERS = {
    "KERAS_HUB_LAYERS_TIMEOUT": environment.timeout,
    "KERAS_HUB_LAYERS_MAX_BYTES": environment.max_bytes,
    "KERAS_HUB_LAYERS_MAX_MEMBERS": environment.max_members,
}


@pytest.mark.parametrize(("value", "meant"), [("1", True), ("true", True), ("0", False), ("", False), ("False", False)])
def test_offline_is_on_or_off(monkeypatch, value, meant):
    monkeypatch.setenv("KERAS_HUB_LAYERS_OFFLINE", value)
    assert environment.offline() is meant


@pytest.mark.parametrize("name", NUMBERS)
def test_numbers_are_read(monkeypatch, name):
    monkeypatch.delenv(name, raising=False)
    assert NUMBERS[name]() is None
    monkeypatch.setenv(name, " 7 ")
    assert NUMBERS[name]() == 7


@pytest.mark.parametrize("name", NUMBERS)
@pytest.mark.parametrize("value", ["soon", "-1", "0", "nan", "inf", "1 GB"])
def test_what_is_no_positive_number_is_said(monkeypatch, name, value):
    monkeypatch.setenv(name, value)
    with pytest.raises(ResolveError, match=rf"(?s)setting {name} cannot be read.*export {name}="):
        NUMBERS[name]()


def test_the_words_of_tensorflow_hub_are_understood(monkeypatch):
    assert not any([environment.wants_uncompressed(), environment.unchecked_certificates(), progress.asked()])
    monkeypatch.setenv("TFHUB_MODEL_LOAD_FORMAT", "UNCOMPRESSED")
    monkeypatch.setenv("TFHUB_DISABLE_CERT_VALIDATION", "true")
    monkeypatch.setenv("TFHUB_DOWNLOAD_PROGRESS", "1")
    assert environment.wants_uncompressed()
    assert environment.unchecked_certificates()
    assert progress.asked()


def test_mirrors_are_json_or_the_path_of_a_file(monkeypatch, tmp_path):
    assert environment.mirrors() == {}
    monkeypatch.setenv("KERAS_HUB_LAYERS_MIRRORS", '{"a": "b"}')
    assert environment.mirrors() == {"a": "b"}
    (tmp_path / "mirrors.json").write_text('{"c": "d"}')
    monkeypatch.setenv("KERAS_HUB_LAYERS_MIRRORS", str(tmp_path / "mirrors.json"))
    assert environment.mirrors() == {"c": "d"}


@pytest.mark.parametrize(
    "table", ['{"https://tfhub.dev/": "https://ada:secret@hub/"', '{"a": ["ftp://ada:secret@hub"]}']
)
def test_passwords_in_a_table_of_mirrors_are_not_shown(monkeypatch, table):
    monkeypatch.setenv("KERAS_HUB_LAYERS_MIRRORS", table)
    with pytest.raises(HandleError, match=r"characters \(") as caught:
        environment.mirrors()
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("table", ["{", '{"a": 1}', "/nowhere.json", "[]"])
def test_a_table_of_mirrors_that_cannot_be_read_is_said(monkeypatch, table):
    monkeypatch.setenv("KERAS_HUB_LAYERS_MIRRORS", table)
    with pytest.raises(HandleError, match=r"(?s)table of mirrors.*export KERAS_HUB_LAYERS_MIRRORS="):
        environment.mirrors()
