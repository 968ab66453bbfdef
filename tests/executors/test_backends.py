"""A HubLayer on JAX and on PyTorch: it is used, trained, saved and given back as on TensorFlow.

`python3 dev.py backends` runs these tests, each backend in an environment of its own.
"""

import filecmp
import warnings

import keras
import numpy as np
import producers
import pytest
import tensorflow as tf

import keras_hub_layers as khl
from keras_hub_layers import callbacks, distribution, errors, finetuning, layers

BACKEND = keras.backend.backend()
pytestmark = pytest.mark.skipif(
    BACKEND == "tensorflow", reason="for KERAS_BACKEND=jax or torch: python3 dev.py backends"
)

X = np.ones((8, 1), "float32")
Y = np.zeros((8, 1), "float32")


def model_of(handle, trainable=True, **given):
    model = keras.Sequential([keras.Input((1,)), layers.HubLayer(handle, trainable=trainable, name="hub", **given)])
    model.compile(keras.optimizers.SGD(0.1), "mse")
    return model


def as_array(value):
    return keras.ops.convert_to_numpy(value)


def weights_of(model):
    return {weight.path.rpartition("/")[2].replace("-", "."): as_array(weight.value) for weight in model.weights}


@pytest.mark.parametrize("of_keras_2", [False, True])
def test_a_call_computes_the_known_answer(produced, of_keras_2):
    layer = layers.HubLayer(produced(producers.half_plus_one, of_keras_2))
    np.testing.assert_allclose(as_array(layer(np.array([[8.0]], "float32"))), [[5.0]])
    assert not layer.trainable_weights


FLOAT = np.float32


@pytest.mark.parametrize(
    ("producer", "given", "inputs", "expected"),
    [
        (producers.two_lists, {}, [FLOAT([[5.0, 6.0]]), FLOAT([[1.0, 2.0]])], [[[6.0, 8.0]], [[4.0, 4.0]]]),
        (producers.sum_and_difference, {}, {"x": FLOAT([[11.0]]), "y": FLOAT([[1.0]])}, [[[12.0, 13.0]]]),
        (producers.token_doubler, {}, np.int32([[1, 2, 3]]), [[[2.0, 4.0, 6.0]]]),
        (producers.with_pieces, {"piece": "encoder"}, FLOAT([[2.0]]), [[[6.0]]]),
        (producers.plus_one, {"signature": "serving_default", "output_key": "output_0"}, FLOAT([10.0]), [[11.0]]),
    ],
)
def test_structures_pieces_and_signatures_are_called(produced, producer, given, inputs, expected):
    outputs = keras.tree.flatten(layers.HubLayer(produced(producer), **given)(inputs))
    for value, known in zip(outputs, expected, strict=True):
        np.testing.assert_allclose(as_array(value), known)


def test_several_inputs_reach_the_arguments_that_they_are_meant_for(tmp_path):
    """z - 10·a, where z is the first argument and the last name; and x + 10·zeta + 100·alpha by name alone."""
    spec, root = tf.TensorSpec((None, 1)), tf.train.Checkpoint()
    root.f = tf.function(lambda z, a: z - 10 * a, input_signature=[spec, spec])
    path = producers.save(root, tmp_path / "signature", signatures={"difference": root.f})
    inputs = {"z": FLOAT([[3.0]]), "a": FLOAT([[1.0]])}
    layer = layers.HubLayer(path, signature="difference", output_key="output_0")
    np.testing.assert_allclose(as_array(layer(inputs)), [[-7.0]])

    class ByName(tf.Module):
        @tf.function
        def __call__(self, x, *, zeta=None, alpha=None):
            return x + 10 * (0 if zeta is None else zeta) + 100 * (0 if alpha is None else alpha)

    module = ByName()
    module.__call__.get_concrete_function(spec, zeta=spec, alpha=spec)
    tf.saved_model.save(module, str(tmp_path / "by_name"))
    inputs = {"x": FLOAT([[3.0]]), "zeta": FLOAT([[2.0]]), "alpha": FLOAT([[1.0]])}
    np.testing.assert_allclose(as_array(layers.HubLayer(tmp_path / "by_name")(inputs)), [[123.0]])

    class WithMode(tf.Module):
        @tf.function
        def __call__(self, x, training=False, mask=None):
            return x * tf.cast(training, tf.float32) + 10 * (0 if mask is None else mask)

    module = WithMode()
    module.__call__.get_concrete_function(spec, tf.TensorSpec((), tf.bool), spec)
    tf.saved_model.save(module, str(tmp_path / "with_mode"))
    inputs = {"x": FLOAT([[3.0]]), "mask": FLOAT([[2.0]])}
    np.testing.assert_allclose(as_array(layers.HubLayer(tmp_path / "with_mode")(inputs)), [[20.0]])


