"""`execution="host"` on JAX and PyTorch: the numbers are those of TensorFlow's own functions, and train as there.

`python3 dev.py backends` runs these tests, each backend in an environment of its own.
"""

import importlib

import keras
import numpy as np
import producers
import pytest
import tensorflow as tf

import keras_hub_layers as khl
from keras_hub_layers import errors, layers

BACKEND = keras.backend.backend()
pytestmark = pytest.mark.skipif(
    BACKEND == "tensorflow", reason="for KERAS_BACKEND=jax or torch: python3 dev.py backends"
)
X = np.linspace(0.5, 2.0, 8, dtype="float32")[:, None]


def as_array(value):
    return keras.ops.convert_to_numpy(value)


def host(handle, **given):
    return layers.HubLayer(handle, execution="host", **given)


@pytest.fixture(scope="module")
def odd(tmp_path_factory):
    """[lgamma(w·x), the number of the row], with w = 1.5, the loss 0.1·w², and `steps` of inference calls."""
    root = tf.train.Checkpoint(w=tf.Variable(1.5, name="scale/w"), steps=tf.Variable(0, name="steps", trainable=False))

    def call(x):
        root.steps.assign_add(1)
        return [tf.math.lgamma(root.w * x), tf.range(tf.shape(x, tf.int64)[0])]

    root.__call__ = tf.function(call, input_signature=[tf.TensorSpec((None, 1))])
    root.regularization_losses = [tf.function(lambda: 0.1 * root.w**2, input_signature=[])]
    root.variables, root.trainable_variables = [root.w, root.steps], [root.w]
    return producers.save(root, tmp_path_factory.mktemp("odd") / "model")


def gradients(layer, x):
    """Those of Σ(3·y) of the first output, for x and the trainable weights."""
    if BACKEND == "jax":
        jax = importlib.import_module("jax")

        def total(x, trained):
            outputs, _ = layer.stateless_call(trained, [w.value for w in layer.non_trainable_variables], x)
            return 3 * outputs[0].sum()

        return jax.jit(jax.grad(total, argnums=(0, 1)))(x, [w.value for w in layer.trainable_variables])
    torch = importlib.import_module("torch")
    leaf = torch.tensor(x, requires_grad=True)
    total = 3 * layer(leaf)[0].sum()
    found = torch.autograd.grad(total, [leaf, *(weight.value for weight in layer.trainable_variables)])
    return found[0], found[1:]


def test_outputs_and_gradients_are_those_of_the_functions_of_tensorflow(odd):
    """The gradient of lgamma is digamma."""
    layer = host(odd, trainable=True)
    values, rows = map(as_array, layer(X))
    np.testing.assert_allclose(values, tf.math.lgamma(1.5 * X), rtol=1e-6)
    np.testing.assert_array_equal(rows, range(8))
    of_x, of_weights = gradients(layer, X)
    slope = 3 * tf.math.digamma(1.5 * X).numpy()
    np.testing.assert_allclose(as_array(of_x), 1.5 * slope, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose([as_array(value) for value in of_weights], [(X * slope).sum()], rtol=1e-5)
    assert layer.compute_output_shape((None, 1)) == [(None, 1), (None,)]


def test_state_moves_once_for_each_call_and_is_that_of_the_layer(odd):
    layer = host(odd, trainable=True)
    steps = next(weight for weight in layer.weights if "steps" in weight.name)
    layer(X)
    gradients(layer, X)  # a stateless call on JAX
    assert int(steps.value) == (1 if BACKEND == "jax" else 2)
    steps.assign(7)
    layer(X)
    assert int(steps.value) == 8
    assert int(layer.resolved_object.steps) == 8


def test_two_steps_of_a_fit_end_where_those_of_tensorflow_end(produced, tmp_path):
    """A layer before, the layer itself with its loss, and one behind it, against the same steps of TensorFlow."""
    path = produced(producers.half_plus_one, True)
    first, last = (keras.layers.Dense(1, kernel_initializer=keras.initializers.Constant(2.0)) for _ in range(2))
    model = keras.Sequential([keras.Input((1,)), first, host(path, trainable=True, name="hub"), last])
    model.compile(keras.optimizers.SGD(0.01), "mse")
    history = model.fit(np.tile(X, (2, 1)), np.zeros((16, 1)), batch_size=8, shuffle=False, verbose=0)
    plain = tf.saved_model.load(path)
    before, behind = ([tf.Variable([[2.0]]), tf.Variable([0.0])] for _ in range(2))
    trained = [*before, *plain.trainable_variables, *behind]
    losses = []
    for _ in range(2):
        with tf.GradientTape() as tape:
            y = plain(X @ before[0] + before[1], training=True) @ behind[0] + behind[1]
            total = tf.reduce_mean(y**2) + sum(loss() for loss in plain.regularization_losses)
        losses.append(float(total))
        for variable, gradient in zip(trained, tape.gradient(total, trained), strict=True):
            variable.assign_sub(0.01 * gradient)
    np.testing.assert_allclose(history.history["loss"], [np.mean(losses)], rtol=1e-5)
    for weight, variable in zip(model.trainable_weights, trained, strict=True):
        np.testing.assert_allclose(as_array(weight.value), variable, rtol=1e-5)
    tuned = tf.saved_model.load(khl.export(model.get_layer("hub"), tmp_path / "tuned"))
    np.testing.assert_allclose(tuned(X), as_array(model.get_layer("hub")(X)), rtol=1e-6)
    model.save(tmp_path / "model.keras")
    model.save_weights(tmp_path / "model.weights.h5")
    again = keras.saving.load_model(tmp_path / "model.keras", safe_mode=False)
    other = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1), layers.HubLayer(path), keras.layers.Dense(1)])
    other.load_weights(tmp_path / "model.weights.h5")
    assert again.layers[1].get_config()["execution"] == "host"
    for copy in (again, other):
        np.testing.assert_allclose(copy.predict(X, verbose=0), model.predict(X, verbose=0), rtol=1e-6)


