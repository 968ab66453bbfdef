"""What people build first, from a handle to a reloaded file and a reloaded export."""

import keras
import numpy as np
import producers
import pytest
import tensorflow as tf

from keras_hub_layers import callbacks, layers


def test_a_text_classifier_trains_exports_and_reloads(produced, tmp_path):
    texts = ["good world", "bad world", "good", "bad", "hello good", "hello bad"]
    data = tf.data.Dataset.from_tensor_slices((texts, [[1.0], [0.0]] * 3)).shuffle(6, seed=1).batch(2)
    model = keras.Sequential(
        [
            layers.HubLayer(produced(producers.text_classifier), trainable=True, name="encoder"),
            keras.layers.Dense(1),
        ]
    )
    model.compile(keras.optimizers.Adam(0.1), keras.losses.BinaryCrossentropy(from_logits=True), metrics=["accuracy"])
    export = callbacks.ExportFinetuned(tmp_path / "encoder", verbose=0)
    model.fit(data, epochs=20, shuffle=False, callbacks=[export], verbose=0)
    assert model.evaluate(data, verbose=0, return_dict=True)["accuracy"] == 1.0

    sample = tf.constant(["good hello", "never seen"])
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras", safe_mode=False)
    np.testing.assert_array_equal(again.predict(sample, verbose=0), model.predict(sample, verbose=0))
    encoder = layers.HubLayer(tmp_path / "encoder", trainable=True)
    np.testing.assert_array_equal(encoder(sample), model.layers[0](sample))
    assert len(encoder.trainable_weights) == 1


def test_an_image_classifier_trains_a_head_then_fine_tunes_and_reloads(produced, tmp_path):
    generator = np.random.default_rng(0)
    labels = np.arange(64) % 2
    images = generator.normal(size=(64, 8, 8, 1)) * (1 + 3 * labels[:, None, None, None])  # the contrast tells
    hub = layers.HubLayer(produced(producers.small_image_model), name="features")
    model = keras.Sequential([keras.Input((8, 8, 1)), hub, keras.layers.Dense(2)])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(0.05), loss, metrics=["accuracy"])
    before = [w.numpy() for w in hub.weights]
    frozen = model.fit(images, labels, epochs=20, verbose=0).history["loss"][-1]
    for weight, value in zip(hub.weights, before, strict=True):
        np.testing.assert_array_equal(weight, value)

    hub.trainable = True
    model.compile(keras.optimizers.Adam(0.01), loss, metrics=["accuracy"])
    model.fit(
        images, labels, epochs=20, callbacks=[callbacks.ExportFinetuned(tmp_path / "tuned", verbose=0)], verbose=0
    )
    assert model.evaluate(images, labels, verbose=0, return_dict=True)["loss"] < frozen

    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras", safe_mode=False)
    np.testing.assert_allclose(again.predict(images, verbose=0), model.predict(images, verbose=0), rtol=1e-6)
    tuned = layers.HubLayer(tmp_path / "tuned", trainable=True)
    np.testing.assert_allclose(tuned(images), hub(images), rtol=1e-6)
    np.testing.assert_allclose(tuned.losses, hub.losses)


@pytest.mark.skipif(keras.__version__.startswith("3.8"), reason="Keras 3.8 loses the lookup tables of nested objects")
def test_a_model_with_the_layer_inside_is_exported_by_keras_too(tmp_path):
    path = producers.text_classifier(tmp_path / "source")
    model = keras.Sequential([keras.Input((), dtype="string"), layers.HubLayer(path)])
    model.export(tmp_path / "served", verbose=False)
    served = tf.saved_model.load(str(tmp_path / "served"))
    np.testing.assert_allclose(served.serve(tf.constant(["bad"])), [[3.0, -3.0]])


@pytest.mark.parametrize("keras2", producers.PRODUCERS.values(), ids=producers.PRODUCERS)
def test_a_model_trained_in_mixed_precision_is_saved_and_exported(produced, tmp_path, keras2):
    keras.config.set_dtype_policy("mixed_float16")
    try:
        inputs = keras.Input((1,), dtype="string")
        hub = layers.HubLayer(produced(producers.text_length, keras2), trainable=True)
        model = keras.Model(inputs, hub(inputs))
        model.compile(keras.optimizers.SGD(0.002, momentum=0.001), "mse")
        texts = tf.constant([["a"], ["aa"], ["aaa"]])
        export = callbacks.ExportFinetuned(tmp_path / "tuned", verbose=0)
        model.fit(texts, np.ones((3, 2)), epochs=20, callbacks=[export], verbose=0)
        model.save(tmp_path / "model.keras")
    finally:
        keras.config.set_dtype_policy("float32")
    expected = hub(texts)
    assert np.abs(np.asarray(expected)[0] - [0.1, 0.3]).max() > 0
    np.testing.assert_array_equal(layers.HubLayer(tmp_path / "tuned")(texts), expected)
    again = keras.saving.load_model(tmp_path / "model.keras", compile=False, safe_mode=False)
    np.testing.assert_array_equal(again.predict(texts, verbose=0), expected)
