"""Features are computed once, kept with their targets, and never where they would be wrong."""

import collections
import shutil
import subprocess
import sys

import keras
import numpy as np
import producers
import pytest
import tensorflow as tf

from keras_hub_layers import errors, finetuning, layers
from keras_hub_layers._src.finetuning.feature_storage import feature_digests

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
    layer = Counted()
    layer.build((None, 1))
    return layer


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


# -- what has an entry of its own in a cache -------------------------------------------------------------------------

ORDER = [3, 1, 5, 0, 2, 4, 9, 8, 7, 6]


def test_the_same_examples_in_another_order_have_features_in_that_order(hub, tmp_path):
    finetuning.features(hub, X, cache=tmp_path)
    np.testing.assert_array_equal(finetuning.features(hub, X[ORDER], cache=tmp_path), X[ORDER] / 2 + 1)


def test_a_shuffled_dataset_finds_its_entry_and_keeps_each_target_with_its_features(counted, tmp_path):
    data = tf.data.Dataset.from_tensor_slices((X, Y)).shuffle(10, seed=1).batch(4)
    for _ in range(3):
        features, y = finetuning.features(counted, data, cache=tmp_path)
        np.testing.assert_array_equal(features[:, 0], 2 * y)
        assert sorted(y) == list(range(10))
    assert counted.calls == 3 + 1  # three batches once, and one as in training


def test_shuffled_inputs_without_targets_are_refused(hub):
    data = tf.data.Dataset.from_tensor_slices(X).shuffle(10, seed=1).batch(4)
    with pytest.raises(errors.TrainingError, match=r"another each time[\s\S]*zip\(\(inputs, targets\)\)"):
        finetuning.features(hub, data)


def halved(hub, divisor):
    inputs = keras.Input((1,), name="x")
    return keras.Model(inputs, hub(inputs / divisor))


def subtracted(hub, flipped):
    inputs = keras.Input((1,), name="x")
    pair = [hub(inputs), keras.layers.Rescaling(3.0, name="r")(inputs)]
    return keras.Model(inputs, keras.layers.Subtract(name="s")(pair[::-1] if flipped else pair))


@pytest.mark.parametrize("architecture", [halved, subtracted])
def test_another_wiring_of_the_same_layers_has_an_entry_of_its_own(hub, tmp_path, architecture):
    for argument in (1, 0) if architecture is subtracted else (2.0, 4.0):
        model = architecture(hub, argument)
        np.testing.assert_allclose(finetuning.features(model, X, cache=tmp_path), model.predict(X, verbose=0))
    assert len(list(tmp_path.iterdir())) == 2


def test_the_same_architecture_made_again_finds_its_entry_whatever_its_names(produced, tmp_path):
    for _ in range(2):
        inputs = keras.Input((1,))
        model = keras.Model(inputs, layers.HubLayer(produced(producers.half_plus_one))(inputs / 2.0))
        finetuning.features(model, X, cache=tmp_path)
    assert len(list(tmp_path.iterdir())) == 1


def test_dtypes_shapes_and_structures_are_told_apart(counted, tmp_path):
    one = finetuning.features(counted, np.array([[255], [1]], "uint8"), cache=tmp_path)
    other = finetuning.features(counted, np.array([[-1], [1]], "int8"), cache=tmp_path)
    assert (int(one[0, 0]), int(other[0, 0])) == (254, -2)  # as uint8 and int8
    wide = np.arange(12, dtype="float32").reshape(4, 3)
    for cut in (2, 1):
        x, y = finetuning.features(counted, (wide[:, :cut], wide[:, cut:]), cache=tmp_path)
        assert (x.shape, y.shape) == ((4, cut), (4, 3 - cut))
    assert finetuning.features(counted, wide, cache=tmp_path).shape == (4, 3)


def line(directory, factor):
    """y = factor·x + 1, where the 1 is a variable and the factor is in the graph."""
    root = tf.train.Checkpoint()
    root.w = tf.Variable(1.0, name="w")
    root.__call__ = tf.function(lambda x: factor * x + root.w, input_signature=[tf.TensorSpec((None, 1))])
    root.variables = root.trainable_variables = [root.w]
    return producers.save(root, directory)


