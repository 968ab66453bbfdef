"""Layers of one SavedModel share its graphs and nothing else: weights, tables and random numbers are their own."""

import copy
import gc
import shutil
import threading
import weakref
from pathlib import Path

import keras
import numpy as np
import producers
import pytest
import tensorflow as tf

import keras_hub_layers as khl
from keras_hub_layers import errors, layers
from keras_hub_layers._src.compat import shared_functions
from keras_hub_layers._src.layers import access
from keras_hub_layers._src.savedmodel.pruning import shared_part

COLUMN = np.array([[1.0], [-2.0], [4.0]], "float32")
SPEC = tf.TensorSpec((None, 1))


@pytest.fixture
def loads(monkeypatch):
    """One entry for each library of functions that is loaded to be shared."""
    monkeypatch.setenv("KERAS_HUB_LAYERS_PRUNE", "always")
    seen, load = [], shared_functions.load_functions
    monkeypatch.setattr(shared_functions, "load_functions", lambda *args: seen.append(args) or load(*args))
    shared_part.forget()
    return seen


def saved(path, function, *variables, spec=SPEC, **children):
    """A SavedModel of a function `(x, training=False)`, traced in both modes."""
    root = tf.train.Checkpoint(**children)
    root.__call__ = producers.traced(function, (spec, {"training": True}), (spec, {"training": False}))
    root.variables = root.trainable_variables = list(variables)
    return producers.save(root, path)


def gradient(layer, inputs=COLUMN, training=True):
    """The gradient of the sum of the squared outputs to the trainable weights."""
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(layer(inputs, training=training) ** 2)
    return [tf.convert_to_tensor(g).numpy() for g in tape.gradient(loss, [w.value for w in layer.trainable_weights])]


@pytest.mark.parametrize("keras2", [False, True])
def test_two_layers_train_apart_over_functions_that_are_loaded_once(produced, loads, keras2):
    path = produced(producers.half_plus_one, keras2)
    first, second = layers.HubLayer(path, trainable=True), layers.HubLayer(path, trainable=True)
    assert len(loads) == 1
    for layer, w in ((second, 0.5), (first, 0.5), (first, 3.0), (second, -1.0), (first, 3.0)):
        layer.weights[0].assign([[w]])
        np.testing.assert_allclose(layer(COLUMN), w * COLUMN + 1)
        np.testing.assert_allclose(gradient(layer)[0], [[np.sum(2 * COLUMN * (w * COLUMN + 1))]], rtol=1e-6)
        assert [float(loss) for loss in layer.losses] == pytest.approx([0.01 * w**2])
    np.testing.assert_allclose(second(COLUMN), 1 - COLUMN)
    third = layers.HubLayer(path, trainable=True)
    assert third.weights[0].numpy() == [[0.5]]
    assert gradient(third)[0] == pytest.approx(np.sum(2 * COLUMN * (0.5 * COLUMN + 1)))
    models = [keras.Sequential([keras.Input((1,)), layer]) for layer in (third, second)]
    models[0].compile(keras.optimizers.SGD(0.01), "mse")
    models[0].fit(COLUMN, 2 * COLUMN + 1, epochs=2, verbose=0)
    assert third.weights[0].numpy() > 0.5
    assert [second.weights[0].numpy(), first.weights[0].numpy()] == [[[-1.0]], [[3.0]]]


