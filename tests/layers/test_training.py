"""What is trained, what stays, which mode runs, and which losses count."""

import json
import subprocess
import sys

import keras
import numpy as np
import producers
import pytest
import tensorflow as tf

from keras_hub_layers import callbacks, errors, finetuning, layers
from keras_hub_layers._src.compat import tensorflow

KINDS = pytest.mark.parametrize("keras2", producers.PRODUCERS.values(), ids=producers.PRODUCERS)
X = np.array([[9.0], [10.0], [11.0]] * 10)


def around(layer, shape=(1,)):
    inputs = keras.Input(shape)
    return keras.Model(inputs, layer(inputs))


def values(layer):
    return {weight.name.rsplit(".", 1)[-1]: float(weight.numpy().ravel()[0]) for weight in layer.weights}


def test_the_low_level_example_of_the_guide(produced):
    layer = layers.HubLayer(produced(producers.multiply), trainable=True)
    np.testing.assert_allclose(layer([10.0, 20.0]), [20.0, 40.0])
    np.testing.assert_allclose([w.numpy() for w in layer.trainable_weights], [2.0])
    assert len(layer.losses) == 1
    np.testing.assert_allclose(layer.losses[0], 0.004)


@KINDS
def test_retraining_moves_the_published_kernel_and_nothing_else(produced, keras2):
    layer = layers.HubLayer(produced(producers.half_plus_one, keras2), trainable=True)
    model = around(layer)
    assert (len(model.trainable_weights), len(model.non_trainable_weights)) == (1, 2)
    model.compile(keras.optimizers.SGD(0.002), "mse")
    model.fit(X, X / 2 + 6, batch_size=len(X), epochs=10, verbose=0)
    np.testing.assert_allclose(model(np.array([[0.0]])), [[1.0]])  # the bias stayed
    np.testing.assert_allclose(model(np.array([[10.0]])), [[11.0]], rtol=0.03)  # so the kernel grew to almost 1
    np.testing.assert_allclose(model.losses, [0.01], rtol=0.06)


def test_one_step_of_sgd_moves_the_kernel_by_the_derivative_that_can_be_worked_out(produced):
    """y = w·x + 1 at x = 2, target 0: d/dw [(2w + 1)² + 0.01·w²] = 4(2w + 1) + 0.02·w = 8.01 at w = 0.5."""
    layer = layers.HubLayer(produced(producers.half_plus_one), trainable=True)
    model = around(layer)
    model.compile(keras.optimizers.SGD(0.1), "mse")
    history = model.fit(np.array([[2.0]]), np.array([[0.0]]), verbose=0)
    np.testing.assert_allclose(history.history["loss"], [4.0025], rtol=1e-6)
    np.testing.assert_allclose(layer.trainable_weights[0].numpy(), [[0.5 - 0.801]], rtol=1e-6)


@KINDS
def test_frozen_by_default_means_no_trainable_weights_and_no_losses(produced, keras2):
    model = around(layers.HubLayer(produced(producers.half_plus_one, keras2)))
    assert model.trainable_weights == []
    assert model.losses == []


@KINDS
def test_trainable_can_be_toggled_and_losses_follow(produced, keras2):
    layer = layers.HubLayer(produced(producers.half_plus_one, keras2))
    model = around(layer)
    for _ in range(2):
        layer.trainable = True
        np.testing.assert_allclose(model.losses, [0.0025])
        assert len(model.trainable_weights) == 1
        layer.trainable = False
        assert model.losses == []
        assert model.trainable_weights == []


def test_trainable_of_the_model_reaches_the_layer(produced):
    layer = layers.HubLayer(produced(producers.half_plus_one), trainable=True)
    model = around(layer)
    model.trainable = False
    assert layer.losses == model.trainable_weights == []


