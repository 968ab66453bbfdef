"""The private names that exporting touches still exist, and are still needed."""

from concurrent.futures import ThreadPoolExecutor

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_hub_layers._src.compat import fit as fit_module
from keras_hub_layers._src.compat import models, saving, tensorflow

L = keras.layers


def nested():
    inner = keras.Sequential([keras.Input((1,)), L.Dense(1, name="inside")], name="inner")
    return keras.Sequential([keras.Input((1,)), inner, L.Dense(1, name="outside")], name="outer")


def test_flatten_layers_goes_deeper_than_the_public_layers():
    names = {layer.name for layer in models.flatten_layers(nested())}
    assert {"outer", "inner", "inside", "outside"} <= names
    assert "inside" not in {layer.name for layer in nested().layers}


def test_added_losses_are_told_from_those_of_the_weights_and_can_be_cleared():
    layer = L.Dense(1, activity_regularizer="l2", kernel_regularizer="l2")
    layer(np.ones((1, 1)))
    assert (len(layer.losses), len(models.added_losses(layer))) == (2, 1)
    models.clear_losses(layer)
    assert (len(layer.losses), len(models.added_losses(layer))) == (1, 0)
    assert not hasattr(layer, "clear_losses")


def test_the_global_seed_generator_is_made_without_a_draw():
    keras.utils.clear_session()
    keras.utils.set_random_seed(1)
    models.make_global_seed_generator()
    traced = tf.function(lambda: keras.random.normal((1,)))
    np.testing.assert_array_equal(traced().shape, (1,))
    keras.utils.clear_session()
    keras.utils.set_random_seed(1)
    first = keras.random.normal((1,))
    keras.utils.clear_session()
    keras.utils.set_random_seed(1)
    models.make_global_seed_generator()
    np.testing.assert_array_equal(keras.random.normal((1,)), first)


def test_without_the_helper_a_second_trace_still_cannot_make_the_generator():
    keras.utils.clear_session()
    noisy = tf.function(lambda training: keras.random.normal((1,)) if training else tf.zeros((1,)), autograph=False)
    noisy(False)
    with pytest.raises(ValueError, match="non-first call"):
        noisy(True)
    keras.utils.clear_session()


def test_the_nodes_of_a_graph_are_those_of_this_model_and_in_order():
    shared, x = L.Dense(1, name="shared"), keras.Input((1,))
    once, twice = keras.Model(x, shared(x)), keras.Model(x, shared(shared(x)))
    assert [len(models.graph_nodes(models.graph_of(model))) for model in (once, twice)] == [2, 3]
    node = models.graph_nodes(once)[-1]
    assert node.operation is shared
    assert node.arguments.args[0] is models.graph_nodes(once)[0].output_tensors[0]
    assert (node.is_input, models.graph_nodes(once)[0].is_input) == (False, True)
    assert twice.outputs[0] is not shared.output
    assert models.graph_of(keras.Sequential([L.Dense(1)])) is None
    assert models.graph_of(nested()) is not None


def test_keras_still_saves_the_optimizer_with_include_optimizer_false(tmp_path):
    model = keras.Sequential([keras.Input((64,)), L.Dense(64)])
    model.compile("adam", "mse")
    model.optimizer.build(model.trainable_variables)
    model.save(tmp_path / "full.keras", include_optimizer=False)
    optimizer = model.optimizer
    with saving.without_optimizers(model):
        model.save(tmp_path / "small.keras")
        assert not model.compiled
    assert model.optimizer is optimizer
    assert model.compiled
    assert (tmp_path / "full.keras").stat().st_size > 2 * (tmp_path / "small.keras").stat().st_size


class Watcher(keras.callbacks.Callback):
    """Notes what is around it."""

    def on_train_begin(self, logs=None):
        self.around = fit_module.callbacks_around(self)
        self.validation = fit_module.validation_of_fit(self.model)
        self.trial = fit_module.tuner_trial()

    def on_epoch_end(self, epoch, logs=None):
        self.directions = {name: fit_module.metric_direction(self.model, name) for name in ("loss", "accuracy", "none")}