def test_a_variable_of_text_stays_on_the_host(tmp_path):
    root = tf.train.Checkpoint(text=tf.Variable("2.0"), w=tf.Variable([3.0]))
    call = lambda x: x * root.w * tf.strings.to_number(root.text)  # noqa: E731
    root.__call__ = tf.function(call, input_signature=[tf.TensorSpec((None, 1))])
    root.variables, root.trainable_variables = [root.w, root.text], [root.w]
    layer = layers.HubLayer(producers.save(root, tmp_path / "model"))
    np.testing.assert_allclose(as_array(layer(X)), 6 * X)
    assert len(layer.weights) == 1


def test_the_values_of_what_a_layer_has_loaded_exist_once_and_those_of_an_object_of_the_user_stay(produced):
    path = produced(producers.multiply)
    layer, obj = layers.HubLayer(path), khl.load(path)
    held = layer._executor.variable_of(layer.weights[0])
    assert held.numpy().size == 0
    layer.set_weights([np.float32(5.0)])
    assert layer.resolved_object.v is held
    assert float(held) == 5.0
    of_obj = layers.HubLayer(obj)
    assert float(obj.v) == 2.0
    np.testing.assert_allclose(as_array(of_obj(np.float32([3.0]))), [6.0])
    assert float(layers.HubLayer(path, execution="host").resolved_object.v) == 2.0


@pytest.mark.parametrize("dtype", ["int64", "float64", "bfloat16", "bool"])
def test_the_object_has_its_variables_back_in_their_dtypes(tmp_path, dtype):
    root = tf.train.Checkpoint()
    root.v = tf.Variable(tf.cast([1, 0, 1], dtype))
    root.__call__ = tf.function(lambda x: x + tf.cast(root.v, "float32"), input_signature=[tf.TensorSpec((None, 3))])
    root.variables, root.trainable_variables = [root.v], []
    layer = layers.HubLayer(producers.save(root, tmp_path / "model"))
    np.testing.assert_allclose(as_array(layer(np.zeros((1, 3), "float32"))), [[1.0, 0.0, 1.0]])
    held = layer.resolved_object.v
    assert held.dtype.name == dtype
    np.testing.assert_array_equal(held.numpy().astype("float32"), [1.0, 0.0, 1.0])


@pytest.mark.parametrize("execution", ["auto", "host"])
@pytest.mark.parametrize("has_started", [False, True])
def test_tensorflow_takes_no_gpu(produced, monkeypatch, execution, has_started):
    hidden = []

    def hide(devices, kind):
        hidden.append((devices, kind))
        if has_started:
            raise RuntimeError("Visible devices cannot be modified after being initialized")

    monkeypatch.setattr(tf.config, "set_visible_devices", hide)
    layer = layers.HubLayer(produced(producers.half_plus_one), execution=execution)
    assert hidden == [([], "GPU")]
    np.testing.assert_allclose(as_array(layer(X)), X / 2 + 1)


def test_a_frozen_layer_stays_as_it_is_and_has_no_losses(produced):
    model = model_of(produced(producers.half_plus_one), trainable=False)
    before = weights_of(model)
    model.fit(X, Y, verbose=0)
    assert model.losses == []
    for name, value in weights_of(model).items():
        np.testing.assert_array_equal(value, before[name])


@pytest.mark.parametrize("of_keras_2", [False, True])
def test_a_step_of_training_is_that_of_a_calculation_by_hand(produced, of_keras_2):
    """y = w·x + 1 with w = 0.5 and a loss of y² + 0.01·w²: w - 0.1·(2·1.5 + 0.02·0.5) = 0.199, the rest frozen."""
    model = model_of(produced(producers.half_plus_one, of_keras_2))
    history = model.fit(X, Y, batch_size=8, verbose=0)
    np.testing.assert_allclose(history.history["loss"], [2.2525], rtol=1e-6)
    np.testing.assert_allclose(min(float(np.min(value)) for value in weights_of(model).values()), 0.199, rtol=1e-6)