@KINDS
def test_batch_norm_is_retrained_in_training_mode_and_evaluated_in_inference_mode(produced, keras2):
    layer = layers.HubLayer(produced(producers.batch_norm, keras2), trainable=True)
    model = around(layer)
    model.compile(keras.optimizers.SGD(0.1), "mse")
    x = np.array([[11.0], [12.0], [13.0]])
    model.fit(x, 2 * x, batch_size=3, epochs=100, verbose=0)
    after = values(layer)
    np.testing.assert_allclose([after["moving_mean"], after["beta"]], [12, 24], rtol=1e-5)
    for _ in range(3):
        np.testing.assert_allclose(model(np.array([[10.0], [20.0]])), [[20], [40]], rtol=1e-4)
    model.evaluate(x, 2 * x, verbose=0)
    model.predict(x, verbose=0)
    assert values(layer) == after


@KINDS
@pytest.mark.parametrize("jit", [False, True])
def test_a_frozen_batch_norm_stays_bit_identical_in_fit(produced, keras2, jit):
    layer = layers.HubLayer(produced(producers.batch_norm, keras2))
    before = values(layer)
    model = keras.Sequential([layer, keras.layers.Dense(1)])
    if jit:
        with pytest.warns(UserWarning, match="jit_compile"):
            model.compile("adam", "mse", jit_compile=True)
    else:
        model.compile("adam", "mse")
    model.fit(X, X, epochs=3, verbose=0)
    assert values(layer) == before


def test_arguments_pin_inference_mode_while_weights_are_tuned(produced):
    layer = layers.HubLayer(produced(producers.batch_norm), trainable=True, arguments={"training": False})
    model = around(layer)
    model.compile(keras.optimizers.SGD(0.1), "mse")
    model.fit(X, X, verbose=0)
    after = values(layer)
    assert (after["moving_mean"], after["moving_variance"]) == (0.0, 1.0)
    assert after["gamma"] != 1.0


def test_pinned_training_mode_does_not_reach_a_frozen_layer(produced):
    layer = layers.HubLayer(produced(producers.batch_norm), arguments={"training": True})
    layer(np.array([[5.0]]), training=True)
    assert values(layer)["moving_mean"] == 0.0
    layer.trainable = True
    layer(np.array([[5.0]]), training=True)
    np.testing.assert_allclose(values(layer)["moving_mean"], 1.0)  # 0.8·0 + 0.2·5


def test_a_model_saved_for_inference_only_says_so_when_it_is_trained(produced):
    layer = layers.HubLayer(produced(producers.batch_norm, modes=(False,)), trainable=True)
    layer(np.array([[1.0]]))
    with pytest.raises(errors.TrainingError, match=r"saved for inference only(?s:.*)arguments={'training': False}"):
        layer(np.array([[1.0]]), training=True)


@pytest.mark.parametrize("training", [True, np.True_, 1, tf.constant(True)], ids=["bool", "numpy", "int", "tensor"])
def test_every_kind_of_training_flag_is_dispatched(produced, training):
    layer = layers.HubLayer(produced(producers.batch_norm), trainable=True)
    layer(np.array([[5.0]]), training=training)
    np.testing.assert_allclose(values(layer)["moving_mean"], 1.0)
    layer(np.array([[5.0]]), training=not training)
    np.testing.assert_allclose(values(layer)["moving_mean"], 1.0)


def test_a_training_argument_that_is_a_tensor_gets_one(produced):
    layer = layers.HubLayer(produced(producers.tensor_training))
    assert float(layer(1.0, training=True)) == 1.0  # frozen: inference mode
    with pytest.warns(errors.HubWarning, match="no trainable weights"):
        layer = layers.HubLayer(produced(producers.tensor_training), trainable=True)
    assert [float(layer(1.0, training=mode)) for mode in (False, True)] == [1.0, 2.0]


def test_training_is_a_tensor_in_a_graph(produced):
    layer = layers.HubLayer(produced(producers.batch_norm), trainable=True)
    call = tf.function(lambda x, training: layer(x, training=training))
    call(tf.constant([[5.0]]), tf.constant(False))
    assert values(layer)["moving_mean"] == 0.0
    call(tf.constant([[5.0]]), tf.constant(True))
    np.testing.assert_allclose(values(layer)["moving_mean"], 1.0)


