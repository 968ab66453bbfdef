"""The object graph shows which program wrote a SavedModel."""

import keras
import producers
import pytest
import tensorflow as tf

import keras_hub_layers as khl
from keras_hub_layers._src.savedmodel import meta_graphs
from keras_hub_layers._src.savedmodel.protos import producers as producers_module


def origin(directory, hub=False):
    return producers_module.origin(meta_graphs.select_graph(str(directory), str(directory)), hub)


@pytest.mark.parametrize(
    ("producer", "arguments", "name"),
    [
        (producers.half_plus_one, (True,), "keras2"),
        (producers.half_plus_one, (False,), "tensorflow"),
        (producers.raw_module, (), "tensorflow"),
        (producers.tf1, (), "tf1"),
    ],
)
def test_producers_are_told_apart(produced, producer, arguments, name):
    assert origin(produced(producer, *arguments)) == name


def test_the_three_ways_to_save_a_keras_3_model_are_told_apart(tmp_path):
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    model.export(str(tmp_path / "export"), verbose=False)
    tf.saved_model.save(model, str(tmp_path / "saved"))
    khl.export(model, tmp_path / "ours", verify=False)
    assert [origin(tmp_path / name) for name in ("export", "saved", "ours")] == [
        "keras3_export",
        "keras3",
        "keras_hub_layers",
    ]


def test_a_fine_tuned_export_keeps_the_origin_of_its_graph(produced, tmp_path):
    khl.export(khl.layers.HubLayer(produced(producers.half_plus_one, True)), tmp_path / "tuned", verify=False)
    assert origin(tmp_path / "tuned") == "keras2"


def test_other_people_s_models(zoo):
    assert origin(zoo / "mlperf_tiny_kws") == "keras2"
    assert origin(zoo / "bfcnn_resnet_1x6") == "keras2_layers"
    assert origin(zoo / "hub_half_plus_two_v1", hub=True) == "tf1_hub"


def test_each_origin_has_words():
    assert producers_module.in_words("keras2", "2.3.2") == "saved from a Keras 2 model by TensorFlow 2.3.2"
    assert producers_module.in_words("tf1", "") == "saved by TensorFlow"
    assert producers_module.in_words("", "2.3.2") == "written by TensorFlow 2.3.2"
    assert producers_module.in_words("", "") == ""
