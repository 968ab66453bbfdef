"""The range of values that a model takes for pixels: read off its graph, said by `inspect` and by the model card."""

import keras
import producers
import pytest
import tensorflow as tf
import tf_keras

import keras_hub_layers as khl
from keras_hub_layers._src.export import model_card
from keras_hub_layers._src.savedmodel import live_functions
from keras_hub_layers._src.savedmodel import load as load_module
from keras_hub_layers._src.savedmodel.graphs.pixel_range import wanted_range


def image_model(directory, scale):
    """Images (None, 4, 4, 3) through `scale`, padding and a convolution, saved from Keras 2."""
    first = [tf_keras.layers.Lambda(scale)] if scale else []
    rest = [tf_keras.layers.ZeroPadding2D(1), tf_keras.layers.Conv2D(2, 3)]
    return producers.save(tf_keras.Sequential([tf_keras.Input((4, 4, 3)), *first, *rest]), directory)


@pytest.mark.parametrize(
    ("scale", "expected"),
    [
        (None, "unit"),
        (lambda x: 2.0 * x - 1.0, "unit"),
        (lambda x: (x - [0.485, 0.456, 0.406]) / 0.226, "unit"),
        (lambda x: tf.image.resize(x, (6, 6)), "unit"),
        (lambda x: x / 255.0, "bytes"),
        (lambda x: x * (1 / 127.5) - 1.0, "bytes"),
        (lambda x: tf.reverse(x, [-1]) - [103.9, 116.8, 123.7], "bytes"),
        (lambda x: x - tf.reduce_mean(x), None),
        (lambda x: tf.cond(tf.reduce_max(x) > 1.5, lambda: x / 255.0, lambda: x), None),
    ],
    ids=["raw", "minus_one_to_one", "imagenet", "resized", "by_255", "by_127", "minus_mean", "standardized", "either"],
)
def test_the_range_of_pixels_is_read_off_what_the_graph_does_to_them_first(tmp_path, scale, expected):
    assert (
        wanted_range(live_functions.call_function(load_module.load(image_model(tmp_path / "model", scale)))) == expected
    )


def test_no_range_of_pixels_is_read_off_what_has_no_graph():
    assert wanted_range(live_functions.call_function(lambda x: x / 255)) is None


@pytest.mark.parametrize(
    ("scale", "words"), [(None, "0 to 1, or -1 to 1"), (lambda x: x / 255.0, "0 to 255"), (lambda x: x - x[0], "")]
)
def test_inspect_says_the_range_of_pixels_of_files_and_of_objects(tmp_path, scale, words):
    path = image_model(tmp_path / "model", scale)
    for target in (path, khl.load(path)):
        info = khl.inspect(target)
        assert info.pixel_range == info.to_dict()["pixel_range"] == words
        assert (f"pixels        {words}\n" in str(info)) == bool(words)


def test_what_takes_no_images_has_no_range_of_pixels(produced):
    assert khl.inspect(produced(producers.half_plus_one)).pixel_range == ""
    assert khl.inspect(produced(producers.text_classifier)).pixel_range == ""


@pytest.mark.parametrize(("scale", "words"), [(1.0, "0 to 1, or -1 to 1"), (1 / 255, "0 to 255")])
def test_a_card_says_the_range_of_pixels_of_a_keras_model_and_of_what_was_loaded(tmp_path, scale, words):
    model = keras.Sequential([keras.Input((4, 4, 3)), keras.layers.Rescaling(scale), keras.layers.Conv2D(2, 3)])
    path = khl.export(model, tmp_path / "out")
    again = khl.export(khl.load(path), tmp_path / "again")
    for directory in (path, again):
        with open(f"{directory}/{model_card.NAME}", encoding="utf-8") as file:
            assert f"- pixels go in as {words}\n" in file.read()