@pytest.mark.parametrize("wrap", [lambda f: f, tf.function], ids=["function", "tf.function"])
def test_training_reaches_functions_of_this_process(wrap):
    def double_in_training(x, training=False):
        return x * (2.0 if training else 1.0)

    with pytest.warns(errors.HubWarning, match="no trainable weights"):
        layer = layers.HubLayer(wrap(double_in_training), trainable=True)
    assert [float(layer([1.0], training=mode)[0]) for mode in (False, True)] == [1.0, 2.0]
    with pytest.raises(errors.InterfaceError, match="several positional inputs"):
        layers.HubLayer(wrap(lambda x, y: x + y))
    with pytest.raises(errors.InterfaceError, match=r"(?s)\['training'\].*'trainig'"):
        layers.HubLayer(wrap(double_in_training), arguments={"trainig": True})


def test_training_without_a_default_is_routed_too(tmp_path):
    v = tf.Variable(2.0)
    root = tf.train.Checkpoint(v=v)
    spec = tf.TensorSpec((None, 1))
    root.__call__ = producers.traced(
        lambda x, training: v * x + (1.0 if training else 0.0), (spec, {"training": True}), (spec, {"training": False})
    )
    root.variables = root.trainable_variables = [v]
    layer = layers.HubLayer(producers.save(root, tmp_path), trainable=True)
    assert [float(layer([[1.0]], training=mode)[0, 0]) for mode in (False, True)] == [2.0, 3.0]


def test_a_trace_made_without_a_training_argument_is_inference(tmp_path):
    root = tf.train.Checkpoint()
    root.__call__ = producers.traced(lambda x, training=None: x + 1.0, (tf.TensorSpec((None, 1)), {}))
    layer = layers.HubLayer(producers.save(root, tmp_path))
    assert float(layer([[1.0]])[0, 0]) == 2.0
    assert layer(keras.Input((1,))).shape == (None, 1)


def test_a_model_with_a_training_trace_only_is_shaped_by_it(produced):
    layer = layers.HubLayer(produced(producers.batch_norm, modes=(True,)), trainable=True)
    assert layer(keras.Input((1,))).shape == (None, 1)
    with pytest.raises(errors.TrainingError, match="saved for training only"):
        layer([[1.0]])


# -- which variables


def test_only_published_variables_are_trained_whatever_their_flags_say(produced):
    layer = layers.HubLayer(produced(producers.flags_against_lists), trainable=True)
    assert [w.name for w in layer.trainable_weights] == ["b"]
    model = around(layer)
    model.compile(keras.optimizers.SGD(0.1), "mse")
    model.fit(np.array([[1.0]]), np.array([[8.0]]), verbose=0)  # y = 9, so the gradient of b is 2
    assert {name: round(value, 5) for name, value in values(layer).items()} == {"a": 2.0, "b": 2.8, "c": 4.0}


def test_flags_of_the_loaded_variables_are_left_as_they_were(produced):
    layer = layers.HubLayer(produced(producers.flags_against_lists), trainable=True)
    flags = {w.name: w.value.trainable for w in layer.weights}
    layer(np.array([[1.0]]), training=True)
    assert {w.name: w.value.trainable for w in layer.weights} == flags == {"a": True, "b": False, "c": True}


def test_a_frozen_layer_is_not_recorded_by_a_tape(produced):
    layer = layers.HubLayer(produced(producers.half_plus_one))
    with tf.GradientTape() as tape:
        layer(tf.constant([[1.0]]))
    assert tape.watched_variables() == ()


def test_none_entries_of_published_lists_are_skipped(produced):
    obj = tf.saved_model.load(produced(producers.multiply))
    obj.trainable_variables = [None, *obj.trainable_variables]
    assert len(layers.HubLayer(obj, trainable=True).trainable_weights) == 1


@pytest.mark.parametrize("unfreeze", ["shift/", ["^nothing$|b$"], ["shift/b"]])
def test_unfreeze_trains_the_variables_that_match(produced, unfreeze):
    layer = layers.HubLayer(produced(producers.shared_loss), trainable=True, unfreeze=unfreeze)
    assert [w.name for w in layer.trainable_weights] == ["shift.b"]
    layer.trainable = False
    assert layer.trainable_weights == []
    layer.trainable = True
    assert [w.name for w in layer.trainable_weights] == ["shift.b"]