@pytest.mark.skipif(BACKEND != "jax", reason="Keras compiles by itself on JAX alone")
def test_a_model_compiles_its_step(produced):
    assert model_of(produced(producers.half_plus_one)).jit_compile


def test_each_step_draws_other_random_numbers(tmp_path):
    root = tf.train.Checkpoint(w=tf.Variable(1.0))
    root.__call__ = tf.function(lambda x, training=False: tf.nn.dropout(x, 0.3) * root.w if training else x * root.w)
    for training in (False, True):
        root.__call__.get_concrete_function(tf.TensorSpec((None, 64)), training=training)
    root.variables = root.trainable_variables = [root.w]
    layer = layers.HubLayer(producers.save(root, tmp_path / "model"), trainable=True)
    model = keras.Sequential([keras.Input((64,)), layer])
    model.compile(keras.optimizers.SGD(0.0), "mse")
    x = np.ones((2, 64), "float32")
    assert len({float(model.train_on_batch(x, x)) for _ in range(4)}) > 1
    np.testing.assert_allclose(finetuning.features(layers.HubLayer(tmp_path / "model"), x), x)
    assert len(layer.weights) == 1


def test_training_mode_moves_the_statistics_and_inference_mode_does_not(produced):
    layer = layers.HubLayer(produced(producers.batch_norm), trainable=True)
    model = keras.Sequential([keras.Input((1,)), layer])
    model.compile(keras.optimizers.SGD(0.0), "mse")
    model.predict(X * 5, verbose=0)
    assert float(weights_of(model)["batch_normalization.moving_mean"][0]) == 0.0
    model.fit(X * 5, Y, batch_size=8, verbose=0)
    state = weights_of(model)
    np.testing.assert_allclose(state["batch_normalization.moving_mean"], [1.0], rtol=1e-6)
    np.testing.assert_allclose(state["batch_normalization.moving_variance"], [0.8], rtol=1e-6)


def test_an_export_at_the_end_of_fit_is_the_source_with_new_weights(produced, tmp_path):
    source, path = produced(producers.half_plus_one, True), str(tmp_path / "tuned")
    model = model_of(source)
    model.fit(X, Y, batch_size=8, verbose=0, callbacks=[callbacks.ExportFinetuned(path, verbose=0)])
    assert filecmp.cmp(f"{source}/saved_model.pb", f"{path}/saved_model.pb", shallow=False)
    plain = tf.saved_model.load(path)(tf.constant(X)).numpy()
    np.testing.assert_allclose(plain, model.predict(X, verbose=0), rtol=1e-6)
    np.testing.assert_allclose(plain[0, 0], 1.199, rtol=1e-6)


def test_files_of_keras_hold_what_was_trained(produced, tmp_path):
    model = model_of(produced(producers.half_plus_one, True))
    model.fit(X, Y, batch_size=8, verbose=0)
    model.save(tmp_path / "model.keras")
    model.save_weights(tmp_path / "model.weights.h5")
    again = keras.saving.load_model(tmp_path / "model.keras", safe_mode=False)
    other = model_of(produced(producers.half_plus_one, True))
    other.load_weights(tmp_path / "model.weights.h5")
    for copy in (again, other):
        np.testing.assert_allclose(copy.predict(X, verbose=0), model.predict(X, verbose=0), rtol=1e-6)


def test_the_resolved_object_has_the_weights_of_the_layer(produced):
    layer = layers.HubLayer(produced(producers.multiply))
    layer.set_weights([np.full_like(as_array(weight.value), 7.0) for weight in layer.weights])
    assert float(layer.resolved_object(tf.constant([2.0]))[0]) == 14.0


def test_published_losses_are_tuned_without_a_warning_of_what_the_backend_lacks(produced):
    model = keras.Sequential([keras.Input((1,)), layers.HubLayer(produced(producers.shared_loss))])
    model.add(keras.layers.Dense(1))
    model.compile("sgd", "mse")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        finetuning.fine_tune(model, (X, Y), epochs=2, verbose=0)
    assert not [str(warning.message) for warning in caught if issubclass(warning.category, errors.HubWarning)]


