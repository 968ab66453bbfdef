"""Local paths and archives: what is there is used, what is not is said with the names of what is."""

import hashlib
import os
from pathlib import Path

import pytest
from hostile import FILES, files, tar, tar_gz, write, zip_

from keras_hub_layers import resolve
from keras_hub_layers._src.resolve.cache import Cache
from keras_hub_layers.errors import ArchiveError, ChecksumError, HandleNotFoundError, ResolveError


@pytest.fixture
def model(tmp_path):
    return write(tmp_path / "models" / "encoder")


def test_a_directory_stays_where_it_is(model, monkeypatch):
    monkeypatch.setenv("HOME", str(model.parent))
    monkeypatch.chdir(model.parent)
    for handle in (str(model), model, model.as_uri(), "encoder", "./encoder", "~/encoder", Path("~/encoder")):
        assert resolve(handle) == str(model)
    assert not os.path.exists(Cache().root)


@pytest.mark.parametrize("marker", ["saved_model.pb", "saved_model.pbtxt", "saved_model.cpb"])
def test_each_form_of_the_graph_makes_a_saved_model(tmp_path, marker):
    assert resolve(write(tmp_path / "m", {marker: b""})) == str(tmp_path / "m")


def test_a_missing_path_is_said_with_its_neighbours(model):
    with pytest.raises(HandleNotFoundError, match=r"(?s)nothing at this path.*there are: encoder"):
        resolve(model.parent / "another")
    with pytest.raises(FileNotFoundError, match="does not exist either"):
        resolve("/nowhere/at/all")


def test_a_shorthand_that_is_a_path_is_a_path(tmp_path, monkeypatch):
    write(tmp_path / "google/nnlm/tensorFlow2/en/1")
    monkeypatch.chdir(tmp_path)
    assert resolve("google/nnlm/tensorFlow2/en/1") == str(tmp_path / "google/nnlm/tensorFlow2/en/1")


def test_a_directory_of_numbered_versions_is_said_with_the_versions(tmp_path):
    for version in ("2", "10", "9"):
        write(tmp_path / "m" / version)
    with pytest.raises(ResolveError, match=rf"(?s)numbered versions.*versions 2, 9, 10.*HubLayer\('{tmp_path}/m/10'\)"):
        resolve(tmp_path / "m")


def test_a_directory_above_saved_models_is_said_with_their_names(model):
    with pytest.raises(ResolveError, match=r"(?s)holds no SavedModel.*SavedModels in encoder.*models/encoder"):
        resolve(model.parent)


@pytest.mark.parametrize(("inside", "shown"), [({}, "an empty directory"), ({"config.json": b""}, "config.json")])
def test_a_directory_without_a_saved_model_is_said_with_what_is_there(tmp_path, inside, shown):
    (tmp_path / "m").mkdir()
    with pytest.raises(ResolveError, match=rf"(?s)holds no SavedModel.*Received: {shown}"):
        resolve(write(tmp_path / "m", inside))


@pytest.mark.parametrize(
    ("name", "advice"),
    [
        ("model.keras", "keras.saving.load_model"),
        ("model.H5", "keras.saving.load_model"),
        ("model.weights.h5", "model.load_weights"),
        ("model.tflite", "tf.lite.Interpreter"),
        ("model.onnx", "onnxruntime"),
        ("model.pth", "torch.load"),
        ("pytorch_model.bin", "torch.load"),
        ("model.safetensors", "safetensors.safe_open"),
        ("flax_model.msgpack", "flax.serialization"),
        ("frozen_graph.pb", "frozen TF1 graph"),
        ("model.ckpt.data-00000-of-00001", "latest_checkpoint"),
        ("model.json", r"TensorFlow\.js"),
        ("saved_model.pb", r"HubLayer\('[^']*'\)$"),
        ("model", "pack it"),
    ],
)
def test_a_file_that_is_no_archive_is_said_with_what_it_is(tmp_path, name, advice):
    (tmp_path / name).touch()
    with pytest.raises(ResolveError, match=advice):
        resolve(tmp_path / name)


