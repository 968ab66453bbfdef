"""load() gives TensorFlow's own object and remembers where it came from."""

from pathlib import Path

import producers
import pytest
import tensorflow as tf

from keras_hub_layers import errors, loader


def test_a_loaded_object_is_tensorflows_own_and_remembers_its_source(produced):
    path = produced(producers.multiply)
    obj = loader.load(Path(path))
    assert obj([3.0]).numpy() == [6.0]
    source = loader.source_of(obj)
    assert (source.handle, source.directory, source.tags) == (path, path, None)
    assert (source.format, source.tf_version) == ("tf2", tf.__version__)
    assert not loader.has_changed(source)


def test_each_load_gives_variables_of_its_own(produced):
    one, other = loader.load(produced(producers.multiply)), loader.load(produced(producers.multiply))
    one.v.assign(9.0)
    assert float(other.v) == 2.0


def test_objects_of_others_have_no_source(produced):
    assert loader.source_of(tf.saved_model.load(produced(producers.multiply))) is None
    assert loader.source_of([]) is None


def test_tags_can_be_one_name(produced):
    assert loader.source_of(loader.load(produced(producers.multiply), tags="serve")).tags == ("serve",)


def test_the_format_is_told(produced, zoo):
    assert loader.source_of(loader.load(produced(producers.tf1))).format == "tf1"
    hub = loader.source_of(loader.load(zoo / "hub_half_plus_two_v1"))
    assert (hub.format, hub.tags) == ("tf1_hub", ())


def test_a_text_protobuf_is_read(tmp_path):
    path = Path(producers.multiply(tmp_path / "model"))
    from google.protobuf import text_format
    from tensorflow.core.protobuf import saved_model_pb2

    model = saved_model_pb2.SavedModel.FromString((path / "saved_model.pb").read_bytes())
    (path / "saved_model.pbtxt").write_text(text_format.MessageToString(model))
    (path / "saved_model.pb").unlink()
    assert loader.load(path)([3.0]).numpy() == [6.0]


def test_load_options_are_taken_as_a_dict(produced):
    options = {"experimental_io_device": "/job:localhost"}
    assert loader.load(produced(producers.multiply), options=options)([3.0]).numpy() == [6.0]
    assert loader.options_config(loader.load_options(options)) == options


def test_a_sha256_is_for_archives(produced):
    with pytest.raises(errors.ChecksumError, match="sha256"):
        loader.load(produced(producers.multiply), sha256="0" * 64)
