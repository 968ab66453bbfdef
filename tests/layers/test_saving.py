"""Configs, clones, copies and files: what they carry, and what they refuse."""

import copy
import json
import pickle
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import keras
import numpy as np
import producers
import pytest
import tensorflow as tf

from keras_hub_layers import errors, layers

X = np.array([[1.0], [2.0]])
NEWEST = tuple(map(int, keras.__version__.split(".")[:2])) >= (3, 15)


def tuned(path, **kwargs):
    """A compiled model around a trainable layer whose kernel is 0.7 instead of 0.5."""
    layer = layers.HubLayer(path, trainable=True, name="hub", **kwargs)
    layer.trainable_weights[0].assign([[0.7]])
    model = keras.Sequential([keras.Input((1,)), layer])
    model.compile("adam", "mse")
    model.fit(X, model.predict(X, verbose=0), verbose=0)
    return model


def json_cycle(value):
    return json.loads(json.dumps(value))


# -- config


@pytest.mark.parametrize(
    ("producer", "kwargs"),
    [
        (producers.half_plus_one, {"unfreeze": "times_w", "trainable": True, "tags": ["serve"]}),
        (producers.sum_and_difference, {"arguments": {"return_dict": True}, "output_key": "delta"}),
        (producers.obscure_shapes, {"output_shape": [[1], [2, 2], [3, 3, 3]]}),
        (producers.plus_one, {"signature": "serving_default", "signature_outputs_as_dict": True}),
        (producers.with_pieces, {"piece": "encoder", "name": "the_encoder", "dtype": "mixed_float16"}),
        (producers.plus_one, {"load_options": {"experimental_io_device": "/job:localhost"}}),
    ],
)
def test_config_round_trips_through_json(produced, producer, kwargs):
    layer = layers.HubLayer(produced(producer), **kwargs)
    config = layer.get_config()
    again = layers.HubLayer.from_config(json_cycle(config))
    assert again.get_config() == config
    for name, value in kwargs.items():
        if name not in ("dtype", "unfreeze"):
            assert config[name] == value
    assert again.trainable == layer.trainable


def test_load_options_objects_are_in_the_config(produced):
    options = tf.saved_model.LoadOptions(
        experimental_io_device="/job:localhost",
        experimental_variable_policy=tf.saved_model.experimental.VariablePolicy.NONE,
    )
    layer = layers.HubLayer(produced(producers.plus_one), load_options=options)
    assert layer.get_config()["load_options"]["experimental_io_device"] == "/job:localhost"
    layers.HubLayer.from_config(json_cycle(layer.get_config()))


def test_a_path_object_is_in_the_config_as_text(produced):
    path = produced(producers.plus_one)
    assert layers.HubLayer(Path(path)).get_config()["handle"] == path


def test_an_object_in_process_has_no_config_and_the_error_says_what_to_do(produced):
    layer = layers.HubLayer(tf.saved_model.load(produced(producers.multiply)))
    with pytest.raises(errors.ConfigError, match=r'(?s)object of type.*tf.saved_model.save\(obj, "my_model"\)'):
        layer.get_config()
    assert issubclass(errors.ConfigError, NotImplementedError)


@pytest.fixture
def unsafe():
    """What `keras.config.enable_unsafe_deserialization()` does, for one test."""
    keras.config.enable_unsafe_deserialization()
    yield
    keras.src.backend.common.global_state.set_global_attribute("safe_mode_saving", None)


def test_clones_and_configs_of_this_process_give_the_weights_of_the_savedmodel(produced):
    model = tuned(produced(producers.half_plus_one, True))
    inputs = keras.Input((1,))
    nested = keras.Model(inputs, model(inputs))
    layer = keras.layers.deserialize(keras.layers.serialize(model.layers[0]))
    for again in (
        keras.models.clone_model(model),
        keras.models.clone_model(nested),
        keras.Sequential.from_config(model.get_config()),
        keras.Model.from_config(nested.get_config()),
        layer,
    ):
        np.testing.assert_allclose(again(X), [[1.5], [2.0]])


