"""The callbacks export what was trained at the end of `fit`, and never a worse thing over a good one."""

import copy
import os
import pickle
import shutil
import subprocess
import sys

import keras
import numpy as np
import producers
import pytest
import tensorflow as tf

from keras_hub_layers import callbacks, errors, layers
from keras_hub_layers._src.export import export as export_module

X = np.array([[1.0], [2.0], [4.0], [8.0]], "float32")
Y = np.full((4, 1), 5.0, "float32")


@pytest.fixture
def handle(tmp_path):
    """y = w·x + 1 with w = 0.5."""
    return producers.half_plus_one(tmp_path / "source")


def model_of(handle, rate=0.1, names=("hub",), nested=False, **compiled):
    """Hub layers in a row, compiled with SGD."""
    chain = keras.Sequential(
        [keras.Input((1,)), *(layers.HubLayer(handle, trainable=True, name=name) for name in names)], name="chain"
    )
    model = keras.Sequential([keras.Input((1,)), chain]) if nested else chain
    model.compile(keras.optimizers.SGD(rate), compiled.pop("loss", "mse"), **compiled)
    return model


def fit(model, *callbacks, epochs=1, **kwargs):
    kwargs.setdefault("verbose", 0)
    return model.fit(X, Y, batch_size=4, epochs=epochs, callbacks=list(callbacks), shuffle=False, **kwargs)


def w_of(directory):
    return float(tf.saved_model.load(str(directory)).trainable_variables[0].numpy().item())


def w(model, name="hub"):
    return float(next(v for v in model.trainable_variables).numpy().item())


def quiet(directory, **kwargs):
    return callbacks.ExportFinetuned(str(directory), verbose=0, **kwargs)


def scores(*values, key="val_score"):
    """A callback that puts the given scores into the logs, before those that come after it."""

    class Scores(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            logs[key] = values[epoch]

    return Scores()


def test_the_end_of_fit_exports_what_was_trained(handle, tmp_path, capsys):
    model = model_of(handle, rate=0.01)
    callback = callbacks.ExportFinetuned(tmp_path / "out")
    fit(model, callback)
    assert w(model) != 0.5
    assert w_of(tmp_path / "out") == w(model)
    assert callback.exported == [str(tmp_path / "out")]
    assert f"HubLayer 'hub' exported to {tmp_path / 'out'}" in capsys.readouterr().out
    assert (tmp_path / "out" / "saved_model.pb").read_bytes() == (tmp_path / "source" / "saved_model.pb").read_bytes()
    np.testing.assert_array_equal(layers.HubLayer(str(tmp_path / "out"))(X), model(X))


def test_with_monitor_the_best_epoch_is_exported_and_the_model_keeps_its_last_weights(handle, tmp_path):
    model, seen = model_of(handle, rate=0.01), []
    watch = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: seen.append(w(model)))
    fit(model, watch, scores(3.0, 1.0, 2.0), quiet(tmp_path / "out", monitor="val_score", mode="min"), epochs=3)
    assert w_of(tmp_path / "out") == seen[1] != seen[2]
    assert w(model) == seen[2]


@pytest.mark.parametrize(
    ("key", "values", "best"),
    [("accuracy", (0.1, 0.9, 0.3), 1), ("val_loss", (3.0, 2.0, 1.0), 2), ("auc_1", (0.9, 0.1, 0.2), 0)],
)
def test_mode_auto_knows_which_way_common_metrics_are_better(handle, tmp_path, key, values, best):
    model, seen = model_of(handle, rate=0.01), []
    watch = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: seen.append(w(model)))
    fit(model, watch, scores(*values, key=key), quiet(tmp_path / "out", monitor=key), epochs=3,
        validation_data=(X, Y))  # fmt: skip
    assert w_of(tmp_path / "out") == seen[best]


def test_mode_auto_of_an_unknown_metric_asks_for_the_mode(handle, tmp_path):
    with pytest.raises(errors.ExportError, match=r'mode="max"'):
        fit(model_of(handle), scores(1.0, key="wellbeing"), quiet(tmp_path / "out", monitor="wellbeing"))


