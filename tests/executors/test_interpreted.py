"""`execution="interpreted"` on TensorFlow: the interpreter's numbers equal those of TensorFlow's own functions."""

import keras
import numpy as np
import producers
import pytest
import tensorflow as tf

from keras_hub_layers import errors, layers

X = np.ones((8, 1), "float32")


def results(layer, inputs, training):
    """Outputs, losses, gradients of weights and float inputs, and the weights after a call."""
    tensors = [tf.constant(value) for value in tf.nest.flatten(inputs)]
    floats = [tensor for tensor in tensors if tensor.dtype.is_floating]
    with tf.GradientTape() as tape:
        tape.watch(floats)
        outputs = tf.nest.flatten(layer(tf.nest.pack_sequence_as(inputs, tensors), training=training))
        losses = list(layer.losses)
        total = sum(tf.reduce_sum(tf.cast(y, tf.float64) ** 2) for y in outputs if y.dtype.is_floating)
        total += sum(tf.cast(loss, tf.float64) for loss in losses)
    sources = [*[weight.value for weight in layer.trainable_weights], *floats]
    gradients = map(tf.convert_to_tensor, tape.gradient(total, sources, unconnected_gradients="zero"))
    weights = [weight.value for weight in layer.weights]
    return [np.asarray(value) for value in (*outputs, *losses, *gradients, *weights)]


def zoo_inputs(zoo, name):
    with np.load(zoo / f"{name}.ref.npz", allow_pickle=True) as arrays:
        values = [arrays[key] for key in sorted(arrays) if key.startswith("in:")]
    return values if len(values) > 1 else values[0]


@pytest.mark.filterwarnings("ignore:(?s).*publishes no variables:keras_hub_layers.errors.HubWarning")
@pytest.mark.parametrize(
    "name", ["mlperf_tiny_kws", "tfx_keras_penguin", "keras_mixedprec_lso_tf22", "tfjs_multi_signatures"]
)
def test_models_of_others_have_the_outputs_losses_gradients_and_state_of_the_native_path(zoo, name):
    inputs = zoo_inputs(zoo, name)
    given = {"trainable": True, "arguments": {"training": False}} if name == "mlperf_tiny_kws" else {"trainable": True}
    native, ours = layers.HubLayer(zoo / name, **given), layers.HubLayer(zoo / name, execution="interpreted", **given)
    for value, known in zip(results(ours, inputs, True), results(native, inputs, True), strict=True):
        np.testing.assert_allclose(value, known, rtol=1e-5, atol=1e-5 * max(1e-3, np.abs(known).max()))


@pytest.mark.parametrize(
    ("name", "given"),
    [
        ("hub_half_plus_two_v1", {}),
        ("serving_half_plus_two_tf2", {"signature": "serving_default", "output_key": "y"}),
        ("serving_half_plus_two_v1", {"signature": "serving_default", "output_key": "y"}),
    ],
)
def test_models_of_tf1_and_signatures_have_the_outputs_of_the_native_path(zoo, name, given):
    x = np.float32([3.0]) if name == "serving_half_plus_two_tf2" else np.float32([[0.0], [3.0], [-7.5]])
    native, ours = layers.HubLayer(zoo / name, **given), layers.HubLayer(zoo / name, execution="interpreted", **given)
    np.testing.assert_allclose(ours(x), native(x), rtol=1e-6)
    np.testing.assert_allclose(ours(x), x / 2 + 2, rtol=1e-6)


def test_a_signature_whose_graph_has_the_inputs_in_an_order_of_its_own(zoo):
    given = {"signature": "transform_signature", "signature_outputs_as_dict": True}
    with np.load(zoo / "tfx_transform_tf2.ref.npz", allow_pickle=True) as arrays:
        inputs = {key[3:]: arrays[key] for key in arrays if key.startswith("in:")}
    known = layers.HubLayer(zoo / "tfx_transform_tf2", **given)(inputs)
    outputs = layers.HubLayer(zoo / "tfx_transform_tf2", execution="interpreted", **given)(inputs)
    assert set(outputs) == set(known)
    for key, value in known.items():
        np.testing.assert_allclose(outputs[key], value, rtol=1e-6)


def test_pixels_of_any_size_and_number_are_those_of_the_native_path(zoo):
    layer = layers.HubLayer(zoo / "bfcnn_resnet_1x6", execution="interpreted")
    pixels = zoo_inputs(zoo, "bfcnn_resnet_1x6")
    unknown = tf.TensorSpec([None] * 4, tf.uint8)
    outputs = tf.function(lambda x: layer(x), input_signature=[unknown], autograph=False)(pixels)
    native = layers.HubLayer(zoo / "bfcnn_resnet_1x6")(pixels)
    difference = np.abs(np.int32(outputs) - np.int32(native))  # a pixel may be rounded to the other side
    assert difference.max() <= 1
    assert (difference > 0).mean() < 1e-3


