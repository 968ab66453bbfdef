"""ExportPiece exports the model or a piece of it, as a SavedModel or a Keras file, without the optimizer."""

import copy
import os

import keras
import numpy as np
import producers
import pytest
import tensorflow as tf

from keras_hub_layers import callbacks, errors, layers

L = keras.layers
X, Y = np.linspace(-1, 1, 16, dtype="float32").reshape(4, 4), np.ones((4, 1), "float32")


def composed():
    """encoder (with a pooler) and head, compiled with Adam."""
    encoder = keras.Sequential(
        [keras.Input((4,)), L.Dense(3, name="hidden"), L.Dense(2, name="pooler")], name="encoder"
    )
    x = keras.Input((4,), name="x")
    model = keras.Model(x, L.Dense(1, name="head")(encoder(x)), name="whole")
    model.compile(keras.optimizers.Adam(0.1), "mse")
    return model


def fit(model, *callbacks, epochs=1, **kwargs):
    return model.fit(X, Y, epochs=epochs, verbose=0, callbacks=list(callbacks), **kwargs)


def quiet(directory, layer=None, **kwargs):
    return callbacks.ExportPiece(directory, layer, verbose=0, **kwargs)


def test_the_whole_model_is_exported_without_naming_a_piece(tmp_path):
    model = composed()
    callback = quiet(tmp_path / "out")
    fit(model, callback)
    np.testing.assert_allclose(layers.HubLayer(callback.exported[0])(X), model(X), rtol=1e-5)


def test_a_nested_model_is_exported_by_its_name(tmp_path):
    model = composed()
    fit(model, quiet(tmp_path / "out", "encoder"))
    layer = layers.HubLayer(str(tmp_path / "out"), trainable=True)
    np.testing.assert_allclose(layer(X), model.get_layer("encoder")(X), rtol=1e-5)
    assert len(layer.trainable_weights) == 4
    names = [variable.name for variable in layer.interface.variables]
    assert not [name for name in names if "adam" in name or "moment" in name]


def test_a_layer_inside_a_nested_model_is_exported_by_name_or_path(tmp_path):
    model = composed()
    fit(model, quiet(tmp_path / "a", "pooler"), quiet(tmp_path / "b", "encoder/pooler"))
    for name in "ab":
        assert layers.HubLayer(str(tmp_path / name)).interface.traces[0].inputs.shape == (None, 3)


def test_a_layer_object_stands_for_its_name(tmp_path):
    model = composed()
    callback = quiet(tmp_path / "out", model.get_layer("encoder"))
    assert copy.deepcopy(callback).layer == callback.layer == "encoder"


def test_a_hub_layer_inside_is_exported_as_it_came(tmp_path):
    handle = producers.half_plus_one(tmp_path / "source")
    model = keras.Sequential([keras.Input((1,)), layers.HubLayer(handle, trainable=True, name="hub")])
    model.compile("sgd", "mse")
    model.fit(X[:, :1], Y, verbose=0, callbacks=[quiet(tmp_path / "out", "hub")])
    assert (tmp_path / "out" / "saved_model.pb").read_bytes() == (tmp_path / "source" / "saved_model.pb").read_bytes()


def test_a_cut_is_exported_with_the_weights_of_the_best_epoch(tmp_path):
    model, seen = composed(), []
    watch = keras.callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, logs: seen.append(model.get_layer("encoder").get_layer("hidden")(X).numpy())
    )
    fit(model, watch, quiet(tmp_path / "out", outputs="encoder/hidden", monitor="loss", mode="max"), epochs=3)
    np.testing.assert_allclose(layers.HubLayer(str(tmp_path / "out"))(X), seen[0], rtol=1e-5)


@pytest.mark.filterwarnings("ignore:.*")
@pytest.mark.parametrize("suffix", [".keras", ".h5"])
def test_a_path_with_a_suffix_of_keras_is_saved_in_that_format(tmp_path, suffix):
    model = composed()
    callback = quiet(tmp_path / f"encoder{suffix}", "encoder")
    fit(model, callback)
    again = keras.saving.load_model(callback.exported[0])
    np.testing.assert_allclose(again(X), model.get_layer("encoder")(X), rtol=1e-5)
    assert not again.compiled


def test_the_optimizer_is_in_a_keras_file_on_request_only(tmp_path):
    model = composed()
    fit(model, quiet(tmp_path / "small.keras"), quiet(tmp_path / "large.keras", include_optimizer=True))
    assert keras.saving.load_model(tmp_path / "large.keras").optimizer.iterations.numpy() == 1
    assert not keras.saving.load_model(tmp_path / "small.keras").compiled
    assert model.compiled


def test_versions_are_counted(tmp_path):
    model = composed()
    fit(model, quiet(tmp_path / "out", "encoder", versioned=True))
    fit(model, quiet(tmp_path / "out", "encoder", versioned=True))
    assert sorted(os.listdir(tmp_path / "out")) == ["1", "2"]


@pytest.mark.parametrize(
    ("arguments", "error", "match"),
    [
        ({"layer": "encodr"}, errors.ExportError, r"no layer of that name[\s\S]*layer='encoder'"),
        ({"layer": 3}, errors.ExportError, "names no layer"),
        ({"inputs": "head", "outputs": "encoder"}, errors.CutError, "Nothing lies between"),
        ({"outputs": "tail"}, errors.CutError, "no layer of that name"),
    ],
)
def test_a_piece_that_cannot_be_is_found_out_before_training(tmp_path, arguments, error, match):
    model = composed()
    before = model.get_weights()
    with pytest.raises(error, match=match):
        fit(model, quiet(tmp_path / "out", **arguments))
    np.testing.assert_array_equal(before[0], model.get_weights()[0])