def test_unfreeze_can_be_changed_later(produced):
    layer = layers.HubLayer(produced(producers.shared_loss), trainable=True, unfreeze="shift/")
    layer.unfreeze = "scale/"
    assert [w.name for w in layer.trainable_weights] == ["scale.a"]
    layer.unfreeze = None
    assert len(layer.trainable_weights) == 2


def test_unfreeze_without_a_match_names_the_pattern_and_the_nearest_names(produced):
    with pytest.raises(errors.TrainingError, match=r"(?s)nearest: \['shift/b'.*'shfit/b'"):
        layers.HubLayer(produced(producers.shared_loss), unfreeze=["scale", "shfit/b"])


def test_unfreeze_that_is_no_regular_expression_says_so(produced):
    with pytest.raises(errors.TrainingError, match="not a regular expression"):
        layers.HubLayer(produced(producers.shared_loss), unfreeze="shift(")


def test_a_raw_module_trains_what_unfreeze_names_and_warns_of_what_is_lost(produced):
    path = produced(producers.raw_module)
    with pytest.warns(errors.HubWarning, match="without the regularization losses"):
        layer = layers.HubLayer(path, trainable=True, unfreeze="dense/")
    assert [w.name for w in layer.trainable_weights] == ["dense.w"]
    with pytest.warns(errors.HubWarning, match=r"(?s)unfreeze='dense/w'"):
        assert layers.HubLayer(path, trainable=True).trainable_weights == []
    with pytest.raises(errors.TrainingError, match="matches no variable that can be trained"):
        layers.HubLayer(path, unfreeze="count")


def test_a_raw_module_trains_all_that_it_uses_where_that_is_asked_for(tmp_path):
    root = tf.Module()
    root.a, root.b = tf.Variable(2.0, name="a"), tf.Variable(1.0, name="b")
    root.__call__ = tf.function(lambda x: root.a * x + root.b, input_signature=[tf.TensorSpec((None, 1))])
    path = producers.save(root, tmp_path)
    with pytest.warns(errors.HubWarning, match=r"unfreeze='all'\)") as caught:
        layers.HubLayer(path, trainable=True)
    line = str(caught[0].message).splitlines()[-1]
    with pytest.warns(errors.HubWarning, match="publishes no variables"):
        layer = eval(line, {"HubLayer": layers.HubLayer})
    assert [w.name for w in layer.trainable_weights] == ["a", "b"]


def test_unfreeze_all_is_all_that_is_published(produced):
    layer = layers.HubLayer(produced(producers.shared_loss), trainable=True, unfreeze="all")
    assert [w.name for w in layer.trainable_weights] == ["scale.a", "shift.b"]
    assert layers.HubLayer.from_config(layer.get_config()).unfreeze == ["all"]