def test_a_part_is_unfrozen_and_the_verbs_of_finetuning_work(produced):
    layer = layers.HubLayer(produced(producers.half_plus_one, True), name="hub")
    model = keras.Sequential([keras.Input((1,)), layer, keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    assert [group.name for group in finetuning.groups(layer)] == ["times_w", "plus_1"]
    finetuning.fine_tune(model, (X, Y), epochs=2, verbose=0)
    assert layer.trainable
    np.testing.assert_allclose(
        finetuning.features(layers.HubLayer(produced(producers.half_plus_one, True)), X), np.full((8, 1), 1.5)
    )
    finetuning.unfreeze(layer, "times_w")
    assert {weight.path.rpartition("/")[2].replace("-", ".") for weight in layer.trainable_weights} == {
        "times_w.kernel"
    }


def test_shapes_are_known_before_a_call(produced):
    layer = layers.HubLayer(produced(producers.half_plus_one))
    assert layer.compute_output_shape((None, 1)) == (None, 1)
    x = keras.Input((1,))
    assert keras.Model(x, layer(x)).output_shape == (None, 1)


def test_strings_are_refused_with_the_way_out(produced):
    with pytest.raises(errors.InputError, match=r"(?s)string dense tensor is expected, which this backend.*host_stage"):
        layers.HubLayer(produced(producers.text_length))(["a"])


def test_an_op_that_no_table_has_is_an_error_of_the_constructor(tmp_path):
    root = tf.Module()
    root.__call__ = tf.function(lambda x: tf.math.lgamma(x, name="odd"), input_signature=[tf.TensorSpec((None, 1))])
    path = producers.save(root, tmp_path / "model")
    with pytest.raises(errors.BackendError, match=r"(?s)op Lgamma.*Where: .*node 'odd'.*KERAS_BACKEND"):
        layers.HubLayer(path)


@tf.custom_gradient
def doubled(x):
    """x², with a gradient of 3·2x."""
    inner = x * 2  # only the gradient needs it
    return x * x, lambda upstream: 3 * upstream * inner


@tf.custom_gradient
def odd(x):
    return x, lambda upstream: tf.math.lgamma(upstream)


@tf.custom_gradient
def scaled(x):
    """2·x by a variable of its own. The gradients are 5 and 7 times the true ones."""
    y = x * scaled.w
    return y, lambda upstream, variables: (5 * upstream * scaled.w, [7 * tf.reduce_sum(upstream * x, 0)])


def with_gradient_of(function, path, is_saved=True, is_nested=False):
    """w, times 1 and then a function with a custom gradient; w is 2."""
    root = tf.train.Checkpoint(w=tf.Variable([2.0]))
    inner = tf.function(lambda x: function(x * 1.0)) if is_nested else function
    root.__call__ = tf.function(lambda x: inner(x * root.w), input_signature=[tf.TensorSpec((None, 1))])
    root.variables = root.trainable_variables = [root.w]
    if function is scaled:
        root.own = scaled.w = tf.Variable([2.0])
        root.variables = root.trainable_variables = [root.w, root.own]
    options = tf.saved_model.SaveOptions(experimental_custom_gradients=is_saved)
    tf.saved_model.save(root, str(path), options=options)
    return str(path)


@pytest.mark.parametrize("is_nested", [False, True])
def test_a_custom_gradient_is_the_one_of_the_savedmodel(tmp_path, is_nested):
    """y = (2·x)², and dy/dw = 3·2·(2·x)·x = 12 for x = 1, not 4: 2 - 0.001·2·4·12 = 1.904."""
    model = model_of(with_gradient_of(doubled, tmp_path / "model", is_nested=is_nested))
    model.compile(keras.optimizers.SGD(0.001), "mse")
    model.fit(X, Y, batch_size=8, verbose=0)
    np.testing.assert_allclose(next(iter(weights_of(model).values())), [1.904], rtol=1e-6)


def test_a_custom_gradient_counts_for_what_stands_before_a_frozen_layer(tmp_path):
    """y = (2·k·x)² with k = 1, and dy/dk = 3·2·2·2 = 24: 1 - 0.001·2·4·24 = 0.808."""
    frozen = layers.HubLayer(with_gradient_of(doubled, tmp_path / "model"))
    dense = keras.layers.Dense(1, use_bias=False, kernel_initializer="ones")
    model = keras.Sequential([keras.Input((1,)), dense, frozen])
    model.compile(keras.optimizers.SGD(0.001), "mse")
    model.fit(X, Y, batch_size=8, verbose=0)
    np.testing.assert_allclose(as_array(dense.kernel.value), [[0.808]], rtol=1e-6)


def test_the_variables_of_a_custom_gradient_are_trained_by_it(tmp_path):
    """y = own·w·x = 4. dy/dw = 5·own·x = 10, dy/down = 7·w·x = 14: 2 - 0.001·2·4·10 and 2 - 0.001·2·4·14."""
    model = model_of(with_gradient_of(scaled, tmp_path / "model"))
    model.compile(keras.optimizers.SGD(0.001), "mse")
    model.fit(X, Y, batch_size=8, verbose=0)
    np.testing.assert_allclose(
        sorted(float(value[0]) for value in weights_of(model).values()), [1.888, 1.92], rtol=1e-6
    )


@pytest.mark.parametrize(
    ("function", "is_saved", "reason"), [(odd, True, "the op Lgamma"), (doubled, False, "not saved")]
)
def test_a_custom_gradient_that_cannot_be_computed_is_refused_and_never_left_out(tmp_path, function, is_saved, reason):
    path = with_gradient_of(function, tmp_path / "model", is_saved)
    match = rf"(?s)gradient cannot pass.*Received: .*{reason}.*Where: .*IdentityN.*# frozen"
    with pytest.raises(errors.TrainingError, match=match):
        layers.HubLayer(path, trainable=True)
    frozen = layers.HubLayer(path)
    np.testing.assert_allclose(as_array(frozen(X)), (2 * X) ** (2 if function is doubled else 1))
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1), frozen])
    model.compile(keras.optimizers.SGD(0.001), "mse")
    with pytest.raises(errors.TrainingError, match=rf"(?s){reason}.*Where: .*IdentityN"):
        model.fit(X, Y, verbose=0)
    frozen.trainable = True
    with pytest.raises(errors.TrainingError, match=match):
        frozen(X)


