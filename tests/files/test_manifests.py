"""A manifest knows what a directory should hold, and says what is different."""

import pytest

from keras_hub_layers._src.files.layout import is_whole
from keras_hub_layers._src.files.manifests import Manifest, contents, sha256_of

HELLO = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"


@pytest.fixture
def model(tmp_path):
    directory = tmp_path / "model"
    (directory / "variables").mkdir(parents=True)
    (directory / "saved_model.pb").write_bytes(b"hello")
    for name in ("variables.index", "variables.data-00000-of-00002", "variables.data-00001-of-00002"):
        (directory / "variables" / name).write_bytes(b"x")
    return directory


def test_contents_are_sizes_and_checksums_by_relative_path(model):
    assert contents(str(model))["saved_model.pb"] == (5, HELLO)
    assert sha256_of(model / "saved_model.pb") == HELLO
    assert "variables/variables.index" in contents(str(model))


def test_a_manifest_survives_its_file(model):
    manifest = Manifest("handle", contents(str(model)), "ab" * 32)
    (model.parent / "model.manifest.json").write_text(manifest.to_json())
    assert Manifest.read(str(model)) == manifest


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"files": {"a": [1]}}', '{"handle": "h", "files": {}}', "\0"])
def test_a_file_that_is_no_manifest_is_none(model, text):
    (model.parent / "model.manifest.json").write_text(text)
    assert Manifest.read(str(model)) is None


def test_differences_are_named(model):
    manifest = Manifest("handle", contents(str(model)))
    assert manifest.differences(str(model)) == []
    (model / "saved_model.pb").write_bytes(b"jello")
    (model / "more").write_bytes(b"")
    (model / "variables/variables.index").unlink()
    assert manifest.differences(str(model)) == [
        "missing: variables/variables.index",
        "unexpected: more",
        "changed: saved_model.pb",
    ]


def test_a_fit_looks_at_sizes_only(model):
    manifest = Manifest("handle", contents(str(model)))
    (model / "saved_model.pb").write_bytes(b"jello")
    assert manifest.fits(str(model))
    (model / "saved_model.pb").write_bytes(b"hell")
    assert not manifest.fits(str(model))


@pytest.mark.parametrize(
    "lost", ["", "saved_model.pb", "variables/variables.index", "variables/variables.data-00001-of-00002"]
)
def test_a_saved_model_that_lost_a_file_is_not_whole(model, lost):
    assert is_whole(str(model))
    if lost:
        (model / lost).unlink()
    assert is_whole(str(model)) is not bool(lost)


def test_a_saved_model_whose_variables_were_swept_away_is_not_whole(model):
    for file in (model / "variables").iterdir():
        file.unlink()
    assert not is_whole(str(model))
    (model / "variables").rmdir()
    assert is_whole(str(model))  # one without variables
    (model / "saved_model.pb").write_bytes(b"")
    assert not is_whole(str(model))
    assert not is_whole(str(model / "nothing"))