def fit(*callbacks, **kwargs):
    model = keras.Sequential([keras.Input((1,)), L.Dense(1)])
    model.compile("sgd", "mse", metrics=["accuracy"])
    model.fit(np.ones((2, 1)), np.ones((2, 1)), verbose=0, callbacks=list(callbacks), **kwargs)


def test_a_callback_sees_its_neighbours_and_whether_fit_validates():
    first, watcher, last = keras.callbacks.Callback(), Watcher(), keras.callbacks.TerminateOnNaN()
    fit(first, watcher, last)
    assert first in watcher.around[0]
    assert last in watcher.around[1]
    assert watcher.validation == (False, 1)
    assert watcher.trial is None
    fit(watcher, validation_split=0.5, validation_freq=2)
    assert watcher.validation == (True, 2)
    assert fit_module.callbacks_around(watcher) == ([], [])
    assert fit_module.validation_of_fit(watcher.model) is None
    assert not {"validation_data", "callbacks"} & set(watcher.params)


def test_metrics_still_say_which_way_is_better_in_private_only():
    watcher = Watcher()
    fit(watcher)
    assert watcher.directions["accuracy"] == "up"
    assert watcher.directions["none"] is None
    assert not hasattr(keras.metrics.Accuracy(), "direction")


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # KerasTuner 1.4.8 calls threading.currentThread
def test_the_trial_of_a_search_is_found_on_the_stack(tmp_path):
    keras_tuner = pytest.importorskip("keras_tuner")
    seen = []

    class Noting(keras.callbacks.Callback):
        def on_train_begin(self, logs=None):
            seen.append(fit_module.tuner_trial())

        def __deepcopy__(self, memo):
            return Noting()

    def build(hp):
        hp.Choice("any", [1])
        model = keras.Sequential([keras.Input((1,)), L.Dense(1)])
        model.compile("sgd", "mse")
        return model

    tuner = keras_tuner.GridSearch(build, keras_tuner.Objective("loss", "min"), directory=str(tmp_path),
                                   executions_per_trial=2)  # fmt: skip
    tuner.search(np.ones((2, 1)), np.ones((2, 1)), verbose=0, callbacks=[Noting()])
    (trial,) = tuner.oracle.trials
    assert seen == [(trial, 0), (trial, 1)]


def test_names_that_keras_counts_are_told_by_the_class_of_the_layer():
    counted = [L.Dense(1), L.Dense(1), L.LayerNormalization(), keras.Sequential(), keras.Input((1,))]
    chosen = [L.Dense(1, name="scores"), L.Dense(1, name="dense_net"), keras.Sequential(name="dense_1")]
    assert all(models.has_counted_name(layer) for layer in counted[:4])
    assert models.is_counted_input(counted[4].name)
    assert not any(models.has_counted_name(layer) for layer in chosen)
    assert len({layer.name for layer in counted[:2]}) == 2


def test_a_kernel_below_lora_is_frozen_by_its_own_flag_and_was_made_to_be_trained():
    layer = L.Dense(2)
    layer.build((None, 3))
    layer.enable_lora(1)
    layer.trainable = True
    frozen = [weight for weight in models.weights_made_trainable(layer) if not weight.trainable]
    assert [weight.name for weight in frozen] == ["kernel"]
    norm = L.BatchNormalization()
    norm.build((None, 3))
    assert len(models.weights_made_trainable(norm)) == 2


def test_a_layer_whose_name_no_graph_can_have_is_called_and_traced_under_another():
    layer = L.Dense(1, name="a b")
    layer(np.ones((1, 1)))
    # In a thread: Keras keeps its open scopes per thread, and the failed call leaves its scope open for all later ones.
    with ThreadPoolExecutor(1) as thread, pytest.raises(ValueError, match="not a valid root scope name"):
        thread.submit(tf.function(layer), np.ones((1, 1), "float32")).result()
    with models.names_for_scopes(layer), tensorflow.names_for_graph([layer.kernel.value]):
        assert (layer.name, layer.kernel.value.name) == ("a_b", "a_b/kernel:0")
        assert tf.function(lambda x: layer(x))(np.ones((1, 1), "float32")).shape == (1, 1)
    assert (layer.name, layer.kernel.value.name) == ("a b", "a b/kernel:0")
