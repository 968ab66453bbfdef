"""`HubLayer(jit=True)`: XLA compiles a layer where a trial shows that it can, and the numbers stay the same."""

import keras
import numpy as np
import producers
import pytest
import tensorflow as tf

from keras_hub_layers import errors, layers
from keras_hub_layers._src import tensorflow_process
from keras_hub_layers._src.executors.xla import trial
from keras_hub_layers._src.layers import jit

X = np.array([[1.0], [2.0], [5.0]], "float32")


@pytest.fixture(autouse=True)
def _nothing_known(monkeypatch):
    monkeypatch.setattr(jit, "_known", {})


@pytest.fixture
def trials(monkeypatch):
    """Trials that succeed without a process; the list says for what they were made."""
    made = []

    def succeed(layer, source):
        made.append((layer.trainable, layer.name))
        return "", True

    monkeypatch.setattr(jit, "_try_in_a_process", succeed)
    return made


def fitted(handle, trainable, jit_compile):
    """Losses, predictions and weights of a model after three steps and an evaluation."""
    layer = layers.HubLayer(handle, trainable=trainable, jit=True)
    model = keras.Sequential([keras.Input((1,)), layer, keras.layers.Dense(1, kernel_initializer="ones")])
    model.compile(keras.optimizers.Adam(0.1), "mse", jit_compile=jit_compile)
    assert model.jit_compile == (jit_compile is True)  # "auto" is without XLA on a processor
    losses = model.fit(X, X, epochs=3, verbose=0).history["loss"]
    return [losses, model.evaluate(X, X, verbose=0), model.predict(X, verbose=0), *model.get_weights()]


@pytest.mark.parametrize(
    ("producer", "keras2", "trainable"),
    [
        (producers.half_plus_one, False, True),  # a loss
        (producers.batch_norm, True, True),  # state, and two modes
        (producers.batch_norm, False, False),
    ],
    ids=["loss", "state", "frozen"],
)
def test_steps_with_xla_are_those_without(produced, trials, producer, keras2, trainable):
    handle = produced(producer, keras2)
    with_xla, without = (fitted(handle, trainable, mode) for mode in (True, "auto"))
    for compiled, plain in zip(with_xla, without, strict=True):
        np.testing.assert_allclose(compiled, plain, rtol=1e-5, atol=1e-6)
    assert [asked for asked, _ in trials] == [trainable]  # the second layer knows it from the first


def test_a_trial_in_a_process_of_its_own_is_remembered(produced, monkeypatch):
    handle = produced(producers.batch_norm, True)
    assert layers.HubLayer(handle, trainable=True, jit=True).supports_jit
    monkeypatch.setattr(jit, "_known", {})  # as in the next process
    monkeypatch.setattr(jit, "_try_in_a_process", lambda *_: pytest.fail("tried again"))
    layer = layers.HubLayer(handle, trainable=True, jit=True)
    assert layer.supports_jit
    assert layers.HubLayer.from_config(layer.get_config()).supports_jit


def test_a_graph_that_ends_the_process_under_xla_is_refused_and_remembered(produced, monkeypatch):
    monkeypatch.setattr(jit, "hindrances", lambda *_: ())  # else its ops say so before any trial
    handle = produced(producers.text_length)
    for _ in range(2):
        with pytest.raises(errors.InterfaceError, match=r"XLA(?s:.*)in inference mode") as caught:
            layers.HubLayer(handle, jit=True)
        monkeypatch.setattr(jit, "_known", {})
        monkeypatch.setattr(jit, "_try_in_a_process", lambda *_: pytest.fail("tried again"))
    assert f"HubLayer({handle!r})" in str(caught.value)


def test_what_has_no_kernel_is_refused_without_a_trial(produced, trials):
    with pytest.raises(errors.InterfaceError, match="no kernels for StringLength, string inputs"):
        layers.HubLayer(produced(producers.text_length, True), jit=True)
    assert not trials


def test_a_layer_with_replicas_is_refused(produced, trials, monkeypatch):
    monkeypatch.setattr(trial, "has_replicas", lambda executor: True)
    with pytest.raises(errors.InterfaceError, match="a distribution strategy"):
        layers.HubLayer(produced(producers.half_plus_one), jit=True)
    assert not trials


