"""Models of one example at a time: a warning where a model is built, and advice that keeps examples apart."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_hub_layers import errors, layers


def audio(directory, reduce=False, shape=(None,)):
    """One waveform to frames of 10 samples, each times a matrix (10, 4); or to the mean of them."""
    root = tf.train.Checkpoint()
    root.w = tf.Variable(np.random.default_rng(0).normal(size=(10, 4)).astype("float32"), name="w")

    def call(x):
        frames = tf.signal.frame(x, 10, 5, pad_end=True) @ root.w
        return tf.reduce_mean(frames) if reduce else frames

    root.__call__ = tf.function(call, input_signature=[tf.TensorSpec(shape)])
    root.variables = root.trainable_variables = [root.w]
    tf.saved_model.save(root, str(directory))
    return str(directory)


def by_hand(layer, clip):
    """The frames of a clip, computed by NumPy."""
    padded = np.concatenate([clip, np.zeros(10, "float32")])
    frames = np.stack([padded[start : start + 10] for start in range(0, len(clip), 5)])
    return frames @ layer.weights[0].numpy()


def code_of(text):
    """The lines to paste: those that assign."""
    return [line.split("   #")[0] for line in text.splitlines() if " = " in line and "What to do" not in line]


@pytest.mark.parametrize("reduce", [False, True], ids=["frames", "one_number"])
def test_a_model_around_one_example_at_a_time_warns_and_the_advice_runs(tmp_path, reduce):
    layer = layers.HubLayer(audio(tmp_path / "audio", reduce))
    inputs = keras.Input(())
    with pytest.warns(errors.HubWarning, match=r"(?s)not have a row for each row.*one example.*vectorized_map") as told:
        keras.Model(inputs, layer(inputs))
    one, several = code_of(str(told[0].message))
    clips = np.random.default_rng(1).normal(size=(4, 33)).astype("float32")
    scope = {"tf": tf, "layer": layer, "x": clips[0]}
    exec(one, scope)
    frames = by_hand(layer, clips[0])
    np.testing.assert_allclose(scope["outputs"], frames.mean() if reduce else frames, rtol=1e-4, atol=1e-5)
    scope["x"] = clips
    exec(several, scope)
    frames = [by_hand(layer, clip) for clip in clips]
    expected = [one.mean() for one in frames] if reduce else frames
    np.testing.assert_allclose(scope["outputs"], expected, rtol=1e-4, atol=1e-5)


def test_several_examples_for_one_are_not_joined(tmp_path):
    layer = layers.HubLayer(audio(tmp_path / "audio"))
    clips = np.random.default_rng(1).normal(size=(4, 33)).astype("float32")
    with pytest.raises(errors.InputError, match=r"one example at a time") as told:
        layer(clips)
    line, _, note = told.value.fix.partition("   #")
    scope = {"tf": tf, "layer": layer, "x": clips}
    np.testing.assert_allclose(
        eval(note.split("Of all: ")[1], scope)[2], by_hand(layer, clips[2]), rtol=1e-4, atol=1e-5
    )
    exec(line, scope)
    np.testing.assert_allclose(layer(scope["x"]), by_hand(layer, clips[0]), rtol=1e-4, atol=1e-5)
    inputs = keras.Input((33,))
    with pytest.raises(errors.InputError, match=r"dataset = dataset.map\(lambda x: tf.vectorized_map") as told:
        layer(inputs)
    scope = {"tf": tf, "layer": layer, "dataset": tf.data.Dataset.from_tensor_slices(clips).batch(4)}
    exec(told.value.fix.split("   #")[0], scope)
    np.testing.assert_allclose(next(iter(scope["dataset"]))[3], by_hand(layer, clips[3]), rtol=1e-4, atol=1e-5)


def test_outputs_that_drop_the_batch_are_told_too(tmp_path):
    root = tf.train.Checkpoint()
    root.__call__ = tf.function(lambda x: tf.reduce_mean(x, axis=0), input_signature=[tf.TensorSpec((None, 5))])
    tf.saved_model.save(root, str(tmp_path / "mean"))
    inputs = keras.Input((5,))
    with pytest.warns(errors.HubWarning, match=r"not have a row for each row"):
        keras.Model(inputs, layers.HubLayer(str(tmp_path / "mean"))(inputs))


@pytest.mark.parametrize("function", [lambda x: 2 * x, lambda x: tf.one_hot(tf.cast(x, tf.int32), 3)])
def test_one_number_per_example_is_no_example_of_its_own(tmp_path, function):
    root = tf.train.Checkpoint()
    root.__call__ = tf.function(function, input_signature=[tf.TensorSpec((None,))])
    tf.saved_model.save(root, str(tmp_path / "numbers"))
    inputs = keras.Input(())
    model = keras.Model(inputs, layers.HubLayer(str(tmp_path / "numbers"))(inputs))
    x = np.array([0.0, 1.0, 2.0], "float32")
    np.testing.assert_allclose(model.predict(x, verbose=0), function(x))
