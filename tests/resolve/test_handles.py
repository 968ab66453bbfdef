"""Every form of a handle is read once, without touching disk or network."""

import pickle
from pathlib import Path

import pytest

from keras_hub_layers._src.resolve import handles
from keras_hub_layers._src.resolve.handles import HuggingFaceModel, KaggleModel, display, mirror, parse
from keras_hub_layers.errors import HandleError

NNLM = KaggleModel("google", "nnlm", "tensorFlow2", "en-dim50", 1)


@pytest.mark.parametrize(
    ("text", "location"),
    [
        ("/models/encoder", "/models/encoder"),
        ("encoder", "encoder"),
        ("../a b/ü", "../a b/ü"),
        ("C:\\models\\encoder", "C:\\models\\encoder"),
        ("C:/models/encoder", "C:/models/encoder"),
        ("file:///models/a%20b", "/models/a b"),
        ("file://localhost/models", "/models"),
        ("file:/models", "/models"),
        ("FILE:///models", "/models"),
        ("file:///C:/models", "C:/models"),
        ("models/2024:01/x", "models/2024:01/x"),
        ("a/b/c/d", "a/b/c/d"),
    ],
)
def test_local_paths_keep_their_text_and_give_a_location(text, location):
    handle = parse(text)
    assert (handle.text, handle.kind, handle.location) == (text, "path", location)


def test_a_tilde_means_the_home_directory(monkeypatch):
    monkeypatch.setenv("HOME", "/home/ada")
    assert parse("~/encoder").location == "/home/ada/encoder"
    assert parse(Path("~/encoder")).location == "/home/ada/encoder"


def test_a_path_object_is_never_anything_but_a_path():
    assert parse(Path("google/nnlm/tensorFlow2/en-dim50/1")).kind == "path"
    assert parse(Path("https:/x")).kind == "path"


@pytest.mark.parametrize(
    ("text", "is_archive"),
    [
        ("https://tfhub.dev/google/nnlm-en-dim50/2", False),
        ("http://127.0.0.1:8000/model", False),
        ("HTTPS://example.com/m.TGZ", True),
        ("https://example.com/m.tar.gz?token=1#x", True),
        ("https://example.com/m?file=m.zip", False),
        ("m.tar", True),
        ("file:///m.zip", True),
    ],
)
def test_archives_are_told_by_the_end_of_the_path(text, is_archive):
    assert parse(text).is_archive is is_archive


@pytest.mark.parametrize("text", ["gs://b/m", "s3://b/m", "hdfs://h/m", "az://c/m", "ram://m"])
def test_remote_file_systems_keep_their_location(text):
    assert parse(text) == handles.Handle(text, "remote", text)


@pytest.mark.parametrize(
    "text",
    [
        "google/nnlm/tensorFlow2/en-dim50/1",
        "google/nnlm/tensorflow2/en-dim50/1",
        "https://www.kaggle.com/models/google/nnlm/tensorFlow2/en-dim50/1",
        "https://www.kaggle.com/models/google/nnlm/tensorFlow2/en-dim50/1/",
        "https://kaggle.com/models/google/nnlm/frameworks/TensorFlow2/variations/en-dim50/versions/1?x=y",
    ],
)
def test_all_spellings_of_a_kaggle_model_name_the_same_model(text):
    assert parse(text).kaggle == NNLM


def test_a_handle_with_a_fixed_version_knows_its_other_spellings():
    handle = parse("google/nnlm/tensorFlow2/en-dim50/1")
    assert handle.spellings == (
        "https://www.kaggle.com/models/google/nnlm/tensorFlow2/en-dim50/1",
        "https://www.kaggle.com/models/google/nnlm/frameworks/tensorFlow2/variations/en-dim50/versions/1",
    )
    assert handle.text in parse(handle.spellings[0]).spellings
    assert parse("google/nnlm/tensorFlow2/en-dim50").spellings == ()


def test_a_kaggle_page_with_a_version_knows_the_address_of_its_archive():
    page = "https://me:key@www.kaggle.com/models/google/nnlm/frameworks/tensorflow2/variations/en/versions/3?x=y"
    archive = "https://me:key@www.kaggle.com/api/v1/models/google/nnlm/tensorFlow2/en/3/download"
    assert parse(page).kaggle_archive == archive
    assert parse("https://www.kaggle.com/models/google/nnlm/tensorFlow2/en").kaggle_archive is None
    assert parse("google/nnlm/tensorFlow2/en/3").kaggle_archive is None


@pytest.mark.parametrize(
    "text",
    [
        "https://www.kaggle.com/models/google/nnlm",
        "https://www.kaggle.com/datasets/google/nnlm/tensorFlow2/en/1",
        "https://kaggle.com.evil.example/models/google/nnlm/tensorFlow2/en/1",
        "google/nnlm/tensorFlow2",
        "google/nnlm/tensorFlow2/en/latest",
        "google/nnlm/tensorFlow2/../1",
        "./google/nnlm/tensorFlow2/en/1",
    ],
)
def test_what_only_resembles_a_kaggle_model_is_none(text):
    assert parse(text).kaggle is None