@pytest.mark.parametrize(
    ("inside", "what", "advice"),
    [
        (("checkpoint", "model.index"), "a TensorFlow checkpoint", "latest_checkpoint"),
        (("config.json", "metadata.json", "model.weights.h5"), "a Keras model, unpacked", "make_archive"),
        (("config.json", "model.weights.h5", "task.json"), "a KerasHub preset", "from_preset"),
        (("config.json", "pytorch_model.bin"), "a PyTorch model", "torch.load"),
        (("config.json", "model.safetensors"), "weights without a graph", "safe_open"),
        (("flax_model.msgpack",), "a Flax model", "msgpack_restore"),
        (("group1-shard1of1.bin", "model.json"), r"a TensorFlow\.js model", "loadGraphModel"),
        (("model.tflite",), "a LiteRT", "Interpreter"),
        (("model.keras",), "a Keras model", "load_model"),
    ],
)
def test_a_directory_of_another_format_is_said_with_what_opens_it(tmp_path, inside, what, advice):
    write(tmp_path, dict.fromkeys(inside, b""))
    with pytest.raises(ResolveError, match=rf"(?s)Received: [^\n]*{what}.*What to do: .*{advice}"):
        resolve(tmp_path)


@pytest.mark.parametrize("sign", ["fingerprint.pb", "keras_metadata.pb", "variables/variables.index"])
def test_a_saved_model_without_its_graph_is_said_to_be_one(tmp_path, sign):
    write(tmp_path, {"variables/variables.data-00000-of-00001": b"", sign: b""})
    with pytest.raises(ResolveError, match=r"(?s)a SavedModel without its graph: saved_model\.pb is missing.*again"):
        resolve(tmp_path)


def test_a_file_beside_the_graph_gives_the_directory(model):
    (model / "fingerprint.pb").touch()
    with pytest.raises(ResolveError, match=rf"HubLayer\('{model}'\)$"):
        resolve(model / "fingerprint.pb")


@pytest.mark.parametrize(
    ("config", "repo"),
    [
        ('{"model_type": "bert", "_name_or_path": "google-bert/bert-base-uncased"}', "google-bert/bert-base-uncased"),
        ('{"architectures": ["BertModel"], "_name_or_path": "/home/me/bert"}', "owner/repo"),
    ],
)
@pytest.mark.parametrize("weights", ["model.safetensors", "pytorch_model.bin", "tf_model.h5"])
def test_weights_of_transformers_give_the_form_of_their_repository(tmp_path, config, repo, weights):
    write(tmp_path, {"config.json": config.encode(), weights: b""})
    with pytest.raises(ResolveError, match=rf"(?s)weights of a Transformers model.*HubLayer\('hf://{repo}'\)$"):
        resolve(tmp_path)


