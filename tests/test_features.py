"""Features are computed once, kept with their targets, and never where they would be wrong."""

import keras
import numpy as np
import producers
import pytest
import tensorflow as tf

from keras_hub_layers import errors, finetuning, layers

X = np.arange(10, dtype="float32")[:, None]
Y = np.arange(10, dtype="int32")


@pytest.fixture
def hub(produced):
    """y = x/2 + 1."""
    return layers.HubLayer(produced(producers.half_plus_one), name="hub")


class Counted(keras.layers.Layer):
    """y = 2·x, and how often it was computed."""

    calls = 0

    def call(self, x):
        type(self).calls += 1
        return 2 * x


@pytest.fixture
def counted():
    Counted.calls = 0
    return Counted()


def test_arrays_give_arrays_in_their_order(hub):
    features, y, weight = finetuning.features(hub, (X, Y, np.ones(10)), batch_size=3)
    np.testing.assert_array_equal(features, X / 2 + 1)
    np.testing.assert_array_equal(y, Y)
    assert weight.shape == (10,)
    np.testing.assert_array_equal(finetuning.features(hub, X), X / 2 + 1)


@pytest.mark.parametrize("shuffled", [False, True])
def test_a_dataset_keeps_each_target_with_its_features_in_any_order(hub, shuffled):
    data = tf.data.Dataset.from_tensor_slices((X, Y))
    data = (data.shuffle(10) if shuffled else data).batch(4)
    features, y = finetuning.features(hub, data)
    assert sorted(y) == list(range(10))
    np.testing.assert_array_equal(features[:, 0], y / 2 + 1)


def test_a_model_around_the_layer_and_dict_outputs_work(produced):
    layer = layers.HubLayer(produced(producers.sum_and_difference), arguments={"return_dict": True})
    out = finetuning.features(layer, ({"x": X, "y": X}, Y))
    np.testing.assert_array_equal(out[0]["delta"], np.zeros((10, 1)))
    inputs = keras.Input((1,))
    model = keras.Model(inputs, keras.layers.Rescaling(2.0)(inputs))
    np.testing.assert_array_equal(finetuning.features(model, X), 2 * X)


def test_texts_are_inputs_like_any_other(produced, tmp_path):
    layer = layers.HubLayer(produced(producers.text_length))
    data = tf.data.Dataset.from_tensor_slices([["a"], ["four"], ["sixsix"]]).batch(2)
    for cache in (None, tmp_path, tmp_path):
        np.testing.assert_allclose(finetuning.features(layer, data, cache=cache)[:, 0], [0.1, 0.4, 0.6], rtol=1e-6)


def test_from_the_disk_nothing_is_computed_again(counted, tmp_path):
    first = finetuning.features(counted, (X, Y), cache=tmp_path / "cache")
    calls = counted.calls
    second = finetuning.features(counted, (X, Y), cache=tmp_path / "cache")
    assert calls == 2  # the only batch, and once more as in training
    assert counted.calls == calls
    for kept, found in zip(first, second, strict=True):
        np.testing.assert_array_equal(kept, found)
    np.testing.assert_array_equal(second[0], 2 * X)
    assert isinstance(second[0], np.memmap)
    assert len(list((tmp_path / "cache").iterdir())) == 1


def test_structures_come_back_from_the_disk_as_they_were(produced, tmp_path):
    layer = layers.HubLayer(produced(producers.sum_and_difference), arguments={"return_dict": True})
    for _ in range(2):
        found, y = finetuning.features(layer, ({"x": X, "y": X}, [Y]), cache=tmp_path)
        assert sorted(found) == ["delta", "sigma"]
        np.testing.assert_array_equal(found["sigma"][:, 1], 3 * X[:, 0])
        assert isinstance(y, list)


def test_other_data_or_other_weights_have_an_entry_of_their_own(hub, tmp_path):
    finetuning.features(hub, X, cache=tmp_path)
    finetuning.features(hub, X + 1, cache=tmp_path)
    hub.weights[0].assign([[3.0]])
    np.testing.assert_array_equal(finetuning.features(hub, X, cache=tmp_path), 3 * X + 1)
    assert len(list(tmp_path.iterdir())) == 3


def test_a_trainable_layer_is_refused(hub):
    hub.trainable = True
    with pytest.raises(errors.TrainingError, match=r"change with it[\s\S]*trainable = False"):
        finetuning.features(hub, X)


def test_augmentation_before_the_layer_is_refused_and_leaves_nothing(hub, tmp_path):
    generator = tf.random.Generator.from_seed(1)
    data = tf.data.Dataset.from_tensor_slices(X).map(lambda x: x + generator.uniform(())).batch(5)
    for cache in (None, tmp_path / "cache"):
        with pytest.raises(errors.TrainingError, match=r"not the same each time[\s\S]*augment"):
            finetuning.features(hub, data, cache=cache)
    assert list((tmp_path / "cache").iterdir()) == []


def test_random_layers_inside_are_refused(hub):
    model = keras.Sequential([keras.Input((1,)), keras.layers.GaussianNoise(0.1), hub])
    with pytest.raises(errors.TrainingError, match=r"random or augments[\s\S]*gaussian_noise"):
        finetuning.features(model, X)


class Noise(keras.layers.Layer):
    """Random without a generator of its own."""

    def call(self, x, training=False):
        return x + keras.random.normal(keras.ops.shape(x)) if training else x


@pytest.mark.parametrize(
    "augment",
    [
        lambda: keras.layers.RandomFlip(),
        lambda: keras.layers.RandomTranslation(0.5, 0.5),
        lambda: keras.Sequential([keras.layers.RandomContrast(0.5)]),
        lambda: keras.layers.Lambda(lambda x, training=False: 2 * x if training else x),
        Noise,
    ],
)
def test_augmentation_inside_is_refused(produced, augment):
    model = keras.Sequential(
        [keras.Input((8, 8, 1)), augment(), layers.HubLayer(produced(producers.small_image_model))]
    )
    images = np.random.default_rng(0).random((4, 8, 8, 1), dtype="float32")
    with pytest.raises(errors.TrainingError, match="random or augments"):
        finetuning.features(model, images)


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (lambda: tf.data.Dataset.from_tensors(X).repeat(), "no end"),
        (lambda: (X for _ in range(2)), "cannot be read twice"),
    ],
)
def test_data_that_cannot_be_read_to_the_end_twice_are_refused(hub, data, text):
    with pytest.raises(errors.TrainingError, match=text):
        finetuning.features(hub, data())


def test_a_head_trained_on_features_is_the_head_of_the_whole_model(hub):
    head = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1, kernel_initializer="zeros")])
    head.compile(keras.optimizers.SGD(0.01), "mse")
    whole = keras.Sequential([keras.Input((1,)), hub, head])
    twin = keras.models.clone_model(head)
    twin.set_weights(head.get_weights())
    slow = keras.Sequential([keras.Input((1,)), hub, twin])
    slow.compile(keras.optimizers.SGD(0.01), "mse")
    y = X[:, 0]
    head.fit(*finetuning.features(hub, (X, y)), epochs=3, shuffle=False, verbose=0)
    slow.fit(X, y, epochs=3, shuffle=False, verbose=0)
    np.testing.assert_allclose(whole.predict(X, verbose=0), slow.predict(X, verbose=0), rtol=1e-6)