def test_a_nan_score_never_wins_and_best_starts_anew_with_each_fit(handle, tmp_path):
    model, seen = model_of(handle, rate=0.01), []
    watch = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: seen.append(w(model)))
    callback = quiet(tmp_path / "out", monitor="val_score", mode="max")
    fit(model, watch, scores(float("nan"), 9.0, float("nan")), callback, epochs=3)
    assert w_of(tmp_path / "out") == seen[1]
    fit(model, watch, scores(5.0, 4.0), callback, epochs=2)
    assert w_of(tmp_path / "out") == seen[3]
    assert callback.exported == [str(tmp_path / "out")]


def test_a_monitor_that_is_not_in_the_logs_lists_those_that_are(handle, tmp_path):
    with pytest.raises(errors.ExportError, match=r"one of \['loss'\][\s\S]*monitor='loss'"):
        fit(model_of(handle), quiet(tmp_path / "out", monitor="lss"))
    assert not (tmp_path / "out").exists()


def test_a_val_monitor_without_validation_data_is_found_out_before_training(handle, tmp_path):
    model = model_of(handle)
    with pytest.raises(errors.ExportError, match="no validation data"):
        fit(model, quiet(tmp_path / "out", monitor="val_loss"))
    assert w(model) == 0.5


def test_epochs_without_validation_are_passed_over(handle, tmp_path):
    model, seen = model_of(handle, rate=0.01), []
    watch = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: seen.append(w(model)))
    fit(model, watch, quiet(tmp_path / "out", monitor="val_loss"), epochs=3, validation_data=(X, Y), validation_freq=2)
    assert w_of(tmp_path / "out") == seen[1]


def test_nan_weights_never_replace_a_good_export(handle, tmp_path):
    model = model_of(handle, rate=0.01)
    fit(model, quiet(tmp_path / "out"))
    good = w_of(tmp_path / "out")
    model.trainable_variables[0].assign([[float("nan")]])
    with pytest.raises(errors.ExportError, match="NaN or infinite"):
        fit(model, quiet(tmp_path / "out"))
    skipping = quiet(tmp_path / "out", on_nan="skip")
    with pytest.warns(errors.HubWarning, match="NaN or infinite"):
        fit(model, skipping)
    assert skipping.exported == []
    assert w_of(tmp_path / "out") == good
    assert sorted(os.listdir(tmp_path)) == ["out", "source"]


def test_no_finite_score_at_all_is_treated_like_nan(handle, tmp_path):
    nan = float("nan")
    with pytest.raises(errors.ExportError, match="No epoch had a finite 'val_score'"):
        fit(model_of(handle), scores(nan), quiet(tmp_path / "out", monitor="val_score", mode="min"))
    assert not (tmp_path / "out").exists()


def test_without_any_epoch_the_weights_of_now_are_exported(handle, tmp_path):
    model = model_of(handle)
    fit(model, quiet(tmp_path / "out", monitor="loss"), epochs=2, initial_epoch=2)
    assert w_of(tmp_path / "out") == 0.5


def test_versions_count_on(handle, tmp_path):
    model = model_of(handle, rate=0.01)
    callback = quiet(tmp_path / "out", versioned=True)
    fit(model, callback)
    fit(model, callback)
    assert sorted(os.listdir(tmp_path / "out")) == ["1", "2"]
    assert callback.exported == [str(tmp_path / "out" / "2")]
    assert w_of(tmp_path / "out" / "2") == w(model) != w_of(tmp_path / "out" / "1")


def test_several_hub_layers_are_exported_by_name_and_one_by_request(handle, tmp_path):
    model = model_of(handle, rate=0.001, names=("first", "second"), nested=True)
    both = quiet(tmp_path / "both")
    one = quiet(tmp_path / "one", layer=model.get_layer("chain").get_layer("second"))
    fit(model, both, one)
    first, second = (float(v.numpy().item()) for v in model.trainable_variables)
    assert w_of(tmp_path / "both" / "first") == first
    assert w_of(tmp_path / "both" / "second") == w_of(tmp_path / "one") == second != first
    assert both.exported == [f"{tmp_path}/both/first", f"{tmp_path}/both/second"]