def test_a_graph_that_was_replaced_under_its_handle_has_an_entry_of_its_own(tmp_path):
    for factor in (1.0, 5.0):
        handle = line(tmp_path / "model", factor)
        found = finetuning.features(layers.HubLayer(handle), X, cache=tmp_path / "cache")
        np.testing.assert_array_equal(found, factor * X + 1)


def test_assets_that_were_replaced_under_their_handle_have_an_entry_of_their_own(produced, tmp_path):
    handle = tmp_path / "model"
    shutil.copytree(produced(producers.text_classifier), handle)
    (asset,) = (handle / "assets").iterdir()
    found = []
    for vocabulary in ("hello\nworld\ngood\nbad\n", "good\nhello\nworld\nbad\n"):  # of the same size
        asset.write_text(vocabulary)
        found.append(finetuning.features(layers.HubLayer(str(handle)), ["good"], cache=tmp_path / "cache")[0, 0])
    assert found == [2.0, 0.0]


def test_a_layer_without_a_config_is_not_kept_on_disk(tmp_path):
    class NoConfig(keras.layers.Layer):
        def __init__(self, function):
            super().__init__()
            self.function = function

        def call(self, x):
            return self.function(x)

    layer = NoConfig(lambda x: 2 * x)
    with pytest.raises(errors.TrainingError, match=r"cannot be told from its config[\s\S]*without cache"):
        finetuning.features(layer, X, cache=tmp_path)
    np.testing.assert_array_equal(finetuning.features(layer, X), 2 * X)


# -- what is refused, and what is mended -------------------------------------------------------------------------------


def test_a_pydataset_that_changes_at_the_end_of_an_epoch_is_refused(hub):
    class Changing(keras.utils.PyDataset):
        shift = 0

        def __len__(self):
            return 2

        def __getitem__(self, index):
            return X[5 * index : 5 * index + 5] + self.shift, Y[5 * index : 5 * index + 5]

        def on_epoch_end(self):
            self.shift += 1

    with pytest.raises(errors.TrainingError, match="not the same each time"):
        finetuning.features(hub, Changing())


def test_ordered_dicts_keep_their_values(tmp_path):
    targets = collections.OrderedDict(b=np.full(10, 2.0), a=np.full(10, 1.0))
    for _ in range(2):
        _, found = finetuning.features(keras.layers.Rescaling(1.0), (X, targets), cache=tmp_path)
        assert {name: value[0] for name, value in found.items()} == {"b": 2.0, "a": 1.0}


@pytest.mark.parametrize("kind", ["random", "counting"])
def test_a_saved_model_that_draws_or_counts_is_refused(tmp_path, kind):
    root = tf.train.Checkpoint()
    root.n = tf.Variable(0.0, trainable=False)
    draw = {"random": lambda x: x + tf.random.uniform(()), "counting": lambda x: x + root.n.assign_add(1.0)}[kind]
    root.__call__ = tf.function(draw, input_signature=[tf.TensorSpec((None, 1))])
    layer = layers.HubLayer(producers.save(root, tmp_path / "model"))
    with pytest.raises(errors.TrainingError, match=r"random or augments[\s\S]*other outputs of the same batch"):
        finetuning.features(layer, X)


def test_ragged_features_are_refused(produced):
    layer = layers.HubLayer(produced(producers.words))
    with pytest.raises(errors.TrainingError, match=r"rows of different lengths[\s\S]*RaggedTensor"):
        finetuning.features(layer, np.array(["one two", "three"]))


@pytest.mark.parametrize("cached", [False, True])
def test_batches_of_different_widths_are_refused(counted, tmp_path, cached):
    class Widths:
        def __iter__(self):
            return iter([np.zeros((2, 3), "float32"), np.zeros((2, 4), "float32")])

    with pytest.raises(errors.TrainingError, match=r"same shape and dtype[\s\S]*float32 \(4,\) after float32 \(3,\)"):
        finetuning.features(counted, Widths(), cache=tmp_path if cached else None)