def test_statistics_of_batch_normalization_move_in_training_mode_alone(produced):
    model = keras.Sequential([keras.Input((1,)), host(produced(producers.batch_norm), trainable=True)])
    model.compile(keras.optimizers.SGD(0.0), "mse")
    ones = np.ones((8, 1), "float32")
    model.predict(5 * ones, verbose=0)
    assert sorted(float(as_array(weight.value)[0]) for weight in model.weights) == [0.0, 0.0, 1.0, 1.0]
    model.fit(5 * ones, ones, batch_size=8, verbose=0)
    state = sorted(float(as_array(weight.value)[0]) for weight in model.weights)
    np.testing.assert_allclose(state, [0.0, 0.8, 1.0, 1.0], rtol=1e-6)


def test_fifty_batches_of_a_large_layer_are_trained_without_a_standstill(tmp_path):
    size = 300 if BACKEND == "jax" else 30  # callbacks of JAX wait for large arrays
    kernel = np.random.default_rng(0).normal(size=(size, size)).astype("float32") / size**0.5
    root = tf.train.Checkpoint(kernel=tf.Variable(kernel))
    root.__call__ = tf.function(lambda x: tf.tanh(x @ root.kernel), input_signature=[tf.TensorSpec((None, size))])
    root.variables = root.trainable_variables = [root.kernel]
    layer = host(producers.save(root, tmp_path / "model"), trainable=True)
    model = keras.Sequential([keras.Input((size,)), layer, keras.layers.Dense(size, kernel_initializer="zeros")])
    model.compile(keras.optimizers.SGD(1.0), "mse")
    x = np.random.default_rng(1).normal(size=(25 * 64, size)).astype("float32")
    losses = model.fit(x, np.tanh(x), batch_size=64, epochs=2, verbose=0).history["loss"]
    assert losses[1] < 0.95 * losses[0]


@pytest.mark.parametrize("producer", [producers.input_losses, producers.activity_regularizer])
def test_losses_that_depend_on_the_inputs_are_those_of_keras_2(produced, producer):
    import tf_keras

    path, x = produced(producer), np.random.default_rng(0).normal(size=(4, 6)).astype("float32")
    old, layer = tf_keras.models.load_model(path), host(path, trainable=True)
    for training in (False, True):
        np.testing.assert_allclose(as_array(layer(x, training=training)), old(x, training=training), rtol=1e-5)
        ours, known = (sorted(float(loss) for loss in each.losses) for each in (layer, old))
        np.testing.assert_allclose(ours, known, rtol=1e-5)


def test_structures_arguments_and_signatures_are_called(produced, zoo):
    a, b = host(produced(producers.two_lists))([np.float32([[5.0, 6.0]]), np.float32([[1.0, 2.0]])])
    np.testing.assert_allclose([as_array(a)[0], as_array(b)[0]], [[6.0, 8.0], [4.0, 4.0]])
    np.testing.assert_allclose(as_array(host(produced(producers.scaled), arguments={"a": 3.0})(X)), 3 * X, rtol=1e-6)
    layer = host(produced(producers.tensor_training), trainable=False)
    np.testing.assert_allclose(as_array(layer(X[:, 0])), X[:, 0])
    given = {"signature": "serving_default", "output_key": "output_0"}
    np.testing.assert_allclose(as_array(host(produced(producers.plus_one), **given)(X)), X + 1)
    layer = host(zoo / "serving_half_plus_two_v1", signature="serving_default", output_key="y")
    np.testing.assert_allclose(as_array(layer(X)), X / 2 + 2)  # with variables of TF1 in the graph