def test_json_is_refused_in_safe_mode_and_taken_when_it_is_switched_off(produced):
    text = tuned(produced(producers.half_plus_one, True)).to_json()
    with pytest.raises(errors.SafeModeError, match="enable_unsafe_deserialization"):
        keras.models.model_from_json(text)


@pytest.mark.usefixtures("unsafe")
def test_json_gives_the_weights_of_the_savedmodel(produced):
    text = tuned(produced(producers.half_plus_one, True)).to_json()
    np.testing.assert_allclose(keras.models.model_from_json(text)(X), [[1.5], [2.0]])


def test_a_clone_of_a_model_from_a_file_has_its_graph_and_takes_its_weights(tmp_path):
    path = producers.half_plus_one(tmp_path / "original", True)
    tuned(path).save(tmp_path / "model.keras")
    shutil.rmtree(path)
    producers.multiply(tmp_path / "original")  # another model at the same place
    model = keras.saving.load_model(tmp_path / "model.keras", safe_mode=False)
    with pytest.warns(errors.HubWarning, match="They are NaN until they are set"):
        clone = keras.models.clone_model(model)
    assert np.isnan(clone(X)).all()
    clone.set_weights(model.get_weights())
    np.testing.assert_array_equal(clone(X), model(X))


def test_a_source_that_was_replaced_is_noticed_and_never_written_into_a_copy(tmp_path):
    path = producers.multiply(tmp_path / "original")
    model = keras.Sequential([keras.Input(()), layers.HubLayer(path, trainable=True)])
    shutil.rmtree(path)
    producers.multiply(tmp_path / "original", power=3)
    for copied in (copy.deepcopy, pickle.dumps, lambda m: m.save(tmp_path / "model.keras")):
        with pytest.raises(errors.ExportError, match="replaced by another one"):
            copied(model)


def test_weights_that_keras_cannot_write_stay_in_the_savedmodel_and_in_files(tmp_path):
    root = tf.train.Checkpoint()
    root.v, root.n = tf.Variable(["a"], name="v"), tf.Variable(1.0, name="n")
    root.__call__ = tf.function(
        lambda x: tf.strings.join([x, root.v[0], tf.strings.as_string(root.n, precision=0)]),
        input_signature=[tf.TensorSpec((None,), tf.string)],
    )
    root.variables = [root.v, root.n]
    model = keras.Sequential(
        [keras.Input((), dtype="string"), layers.HubLayer(producers.save(root, tmp_path / "model"))]
    )
    model.layers[0].resolved_object.v.assign(["b"])
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras", safe_mode=False)
    assert again(tf.constant(["x"])).numpy().tolist() == [b"xb1"]


def test_the_config_of_a_model_does_not_carry_the_graph(produced):
    assert len(tuned(produced(producers.half_plus_one, True)).to_json()) < 5_000


# -- files


@pytest.mark.parametrize("way", ["deepcopy", "pickle", ".keras"])
def test_copies_keep_fine_tuned_weights_and_are_separate(produced, tmp_path, way):
    model = tuned(produced(producers.half_plus_one, True))
    expected = model.predict(X, verbose=0)
    if way == "deepcopy":
        again = copy.deepcopy(model)
    elif way == "pickle":
        again = pickle.loads(pickle.dumps(model))
    else:
        model.save(tmp_path / "model.keras")
        again = keras.saving.load_model(tmp_path / "model.keras", safe_mode=False)
    np.testing.assert_array_equal(again.predict(X, verbose=0), expected)
    again.set_weights([np.zeros_like(w) for w in again.get_weights()])
    np.testing.assert_array_equal(model.predict(X, verbose=0), expected)


def test_a_layer_alone_is_copied_with_its_weights(produced):
    layer = layers.HubLayer(produced(producers.multiply), trainable=True)
    layer.set_weights([np.float32(5.0)])
    np.testing.assert_allclose(copy.deepcopy(layer)([1.0]), [5.0])