def test_a_gradient_that_its_author_forbids_is_not_taken(tmp_path):
    forbid = lambda x: tf.raw_ops.PreventGradient(input=x, message="do not")  # noqa: E731
    model = model_of(with_gradient_of(forbid, tmp_path / "model"))
    np.testing.assert_allclose(model.predict(X, verbose=0), 2 * X)
    with pytest.raises(errors.TrainingError, match=r"(?s)forbids: do not.*Where: .*PreventGradient"):
        model.fit(X, Y, verbose=0)


@pytest.mark.parametrize("name", ["bfcnn_resnet_1x6", "mlperf_tiny_kws"])
def test_models_of_others_compute_what_tensorflow_computes(zoo, name):
    with np.load(zoo / f"{name}.ref.npz", allow_pickle=True) as arrays:
        inputs = arrays[next(key for key in arrays if "in" in key)]
    layer = layers.HubLayer(zoo / name)
    expected = khl.load(zoo / name)(tf.constant(inputs))
    close = 1 if expected.dtype == tf.uint8 else 1e-4  # a pixel in ten thousand is rounded to the other side
    np.testing.assert_allclose(np.float64(as_array(layer(inputs))), np.float64(expected), rtol=1e-4, atol=close)


def test_variables_of_tf1_that_belong_to_the_graph_are_read(zoo, produced):
    """y = x/2 + 2, and y = 2·x + 1."""
    given = {"signature": "serving_default", "output_key": "y"}
    for handle, x, y in (
        (zoo / "serving_half_plus_two_v1", [[1.0], [4.0]], [[2.5], [4.0]]),
        (produced(producers.tf1_references), [[1.0, 4.0]], [[3.0, 9.0]]),
    ):
        np.testing.assert_array_equal(as_array(layers.HubLayer(handle, **given)(np.float32(x))), y)


@pytest.mark.parametrize("producer", [producers.input_losses, producers.activity_regularizer])
def test_losses_that_depend_on_the_inputs_are_those_of_keras_2(produced, producer):
    import tf_keras

    path, x = produced(producer), np.random.default_rng(0).normal(size=(4, 6)).astype("float32")
    old, layer = tf_keras.models.load_model(path), layers.HubLayer(path, trainable=True)
    for training in (False, True):
        np.testing.assert_allclose(as_array(layer(x, training=training)), old(x, training=training), rtol=1e-5)
        ours, known = (sorted(float(loss) for loss in each.losses) for each in (layer, old))
        np.testing.assert_allclose(ours, known, rtol=1e-5)