def test_an_unknown_layer_and_a_model_without_hub_layers_are_found_out_before_training(handle, tmp_path):
    model = model_of(handle)
    with pytest.raises(errors.ExportError, match="layer='hub'"):
        fit(model, quiet(tmp_path / "out", layer="hab"))
    assert w(model) == 0.5
    plain = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1, name="only")])
    plain.compile("sgd", "mse")
    with pytest.raises(errors.ExportError, match=r"no HubLayer[\s\S]*\['only'\][\s\S]*ExportPiece"):
        fit(plain, quiet(tmp_path / "out"))


def test_two_hub_layers_of_one_name_are_refused(handle, tmp_path):
    a = keras.Sequential([keras.Input((1,)), layers.HubLayer(handle, trainable=True, name="hub")], name="a")
    b = keras.Sequential([keras.Input((1,)), layers.HubLayer(handle, trainable=True, name="hub")], name="b")
    model = keras.Sequential([keras.Input((1,)), a, b])
    model.compile("sgd", "mse")
    with pytest.raises(errors.ExportError, match="the name 'hub' more than once"):
        fit(model, quiet(tmp_path / "out"))


@pytest.mark.parametrize("place", ["file/export", "file/deep/export", "/proc/export"])
@pytest.mark.parametrize("versioned", [False, True])
def test_a_place_where_nothing_can_be_written_is_found_out_before_training(handle, tmp_path, place, versioned):
    (tmp_path / "file").write_text("mine")
    model = model_of(handle)
    whole = callbacks.ExportPiece(tmp_path / place, versioned=versioned)
    for export in (
        quiet(tmp_path / place, versioned=versioned),
        whole,
        callbacks.ExportPiece(f"{tmp_path / place}.h5"),
    ):
        with pytest.raises(
            errors.ExportWriteError, match=r"(?s)No export can be written there.*directory = '\S+export"
        ):
            fit(model, export)
    assert w(model) == 0.5


def test_looking_whether_a_place_can_be_written_to_leaves_nothing_there(handle, tmp_path):
    export = quiet(tmp_path / "deep" / "export")
    export.set_model(model_of(handle))
    export.on_train_begin()
    assert os.listdir(tmp_path) == ["source"]


@pytest.mark.parametrize("nothing", ["", None])
def test_no_destination_at_all_is_refused_at_once(handle, nothing):
    with pytest.raises(errors.ExportError, match="no destination to write to"):
        callbacks.ExportFinetuned(nothing)
    with pytest.raises(errors.ExportError, match="no destination to write to"):
        export_module.export(layers.HubLayer(handle), nothing)


def test_a_destination_that_holds_something_else_is_found_out_before_training(handle, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.txt").write_text("mine")
    model = model_of(handle)
    with pytest.raises(errors.ExportError, match=r"thesis\.txt"):
        fit(model, quiet(tmp_path / "out"))
    assert w(model) == 0.5


def test_a_frozen_layer_is_exported_with_a_warning(handle, tmp_path):
    model = keras.Sequential([keras.Input((1,)), layers.HubLayer(handle), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    with pytest.warns(errors.HubWarning, match="is frozen"):
        fit(model, quiet(tmp_path / "out"))
    assert w_of(tmp_path / "out") == 0.5


def test_after_early_stopping_the_restored_weights_are_exported(handle, tmp_path, recwarn):
    model, seen = model_of(handle, rate=0.01), []
    watch = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: seen.append(w(model)))
    stop = keras.callbacks.EarlyStopping("val_score", mode="min", patience=1, restore_best_weights=True)
    fit(model, watch, scores(1.0, 2.0, 3.0), stop, quiet(tmp_path / "out"), epochs=3)
    assert w_of(tmp_path / "out") == seen[0]
    assert [str(warning.message) for warning in recwarn] == []


def test_before_early_stopping_it_warns(handle, tmp_path):
    stop = keras.callbacks.EarlyStopping("loss", restore_best_weights=True)
    with pytest.warns(errors.HubWarning, match="EarlyStopping comes after it"):
        fit(model_of(handle, rate=0.01), quiet(tmp_path / "out"), stop)


def test_averaged_weights_are_exported_behind_swap_ema_weights(handle, tmp_path):
    model, seen = model_of(handle), []
    model.compile(keras.optimizers.SGD(0.01, use_ema=True, ema_momentum=0.5), "mse")
    watch = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: seen.append(w(model)))
    swap = keras.callbacks.SwapEMAWeights(swap_on_epoch=True)
    fit(model, watch, swap, scores(2.0, 1.0), quiet(tmp_path / "out", monitor="val_score", mode="min"), epochs=2)
    assert w_of(tmp_path / "out") == pytest.approx((seen[0] + seen[1]) / 2, rel=1e-5)
    assert seen[0] != pytest.approx(seen[1], rel=1e-2)


def test_an_interrupted_fit_exports_nothing_until_asked(handle, tmp_path):
    def interrupt(epoch, logs):
        if epoch == 1:
            raise KeyboardInterrupt

    model, seen = model_of(handle, rate=0.01), []
    watch = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: seen.append(w(model)))
    callback = quiet(tmp_path / "out", monitor="loss")
    stop = keras.callbacks.LambdaCallback(on_epoch_begin=interrupt)
    with pytest.raises(KeyboardInterrupt):
        fit(model, watch, callback, stop, epochs=3)
    assert not (tmp_path / "out").exists()
    assert callback.export() == [str(tmp_path / "out")] == callback.exported
    assert w_of(tmp_path / "out") == seen[0]