def test_higher_gradients_and_tangents_are_those_of_each_layer(produced, loads, monkeypatch):
    path = produced(producers.half_plus_one, True)

    def derivatives(layer):
        kernel = layer.trainable_weights[0].value
        with tf.GradientTape(persistent=True) as outer:
            with tf.GradientTape() as inner:
                loss = tf.reduce_sum(layer(COLUMN, training=True) ** 4)
            slope = tf.convert_to_tensor(inner.gradient(loss, kernel))
            steep = tf.reduce_sum(slope**2)
        with tf.autodiff.ForwardAccumulator(kernel, tf.ones_like(kernel)) as accumulator:
            outputs = layer(COLUMN, training=True)
        several = (slope, outer.gradient(steep, kernel), accumulator.jvp(outputs))
        return [tf.convert_to_tensor(value).numpy() for value in several]

    first, second = layers.HubLayer(path, trainable=True), layers.HubLayer(path, trainable=True)
    gradient(first)
    shared = [derivatives(layer) for layer in (second, first)]
    monkeypatch.setenv("KERAS_HUB_LAYERS_SHARE", "0")
    expected = derivatives(layers.HubLayer(path, trainable=True))
    assert len(loads) == 1
    for values in shared:
        for value, wanted in zip(values, expected, strict=True):
            np.testing.assert_array_equal(value, wanted)
            assert np.any(wanted)


def test_loops_and_conditions_have_the_gradients_of_each_layer(tmp_path, loads):
    w = tf.Variable(2.0)

    def power(x, training=False):
        """x · w^3 in training mode, by a loop; else x · w, or 0 where the sum of x is negative."""
        if training:
            return tf.while_loop(lambda i, y: i < 3, lambda i, y: (i + 1, y * w), (0, x))[1]
        return tf.cond(tf.reduce_sum(x) < 0, lambda: tf.zeros_like(x) * w, lambda: x * w)

    path = saved(tmp_path / "model", power, w)
    first, second = layers.HubLayer(path, trainable=True), layers.HubLayer(path, trainable=True)
    first.weights[0].assign(3.0)
    for layer, value in ((first, 3.0), (second, 2.0), (first, 3.0)):
        np.testing.assert_allclose(layer(COLUMN, training=True), COLUMN * value**3)
        np.testing.assert_allclose(gradient(layer), [np.sum(6 * value**5 * COLUMN**2)], rtol=1e-6)
        np.testing.assert_allclose(gradient(layer, training=False), [np.sum(2 * value * COLUMN**2)], rtol=1e-6)
        assert gradient(layer, -COLUMN, training=False) == [0.0]
    assert len(loads) == 1


def test_each_layer_goes_through_the_random_numbers_of_a_seed_from_the_start(tmp_path, loads, monkeypatch):
    w = tf.Variable(1.0)
    path = saved(
        tmp_path / "model", lambda x, training=False: x * w + tf.random.uniform(tf.shape(x), seed=7) * training, w
    )

    def numbers():
        layer = layers.HubLayer(path, trainable=True)
        compiled = tf.function(lambda x: layer(x, training=True))
        drawn = [layer(COLUMN, training=True) for _ in range(2)] + [compiled(COLUMN) for _ in range(2)]
        with tf.GradientTape() as tape:
            drawn.append(layer(COLUMN, training=True))
            loss = tf.reduce_sum(drawn[-1] ** 2)
        return [np.asarray(y) for y in [*drawn, tape.gradient(loss, layer.weights[0].value)]], layer

    first, second = numbers(), numbers()
    assert len(loads) == 1
    monkeypatch.setenv("KERAS_HUB_LAYERS_SHARE", "0")
    alone = numbers()
    assert np.any(alone[0][0] != alone[0][1])
    for values in (first[0], second[0]):
        np.testing.assert_array_equal(np.stack(values[:5]), np.stack(alone[0][:5]))
        assert values[5] == alone[0][5]


def test_a_signature_that_draws_numbers_from_a_seed_is_not_shared(tmp_path, loads):
    root = tf.train.Checkpoint()
    draw = tf.function(lambda x: {"y": x + tf.random.uniform(tf.shape(x), seed=7)}, input_signature=[SPEC])
    path = producers.save(root, tmp_path / "model", signatures={"draw": draw})
    drawn = []
    for _ in range(2):
        layer = layers.HubLayer(path, signature="draw", output_key="y")
        drawn.append([layer(COLUMN).numpy() for _ in range(2)])
    np.testing.assert_array_equal(drawn[0], drawn[1])
    assert not loads