@pytest.mark.parametrize("keras2", producers.PRODUCERS.values(), ids=producers.PRODUCERS)
def test_a_keras_file_reloads_without_the_original_and_trains_on(tmp_path, keras2):
    path = producers.half_plus_one(tmp_path / "original", keras2)
    model = tuned(path)
    expected, iterations = model.predict(X, verbose=0), int(model.optimizer.iterations.numpy())
    model.save(tmp_path / "model.keras")
    shutil.rmtree(path)
    again = keras.saving.load_model(tmp_path / "model.keras", safe_mode=False)
    np.testing.assert_array_equal(again.predict(X, verbose=0), expected)
    np.testing.assert_allclose(again.losses, model.losses)
    assert again.layers[0].handle == path
    assert int(again.optimizer.iterations.numpy()) == iterations
    again.fit(X, X, verbose=0)
    again.save(tmp_path / "second.keras")
    third = keras.saving.load_model(tmp_path / "second.keras", safe_mode=False)
    np.testing.assert_array_equal(third.predict(X, verbose=0), again.predict(X, verbose=0))


@pytest.mark.parametrize("imports", ["import keras_hub_layers.layers, keras", "import keras, keras_hub_layers"])
def test_a_keras_file_reloads_in_a_new_process(tmp_path, imports):
    path = producers.text_classifier(tmp_path / "original")
    model = keras.Sequential([layers.HubLayer(path, trainable=True)])
    model(tf.constant(["good"]))
    model.layers[0].set_weights([2 * w for w in model.layers[0].get_weights()])
    model.save(tmp_path / "model.keras")
    shutil.rmtree(path)
    code = (
        f"import sys, tensorflow as tf; {imports}\n"
        "model = keras.saving.load_model(sys.argv[1], safe_mode=False)\n"
        "print(model(tf.constant(['hello world', 'bad'])).numpy().tolist())"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "model.keras")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[[1.0, -1.0], [6.0, -6.0]]"


def test_a_keras_file_holds_the_weights_once(tmp_path):
    root = tf.train.Checkpoint()
    root.v = tf.Variable(tf.random.normal((1000, 250)))  # one million bytes
    root.__call__ = tf.function(lambda x: x @ root.v, input_signature=[tf.TensorSpec((None, 1000))])
    root.variables = root.trainable_variables = [root.v]
    model = keras.Sequential([keras.Input((1000,)), layers.HubLayer(producers.save(root, tmp_path / "model"))])
    model.save(tmp_path / "model.keras")
    assert 1_000_000 < (tmp_path / "model.keras").stat().st_size < 1_100_000


def test_variables_that_keras_does_not_store_are_in_the_file_too(tmp_path):
    path = producers.with_pieces(tmp_path / "original")
    model = keras.Sequential([keras.Input((), dtype="string"), layers.HubLayer(path, piece="text.length")])
    model.layers[0].resolved_object.encoder.k.assign(7.0)
    model.save(tmp_path / "model.keras")
    shutil.rmtree(path)
    again = keras.saving.load_model(tmp_path / "model.keras", safe_mode=False)
    assert float(again.layers[0].resolved_object.encoder.k) == 7.0


@pytest.mark.usefixtures("unsafe")
def test_a_config_of_a_file_used_without_its_weights_gives_nan_not_numbers(produced, tmp_path):
    tuned(produced(producers.half_plus_one, True)).save(tmp_path / "model.keras")
    with zipfile.ZipFile(tmp_path / "model.keras") as file:
        config = file.read("config.json").decode()
    assert np.isnan(keras.models.model_from_json(config)(X)).all()


def test_saving_a_file_after_the_source_has_gone_names_it(tmp_path):
    path = producers.half_plus_one(tmp_path / "original")
    model = tuned(path)
    shutil.rmtree(path)
    with pytest.raises(errors.ExportError, match="original"):
        model.save(tmp_path / "model.keras")


def test_weights_files_do_not_depend_on_trainable_or_unfreeze(produced, tmp_path):
    path = produced(producers.shared_loss)

    def model(**kwargs):
        return keras.Sequential([keras.Input((1,)), layers.HubLayer(path, **kwargs)])

    first = model(trainable=True)
    first.layers[0].set_weights([np.float32(5.0), np.float32(6.0)])
    first.save_weights(tmp_path / "w.weights.h5")
    for kwargs in ({}, {"trainable": True, "unfreeze": "shift/"}, {"trainable": True, "unfreeze": "scale/"}):
        again = model(**kwargs)
        again.load_weights(tmp_path / "w.weights.h5")
        np.testing.assert_allclose(again(X), [[11], [16]])