def fit_with_head(layer, **kwargs):
    model = keras.Sequential([layer, keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    model.fit(np.ones((2, 1)), np.ones((2, 1)), verbose=0, **kwargs)


def test_unfreeze_without_trainable_is_told_once_when_the_model_trains(produced):
    layer = layers.HubLayer(produced(producers.shared_loss), unfreeze="scale/")
    keras.Sequential([layer]).predict(np.ones((2, 1)), verbose=0)
    with pytest.warns(errors.HubWarning, match=r"(?s)The layer is frozen, so unfreeze.*no effect") as caught:
        fit_with_head(layer)
    fit_with_head(layer)  # no other one: it would be an error
    line = str(caught[0].message).splitlines()[-1]
    names = {"HubLayer": layers.HubLayer}
    exec(line, names)
    assert [w.name for w in names["layer"].trainable_weights] == ["scale.a"]


def test_unfreeze_of_a_layer_that_is_frozen_on_purpose_is_not_told(produced):
    layer = layers.HubLayer(produced(producers.shared_loss), unfreeze="scale/")
    finetuning.unfreeze(layer, None)
    fit_with_head(layer)
    schedule = callbacks.Unfreeze({1: "all"}, verbose=0)
    fit_with_head(layers.HubLayer(produced(producers.shared_loss), unfreeze="scale/"), callbacks=[schedule], epochs=2)
    fit_with_head(layers.HubLayer.from_config(layer.get_config()))


def test_a_refused_pattern_changes_nothing(produced):
    layer = layers.HubLayer(produced(producers.shared_loss), trainable=True, unfreeze="scale")
    with pytest.raises(errors.TrainingError, match="matches no variable"):
        layer.unfreeze = "nope"
    layer.trainable = False
    layer.trainable = True
    assert (layer.unfreeze, [w.name for w in layer.trainable_weights]) == (["scale"], ["scale.a"])


def test_a_piece_that_is_a_bare_function_publishes_nothing(tmp_path):
    root = tf.train.Checkpoint()
    root.v = tf.Variable(2.0, name="enc/v")
    root.encode = tf.function(lambda x: x * root.v).get_concrete_function(tf.TensorSpec((None,)))
    path = producers.save(root, tmp_path)
    with pytest.warns(errors.HubWarning, match="publishes no variables"):
        layer = layers.HubLayer(path, piece="encode", trainable=True)
    assert (layer.trainable_weights, [w.name for w in layer.weights]) == ([], ["enc.v"])
    np.testing.assert_allclose(layer([3.0]), [6.0])


def test_freezing_everything_by_hand_is_called_by_its_name(produced):
    with pytest.warns(errors.HubWarning, match="frozen one by one or by unfreeze"):
        layers.HubLayer(produced(producers.multiply), trainable=True, unfreeze=[])


def test_a_variable_without_a_fixed_shape_is_left_alone_with_a_warning(tmp_path):
    root = tf.train.Checkpoint()
    root.v = tf.Variable([[1.0]], shape=(None, 1))
    root.__call__ = tf.function(lambda x: x * root.v[0, 0], input_signature=[tf.TensorSpec((None,))])
    root.variables = root.trainable_variables = [root.v]
    with pytest.warns(errors.HubWarning) as caught:
        layer = layers.HubLayer(producers.save(root, tmp_path), trainable=True)
    assert "no fixed shape" in str(caught[0].message)
    np.testing.assert_allclose(layer([3.0]), [3.0])


def test_training_nothing_warns_once(produced):
    with pytest.warns(errors.HubWarning, match="no trainable weights: the SavedModel publishes none"):
        layer = layers.HubLayer(produced(producers.scaled), trainable=True)
    layer([[10.0]])  # a warning here would be an error
    layer([[10.0]])


# -- losses


def test_each_loss_counts_once_also_when_the_layer_is_shared_and_nested(produced):
    layer = layers.HubLayer(produced(producers.shared_loss), trainable=True)
    inner = around(layer)
    inputs = keras.Input((1,))
    model = keras.Model(inputs, inner(inner(inputs)) + layer(inputs))
    for losses in (layer.losses, inner.losses, model.losses):
        np.testing.assert_allclose(losses, [1.3, 1.5], rtol=1e-6)
    model.compile("sgd", "mse")
    x = np.array([[0.0]])
    target = model(x)
    np.testing.assert_allclose(model.evaluate(x, target, verbose=0), 2.8, rtol=1e-6)
    history = model.fit(x, target, verbose=0)
    np.testing.assert_allclose(history.history["loss"], [2.8], rtol=1e-6)


@pytest.mark.parametrize("frozen", ["scale/a", "shift/b"])
def test_a_loss_over_two_variables_survives_when_one_of_them_is_frozen(produced, frozen):
    layer = layers.HubLayer(produced(producers.shared_loss), trainable=True)
    for weight in layer.weights:
        weight.trainable = weight.name != frozen.replace("/", ".")
    np.testing.assert_allclose(around(layer).losses, [1.3, 1.5], rtol=1e-6)
    other = "shift/" if frozen.startswith("scale") else "scale/"
    narrowed = layers.HubLayer(produced(producers.shared_loss), trainable=True, unfreeze=other)
    np.testing.assert_allclose(narrowed.losses, [1.3, 1.5], rtol=1e-6)


def test_losses_reach_a_custom_loop_and_their_gradients_are_right(produced):
    layer = layers.HubLayer(produced(producers.shared_loss), trainable=True)
    a, b = layer.trainable_weights
    with tf.GradientTape() as tape:
        total = sum(layer.losses)
    np.testing.assert_allclose(tape.gradient(total, [a.value, b.value]), [0.4, 1.1], rtol=1e-6)  # 0.2·a; 0.2·b + 0.5


def test_losses_are_unscaled_under_mixed_precision(produced):
    keras.config.set_dtype_policy("mixed_float16")
    try:
        model = around(layers.HubLayer(produced(producers.shared_loss), trainable=True))
        model.compile("sgd", "mse")
        history = model.fit(np.array([[0.0]]), np.array([[3.0]]), verbose=0)
    finally:
        keras.config.set_dtype_policy("float32")
    np.testing.assert_allclose(history.history["loss"], [2.8], rtol=1e-6)


@pytest.mark.parametrize("dtype", ["float64", "float16"])
def test_losses_of_any_precision_count_in_fit(tmp_path, dtype):
    root = tf.train.Checkpoint()
    root.v = tf.Variable(2.0, dtype=dtype)
    root.__call__ = tf.function(lambda x: x * tf.cast(root.v, tf.float32), input_signature=[tf.TensorSpec((None, 1))])
    root.variables = root.trainable_variables = [root.v]
    root.regularization_losses = [tf.function(lambda: 0.5 * root.v, input_signature=[])]
    model = around(layers.HubLayer(producers.save(root, tmp_path), trainable=True))
    model.compile("sgd", "mse")
    assert model.fit(np.array([[1.0]]), np.array([[2.0]]), verbose=0).history["loss"] == [1.0]


def test_threads_do_not_lose_each_others_gradients(produced):
    """Two blocks that overlap, as two threads' would, keep the flag until the last one ends."""
    variable = layers.HubLayer(produced(producers.flags_against_lists), trainable=True).trainable_weights[0].value
    assert variable.trainable is False
    with tensorflow.watch_variables([variable], lambda _: True):
        other = tensorflow.watch_variables([variable], lambda _: True)
        other.__enter__()
    assert variable.trainable is True
    other.__exit__(None, None, None)
    assert variable.trainable is False


# -- the trainers of Keras


def optimizers():
    def wrapped(cls, *args, **kwargs):
        return lambda: cls(*args, **kwargs)

    o = keras.optimizers
    return {
        "Adam": wrapped(o.Adam, 0.01),
        "AdamW": wrapped(o.AdamW, 0.01),
        "SGD with momentum": wrapped(o.SGD, 0.001, momentum=0.9),
        "EMA": wrapped(o.Adam, 0.01, use_ema=True, ema_overwrite_frequency=2),
        "gradient accumulation": wrapped(o.Adam, 0.01, gradient_accumulation_steps=2),
        "clipping": wrapped(o.Adam, 0.01, clipnorm=1.0),
        "loss scaling": lambda: o.LossScaleOptimizer(o.Adam(0.01)),
    }


@pytest.mark.parametrize("optimizer", optimizers().values(), ids=optimizers())
@KINDS
def test_every_optimizer_trains_in_graph_mode_fit(produced, optimizer, keras2):
    layer = layers.HubLayer(produced(producers.half_plus_one, keras2), trainable=True)
    model = keras.Sequential([keras.Input((1,)), layer, keras.layers.Dense(1, kernel_initializer="ones")])
    model.compile(optimizer(), "mse")
    history = model.fit(X, X / 2 + 6, batch_size=5, epochs=5, verbose=0)
    assert not model.run_eagerly
    assert history.history["loss"][-1] < history.history["loss"][0]
    kernel, fixed, bias = (float(w.numpy().ravel()[0]) for w in layer.weights)
    assert kernel != 0.5
    assert (fixed, bias) == (1.0, 1.0)


def test_mixed_precision_with_loss_scaling_trains(produced):
    keras.config.set_dtype_policy("mixed_float16")
    try:
        layer = layers.HubLayer(produced(producers.text_length, True), trainable=True)
        model = keras.Sequential([layer, keras.layers.Dense(1)])
        model.compile(keras.optimizers.SGD(0.002, momentum=0.001), "mse")
        before = layer.get_weights()[0].copy()
        model.fit(tf.constant([["a"], ["bb"], ["ccc"]]), np.array([[1.0], [2.0], [3.0]]), epochs=20, verbose=0)
    finally:
        keras.config.set_dtype_policy("float32")
    assert isinstance(model.optimizer, keras.optimizers.LossScaleOptimizer)
    assert (layer.get_weights()[0] != before).all()


def test_steps_per_execution_checkpoints_and_early_stopping(produced, tmp_path):
    layer = layers.HubLayer(produced(producers.small_image_model), trainable=True)
    model = keras.Sequential([layer, keras.layers.Dense(2)])
    model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True), steps_per_execution=2)
    x, y = np.random.rand(16, 8, 8, 1), np.arange(16) % 2
    callbacks = [
        keras.callbacks.ModelCheckpoint(tmp_path / "best.weights.h5", save_weights_only=True, save_best_only=True),
        keras.callbacks.EarlyStopping(patience=1, restore_best_weights=True),
    ]
    model.fit(x, y, validation_data=(x, y), batch_size=4, epochs=4, callbacks=callbacks, verbose=0)
    expected = model.predict(x, verbose=0)
    model.load_weights(tmp_path / "best.weights.h5")
    np.testing.assert_allclose(model.predict(x, verbose=0), expected, rtol=1e-5)