def test_each_layer_has_tables_of_its_own(produced, loads):
    path = produced(producers.text_classifier)
    first, second = layers.HubLayer(path, trainable=True), layers.HubLayer(path, trainable=True)
    assert len(loads) == 1
    texts = tf.constant(["hello", "good world hello"])
    expected = second(texts).numpy()
    np.testing.assert_array_equal(first(texts), expected)
    first.weights[0].assign(first.weights[0] * 2)
    del first
    gc.collect()
    np.testing.assert_array_equal(second(texts), expected)
    np.testing.assert_array_equal(layers.HubLayer(path)(texts), expected)


@pytest.mark.parametrize("captures", [False, True])
def test_custom_gradients_are_shared_if_they_capture_nothing(tmp_path, loads, captures):
    w, scale = tf.Variable(2.0), tf.Variable(5.0)

    @tf.custom_gradient
    def scaled(x):
        return tf.identity(x), lambda dy: (scale if captures else 5.0) * dy

    root = tf.train.Checkpoint(scale=scale)
    root.__call__ = tf.function(lambda x: scaled(x * w), input_signature=[SPEC], autograph=False)
    root.variables, root.trainable_variables = [w, scale], [w]
    options = tf.saved_model.SaveOptions(experimental_custom_gradients=True)
    path = producers.save(root, tmp_path / "model", options=options)
    first, second = (layers.HubLayer(path, trainable=True) for _ in range(2))
    first.weights[1].assign(3.0)
    for layer, factor in ((second, 5.0), (first, 3.0 if captures else 5.0)):
        assert gradient(layer, training=False) == pytest.approx([factor * np.sum(2 * 2.0 * COLUMN**2)])
    assert len(loads) == (0 if captures else 1)


@pytest.mark.parametrize("keras2", [False, True])
def test_two_layers_in_one_model_are_saved_with_the_weights_of_each(produced, loads, tmp_path, keras2):
    path = produced(producers.half_plus_one, keras2)
    first, second = layers.HubLayer(path, name="first"), layers.HubLayer(path, name="second")
    first.weights[0].assign([[3.0]])
    root = tf.train.Checkpoint(objects=[access.loaded_object(layer) for layer in (first, second)])
    root.both = tf.function(lambda x: (first(x), second(x)), input_signature=[SPEC])
    tf.saved_model.save(root, tmp_path / "both")
    loaded = tf.saved_model.load(tmp_path / "both")
    outputs = [*loaded.both(COLUMN), *(obj(COLUMN) for obj in loaded.objects)]
    np.testing.assert_allclose(np.stack(outputs), np.stack([3 * COLUMN + 1, COLUMN / 2 + 1] * 2))
    assert len(loads) == 1


def test_a_copy_and_a_file_of_a_layer_share_too_and_have_their_own_weights(produced, loads, tmp_path):
    model = keras.Sequential([keras.Input((1,)), layers.HubLayer(produced(producers.half_plus_one, True))])
    model.layers[0].weights[0].assign([[3.0]])
    model.save(tmp_path / "model.keras")
    others = [copy.deepcopy(model), keras.saving.load_model(tmp_path / "model.keras", safe_mode=False)]
    assert len(loads) == 1
    model.layers[0].weights[0].assign([[7.0]])
    for other in others:
        np.testing.assert_allclose(other(COLUMN), 3 * COLUMN + 1)
    np.testing.assert_allclose(model(COLUMN), 7 * COLUMN + 1)


def test_what_is_kept_holds_no_weights_and_is_bounded(produced, tmp_path, loads):
    path = produced(producers.half_plus_one, True)
    layer = layers.HubLayer(path, trainable=True)
    gradient(layer)
    dead = [weakref.ref(weight.value) for weight in layer.weights]
    del layer
    keras.backend.clear_session()
    gc.collect()
    assert [ref() for ref in dead] == [None] * 3
    layers.HubLayer(path)
    assert len(loads) == 1
    others = [saved(tmp_path / str(n), lambda x, training=False, n=n: x * n) for n in range(3)]
    for other in others:
        layers.HubLayer(other)
    gc.collect()
    layers.HubLayer(path)
    assert len(loads) == 5