def test_tensorflow_checkpoints_restore_fine_tuned_weights(produced, tmp_path):
    model = tuned(produced(producers.half_plus_one, True))
    checkpoint = tf.train.Checkpoint(model=model)
    path = checkpoint.save(tmp_path / "checkpoint")
    expected = model.predict(X, verbose=0)
    model.layers[0].trainable_weights[0].assign([[9.0]])
    checkpoint.restore(path).assert_consumed()
    np.testing.assert_array_equal(model.predict(X, verbose=0), expected)


@pytest.mark.filterwarnings("ignore:You are saving your model as an HDF5 file")
def test_h5_files_keep_fine_tuned_weights_and_need_the_original_and_trust(produced, tmp_path):
    model = tuned(produced(producers.half_plus_one, True))
    model.save(tmp_path / "model.h5")
    again = keras.saving.load_model(tmp_path / "model.h5", compile=False, safe_mode=False)
    np.testing.assert_array_equal(again.predict(X, verbose=0), model.predict(X, verbose=0))
    if NEWEST:  # Keras 3.8 has no safe mode for this format
        with pytest.raises(errors.SafeModeError, match="safe_mode=False"):
            keras.saving.load_model(tmp_path / "model.h5", compile=False)


def test_an_unzipped_model_reloads_without_the_original(tmp_path):
    path = producers.half_plus_one(tmp_path / "original", True)
    model = tuned(path)
    model.save(tmp_path / "folder", zipped=False)
    shutil.rmtree(path)
    again = keras.saving.load_model(tmp_path / "folder", safe_mode=False)
    np.testing.assert_array_equal(again.predict(X, verbose=0), model.predict(X, verbose=0))


def test_a_tf1_savedmodel_survives_a_keras_file(tmp_path):
    path = producers.tf1(tmp_path / "original")
    layer = layers.HubLayer(path, signature="serving_default", output_key="y")
    model = keras.Sequential([keras.Input((2,)), layer])
    model.save(tmp_path / "model.keras")
    shutil.rmtree(path)
    again = keras.saving.load_model(tmp_path / "model.keras", safe_mode=False)
    np.testing.assert_allclose(again(np.ones((1, 2))), [[3.0]])


# -- safe mode


def test_safe_mode_refuses_a_file_before_any_access(tmp_path):
    path = producers.half_plus_one(tmp_path / "original")
    keras.Sequential([keras.Input((1,)), layers.HubLayer(path, sha256=None)]).save(tmp_path / "model.keras")
    shutil.rmtree(path)
    with pytest.raises(errors.SafeModeError, match="safe_mode=False"):
        keras.saving.load_model(tmp_path / "model.keras")


def test_safe_mode_also_refuses_the_constructor_and_a_pinned_checksum():
    config = {
        "class_name": "HubLayer",
        "registered_name": "keras_hub_layers>HubLayer",
        "config": {"handle": "https://unreachable.invalid/model", "sha256": "0" * 64},
    }
    with pytest.raises(errors.SafeModeError, match="unreachable"):
        keras.saving.deserialize_keras_object(config, safe_mode=True)

    @keras.saving.register_keras_serializable("tests")
    class Wrapper(keras.layers.Layer):
        def __init__(self, **kwargs):
            super().__init__(**kwargs)
            self.hub = layers.HubLayer("https://unreachable.invalid/model")

    with pytest.raises(TypeError, match=r"(?s)unreachable.*safe_mode=False"):  # Keras words it anew
        keras.saving.deserialize_keras_object(
            {"class_name": "Wrapper", "registered_name": "tests>Wrapper", "config": {}}, safe_mode=True
        )


def test_outside_a_load_nothing_is_refused(produced):
    layer = layers.HubLayer(produced(producers.plus_one))
    layers.HubLayer.from_config(layer.get_config())
    assert keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(layer), safe_mode=False)