def test_the_shorthand_is_a_kind_of_its_own():
    assert parse("google/nnlm/tensorFlow2/en-dim50").kind == "kaggle"
    assert str(parse("google/nnlm/tensorflow2/en-dim50").kaggle) == "google/nnlm/tensorFlow2/en-dim50"


@pytest.mark.parametrize(
    ("text", "model"),
    [
        ("hf://owner/repo", HuggingFaceModel("owner/repo")),
        ("hf://owner/repo@v1.0", HuggingFaceModel("owner/repo", "", "v1.0")),
        ("hf://owner/repo/a/b@refs/pr/1", HuggingFaceModel("owner/repo", "a/b", "refs/pr/1")),
    ],
)
def test_hugging_face_handles_have_repo_subfolder_and_revision(text, model):
    handle = parse(text)
    assert handle.kind == "huggingface"
    assert handle.hugging_face == model


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "empty"),
        ("  ", "empty"),
        (None, "str or a path"),
        (b"/models", "str or a path"),
        (7, "str or a path"),
        ("ftp://host/m", "'ftp'"),
        ("https://", "no host"),
        ("https:///m", "no host"),
        ("https://host:port/m", "cannot be read"),
        ("https://[::1/m", "cannot be read"),
        ("https://host/a b", "neither spaces"),
        ("https://host/a\nb", "neither spaces"),
        ("file://otherhost/m", "absolute path"),
        ("file:relative", "absolute path"),
        ("file:///a%00b", "NUL"),
        ("a\0b", "NUL"),
        ("hf://owner", "hf://owner/repo"),
        ("hf:owner/repo", "hf://owner/repo"),
        ("hf://owner/repo@", "hf://owner/repo"),
        ("hf://owner/repo/../x", "hf://owner/repo"),
    ],
)
def test_an_unknown_form_lists_every_accepted_form(text, problem):
    with pytest.raises(HandleError, match=problem) as caught:
        parse(text)
    for form in handles.FORMS.splitlines():
        assert form in str(caught.value)
    for part in ("Expected:", "Received:", "Where:", "What to do:"):
        assert part in str(caught.value)


def test_every_form_in_the_list_of_forms_is_accepted():
    for line in handles.FORMS.splitlines():
        for text in line[31:].split(" (")[0].split(", "):
            assert parse(text).text == text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("https://ada:secret@host:1/m?a=1", "https://***@host:1/m?a=1"),
        ("https://ada:p@ss@host", "https://***@host"),
        ("https://host/m?X-Goog-Signature=abc&v=2&token=t", "https://host/m?X-Goog-Signature=***&v=2&token=***"),
        ("https://host/m@2", "https://host/m@2"),
        ("/a/b@c", "/a/b@c"),
        ("hf://owner/repo@v1", "hf://owner/repo@v1"),
    ],
)
def test_what_is_shown_holds_no_password(text, shown):
    assert display(text) == shown
    assert str(parse(text)) == shown


def test_a_wrong_url_with_a_password_does_not_show_it():
    with pytest.raises(HandleError, match="neither spaces") as caught:
        parse("https://ada:secret@host/a b")
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "target"),
    [
        ("https://tfhub.dev/google/x/1", "http://hub.corp/google/x/1"),
        ("https://tfhub.dev/google/x/1?a=b", "http://hub.corp/google/x/1?a=b"),
        ("https://tfhub.dev/acme/x/1", "/srv/acme/x/1"),
        ("https://tfhub.dev.evil.example/x", "https://tfhub.dev.evil.example/x"),
        ("https://tfhub.dev", "http://hub.corp"),
        ("google/nnlm/tensorFlow2/a/1", "/srv/nnlm-a"),
    ],
)
def test_mirrors_replace_the_longest_prefix_that_ends_at_a_slash(text, target):
    mirrors = {
        "https://tfhub.dev/": "http://hub.corp",
        "https://tfhub.dev/acme": "/srv/acme",
        "google/nnlm/tensorFlow2/a/1": "/srv/nnlm-a",
    }
    assert mirror(text, mirrors) == target


def test_a_handle_is_frozen_comparable_and_pickles():
    handle = parse("hf://owner/repo@v1")
    assert pickle.loads(pickle.dumps(handle)) == handle
    with pytest.raises(AttributeError, match="cannot assign"):
        handle.text = "other"  # pyright: ignore


@pytest.mark.parametrize("handle", ["gs://", "s3:///", "GS://", "hdfs://"])
def test_a_remote_scheme_alone_is_no_handle(handle):
    with pytest.raises(HandleError, match=r"(?s)names no place.*gs://bucket/encoder"):
        parse(handle)