def test_the_stages_of_a_layer_for_texts_train_as_the_layer_does_on_tensorflow(produced, tmp_path):
    """Rows [i, -i] of the words, and their mean: "hello" is [0, 0], "good bad" [2.5, -2.5]. d = (2/4)·y of each row."""
    texts, targets = np.array(["hello", "good bad"]), np.zeros((2, 2), "float32")
    layer = layers.HubLayer(produced(producers.text_classifier), trainable=True)
    host, device = distribution.host_stage(layer), distribution.device_stage(layer)
    np.testing.assert_allclose(as_array(device(host(tf.constant(texts)))), [[0.0, 0.0], [2.5, -2.5]])
    dataset = tf.data.Dataset.from_tensor_slices((texts, targets)).batch(2).map(lambda x, y: (host(x), y))
    inputs = host.inputs()
    model = keras.Model(inputs, device(inputs))
    model.compile(keras.optimizers.SGD(0.1), "mse")
    model.fit(dataset, verbose=0)
    moved = 0.1 * (2 / 4) * 2.5 / 2  # each word is half of the mean
    expected = [[0.0, 0.0], [1.0, -1.0], [2 - moved, moved - 2], [3 - moved, moved - 3], [4.0, -4.0]]
    np.testing.assert_allclose(as_array(layer.weights[0].value), expected, rtol=1e-6)
    path = khl.export(layer, tmp_path / "tuned")
    known = model.predict(dataset, verbose=0)
    np.testing.assert_allclose(tf.saved_model.load(path)(tf.constant(texts)).numpy(), known, rtol=1e-6)
    again = layers.HubLayer(path, trainable=True)
    host, device = distribution.host_stage(again), distribution.device_stage(again)
    np.testing.assert_allclose(as_array(device(host(tf.constant(texts)))), known, rtol=1e-6)
    assert again.trainable_weights


def test_integers_of_64_bits_are_computed_as_they_are_or_refused(tmp_path):
    root = tf.train.Checkpoint()
    root.__call__ = tf.function(lambda x: x + 1, input_signature=[tf.TensorSpec((None,), tf.int64)])
    layer = layers.HubLayer(producers.save(root, tmp_path / "model"))
    np.testing.assert_array_equal(as_array(layer(np.array([2**31 - 2]))), [2**31 - 1])
    if BACKEND == "jax":
        with pytest.raises(errors.InputError, match="int64 values beyond 32 bits, which JAX has only with jax_enable"):
            layer(np.array([2**40]))
    else:
        np.testing.assert_array_equal(as_array(layer(np.array([2**40]))), [2**40 + 1])


def test_a_keras_model_is_exported_by_another_process_as_a_reusable_savedmodel(produced, tmp_path):
    """(w·x + 1)·3 with w = 0.5, which a HubLayer computes, and then BatchNormalization in inference mode."""
    hub = layers.HubLayer(produced(producers.half_plus_one, True), trainable=True)
    dense = keras.layers.Dense(1, use_bias=False, kernel_initializer=keras.initializers.Constant(3.0))
    norm = keras.layers.BatchNormalization(epsilon=0.0, momentum=0.5)
    model = keras.Sequential([keras.Input((1,), name="x"), hub, dense, norm])
    path = khl.export(model, tmp_path / "export")
    loaded = tf.saved_model.load(path)
    np.testing.assert_allclose(loaded(2 * X)[0], [6.0], rtol=1e-6)
    assert len(loaded.trainable_variables) == len(model.trainable_variables)
    assert len(loaded.regularization_losses) == 1
    loaded(2 * X, training=True)
    assert sorted(float(v[0]) for v in loaded.variables if v.shape == (1,) and "moving" in v.name) == [0.5, 3.0]
    again = layers.HubLayer(path, trainable=True)
    np.testing.assert_allclose(as_array(again(2 * X)), model.predict(2 * X, verbose=0), rtol=1e-6)
    with pytest.raises(errors.BackendError, match=r"(?s)by another process, on TensorFlow.*signatures=.*KERAS_BACKEND"):
        khl.export(model, tmp_path / "other", signatures={"f": lambda x: x})
    if BACKEND == "jax":
        import jax.numpy

        own = keras.Sequential([keras.Input((1,)), keras.layers.Lambda(lambda x: jax.numpy.cos(x))])
        with pytest.raises(errors.ExportError, match=r"(?s)could not be made again on TensorFlow.*What to do:"):
            khl.export(own, tmp_path / "other")
        assert not (tmp_path / "other").exists()