def test_a_custom_loop_exports_through_a_callback_list(handle, tmp_path):
    model = model_of(handle, rate=0.01)
    run = keras.callbacks.CallbackList([quiet(tmp_path / "out", monitor="loss")], model=model)
    run.on_train_begin()
    for epoch in range(2):
        loss = model.train_on_batch(X, Y)
        run.on_epoch_end(epoch, {"loss": tf.constant(loss)})
    run.on_train_end()
    assert w_of(tmp_path / "out") == w(model)


def test_a_resumed_fit_with_backup_and_restore_exports(handle, tmp_path):
    backup = keras.callbacks.BackupAndRestore(str(tmp_path / "backup"))

    def crash(epoch, logs):
        if epoch == 1:
            raise RuntimeError("power cut")

    with pytest.raises(RuntimeError, match="power cut"):
        fit(model_of(handle, rate=0.01), quiet(tmp_path / "out"), backup,
            keras.callbacks.LambdaCallback(on_epoch_begin=crash), epochs=3)  # fmt: skip
    resumed = model_of(handle, rate=0.01)
    fit(resumed, quiet(tmp_path / "out"), keras.callbacks.BackupAndRestore(str(tmp_path / "backup")), epochs=3)
    assert w_of(tmp_path / "out") == w(resumed)


def test_export_without_a_model_says_what_to_do(tmp_path):
    with pytest.raises(errors.ExportError, match=r"callback\.set_model\(model\)"):
        quiet(tmp_path / "out").export()


@pytest.mark.parametrize("bad", [{"mode": "best"}, {"on_nan": "ignore"}])
def test_settings_are_checked_when_they_are_made(tmp_path, bad):
    with pytest.raises(errors.ExportError, match=f"{next(iter(bad))}="):
        quiet(tmp_path / "out", **bad)


def test_a_copy_and_a_pickle_hold_no_model(handle, tmp_path):
    model = model_of(handle, rate=0.01)
    callback = quiet(tmp_path / "out", monitor="loss")
    fit(model, callback)
    for other in (copy.deepcopy(callback), pickle.loads(pickle.dumps(callback))):
        assert other.exported == []
        assert (other.directory, other.monitor) == (callback.directory, "loss")
        with pytest.raises(errors.ExportError, match="no model"):
            other.export()
    assert callback.exported


def test_the_export_survives_its_source(handle, tmp_path):
    model = model_of(handle, rate=0.01)
    shutil.rmtree(handle)
    with pytest.warns(errors.HubWarning, match="is gone, so the object is saved anew"):
        fit(model, quiet(tmp_path / "out"))
    np.testing.assert_allclose(layers.HubLayer(str(tmp_path / "out"))(X), model(X))


def test_under_a_strategy_the_export_holds_the_trained_weights(handle, tmp_path):
    with tf.distribute.MirroredStrategy(["CPU:0"]).scope():
        model = model_of(handle, rate=0.01)
    fit(model, quiet(tmp_path / "out", monitor="loss"))
    assert w_of(tmp_path / "out") == w(model)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # KerasTuner 1.4.8 calls threading.currentThread