def test_a_text_classifier_trains_from_a_dataset(produced):
    layer = layers.HubLayer(produced(producers.text_classifier), trainable=True)
    model = keras.Sequential([layer, keras.layers.Dense(1)])
    model.compile(keras.optimizers.Adam(0.1), keras.losses.BinaryCrossentropy(from_logits=True), metrics=["accuracy"])
    texts, labels = tf.constant(["good world", "bad world", "good", "bad"]), tf.constant([[1.0], [0.0], [1.0], [0.0]])
    data = tf.data.Dataset.from_tensor_slices((texts, labels)).batch(2)
    model.fit(data, epochs=20, shuffle=False, verbose=0)
    assert model.evaluate(data, verbose=0, return_dict=True)["accuracy"] == 1.0
    assert (layer.get_weights()[0][0] != [0.0, -0.0]).any() or (layer.get_weights()[0][1] != [1.0, -1.0]).any()


# -- distribution


def test_a_layer_made_in_the_scope_trains_under_a_mirrored_strategy(produced):
    strategy = tf.distribute.MirroredStrategy(["CPU:0"])
    with strategy.scope():
        layer = layers.HubLayer(produced(producers.shared_loss), trainable=True)
        model = around(layer)
        model.compile(keras.optimizers.SGD(0.01), "mse")
    history = model.fit(np.array([[0.0]]), np.array([[3.0]]), verbose=0)
    np.testing.assert_allclose(history.history["loss"], [2.8], rtol=1e-6)
    np.testing.assert_allclose([w.numpy() for w in layer.trainable_weights], [1.996, 2.989], rtol=1e-6)