def test_a_name_in_two_nested_models_asks_for_the_path(tmp_path):
    parts = [keras.Sequential([keras.Input((4,)), L.Dense(4, name="d")], name=name) for name in "ab"]
    model = keras.Sequential([keras.Input((4,)), *parts])
    model.compile("sgd", "mse")
    with pytest.raises(errors.ExportError, match=r"\['a/d', 'b/d'\]"):
        fit(model, quiet(tmp_path / "out", "d"))


def test_a_single_layer_cannot_go_to_a_keras_file(tmp_path):
    with pytest.raises(errors.ExportError, match="Only a model can be saved"):
        fit(composed(), quiet(tmp_path / "head.keras", "head"))


@pytest.mark.parametrize(
    ("name", "arguments", "match"),
    [("m.keras", {"versioned": True}, "no versions"), ("m", {"include_optimizer": True}, "never holds the optimizer")],
)
def test_settings_that_contradict_each_other_are_refused_at_once(tmp_path, name, arguments, match):
    with pytest.raises(errors.ExportError, match=match):
        quiet(tmp_path / name, **arguments)


def test_nan_keeps_the_good_file(tmp_path):
    model = composed()
    fit(model, quiet(tmp_path / "m.keras"))
    good = (tmp_path / "m.keras").read_bytes()
    model.get_layer("head").kernel.assign(np.full((2, 1), np.nan))
    with pytest.warns(errors.HubWarning, match="NaN"):
        fit(model, quiet(tmp_path / "m.keras", on_nan="skip"))
    assert (tmp_path / "m.keras").read_bytes() == good


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # KerasTuner 1.4.8 calls threading.currentThread
def test_in_a_search_files_go_into_folders_of_the_trials(tmp_path):
    keras_tuner = pytest.importorskip("keras_tuner")

    def build(hp):
        hp.Choice("any", [1, 2])
        return composed()

    tuner = keras_tuner.GridSearch(build, keras_tuner.Objective("loss", "min"), directory=str(tmp_path / "s"))
    tuner.search(X, Y, verbose=0, callbacks=[quiet(tmp_path / "out" / "encoder.keras", "encoder")])
    assert sorted(os.listdir(tmp_path / "out")) == sorted(tuner.oracle.trials)
    assert os.listdir(tmp_path / "out" / next(iter(tuner.oracle.trials))) == ["encoder.keras"]


@pytest.mark.filterwarnings("ignore:Gradients do not exist")  # of the pooled output, which has no loss here
def test_the_guides_bert_pattern_the_core_model_inside_a_pretrainer(tmp_path):
    """Compose first: the core model is what is shared, the pretraining head is thrown away."""
    ids = keras.Input((None,), dtype="int32", name="input_word_ids")
    mask = keras.Input((None,), dtype="int32", name="input_mask")
    h = L.Embedding(16, 4)(ids)
    h = L.LayerNormalization()(h + L.MultiHeadAttention(2, 2)(h, h, attention_mask=keras.ops.expand_dims(mask, 1)))
    core = keras.Model(
        {"input_word_ids": ids, "input_mask": mask},
        {"pooled_output": L.Dense(4, activation="tanh")(h[:, 0]), "sequence_output": h},
        name="core_model",
    )
    inputs = {"input_word_ids": keras.Input((6,), dtype="int32", name="input_word_ids"),
              "input_mask": keras.Input((6,), dtype="int32", name="input_mask")}  # fmt: skip
    pretrainer = keras.Model(inputs, L.Dense(16, name="masked_lm")(core(inputs)["sequence_output"]))
    pretrainer.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    words = np.arange(12, dtype="int32").reshape(2, 6)
    batch = {"input_word_ids": words, "input_mask": np.ones_like(words)}
    pretrainer.fit(batch, words, verbose=0, callbacks=[quiet(tmp_path / "bert", "core_model")])
    encoder = layers.HubLayer(str(tmp_path / "bert"), trainable=True)
    outputs = encoder({name: tf.constant(value[:, :3]) for name, value in batch.items()})
    assert outputs["pooled_output"].shape == (2, 4)
    assert outputs["sequence_output"].shape == (2, 3, 4)


def test_the_guides_resnet_pattern_the_feature_vector_without_the_head(tmp_path):
    """Cut afterwards: from the image to the pooled features, trained with a classifier on top."""
    image = keras.Input((8, 8, 3), name="image")
    h = L.BatchNormalization()(L.Conv2D(4, 3, name="stem", kernel_regularizer="l2")(image))
    h = L.Add()([h, L.Conv2D(4, 3, padding="same", kernel_regularizer="l2")(h)])
    features = L.GlobalAveragePooling2D(name="reduce_mean")(h)
    model = keras.Model(image, L.Dense(10, name="logits")(features))
    model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    images = np.random.default_rng(0).random((4, 8, 8, 3)).astype("float32")
    model.fit(images, np.arange(4), verbose=0, callbacks=[quiet(tmp_path / "vector", outputs="reduce_mean")])
    vector = layers.HubLayer(str(tmp_path / "vector"), trainable=True)
    assert vector(images).shape == (4, 4)
    np.testing.assert_allclose(sum(vector.losses), sum(model.losses), rtol=1e-5)
    assert len(vector.trainable_weights) == 6