def test_another_graph_at_the_same_place_is_loaded(tmp_path, loads):
    outputs = []
    for number in (2.0, 3.0):
        shutil.rmtree(tmp_path / "model", ignore_errors=True)
        path = saved(tmp_path / "model", lambda x, training=False, n=number: x * n)
        outputs.append(layers.HubLayer(path)(COLUMN))
    np.testing.assert_allclose(np.stack(outputs), np.stack([2 * COLUMN, 3 * COLUMN]))
    assert len(loads) == 2


def test_assets_are_those_of_each_directory(produced, tmp_path, loads):
    path = produced(producers.text_classifier)
    other = Path(shutil.copytree(path, tmp_path / "model"))
    words = (other / "assets" / "vocabulary.txt").read_text().split()
    (other / "assets" / "vocabulary.txt").write_text("\n".join(reversed(words)) + "\n")
    texts = tf.constant(["hello", "good world hello"])
    first, second = layers.HubLayer(path), layers.HubLayer(other)
    assert len(loads) == 1
    np.testing.assert_array_equal(first(texts), tf.saved_model.load(path)(texts))
    np.testing.assert_array_equal(second(texts), tf.saved_model.load(other)(texts))
    assert np.any(first(texts) != second(texts))


def test_switched_off_or_in_the_scope_of_a_strategy_nothing_is_shared(produced, loads, monkeypatch):
    path = produced(producers.half_plus_one, True)
    with tf.distribute.MirroredStrategy(["CPU:0"]).scope():
        layers.HubLayer(path)
    monkeypatch.setenv("KERAS_HUB_LAYERS_SHARE", "0")
    layers.HubLayer(path)
    assert not loads


def test_threads_train_their_layers_apart(produced, loads):
    path, values = produced(producers.half_plus_one, True), (1.0, 2.0, 3.0)
    barrier, results = threading.Barrier(len(values)), {}

    def train(value):
        barrier.wait()
        layer = layers.HubLayer(path, trainable=True)
        layer.weights[0].assign([[value]])
        barrier.wait()
        results[value] = gradient(layer)[0]

    threads = [threading.Thread(target=train, args=(value,)) for value in values]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for value in values:
        assert results[value] == pytest.approx(np.sum(2 * COLUMN * (value * COLUMN + 1)))


def test_a_layer_whose_functions_cannot_be_shared_has_its_own(produced, loads, monkeypatch, caplog):
    path = produced(producers.half_plus_one, True)

    def fail(*args):
        raise RuntimeError("another version of TensorFlow")

    monkeypatch.setattr(shared_functions, "bind", fail)
    with caplog.at_level("DEBUG", "keras_hub_layers"):
        layer = layers.HubLayer(path)
    assert "are not shared, since they could not be loaded so" in caplog.text
    np.testing.assert_allclose(layer(COLUMN), COLUMN / 2 + 1)
    assert khl.export(layer, Path(path).with_name("export"), overwrite=True)


def test_what_a_graph_says_of_pixels_is_the_same_after_another_layer_was_trained(tmp_path):
    path = producers.small_image_model(tmp_path / "model")
    x = np.ones((4, 8, 8, 1), "float32")
    model = keras.Sequential([keras.Input((8, 8, 1)), layers.HubLayer(path, trainable=True)])
    model.compile("sgd", "mse")
    model.fit(x, model.predict(x, verbose=0), verbose=0)
    with pytest.warns(errors.HubWarning, match="uint8 pixels from 0 to 255"):
        layers.HubLayer(path)(np.full((2, 8, 8, 1), 255, np.uint8))