def test_a_layer_made_outside_the_scope_that_trains_it_is_an_error(produced):
    layer = layers.HubLayer(produced(producers.half_plus_one), trainable=True)
    with (
        tf.distribute.MirroredStrategy(["CPU:0"]).scope(),
        pytest.raises(errors.TrainingError, match=r"(?s)outside the distribution strategy.*with strategy.scope\(\)"),
    ):
        around(layer)


@pytest.mark.parametrize("trainable", [True, False])
def test_a_model_made_outside_the_scope_and_compiled_in_it_is_an_error(produced, trainable):
    model = around(layers.HubLayer(produced(producers.half_plus_one), trainable=trainable))
    with tf.distribute.MirroredStrategy(["CPU:0"]).scope():
        model.compile("sgd", "mse")
    with pytest.raises(errors.TrainingError, match=r"compiled under MirroredStrategy(?s:.*)with strategy.scope\(\)"):
        model.fit(X, X, verbose=0)


def test_a_frozen_layer_made_outside_the_scope_is_no_error(produced):
    layer = layers.HubLayer(produced(producers.half_plus_one))
    with tf.distribute.MirroredStrategy(["CPU:0"]).scope():
        model = keras.Sequential([layer, keras.layers.Dense(1)])
        model.compile("sgd", "mse")
    model.fit(X, X, verbose=0)