@pytest.mark.parametrize("executions", [1, 2])
def test_each_trial_and_execution_of_a_search_has_its_own_directory(handle, tmp_path, executions):
    keras_tuner = pytest.importorskip("keras_tuner")

    def build(hp):
        return model_of(handle, rate=hp.Choice("rate", [0.01, 0.02]))

    tuner = keras_tuner.GridSearch(build, keras_tuner.Objective("loss", "min"), executions_per_trial=executions,
                                   directory=str(tmp_path / "search"), project_name="p")  # fmt: skip
    tuner.search(X, Y, batch_size=4, epochs=2, verbose=0, callbacks=[quiet(tmp_path / "out", monitor="loss")])
    trials = sorted(tuner.oracle.trials)
    assert sorted(os.listdir(tmp_path / "out")) == trials
    if executions == 2:
        assert sorted(os.listdir(tmp_path / "out" / trials[0])) == ["0", "1"]
    else:
        best = tuner.get_best_models(1)[0]
        best_trial = tuner.oracle.get_best_trials(1)[0].trial_id
        assert w_of(tmp_path / "out" / best_trial) == w(best)
        assert len({w_of(tmp_path / "out" / trial) for trial in trials}) == 2


@pytest.mark.parametrize(("key", "warns"), [("loss", True), ("val_loss", True), ("val_mse", False)])
def test_a_loss_that_is_monitored_across_a_change_of_what_is_trained_is_warned_of(tmp_path, recwarn, key, warns):
    source = producers.shared_loss(tmp_path / "source")
    model = keras.Sequential([keras.Input((1,)), layers.HubLayer(source, name="hub"), keras.layers.Dense(1)])
    model.compile(keras.optimizers.SGD(0.001), "mse", metrics=["mse"])
    added = []
    watch = keras.callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, logs: added.append(round(logs["val_loss"] - logs["val_mse"], 4))
    )
    export = callbacks.ExportFinetuned(tmp_path / "out", monitor=key, verbose=0)
    fit(model, callbacks.Unfreeze({0: None, 1: "all"}, verbose=0), watch, export, epochs=3, validation_data=(X, Y))
    texts = [str(warning.message) for warning in recwarn if "cannot be compared" in str(warning.message)]
    assert added[0] == 0.0 != added[1]
    assert len([text for text in texts if text.startswith("ExportFinetuned")]) == warns
    if warns:
        assert "before epoch 2" in texts[0]
        assert "HubLayer 'hub'" in texts[0]
        assert 'monitor="val_mse"' in texts[0]


def test_exporting_twice_by_hand_lists_the_path_once(handle, tmp_path):
    callback = quiet(tmp_path / "out")
    fit(model_of(handle, rate=0.01), callback)
    callback.export()
    assert callback.exported == [str(tmp_path / "out")]


TWO_REPLICAS = """
import sys
import warnings
import tensorflow as tf
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
import keras
import numpy as np
from keras_hub_layers import callbacks, layers
source, out = sys.argv[1:]
warnings.simplefilter("ignore")
with tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"]).scope():
    hub = layers.HubLayer(source, trainable=True)
    x = keras.Input((1,))
    model = keras.Model(x, keras.layers.Dense(2)(keras.layers.BatchNormalization()(hub(x))))
    model.compile("sgd", "mse")
x = np.arange(16, dtype="float32").reshape(16, 1)
targets = [callbacks.ExportFinetuned(out + "/tuned", verbose=0), callbacks.ExportPiece(out + "/whole", verbose=0)]
model.fit(x, np.ones((16, 2)), epochs=2, verbose=0, callbacks=targets)
for name, layer in (("tuned", hub), ("whole", model)):
    loaded = tf.saved_model.load(f"{out}/{name}")
    assert len(loaded.variables) == len(layer.variables), name
    for found, weight in zip(loaded.variables, layer.variables):
        np.testing.assert_allclose(found, np.mean([part.numpy() for part in weight.value.values], axis=0), atol=1e-6)
assert any(not np.array_equal(*[p.numpy() for p in w.value.values]) for w in model.variables), "nothing to average"
"""


def test_two_replicas_are_exported_as_one_with_the_mean_of_their_averages(tmp_path):
    source = producers.batch_norm(tmp_path / "source")
    done = subprocess.run([sys.executable, "-c", TWO_REPLICAS, source, str(tmp_path / "out")], check=False, timeout=120,
                          capture_output=True, text=True)  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
