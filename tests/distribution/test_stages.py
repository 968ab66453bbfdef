"""A layer that is cut before its first variable computes and trains what it does as a whole."""

import keras
import numpy as np
import producers
import pytest
import tensorflow as tf
import tf_keras

import keras_hub_layers as khl
from keras_hub_layers import distribution, errors, layers

TEXTS = tf.constant(["hello world", "good", "bad bad bad", "hello"])
COLUMN = TEXTS[:, None]
TARGETS = np.array([[1.0], [0.0], [2.0], [1.0]], "float32")


def text_norm(directory):
    """Lengths of texts, dense and normalized over the batch: state that moves in training mode."""
    inputs = tf_keras.Input((1,), dtype=tf.string)
    lengths = tf_keras.layers.Lambda(lambda texts: tf.cast(tf.strings.length(texts), tf.float32))(inputs)
    dense = tf_keras.layers.Dense(2, kernel_initializer="ones", kernel_regularizer="l2")(lengths)
    return producers.save(
        tf_keras.Model(inputs, tf_keras.layers.BatchNormalization(momentum=0.5)(dense)), directory, keras=True
    )


def nested(directory):
    """y = length·w in a function within a function, with a branch and a loop around the variable."""
    root = tf.train.Checkpoint()
    root.w = tf.Variable(2.0, name="w")

    @tf.function
    def lengths(texts):
        with tf.control_dependencies([tf.debugging.assert_greater(tf.size(texts), 0)]):
            return tf.cast(tf.strings.length(texts), tf.float32)

    @tf.function
    def weigh(numbers):
        double = tf.cond(root.w > 0, lambda: root.w * numbers, lambda: -root.w * numbers)
        return tf.while_loop(lambda i, x: i < 2, lambda i, x: (i + 1, x + numbers * root.w), [0, double])[1]

    signature = [tf.TensorSpec((None, 1), tf.string)]
    root.__call__ = tf.function(
        lambda texts: {"y": weigh(lengths(texts)), "n": lengths(texts)}, input_signature=signature
    )
    root.variables = root.trainable_variables = [root.w]
    return producers.save(root, directory)


def raw(directory, function, **variables):
    root = tf.train.Checkpoint(**variables)
    root.__call__ = producers.traced(
        lambda texts, training=False: function(texts, training),
        *[(tf.TensorSpec((None, 1), tf.string), {"training": mode}) for mode in (True, False)],
    )
    root.variables = root.trainable_variables = list(variables.values())
    return producers.save(root, directory)


def staged(path, **arguments):
    layer = layers.HubLayer(path, name="hub", **arguments)
    return layer, distribution.host_stage(layer), distribution.device_stage(layer)


MODELS = [
    pytest.param(producers.text_length, (False,), COLUMN, id="raw"),
    pytest.param(producers.text_length, (True,), COLUMN, id="saved by Keras 2"),
    pytest.param(producers.text_classifier, (), TEXTS, id="ragged words"),
    pytest.param(text_norm, (), COLUMN, id="normalized"),
]


@pytest.mark.parametrize(("producer", "arguments", "inputs"), MODELS)
def test_both_parts_train_what_the_whole_does(produced, tmp_path, producer, arguments, inputs):
    path = produced(producer, *arguments)
    layer, host, device = staged(path, trainable=True)
    whole = layers.HubLayer(path, trainable=True)
    given = keras.Input(inputs.shape[1:], dtype="string")
    models = []
    for ends, hub in ((host.inputs(), device), (given, whole)):
        models.append(keras.Model(ends, keras.layers.Dense(1, kernel_initializer="ones")(hub(ends))))
        models[-1].compile(keras.optimizers.SGD(0.01), "mse")
    dataset = tf.data.Dataset.from_tensor_slices((inputs, TARGETS)).batch(2)
    mapped = dataset.map(lambda text, target: (host(text), target))
    assert not [spec for spec in tf.nest.flatten(mapped.element_spec) if spec.dtype == tf.string]
    losses = [
        model.fit(data, epochs=2, shuffle=False, verbose=0).history["loss"]
        for model, data in zip(models, (mapped, dataset), strict=True)
    ]
    np.testing.assert_allclose(*losses, rtol=1e-6)
    assert len(layer.weights) == len(whole.weights) > 0
    for weight, expected in zip(layer.weights, whole.weights, strict=True):
        np.testing.assert_allclose(weight.numpy(), expected.numpy(), rtol=1e-6)
    tuned = layers.HubLayer(khl.export(layer, tmp_path / "tuned"))
    np.testing.assert_allclose(tuned(inputs), whole(inputs), rtol=1e-6)


def test_functions_branches_and_loops_are_cut_too(produced):
    layer, host, device = staged(produced(nested), trainable=True)
    with tf.GradientTape() as tape:
        outputs = device(host(COLUMN))
    lengths = tf.strings.length(COLUMN).numpy()
    np.testing.assert_array_equal(outputs["y"], 3 * 2 * lengths)
    np.testing.assert_array_equal(outputs["n"], lengths)
    assert float(tape.gradient(outputs["y"], layer.weights[0].value)) == 3 * lengths.sum()


def test_what_is_trained_and_counted_is_that_of_the_layer(produced):
    path = produced(producers.text_length)
    _, _, frozen = staged(path)
    assert (frozen.trainable_weights, frozen.losses) == ([], [])
    layer, _, device = staged(path, trainable=True, unfreeze="kernel")
    assert [float(loss) for loss in device.losses] == [float(loss) for loss in layer.losses] == [pytest.approx(0.001)]
    assert device.unfreeze == ["kernel"]
    assert device.trainable_weights[0].value is layer.trainable_weights[0].value


def test_a_batch_that_was_split_after_the_host_is_an_error(produced):
    _, host, device = staged(produced(producers.text_classifier))
    parts = host(TEXTS)
    halves = {name: part[: (part.shape[0] + 1) // 2] if name != "sizes" else part for name, part in parts.items()}
    with pytest.raises(tf.errors.InvalidArgumentError, match="The batch was split after the host stage"):
        device(halves)


def _joined(texts, training):
    return tf.strings.length(tf.strings.join([texts, tf.strings.as_string(WORD)]))


WORD = tf.Variable(1.0, name="word")
CUTS = [
    (lambda texts, training: tf.cast(_joined(texts, training), tf.float32) * WORD, "what is no number goes past it"),
    (
        lambda texts, training: (
            WORD * tf.cast(tf.strings.length(tf.strings.strip(texts) if training else texts), tf.float32)
        ),
        "something else before its first variable when it is trained",
    ),
    (lambda texts, training: tf.strings.length(texts), "computes without variables"),
]


@pytest.mark.parametrize(("function", "message"), CUTS, ids=["past", "modes", "none"])
def test_a_graph_that_cannot_be_cut_is_an_error(tmp_path, function, message):
    layer = layers.HubLayer(raw(tmp_path / "model", function, word=WORD))
    with pytest.raises(errors.InterfaceError, match=f"(?s){message}.*layer '{layer.name}'"):
        distribution.host_stage(layer)


def test_a_signature_is_not_cut(produced):
    layer = layers.HubLayer(produced(producers.text_length), signature="serving_default", output_key="output_0")
    with pytest.raises(errors.InterfaceError, match="Received: a signature"):
        distribution.device_stage(layer)
