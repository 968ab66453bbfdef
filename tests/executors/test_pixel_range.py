"""The range of values that a model takes for pixels: read off its graph, said by `inspect` and by the model card."""

import keras
import numpy as np
import producers
import pytest
import tensorflow as tf
import tf_keras

import keras_hub_layers as khl
from keras_hub_layers import callbacks, errors, layers
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


# -- images of another range


LOOPS = [
    "a call", "fit of arrays", "fit of a dataset", "eagerly", "predict", "evaluate of integers", "a step of one's own",
]  # fmt: skip


def use(layer, x, loop):
    """Use a layer in a Sequential model, as the loop says."""
    model = keras.Sequential([layer, keras.layers.GlobalAveragePooling2D(), keras.layers.Dense(2)])
    model.compile("sgd", "mse", run_eagerly=loop == "eagerly")
    y = np.zeros((len(x), 2), "float32")
    if loop == "a call":
        return layer(x)
    if loop == "predict":
        return model.predict(x, verbose=0)
    if loop == "evaluate of integers":
        return model.evaluate(x.astype("int64"), y, verbose=0)
    if loop == "a step of one's own":
        return model.train_on_batch(x, y)
    if loop == "fit of a dataset":
        return model.fit(tf.data.Dataset.from_tensor_slices((x, y)).batch(2), epochs=2, shuffle=False, verbose=0)
    return model.fit(x, y, epochs=2, batch_size=2, verbose=0)


def images(least, most):
    return np.linspace(least, most, 4 * 48, dtype="float32").reshape(4, 4, 4, 3)


def hub_warnings(caught):
    return [warning for warning in caught if warning.category is errors.HubWarning]


@pytest.fixture(scope="module")
def takes_up_to_1(tmp_path_factory):
    return image_model(tmp_path_factory.mktemp("unit") / "model", None)


@pytest.fixture(scope="module")
def takes_up_to_255(tmp_path_factory):
    return image_model(tmp_path_factory.mktemp("bytes") / "model", lambda x: x / 255.0)


@pytest.mark.parametrize("loop", LOOPS)
def test_pixels_up_to_255_for_a_model_that_takes_up_to_1_are_told_once_at_the_users_line(takes_up_to_1, loop):
    said = r"(?s)pixels from 0 to 255.*x = keras.layers.Rescaling\(1 / 255\)\(x\)"
    with pytest.warns(errors.HubWarning, match=said) as caught:
        use(layers.HubLayer(takes_up_to_1), images(0, 255), loop)
    assert [warning.filename for warning in hub_warnings(caught)] == [__file__]


@pytest.mark.parametrize("loop", ["fit of arrays", "predict", "fit of a dataset"])
def test_pixels_up_to_1_for_a_model_that_takes_up_to_255_are_told_in_loops(takes_up_to_255, loop):
    said = r"(?s)pixels from 0 to 1 .*x = keras.layers.Rescaling\(255\)\(x\)"
    with pytest.warns(errors.HubWarning, match=said) as caught:
        use(layers.HubLayer(takes_up_to_255), images(0, 1), loop)
    assert len(hub_warnings(caught)) == 1


def test_pixels_that_may_be_meant_are_no_reason_to_warn(takes_up_to_1, takes_up_to_255):
    for least, most in [(0.0, 1.1), (-1.0, 1.0), (-2.2, 2.7), (-120.0, 130.0), (0.0, 0.0)]:
        layers.HubLayer(takes_up_to_1)(images(least, most))
    use(layers.HubLayer(takes_up_to_1), images(-1, 1), "fit of arrays")
    use(layers.HubLayer(takes_up_to_255), images(0, 255), "predict")
    layers.HubLayer(takes_up_to_255)(images(0, 1))  # random numbers, to try it


def test_what_rescales_within_the_model_is_seen(takes_up_to_1):
    model = keras.Sequential([keras.layers.Rescaling(1 / 255), layers.HubLayer(takes_up_to_1)])
    model.predict(images(0, 255), verbose=0)


def test_an_export_by_a_callback_has_no_python_function_in_its_graph(takes_up_to_1, tmp_path):
    hub = layers.HubLayer(takes_up_to_1, trainable=True)
    model = keras.Sequential([keras.Input((4, 4, 3)), hub, keras.layers.Flatten(), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    export = callbacks.ExportPiece(tmp_path / "out", verbose=0)
    model.fit(images(0, 1), np.zeros((4, 1), "float32"), callbacks=[export], verbose=0)
    assert khl.inspect(tmp_path / "out").python_ops == ()