@pytest.mark.parametrize("producer", [producers.half_plus_one, producers.batch_norm, producers.activity_regularizer])
def test_fit_with_a_batch_that_is_left_over_ends_where_the_native_path_ends(produced, producer):
    path, ends = produced(producer, *([True] if producer is producers.half_plus_one else [])), []
    width = 6 if producer is producers.activity_regularizer else 1
    x = np.random.default_rng(0).normal(size=(10, width)).astype("float32")
    for execution in ("auto", "interpreted"):
        layer = layers.HubLayer(path, trainable=True, execution=execution)
        model = keras.Sequential([keras.Input((width,)), layer])
        model.compile(keras.optimizers.SGD(0.05), "mse")
        history = model.fit(x, np.zeros((10, *model.output_shape[1:])), batch_size=4, shuffle=False, verbose=0)
        ends.append([*map(np.asarray, model.get_weights()), history.history["loss"], model.predict(x, verbose=0)])
    for value, known in zip(*reversed(ends), strict=True):
        np.testing.assert_allclose(value, known, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("producer", [producers.text_length, producers.ragged_sum])
def test_texts_and_ragged_tensors_are_computed_too(produced, producer):
    path = produced(producer)
    inputs = (
        tf.constant([["a"], ["bcd"]]) if producer is producers.text_length else tf.ragged.constant([[1.0, 2.0], [3.0]])
    )
    outputs = layers.HubLayer(path, execution="interpreted")(inputs)
    np.testing.assert_allclose(outputs, layers.HubLayer(path)(inputs))


def test_the_execution_is_in_the_config_and_one_that_does_not_exist_is_an_error(produced):
    path = produced(producers.half_plus_one)
    layer = layers.HubLayer(path, execution="interpreted")
    assert type(layer).from_config(layer.get_config()).get_config()["execution"] == "interpreted"
    assert "execution" not in layers.HubLayer(path).get_config()
    with pytest.raises(errors.InterfaceError, match=r"(?s)no such execution.*\['auto', 'interpreted'.*'native'"):
        layers.HubLayer(path, execution="native")


def test_the_execution_of_other_backends_is_refused_here_and_kept_in_a_config(produced):
    path = produced(producers.half_plus_one)
    with pytest.raises(errors.InterfaceError, match=r"(?s)no other way.*which is for JAX and PyTorch") as caught:
        layers.HubLayer(path, trainable=True, execution="host")
    assert caught.value.fix == f"HubLayer({path!r}, trainable=True)"
    layer = layers.HubLayer(path)
    copy = type(layer).from_config({**layer.get_config(), "execution": "host"})  # as from a file of another backend
    np.testing.assert_allclose(copy(X), layer(X))
    assert copy.get_config()["execution"] == "host"


def test_a_strategy_is_refused(produced):
    refused = pytest.raises(errors.BackendError, match=r"(?s)scope of a distribution strategy.*MirroredStrategy")
    with tf.distribute.MirroredStrategy(["CPU:0"]).scope(), refused:
        layers.HubLayer(produced(producers.half_plus_one), execution="interpreted")


def test_variables_of_tf1_that_belong_to_the_graph_are_read(zoo):
    """y3 = x2/2 + 3."""
    given = {"signature": "regress_x2_to_y3", "output_key": "outputs", "execution": "interpreted"}
    layer = layers.HubLayer(zoo / "serving_half_plus_two_v1", **given)
    np.testing.assert_array_equal(layer(np.float32([[1.0], [4.0]])), [[3.5], [5.0]])


def test_what_changes_a_variable_of_tf1_is_refused(produced):
    given = {"signature": "serving_default", "output_key": "y", "execution": "interpreted"}
    with pytest.raises(errors.BackendError, match=r"(?s)AssignAdd, which changes a variable that belongs to the graph"):
        layers.HubLayer(produced(counting), **given)


def counting(directory):
    """A TF1 SavedModel that counts its calls: y = x + count."""
    v1 = tf.compat.v1
    with tf.Graph().as_default() as graph, v1.Session(graph=graph) as session:
        x = v1.placeholder(tf.float32, [None, 1], name="x")
        count = v1.get_variable("count", initializer=0.0, use_resource=False)
        y = tf.identity(x + v1.assign_add(count, 1.0))
        session.run(v1.global_variables_initializer())
        v1.saved_model.simple_save(session, str(directory), {"x": x}, {"y": y})
    return str(directory)