def test_an_object_of_the_process_is_refused(trials):
    root = tf.train.Checkpoint()
    root.__call__ = tf.function(lambda x: 2 * x, input_signature=[tf.TensorSpec((None, 1))])
    with pytest.raises(errors.InterfaceError, match="an object of this process"):
        layers.HubLayer(root, jit=True)
    assert not trials


def test_a_layer_that_is_trained_later_is_tried_again_and_runs_without_xla_if_that_fails(produced, monkeypatch):
    reasons = {False: "", True: "the gradients in training mode: no kernel"}
    monkeypatch.setattr(jit, "_try_in_a_process", lambda layer, source: (reasons[layer.trainable], True))
    layer = layers.HubLayer(produced(producers.half_plus_one), jit=True)
    model = keras.Sequential([keras.Input((1,)), layer])
    model.compile("sgd", "mse", jit_compile=True)
    assert model.jit_compile
    with pytest.warns(errors.HubWarning, match="XLA is not used for the layer: the gradients in training mode"):
        layer.trainable = True
    model.compile("sgd", "mse", jit_compile=True)
    assert model.jit_compile  # Keras keeps it, though the layer does not support it now
    with pytest.raises(errors.InterfaceError, match=r"XLA compiles the model(?s:.*)no kernel(?s:.*)jit_compile=False"):
        model.fit(X, X, verbose=0)
    model.compile(model.optimizer, model.loss, jit_compile=False)
    assert model.fit(X, X, epochs=2, verbose=0).history["loss"][1] < 3.0


def test_a_model_from_a_file_runs_without_xla_where_it_cannot_be_used(produced, tmp_path, trials, monkeypatch):
    layer = layers.HubLayer(produced(producers.half_plus_one), jit=True)
    assert layer.get_config()["jit"] is True
    keras.Sequential([keras.Input((1,)), layer]).save(tmp_path / "m.keras")
    monkeypatch.setattr(jit, "_known", {})
    monkeypatch.setattr(jit, "_try_in_a_process", lambda *_: ("no kernel", True))
    monkeypatch.setattr(jit, "_recall", lambda key: None)
    with pytest.warns(errors.HubWarning, match="XLA is not used for the layer: no kernel"):
        model = keras.saving.load_model(tmp_path / "m.keras", safe_mode=False)
    assert not model.layers[0].supports_jit
    np.testing.assert_allclose(model(X), X / 2 + 1)


def test_what_a_process_leaves_says_why_and_whether_it_lasts():
    def verdict(code, out="", error=""):
        return jit._verdict(tensorflow_process.Reply(code, out, error))

    stage = '{"stage": "the forward pass"}\n'
    assert verdict(0, stage + '{"reason": ""}\n') == ("", True)
    assert verdict(0, stage + '{"reason": "no kernel"}\n') == ("no kernel", True)
    assert verdict(0, '{"reason": "RESOURCE_EXHAUSTED: x"}')[1] is False
    assert verdict(-6, stage) == ("the process ended with SIGABRT while XLA compiled the forward pass", True)
    assert verdict(-6) == ("the process ended with SIGABRT before XLA compiled anything", False)
    assert verdict(-9, stage)[1] is False  # the operating system needed its memory
    text, lasts = verdict(1, "noise", "Traceback\nImportError: x")
    assert (text.endswith("ImportError: x"), lasts) == (True, False)


def test_other_numbers_under_xla_are_refused():
    trial._compare(tf.constant([1.0, 2.0]), tf.constant([1.0, 2.0001]))
    with pytest.raises(ValueError, match=r"differs by up to 0\.5"):
        trial._compare(tf.constant([1.0, 2.0]), tf.constant([1.0, 2.5]))


def test_other_arguments_and_modes_have_other_verdicts(produced, trials):
    handle = produced(producers.batch_norm)
    for arguments in ({}, {"trainable": True}, {"trainable": True, "arguments": {"training": False}}, {}):
        layers.HubLayer(handle, jit=True, **arguments)
    assert [asked for asked, _ in trials] == [False, True, True]