def test_strings_that_are_known_at_the_call_are_inputs(produced, zoo):
    layer = host(produced(producers.text_classifier))
    for texts in (["hello", "good bad"], np.array(["hello", "good bad"]), tf.constant(["hello", "good bad"])):
        np.testing.assert_allclose(as_array(layer(texts)), [[0.0, 0.0], [2.5, -2.5]])
    with np.load(zoo / "tfx_transform_tf2.ref.npz", allow_pickle=True) as arrays:
        inputs = {key[3:]: arrays[key] for key in arrays if key.startswith("in:")}
    layer = host(zoo / "tfx_transform_tf2", signature="transform_signature", signature_outputs_as_dict=True)
    known = tf.saved_model.load(str(zoo / "tfx_transform_tf2")).signatures["transform_signature"]
    for key, value in known(**{name: tf.constant(array) for name, array in inputs.items()}).items():
        np.testing.assert_allclose(as_array(layer(inputs)[key]), value, rtol=1e-6)


def test_an_op_that_no_table_has_leads_here(odd):
    with pytest.raises(errors.BackendError, match=r"(?s)op Lgamma.*KERAS_BACKEND.*execution=.host.") as caught:
        layers.HubLayer(odd)
    layer = eval(caught.value.fix, {"HubLayer": layers.HubLayer})
    np.testing.assert_allclose(as_array(layer(X)[0]), tf.math.lgamma(1.5 * X), rtol=1e-6)


def test_what_would_differ_when_it_is_computed_again_is_refused(tmp_path):
    root = tf.train.Checkpoint(w=tf.Variable(1.0))
    root.__call__ = tf.function(lambda x, training=False: tf.nn.dropout(x, 0.5) * root.w if training else x * root.w)
    for training in (False, True):
        root.__call__.get_concrete_function(tf.TensorSpec((None, 1)), training=training)
    root.noise = tf.function(lambda x: x + tf.random.normal([]), input_signature=[tf.TensorSpec((None, 1))])
    root.variables = root.trainable_variables = [root.w]
    path = producers.save(root, tmp_path / "model")
    with pytest.raises(
        errors.TrainingError, match=r"(?s)computed once more.*Received: the ops RandomUniform"
    ) as caught:
        host(path, trainable=True)
    layer = eval(caught.value.fix, {"HubLayer": layers.HubLayer})
    np.testing.assert_allclose(as_array(layer(X, training=True)), X)
    frozen = host(path)
    frozen.trainable = True
    with pytest.raises(errors.TrainingError, match="RandomUniform"):
        frozen(X)
    with pytest.raises(errors.BackendError, match=r"(?s)more than once.*RandomStandardNormal"):
        host(path, piece="noise")


def test_what_the_backend_cannot_hold_is_refused(tmp_path):
    root = tf.train.Checkpoint()
    spec = tf.TensorSpec((None, 1), tf.int64)
    root.text = tf.function(lambda x: tf.strings.as_string(x), input_signature=[spec])
    root.large = tf.function(lambda x: x * 2**40, input_signature=[spec])
    root.lengths = tf.function(lambda x: tf.boolean_mask(x, x > 0), input_signature=[spec])
    root.zeros = tf.function(lambda x: tf.boolean_mask(x, x < 1), input_signature=[spec])
    path = producers.save(root, tmp_path / "model")
    ones = np.ones((2, 1), "int32")
    with pytest.raises(errors.BackendError, match=r"(?s)cannot hand its results.*strings"):
        host(path, piece="text")(ones)
    np.testing.assert_array_equal(as_array(host(path, piece="lengths")(ones)), [1, 1])
    if BACKEND == "torch":
        np.testing.assert_array_equal(as_array(host(path, piece="large")(ones)), 2**40 * np.ones((2, 1)))
        return
    jax = importlib.import_module("jax")
    with pytest.raises(errors.BackendError, match="int64 values beyond 32 bits"):
        host(path, piece="large")(ones)
    with pytest.raises(Exception, match="int64 values beyond 32 bits"):
        jax.jit(host(path, piece="large"))(ones).block_until_ready()
    with pytest.raises(errors.BackendError, match="length depends on the values of the inputs"):
        jax.jit(host(path, piece="lengths"))(ones)
    with pytest.raises(Exception, match=r"shape \(1,\), where zeros as inputs gave \(2,\)"):
        jax.jit(host(path, piece="zeros"))(ones * np.int32([[0], [1]])).block_until_ready()


def test_second_derivatives_and_vectorized_calls_are_refused(odd):
    layer = host(odd)
    if BACKEND == "torch":
        torch = importlib.import_module("torch")
        x = torch.tensor(X, requires_grad=True)
        with pytest.raises(errors.BackendError, match=r"(?s)no second derivatives.*create_graph=True"):
            torch.autograd.grad(layer(x)[0].sum(), x, create_graph=True)
        return
    jax = importlib.import_module("jax")
    with pytest.raises(Exception, match="JVP"):
        jax.grad(lambda x: jax.grad(lambda x: layer(x)[0].sum())(x).sum())(X)
    with pytest.raises(Exception, match="vmap"):
        jax.vmap(lambda x: layer(x[None])[0])(X)
    keras.distribution.set_distribution(keras.distribution.DataParallel(devices=["cpu:0"]))
    try:
        with pytest.raises(errors.BackendError, match=r"(?s)computes on one device.*DataParallel"):
            layer(X)
    finally:
        keras.distribution.set_distribution(None)