@pytest.mark.parametrize("handle", ["not a handle", "owner/model", "encoder"])
def test_a_text_that_is_no_path_lists_the_forms_with_examples(handle, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(HandleNotFoundError, match=r"(?s)hf://owner/repo/.*What to do") as caught:
        resolve(handle)
    for example in ("https://tfhub.dev/google/nnlm-en-dim50/2", "google/nnlm/tensorFlow2/en-dim50/1", "gs://bucket/"):
        assert example in str(caught.value)
    assert ("HubLayer('hf://owner/model')" in str(caught.value)) == (handle == "owner/model")


def test_a_directory_inside_a_saved_model_gives_the_one_above(model):
    (model / "variables").mkdir(exist_ok=True)
    with pytest.raises(ResolveError, match=rf"HubLayer\('{model}'\)$"):
        resolve(model / "variables")


@pytest.mark.parametrize("spelt", ["models/encodr", "modles/encoder", "modls/enc0der"])
def test_a_misspelt_path_gives_the_one_that_is_there(model, spelt):
    with pytest.raises(HandleNotFoundError, match=rf"HubLayer\('{model}'\)$"):
        resolve(model.parents[1] / spelt)


@pytest.mark.parametrize(
    ("handle", "meant"),
    [
        ("tfhub.dev/google/nnlm-en-dim50/2", "https://tfhub.dev/google/nnlm-en-dim50/2"),
        ("www.kaggle.com/models/a/b/tensorFlow2/c/1", "https://www.kaggle.com/models/a/b/tensorFlow2/c/1"),
        ("google/nnlm/tensorFlow2", "google/nnlm/tensorFlow2/VARIATION"),
        ("google/nnlm/tensorflow-2/en-dim50/1", "google/nnlm/tensorFlow2/en-dim50/1"),
    ],
)
def test_a_path_that_was_meant_for_another_handle_gives_it(handle, meant):
    with pytest.raises(HandleNotFoundError, match=rf"HubLayer\('{meant}'\)$"):
        resolve(handle)


def test_a_path_below_a_file_is_missing(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(HandleNotFoundError, match="nothing at this path"):
        resolve(tmp_path / "file" / "model")


def test_a_path_that_the_system_refuses_is_said():
    with pytest.raises(ResolveError, match=r"(?s)cannot be read.*File name too long"):
        resolve("x" * 300)


@pytest.mark.parametrize(("name", "make"), [("m.tar", tar), ("m.tar.gz", tar_gz), ("m.tgz", tar_gz), ("M.ZIP", zip_)])
def test_an_archive_is_unpacked_once(tmp_path, name, make):
    (tmp_path / name).write_bytes(make(FILES))
    first = resolve(tmp_path / name)
    assert files(first) == FILES
    inode = os.stat(first).st_ino
    assert resolve((tmp_path / name).as_uri()) == first
    assert os.stat(first).st_ino == inode


def test_an_archive_may_hold_its_saved_model_in_one_directory(tmp_path):
    data = {f"export/1/{name}": data for name, data in FILES.items()}
    (tmp_path / "m.tar.gz").write_bytes(tar_gz({**data, "README.md": b""}))
    assert files(resolve(tmp_path / "m.tar.gz")) == FILES


def test_an_archive_with_several_or_no_saved_models_is_said(tmp_path):
    (tmp_path / "two.tar").write_bytes(tar({"a/saved_model.pb": b"", "b/saved_model.pb": b""}))
    with pytest.raises(ArchiveError, match=r"(?s)several SavedModels.*a, b"):
        resolve(tmp_path / "two.tar")
    (tmp_path / "none.tar").write_bytes(tar({"model.keras": b""}))
    with pytest.raises(ArchiveError, match=r"(?s)no SavedModel.*model\.keras"):
        resolve(tmp_path / "none.tar")
    assert os.listdir(Cache().root) == [".locks"]


def test_an_archive_that_was_replaced_is_unpacked_anew(tmp_path):
    path = tmp_path / "m.tar"
    path.write_bytes(tar({"saved_model.pb": b"one"}))
    old = resolve(path)
    path.write_bytes(tar({"saved_model.pb": b"two"}))
    os.utime(path, ns=(0, 1))
    assert files(resolve(path)) == {"saved_model.pb": b"two"}
    assert files(old) == {"saved_model.pb": b"one"}  # a layer may still need it
    assert {entry.handle for entry in Cache().entries()} == {str(path)}


def test_the_pin_of_an_archive_is_its_sha256(tmp_path):
    data = tar_gz()
    (tmp_path / "m.tar.gz").write_bytes(data)
    pin = hashlib.sha256(data).hexdigest()
    assert resolve(tmp_path / "m.tar.gz", sha256=pin.upper()) == resolve(tmp_path / "m.tar.gz")
    with pytest.raises(ChecksumError, match=rf"(?s)not the one that was pinned.*sha256='{pin}'"):
        resolve(tmp_path / "m.tar.gz", sha256="0" * 64)


def test_a_pin_for_a_directory_is_an_error_and_not_ignored(model):
    with pytest.raises(ChecksumError, match=r"(?s)only be compared with an archive.*a directory"):
        resolve(model, sha256="0" * 64)


@pytest.mark.parametrize("pin", ["", "0" * 63, "g" * 64, b"0" * 64, 5])
def test_a_malformed_pin_is_refused_first_of_all(pin):
    with pytest.raises(ChecksumError, match="not a SHA-256 checksum"):
        resolve("/nowhere", sha256=pin)
