"""What would be ignored in silence is said: what is trained was changed, and the model was not compiled again."""

import gc
import warnings

import keras
import numpy as np
import producers
import pytest
import tensorflow as tf
import tf_keras

from keras_hub_layers import callbacks, finetuning, layers
from keras_hub_layers._src.cli.doctor import handle_check
from keras_hub_layers._src.inspect import inspect as inspect_module
from keras_hub_layers._src.layers import access, recompile_guard
from keras_hub_layers._src.savedmodel.graphs import assignments
from keras_hub_layers.errors import HubWarning

X, Y = np.array([[2.0], [4.0]]), np.array([[0.0], [0.0]])
CHANGED = r"(?s)What is trained of 'hub' \(then {}, now {}\) was changed after .*model\.compile\(.*, metrics=metrics\)"


@pytest.fixture
def trained(produced):
    """A model of half_plus_one that was trained, frozen or not, and its layer."""

    def make(trainable=False, **kwargs):
        hub = layers.HubLayer(produced(producers.half_plus_one), trainable=trainable, name="hub")
        model = keras.Sequential([keras.Input((1,)), hub, keras.layers.Dense(1)])
        model.compile(keras.optimizers.SGD(0.01), "mse", **kwargs)
        model.fit(X, Y, verbose=0)
        return model, hub

    return make


def weight(hub):
    return float(np.asarray(hub.resolved_object.trainable_variables[0]).squeeze())


def test_unfrozen_without_compile_warns_once_and_trains_nothing(trained):
    model, hub = trained()
    hub.trainable = True
    with pytest.warns(HubWarning, match=CHANGED.format("frozen", "trainable weights: 1")) as caught:
        model.fit(X, Y, epochs=2, verbose=0)
    assert len(caught) == 1
    assert weight(hub) == 0.5
    model.fit(X, Y, verbose=0)  # said once


def test_frozen_without_compile_warns_since_it_is_trained_all_the_same(trained):
    model, hub = trained(trainable=True)
    before = weight(hub)
    hub.trainable = False
    with pytest.warns(HubWarning, match=CHANGED.format("trainable weights: 1", "frozen")):
        model.fit(X, Y, verbose=0)
    assert weight(hub) != before


def test_narrowed_without_compile_warns(trained, produced):
    hub = layers.HubLayer(produced(producers.batch_norm), trainable=True, name="hub")
    model = keras.Sequential([keras.Input((1,)), hub])
    model.compile("sgd", "mse")
    model.fit(X, Y, verbose=0)
    hub.unfreeze = "beta"
    with pytest.warns(HubWarning, match=CHANGED.format("trainable weights: 2", "trainable weights: 1")):
        model.fit(X, Y, verbose=0)