TWO_REPLICAS = """
import json, sys
import keras, numpy as np, tensorflow as tf
from keras_hub_layers import layers

cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)

def losses_and_weights():
    layer = layers.HubLayer(sys.argv[1], trainable=True)
    model = keras.Sequential([keras.Input((1,)), layer])
    model.compile(keras.optimizers.SGD(0.01), "mse")
    history = model.fit(np.ones((4, 1)), np.zeros((4, 1)), batch_size=4, epochs=2, verbose=0)
    return history.history["loss"], [float(np.ravel(w.numpy())[0]) for w in layer.weights]

alone = losses_and_weights()
with tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"]).scope():
    print(json.dumps([alone, losses_and_weights()]))
"""


@pytest.mark.parametrize("producer", [producers.shared_loss, producers.half_plus_one])
def test_two_replicas_compute_what_one_does(produced, producer):
    command = [sys.executable, "-c", TWO_REPLICAS, produced(producer)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    alone, mirrored = json.loads(done.stdout.splitlines()[-1])
    np.testing.assert_allclose(mirrored[0], alone[0], rtol=1e-6)
    np.testing.assert_allclose(mirrored[1], alone[1], rtol=1e-6)


def texts_model(produced):
    """A preprocessor without variables, an encoder and a head."""
    texts = keras.Input((), dtype="string")
    numbers = layers.HubLayer(produced(producers.tokenizer), name="tokenizer")(texts)
    encoded = layers.HubLayer(produced(producers.half_plus_one), name="encoder")(numbers)
    return keras.Model(texts, keras.layers.Dense(1)(encoded))


def test_a_preprocessor_without_variables_is_made_trainable_with_its_model_in_silence(produced):
    model = texts_model(produced)
    for flag in (False, True):  # Keras hands on a change only
        model.trainable = flag
    model.compile("sgd", "mse")
    model.fit(tf.constant(["a", "bc"]), np.ones((2, 1)), verbose=0)
    keras.models.clone_model(model)
    assert model.get_layer("tokenizer").trainable
    assert model.get_layer("encoder").resolved_object.trainable_variables[0].numpy() != 0.5


def test_a_layer_without_variables_that_is_to_be_trained_says_that_there_is_nothing_to_train(produced):
    with pytest.warns(errors.HubWarning, match="has no trainable weights: the SavedModel publishes none"):
        layers.HubLayer(produced(producers.tokenizer), trainable=True)


def test_no_patterns_of_unfreeze_need_no_warning(produced):
    layer = layers.HubLayer(produced(producers.raw_module))
    layer.unfreeze = []
    assert layer.unfreeze == []


def test_a_warning_is_given_at_the_line_of_the_user(produced):
    layer = layers.HubLayer(produced(producers.raw_module))
    model = keras.Sequential([keras.Input((1,)), layer, keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    with pytest.warns(errors.HubWarning, match="trainable but has no trainable weights") as made:
        layers.HubLayer(produced(producers.raw_module), trainable=True)
    layer.trainable = True
    with pytest.warns(errors.HubWarning, match="trainable but has no trainable weights") as fitted:
        model.fit(np.ones((2, 1)), np.ones((2, 1)), verbose=0)
    for one in (made[0], next(w for w in fitted if w.category is errors.HubWarning)):
        assert one.filename == __file__