def test_texts_are_not_kept_on_disk(counted, tmp_path):
    targets = np.array(["cat", "dog"] * 5)
    with pytest.raises(errors.TrainingError, match=r"expected: +numbers|Expected: numbers[\s\S]*without cache"):
        finetuning.features(counted, (X, targets), cache=tmp_path)
    _, y = finetuning.features(counted, (X, targets))
    assert y[0] == b"cat"


@pytest.mark.parametrize("damage", ["cut", "gone", "unread"])
def test_a_damaged_entry_is_made_anew(counted, tmp_path, damage):
    finetuning.features(counted, X, cache=tmp_path)
    (entry,) = tmp_path.iterdir()
    if damage == "cut":
        (entry / "0.bin").write_bytes(b"1234")
    elif damage == "gone":
        (entry / "0.bin").unlink()
    else:
        (entry / "about.json").write_text("{")
    for _ in range(2):
        np.testing.assert_array_equal(finetuning.features(counted, X, cache=tmp_path), 2 * X)
    assert counted.calls == 2 * 2


@pytest.mark.parametrize(
    ("data", "text"),
    [
        ((X, Y[:4]), "not arrays of one length"),
        ((X, None, Y), "not arrays of one length"),
        ((X, [[1], [2, 3]]), "not arrays of one length"),
        (X[:0], "no examples"),
        ((), "not arrays of one length"),
        (tf.data.Dataset.from_tensor_slices(X[:0]).batch(2), "no examples"),
    ],
    ids=["lengths", "a hole", "ragged lists", "empty", "nothing", "an empty dataset"],
)
def test_what_is_no_data_is_refused(hub, data, text):
    with pytest.raises(errors.TrainingError, match=text):
        finetuning.features(hub, data)


def test_lists_of_targets_and_missing_ones_are_taken(hub):
    _, y = finetuning.features(hub, (X, list(Y)))
    np.testing.assert_array_equal(y, Y)
    np.testing.assert_array_equal(finetuning.features(hub, (X, None)), X / 2 + 1)


def test_a_layer_that_its_first_call_builds_is_looked_at_with_its_weights(tmp_path):
    with pytest.raises(errors.TrainingError, match="change with it"):
        finetuning.features(keras.layers.Dense(1), X)
    found = [
        finetuning.features(keras.layers.Dense(1, kernel_initializer=kind, trainable=False), X, cache=tmp_path)[3, 0]
        for kind in ("ones", "zeros")
    ]
    assert found == [3.0, 0.0]


def test_outputs_without_a_row_for_each_example_are_refused():
    with pytest.raises(errors.TrainingError, match=r"no row for each example[\s\S]*10 rows"):
        finetuning.features(keras.layers.Lambda(lambda x: keras.ops.sum(x, axis=0, keepdims=True)), X)


def test_long_rows_of_texts_are_read_to_their_end(counted):
    rows = np.full((1, 3000), "a", object)
    other = rows.copy()
    other[0, 1500] = "b"
    readings = [feature_digests.Reading() for _ in range(2)]
    for reading, batch in zip(readings, (rows, other), strict=True):
        reading.add(batch)
    assert readings[0].order != readings[1].order


REPLICAS = """
import sys
import keras, numpy as np, tensorflow as tf
from keras_hub_layers import finetuning, layers

cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
x = np.arange(4, dtype="float32")[:, None]
with tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"]).scope():
    layer = layers.HubLayer(sys.argv[1])
    model = keras.Sequential([keras.Input((1,)), layer])
    for part in (layer, model):
        print(finetuning.features(part, x).ravel().tolist())
print(finetuning.features(layer, x).ravel().tolist())
"""


def test_within_the_scope_of_two_replicas_and_after_it_features_are_right(produced):
    command = [sys.executable, "-c", REPLICAS, produced(producers.half_plus_one)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-3:] == ["[1.0, 1.5, 2.0, 2.5]"] * 3