def test_the_layer_is_found_in_a_nested_model(produced):
    hub = layers.HubLayer(produced(producers.half_plus_one), name="hub")
    inner = keras.Sequential([keras.Input((1,)), hub])
    model = keras.Sequential([keras.Input((1,)), inner, keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    model.fit(X, Y, verbose=0)
    inner.trainable = True
    model.fit(X, Y, verbose=0)  # it was trainable before: the layer itself is frozen still
    hub.trainable = True
    with pytest.warns(HubWarning, match=CHANGED.format("frozen", "trainable weights: 1")):
        model.fit(X, Y, verbose=0)


def test_compiled_again_it_trains_and_says_nothing(trained):
    model, hub = trained()
    hub.trainable = True
    model.compile(keras.optimizers.SGD(0.01), "mse")
    model.fit(X, Y, verbose=0)
    assert weight(hub) != 0.5


def test_changed_before_the_first_step_it_trains_and_says_nothing(produced):
    hub = layers.HubLayer(produced(producers.half_plus_one), name="hub")
    model = keras.Sequential([keras.Input((1,)), hub])
    model.compile("sgd", "mse")
    hub.trainable = True
    model.fit(X, Y, verbose=0)
    assert weight(hub) != 0.5


def test_changed_and_changed_back_it_says_nothing(trained):
    model, hub = trained()
    hub.trainable = True
    hub.trainable = False
    model.fit(X, Y, verbose=0)
    assert not hasattr(model.train_function, "_step")


def test_a_schedule_says_nothing(trained):
    model, hub = trained()
    model.fit(X, Y, epochs=3, verbose=0, callbacks=[callbacks.Unfreeze({1: "all"}, verbose=0)])
    assert weight(hub) != 0.5
    finetuning.unfreeze(hub, None)
    model.compile("sgd", "mse")
    model.fit(X, Y, verbose=0)


def test_inference_needs_no_compile_and_says_nothing(trained):
    model, hub = trained()
    hub.trainable = True
    model.predict(X, verbose=0)
    model.evaluate(X, Y, verbose=0)
    assert hub.trainable


def test_an_eager_step_trains_what_is_trainable_and_says_nothing(trained):
    model, hub = trained(run_eagerly=True)
    hub.trainable = True
    model.optimizer = keras.optimizers.SGD(0.01)
    model.fit(X, Y, verbose=0)
    assert weight(hub) != 0.5


def test_a_training_step_that_changes_it_itself_says_nothing(produced):
    class Opponents(keras.Sequential):
        def train_step(model, data):
            hub = model.layers[0]
            hub.trainable = True
            logs = super().train_step(data)
            hub.trainable = False
            model(data[0], training=True)
            hub.trainable = True
            return logs

    hub = layers.HubLayer(produced(producers.half_plus_one), trainable=True)
    model = Opponents([keras.Input((1,)), hub])
    model.compile(keras.optimizers.SGD(0.01), "mse")
    model.fit(X, Y, epochs=2, verbose=0)
    assert weight(hub) != 0.5


def test_models_that_are_gone_are_forgotten(trained):
    gc.collect()
    before = len(recompile_guard._steps)
    model, hub = trained()
    assert len(recompile_guard._steps) == before + 1
    del model, hub
    gc.collect()
    assert len(recompile_guard._steps) == before


def test_a_model_can_be_saved_and_copied_while_it_waits_to_look(trained, tmp_path):
    model, hub = trained()
    hub.trainable = True
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras", safe_mode=False)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        again.compile(keras.optimizers.SGD(0.01), "mse")
        again.fit(X, Y, verbose=0)


def test_an_export_of_what_fit_left_as_it_was_says_that_nothing_was_tuned(produced, tmp_path):
    hub = layers.HubLayer(produced(producers.half_plus_one), trainable=True, name="hub")
    model = keras.Sequential([keras.Input((1,)), hub])
    model.compile(keras.optimizers.SGD(0.0), "mse")
    with pytest.warns(HubWarning, match=r"(?s)nothing of HubLayer 'hub' was fine-tuned: its 1 .*, metrics=metrics\)"):
        model.fit(X, Y, verbose=0, callbacks=[callbacks.ExportFinetuned(tmp_path / "export", verbose=0)])
    assert (tmp_path / "export" / "saved_model.pb").exists()


def test_one_trained_weight_of_several_is_enough(produced, tmp_path):
    hub = layers.HubLayer(produced(producers.batch_norm), trainable=True, unfreeze="beta")
    model = keras.Sequential([keras.Input((1,)), hub])
    model.compile(keras.optimizers.SGD(0.1), "mse")
    model.fit(X, Y, verbose=0, callbacks=[callbacks.ExportFinetuned(tmp_path / "export", verbose=0)])
    assert hub.trainable_weights[0].numpy() != 0


def two_weights(directory):
    """y = used·x with used = 2; the published and trainable `idle` takes no part in it."""
    root = tf.train.Checkpoint(used=tf.Variable(2.0, name="used"), idle=tf.Variable(3.0, name="idle"))
    root.__call__ = tf.function(lambda x: x * root.used, input_signature=[tf.TensorSpec((None, 1))])
    root.variables = root.trainable_variables = [root.used, root.idle]
    return producers.save(root, directory)


@pytest.mark.filterwarnings("ignore:Gradients do not exist")  # Keras says it too, without a remedy
def test_trained_weights_that_get_no_gradient_are_named_with_the_pattern_that_leaves_them_out(tmp_path):
    path = two_weights(tmp_path / "model")
    hub = layers.HubLayer(path, trainable=True)
    model = keras.Sequential([keras.Input((1,)), hub])
    model.compile("sgd", "mse")
    with pytest.warns(HubWarning, match=r"1 of the 2 weights that are trained get no gradient.*: idle") as caught:
        model.fit(X, Y, verbose=0)
    line = next(str(w.message) for w in caught if w.category is HubWarning).splitlines()[-1]
    exec(line, {"layer": hub})
    assert [access.weight_names(hub)[weight.path] for weight in hub.trainable_weights] == ["used"]
    model.compile("sgd", "mse")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model.fit(X, Y, verbose=0)
    assert float(hub.resolved_object.used) != 2.0
    assert float(hub.resolved_object.idle) == 3.0


class Assigns(keras.callbacks.Callback):
    """Someone who changes the weights of a frozen layer."""

    def on_epoch_end(self, epoch, logs=None):
        weight = self.model.layers[0].weights[0]
        weight.assign(weight + 1)


@pytest.mark.filterwarnings("ignore:.*is frozen, so this fit")
def test_an_export_of_a_frozen_layer_that_has_moved_names_what_moved(produced, tmp_path):
    hub = layers.HubLayer(produced(producers.half_plus_one), name="hub")
    model = keras.Sequential([keras.Input((1,)), hub, keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    export = callbacks.ExportFinetuned(tmp_path / "export", verbose=0)
    with pytest.warns(HubWarning, match=r"'hub' is frozen, and fit has changed hub/\S+kernel all the same"):
        model.fit(X, Y, verbose=0, callbacks=[Assigns(), export])


def test_of_a_frozen_layer_that_was_tuned_before_it_is_said_only_that_this_fit_trained_nothing(trained, tmp_path):
    model, hub = trained(trainable=True)
    hub.trainable = False
    model.compile("sgd", "mse")
    export = callbacks.ExportFinetuned(tmp_path / "export", verbose=0)
    with pytest.warns(HubWarning, match=r"'hub' is frozen, so this fit has trained nothing of it\. To fine-tune it"):
        model.fit(X, Y, verbose=0, callbacks=[export])


def test_a_layer_without_weights_is_exported_without_a_word_about_training(produced, tmp_path):
    model = keras.Sequential([keras.Input((), dtype="string"), layers.HubLayer(produced(producers.tokenizer))])
    model.add(keras.layers.Dense(1))
    model.compile("sgd", "mse")
    export = callbacks.ExportFinetuned(tmp_path / "export", verbose=0)
    model.fit(tf.constant(["a", "bc"]), np.ones((2, 1)), verbose=0, callbacks=[export])
    assert (tmp_path / "export" / "saved_model.pb").exists()


def counter(directory, published=True, nested=False):
    """y = x, and a published count of the calls that moves in inference mode as well."""
    root = tf.train.Checkpoint(count=tf.Variable(0.0, name="count"), scale=tf.Variable(1.0, name="scale"))

    @tf.function(input_signature=[tf.TensorSpec(())])
    def add(value):
        root.count.assign_add(value)
        return value

    def call(x):
        if nested:
            tf.cond(tf.size(x) > 0, lambda: add(tf.constant(1.0)), lambda: tf.constant(0.0))
        else:
            root.count.assign_add(1.0)
        return x * root.scale

    root.__call__ = tf.function(call, input_signature=[tf.TensorSpec((None, 1))])
    root.variables = [root.count, root.scale] if published else [root.scale]
    root.trainable_variables = [root.scale]
    return producers.save(root, directory)


@pytest.mark.parametrize("published", [True, False], ids=["published", "not_published"])
@pytest.mark.parametrize("nested", [False, True], ids=["directly", "in_a_function_in_a_branch"])
def test_a_frozen_layer_whose_state_moves_says_so_when_it_is_trained_with(tmp_path, nested, published):
    hub = layers.HubLayer(counter(tmp_path / "model", published, nested), name="hub")
    model = keras.Sequential([keras.Input((1,)), hub, keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    before = float(hub.resolved_object.count)
    with pytest.warns(HubWarning, match="is frozen, but its SavedModel assigns to count whenever it is called"):
        model.fit(X, Y, verbose=0)
    assert float(hub.resolved_object.count) == before + 1


def test_a_frozen_recurrent_layer_with_state_says_so_too(tmp_path):
    inputs = tf_keras.Input(batch_shape=(2, 3, 1))
    recurrent = tf_keras.Model(inputs, tf_keras.layers.GRU(2, stateful=True)(inputs))
    hub = layers.HubLayer(producers.save(recurrent, tmp_path / "model"))
    model = keras.Sequential([keras.Input(batch_shape=(2, 3, 1)), hub, keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    with pytest.warns(HubWarning, match="is frozen, but its SavedModel assigns to .* whenever it is called"):
        model.fit(np.ones((2, 3, 1)), np.ones((2, 1)), batch_size=2, verbose=0)


def test_a_frozen_layer_whose_mode_is_a_tensor_is_trusted(tmp_path):
    inputs = tf_keras.Input((1,))
    inner = tf_keras.Model(inputs, tf_keras.layers.BatchNormalization()(inputs))
    specs = [tf.TensorSpec((None, 1)), tf.TensorSpec((), tf.bool)]
    root = tf.train.Checkpoint()
    root.__call__ = tf.function(lambda x, training: inner(x, training=training), input_signature=specs)
    root.variables, root.trainable_variables = list(inner.variables), list(inner.trainable_variables)
    hub = layers.HubLayer(producers.save(root, tmp_path / "model"))
    model = keras.Sequential([keras.Input((1,)), hub, keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    before = hub.get_weights()
    model.fit(X, Y, verbose=0)
    for value, known in zip(hub.get_weights(), before, strict=True):
        np.testing.assert_array_equal(value, known)


def test_a_weight_that_only_a_published_loss_uses_is_trained_by_it(tmp_path):
    root = tf.train.Checkpoint(used=tf.Variable(2.0), kept=tf.Variable(3.0))
    root.__call__ = tf.function(lambda x: x * root.used, input_signature=[tf.TensorSpec((None, 1))])
    root.variables = root.trainable_variables = [root.used, root.kept]
    root.regularization_losses = [tf.function(lambda: root.kept**2, input_signature=[])]
    hub = layers.HubLayer(producers.save(root, tmp_path / "model"), trainable=True)
    model = keras.Sequential([keras.Input((1,)), hub])
    model.compile(keras.optimizers.SGD(0.01), "mse")
    model.fit(X, Y, verbose=0)
    assert float(hub.resolved_object.kept) == pytest.approx(3.0 - 0.01 * 6.0)


def test_batch_normalization_writes_its_averages_in_training_mode_only(produced):
    for keras2 in producers.PRODUCERS.values():
        hub = layers.HubLayer(produced(producers.batch_norm, keras2))
        assert assignments.assigned_variables(access.function(hub)) == []
        training = [f for f in hub.resolved_object.__call__.concrete_functions if assignments._trains(f)]
        assert training


# -- outputs that no gradient passes


@pytest.mark.filterwarnings("ignore:Gradients do not exist")  # Keras says it too, and not why
def test_a_layer_whose_output_is_integer_says_once_that_no_gradient_passes_it(produced):
    path, said = produced(producers.raw_pixels), r"cannot be fine-tuned, since its output is uint8"
    assert inspect_module.inspect(path).reason.startswith("its output is uint8, which no gradient passes")
    with pytest.warns(HubWarning, match=said) as caught:
        hub = layers.HubLayer(path, trainable=True, unfreeze="w")
    assert eval(str(caught[0].message).splitlines()[-1], {"HubLayer": layers.HubLayer}).trainable is False
    assert len(caught) == 1
    with pytest.warns(HubWarning, match="publishes no variables"):
        hub = layers.HubLayer(path, unfreeze="w")
    model = keras.Sequential([keras.Input((1,)), hub, keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    model.fit(X, Y, verbose=0)
    hub.trainable = True
    model.compile("sgd", "mse")
    with pytest.warns(HubWarning, match=said) as caught:
        model.fit(X, Y, epochs=2, verbose=0)
    assert sum(one.category is HubWarning for one in caught) == 1
    assert float(hub.resolved_object.w) == 2.0


def test_an_integer_output_beside_one_that_a_gradient_passes_says_nothing(tmp_path):
    root = tf.train.Checkpoint(w=tf.Variable(2.0))

    def call(x):
        return {"score": root.w * x, "label": tf.cast(root.w * x > 3, tf.int32)}

    root.__call__ = tf.function(call, input_signature=[tf.TensorSpec((None, 1))])
    root.variables = root.trainable_variables = [root.w]
    path = producers.save(root, tmp_path / "model")
    assert inspect_module.inspect(path).fine_tunable
    assert layers.HubLayer(path, trainable=True, output_key="score").trainable_weights
    with pytest.warns(HubWarning, match="since its output is int32"):
        layers.HubLayer(path, trainable=True, output_key="label")


@pytest.mark.filterwarnings("ignore:.*publishes no variables")
def test_the_pattern_to_begin_with_is_that_of_a_variable_that_can_be_trained(produced):
    path = produced(producers.raw_pixels, dtype=tf.float32)
    with pytest.warns(HubWarning, match="no trainable weights") as caught:
        layers.HubLayer(path, trainable=True)
    lines = [str(caught[0].message).splitlines()[-1], handle_check.check(path).findings[-1].fix]
    assert lines == [f"HubLayer({path!r}, trainable=True, unfreeze='w')"] * 2
    assert len(eval(lines[0], {"HubLayer": layers.HubLayer}).trainable_weights) == 1


def test_without_a_variable_that_can_be_trained_no_pattern_is_offered(tmp_path):
    root = tf.Module()
    root.b = tf.Variable(1.0, trainable=False)
    root.__call__ = tf.function(lambda x: x + root.b, input_signature=[tf.TensorSpec((None, 1))])
    path = producers.save(root, tmp_path / "model")
    assert inspect_module.inspect(path).reason.endswith("none of those that it uses can be trained")
    assert handle_check.check(path).findings[-1].fix == ""


# -- layers that the model does not hold


class Holder(keras.layers.Layer):
    """A layer of one's own that calls what it holds, in one of the ways that Keras tracks."""

    def __init__(self, hub, kind):
        super().__init__()
        self.held = {"attribute": hub, "list": [hub], "dict": {"a": hub}, "dict_of_lists": {"a": [hub]}}[kind]

    def call(self, x):
        return keras.tree.flatten(self.held)[0](x)


class Subclassed(keras.Model):
    def __init__(self, inner):
        super().__init__()
        self.inner, self.head = inner, keras.layers.Dense(1)

    def call(self, x):
        return self.head(self.inner(x))


class Twins(keras.Sequential):
    """A model whose training step trains another model, which holds the layer."""

    def train_step(self, data):
        return self.other[0].train_step(data)


def twins(hub):
    other = keras.Sequential([keras.Input((1,)), hub])
    other.compile(keras.optimizers.SGD(0.01), "mse")
    model = Twins([keras.Input((1,)), keras.layers.Dense(1)])
    model.other = (other,)
    return model


class Outside(keras.Sequential):
    """A model with a training step of its own, which trains a layer that it does not hold."""

    def train_step(self, data):
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(self.hidden()(data[0], training=True) ** 2)
        trained = self.hidden().trainable_variables
        for weight, gradient in zip(trained, tape.gradient(loss, [v.value for v in trained]), strict=True):
            weight.assign_sub(0.01 * gradient)
        return {"loss": loss}


def outside(hub):
    model = Outside([keras.Input((1,)), keras.layers.Dense(1)])
    model.hidden = lambda: hub
    return model


@pytest.mark.parametrize("training", [True, False], ids=["in_training_mode", "pinned_to_inference"])
def test_a_trainable_layer_in_a_closure_says_that_it_is_not_trained(produced, training):
    arguments = None if training else {"training": False}
    hub = layers.HubLayer(produced(producers.batch_norm), trainable=True, arguments=arguments, name="hub")
    model = keras.Sequential([keras.Input((1,)), keras.layers.Lambda(lambda x: hub(x)), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    with pytest.warns(
        HubWarning, match=r"(?s)model 'sequential\S*', which does not hold it.*keras.Sequential"
    ) as caught:
        model.fit(X, Y, epochs=2, verbose=0)
    assert len(caught) == 1
    line = str(caught[0].message).splitlines()[-1]
    names = {"keras": keras, "layer": hub, "head": keras.layers.Dense(1)}
    exec(line, names)
    model = names["model"]
    model.compile(keras.optimizers.SGD(0.01), "mse")
    before = hub.get_weights()
    model.fit(X, Y, verbose=0)
    assert not all(map(np.array_equal, hub.get_weights(), before))


def test_a_closure_of_a_subclassed_model_hides_the_layer_too(produced):
    hub = layers.HubLayer(produced(producers.half_plus_one), trainable=True)
    model = Subclassed(lambda x: hub(x))
    model.compile("sgd", "mse")
    with pytest.warns(HubWarning, match="which does not hold it"):
        model.fit(X, Y, verbose=0)
    assert weight(hub) == 0.5


@pytest.mark.parametrize("frozen", [True, False], ids=["frozen", "a_loss_looks_at_its_outputs"])
def test_a_layer_outside_the_model_that_nobody_means_to_train_says_nothing(produced, frozen):
    hub = layers.HubLayer(produced(producers.half_plus_one), trainable=not frozen)
    parts = [keras.layers.Lambda(lambda x: hub(x))] if frozen else []
    model = keras.Sequential([keras.Input((1,)), *parts, keras.layers.Dense(1)])
    model.compile("sgd", lambda y, x: keras.ops.mean((hub(x) - hub(y)) ** 2))
    model.fit(X, Y, verbose=0)
    assert weight(hub) == 0.5


HELD = {
    "nested": lambda hub: keras.Sequential([keras.Input((1,)), keras.Sequential([keras.Input((1,)), hub])]),
    "shared": lambda hub: keras.Model(x := keras.Input((1,)), keras.layers.Add()([hub(x), hub(hub(x))])),
    "subclassed": Subclassed,
    "subclassed_around_a_model": lambda hub: Subclassed(keras.Sequential([hub])),
    "wrapped": lambda hub: keras.Sequential([keras.layers.Reshape((1, 1)), keras.layers.TimeDistributed(hub)]),
    **{
        kind: lambda hub, kind=kind: keras.Sequential([Holder(hub, kind), keras.layers.Dense(1)])
        for kind in ("attribute", "list", "dict", "dict_of_lists")
    },
    "trained_by_the_step_of_another_model": twins,
    "trained_by_a_step_of_its_own": outside,
}


@pytest.mark.parametrize("make", HELD.values(), ids=HELD)
def test_a_layer_that_the_model_holds_anywhere_is_trained_and_says_nothing(produced, make):
    hub = layers.HubLayer(produced(producers.half_plus_one), trainable=True)
    model = make(hub)
    model.compile(keras.optimizers.SGD(0.01), "mse")
    with warnings.catch_warnings(record=True) as caught:  # an error in a call that builds is swallowed by Keras
        warnings.simplefilter("always")
        model.fit(X, Y, verbose=0)
    assert not [one for one in caught if one.category is HubWarning]
    assert weight(hub) != 0.5
