"""inspect() says which variables a gradient reaches, as TensorFlow's own tape finds it."""

import gradient_models
import keras
import numpy as np
import producers
import pytest
import tensorflow as tf

from keras_hub_layers import errors, layers
from keras_hub_layers._src import sample_inputs
from keras_hub_layers._src.cli.doctor import handle_check
from keras_hub_layers._src.inspect import inspect as inspect_module
from keras_hub_layers._src.savedmodel import load as load_module

X = np.ones((2, 1), "float32")


def taped(path):
    """Name of each published trainable variable -> whether TensorFlow's tape has a gradient of outputs and losses."""
    obj = tf.saved_model.load(path)
    inputs = sample_inputs.made_up(inspect_module.inspect(path).traces[0].inputs)
    arguments = {"training": True} if inspect_module.inspect(path).accepts_training else {}
    with tf.GradientTape() as tape:
        outputs = [tf.reduce_sum(y) for y in tf.nest.flatten(obj(inputs, **arguments)) if y.dtype.is_floating]
        total = tf.add_n([*outputs, *(loss() for loss in getattr(obj, "regularization_losses", ()))])
    variables = list(obj.trainable_variables)
    gradients = tape.gradient(total, variables)
    return {v.name.split(":")[0]: one is not None for v, one in zip(variables, gradients, strict=True)}


@pytest.mark.parametrize(
    "producer",
    [
        gradient_models.stopped_gradient, gradient_models.lstm, gradient_models.argmax, gradient_models.only_in_a_loss,
        gradient_models.custom_gradient, producers.half_plus_one, producers.batch_norm, producers.shared_loss,
        producers.small_image_model, producers.bert_encoder, producers.text_classifier,
    ],
)  # fmt: skip
def test_a_gradient_reaches_what_the_tape_reaches(produced, producer):
    path = produced(producer)
    info = inspect_module.inspect(path)
    assert {v.name: v.gradient for v in info.variables if v.trainable} == taped(path)
    assert info == inspect_module.inspect(load_module.load(path))


@pytest.mark.parametrize("name", ["mlperf_tiny_kws", "tfx_keras_penguin", "keras_mixedprec_lso_tf22"])
def test_a_gradient_reaches_what_the_tape_reaches_in_the_zoo(zoo, name):
    path = str(zoo / name)
    assert {v.name: v.gradient for v in inspect_module.inspect(path).variables if v.trainable} == taped(path)


def test_what_no_gradient_passes_is_told_from_what_is_not_used_and_neither_is_counted(produced):
    path = produced(gradient_models.stopped_gradient)
    info = inspect_module.inspect(path)
    assert info.fine_tunable
    assert info.reason.startswith(
        "1 of 3 published trainable variables (used, but no gradient passes: b; not used by what is called: c), one"
    )
    assert (info.sizes["trainable"].variables, info.sizes["published"].variables) == (1, 3)
    assert sum(group.trainable for group in info.groups) == 1
    assert "trainable, no gradient" in str(info)
    finding = next(f for f in handle_check.check(path).findings if f.topic == "gradient")
    reasons = "not at c (not used by what is called); not at b (used, but no gradient passes)"
    assert finding.text.startswith(f"arrives at 1 of 3 published trainable variables; {reasons}")


@pytest.mark.filterwarnings("ignore:Gradients do not exist for variables")  # Keras says so too
def test_fit_warns_of_both_kinds_and_the_lines_silence_them(produced):
    path = produced(gradient_models.stopped_gradient)

    def fit(**kwargs):
        layer = layers.HubLayer(path, trainable=True, **kwargs)
        model = keras.Sequential([keras.Input((1,)), layer])
        model.compile(keras.optimizers.SGD(0.5), "mse")
        model.fit(X, 0 * X, verbose=0)
        return {w.name: float(w.numpy()) for w in layer.weights}

    with pytest.warns(errors.HubWarning, match="get no gradient") as caught:
        assert fit() == {"a": -3.0, "b": 3.0, "c": 4.0}  # 2 - 0.5 · 2 · (2 + 3)
    texts = sorted(str(one.message) for one in caught)
    assert any("used, but no gradient passes from the outputs to them: b." in text for text in texts)
    assert any("the layer calls does not use them: c." in text for text in texts)
    assert fit(unfreeze="^a$") == {"a": -3.0, "b": 3.0, "c": 4.0}


def test_without_any_gradient_it_cannot_be_fine_tuned(produced):
    info = inspect_module.inspect(produced(gradient_models.argmax))
    assert (info.fine_tunable, info.fine_tuning_code) == (False, "")
    assert info.reason == "no gradient passes from its outputs to any of its 1 published trainable variable"


def fit_lost(path, **kwargs):
    layer = layers.HubLayer(path, trainable=True, **kwargs)
    model = keras.Sequential([keras.Input((1,)), layer])
    model.compile(keras.optimizers.SGD(0.5), "mse")
    model.fit(X, 0 * X, verbose=0)
    return float(layer.weights[0].numpy())


def test_a_custom_gradient_that_was_saved_is_used(produced):
    assert inspect_module.inspect(produced(gradient_models.custom_gradient)).fine_tunable
    assert fit_lost(produced(gradient_models.custom_gradient)) == -3.0  # 3 - 0.5 · (2 · 3 · 2)


def test_a_custom_gradient_that_was_not_saved_is_told_before_and_in_fit(produced):
    path = produced(gradient_models.lost_gradient)
    obj = tf.saved_model.load(path)
    with tf.GradientTape(), pytest.raises(LookupError, match="No gradient defined"):  # what TensorFlow says
        obj(X, training=True)
    info = inspect_module.inspect(path)
    assert (info.fine_tunable, info.fine_tuning_code) == (False, "")
    assert "no gradient for its ops IdentityN: their custom gradients were not saved" in info.reason
    assert info.code == f"HubLayer({path!r}, trainable=False)"
    assert info == inspect_module.inspect(load_module.load(path))
    with pytest.raises(errors.TrainingError, match=r"(?s)no gradient for some ops.*IdentityN.*frozen"):
        fit_lost(path)
    layer = layers.HubLayer(path, trainable=True)
    with tf.GradientTape(), pytest.raises(errors.TrainingError, match=r"(?s)no gradient for some ops.*IdentityN"):
        layer(X, training=True)
    finding = handle_check.check(path).findings[-1]
    assert "their custom gradients were not saved" in finding.text


def test_where_the_training_trace_alone_is_concerned_inference_mode_is_the_way_out(tmp_path):
    path = gradient_models.lost_gradient(tmp_path / "model", only_in_training=True)
    info = inspect_module.inspect(path)
    assert not info.fine_tunable
    assert info.fine_tuning_code == f"HubLayer({path!r}, trainable=True, arguments={{'training': False}})"
    with pytest.raises(errors.TrainingError, match="no gradient for some ops") as caught:
        fit_lost(path)
    assert info.fine_tuning_code in caught.value.fix
    assert fit_lost(path, arguments={"training": False}) == 0.0  # 3 - 0.5 · (2 · 3)
    assert handle_check.check(path).findings[-1].fix == info.fine_tuning_code
