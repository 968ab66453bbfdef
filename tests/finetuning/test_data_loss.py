"""The loss of the data is in the logs as it would be without regularization, whatever is trained."""

import copy
import json
import pickle
import subprocess
import sys

import keras
import numpy as np
import producers
import pytest

from keras_hub_layers import callbacks, errors, finetuning, layers

RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(10, 1)).astype("float32")
Y = RANDOM.normal(size=(10, 1)).astype("float32")
WEIGHTS = RANDOM.random(10).astype("float32")


def model_of(handle, optimizer="sgd", trainable=True, **kwargs):
    """y = w·x + 1 with w = 0.5 and the loss 0.01·w² = 0.0025, and a head with the loss 1 that counts always."""
    head = keras.layers.Dense(1, use_bias=False, kernel_initializer="ones", kernel_regularizer=keras.regularizers.L2(1))
    hub = layers.HubLayer(handle, trainable=trainable, name="hub")
    model = keras.Sequential([keras.Input((1,)), hub, head])
    model.compile(optimizer, "mse", **kwargs)
    return model


def fit(model, *extra, epochs=1, **kwargs):
    chosen = {"batch_size": 4, "verbose": 0, "shuffle": False, "validation_data": (X, Y)}
    return model.fit(X, Y, epochs=epochs, callbacks=list(extra), **{**chosen, **kwargs}).history


@pytest.mark.parametrize("trainable", [True, False])
def test_it_is_the_error_of_the_data_where_nothing_moves(produced, trainable):
    history = fit(
        model_of(produced(producers.half_plus_one), keras.optimizers.SGD(0.0), trainable), callbacks.DataLoss()
    )
    error = np.mean((0.5 * X + 1 - Y) ** 2)
    assert history["data_loss"] == pytest.approx([error], rel=1e-5)
    assert history["val_data_loss"] == pytest.approx([error], rel=1e-5)
    assert history["val_loss"] == pytest.approx([error + 1 + 0.0025 * trainable], rel=1e-5)


def test_weights_of_examples_count_as_they_do_in_the_loss(produced):
    model = model_of(produced(producers.half_plus_one), keras.optimizers.SGD(0.0))
    history = fit(model, callbacks.DataLoss(), sample_weight=WEIGHTS, batch_size=10)
    error = np.mean(WEIGHTS[:, None] * (0.5 * X + 1 - Y) ** 2)
    assert history["data_loss"] == pytest.approx([error], rel=1e-5)


def test_several_outputs_are_weighted_as_they_are_in_the_loss(produced):
    inputs = keras.Input((1,))
    outputs = layers.HubLayer(produced(producers.half_plus_one), trainable=True)(inputs)
    model = keras.Model(inputs, {"a": outputs, "b": keras.layers.Rescaling(2.0)(outputs)})
    model.compile(keras.optimizers.SGD(0.0), {"a": "mse", "b": "mae"}, loss_weights={"a": 1.0, "b": 0.25})
    history = model.fit(X, {"a": Y, "b": Y}, verbose=0, callbacks=[callbacks.DataLoss()]).history
    y = 0.5 * X + 1
    expected = np.mean((y - Y) ** 2) + 0.25 * np.mean(np.abs(2 * y - Y))
    assert history["data_loss"] == pytest.approx([expected], rel=1e-5)


class Evaluating(keras.callbacks.Callback):
    """Evaluates in the middle of an epoch, on its own account."""

    def on_train_batch_end(self, batch, logs=None):
        self.model.evaluate(X[:2], Y[:2], verbose=0)


@pytest.mark.parametrize(
    ("compiled", "extra"),
    [({}, []), ({"steps_per_execution": 2}, []), ({"run_eagerly": True}, []), ({}, [Evaluating()])],
    ids=["plain", "several steps at once", "eager", "evaluated in between"],
)
def test_while_weights_move_it_is_what_a_metric_of_keras_says(produced, compiled, extra):
    model = model_of(produced(producers.half_plus_one), keras.optimizers.SGD(0.05), metrics=["mse"], **compiled)
    for _ in range(2):  # once more with the functions that are traced already
        history = fit(model, callbacks.DataLoss(), *extra, epochs=2)
        assert history["val_data_loss"] == pytest.approx(history["val_mse"], rel=1e-5)
        if not extra:  # Keras' metric and its loss are mixed up by an evaluation within an epoch
            assert history["data_loss"] == pytest.approx(history["mse"], rel=1e-5)
        assert len(set(history["data_loss"])) == 2


def test_across_unfreezing_it_can_be_compared(produced):
    model = model_of(produced(producers.half_plus_one), keras.optimizers.SGD(0.05), metrics=["mse"])
    schedule = callbacks.Unfreeze({0: None, 1: "all"}, verbose=0)
    history = fit(model, callbacks.DataLoss(), schedule, epochs=3)
    assert history["data_loss"] == pytest.approx(history["mse"], rel=1e-5)
    assert history["val_data_loss"] == pytest.approx(history["val_mse"], rel=1e-5)


def test_epochs_without_validation_have_no_value_of_it(produced):
    seen = []
    watch = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: seen.append("val_data_loss" in logs))
    fit(model_of(produced(producers.half_plus_one)), callbacks.DataLoss(), watch, epochs=4, validation_freq=2)
    assert seen == [False, True, False, True]


TWO_REPLICAS = """
import json, sys
import keras, numpy as np, tensorflow as tf
from keras_hub_layers import callbacks, layers

cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
with tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"]).scope():
    model = keras.Sequential([keras.Input((1,)), layers.HubLayer(sys.argv[1], trainable=True)])
    model.compile(keras.optimizers.SGD(0.0), "mse")
x, y = np.arange(8, dtype="float32")[:, None], np.ones((8, 1), "float32")
log = model.fit(x, y, batch_size=4, verbose=0, validation_data=(x[:4], y[:4]), callbacks=[callbacks.DataLoss()]).history
print(json.dumps([log[name][0] for name in ("data_loss", "val_data_loss", "loss", "val_loss")]))
"""


def test_two_replicas_report_what_one_does(produced):
    command = [sys.executable, "-c", TWO_REPLICAS, produced(producers.half_plus_one)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    squares = (0.5 * np.arange(8)) ** 2
    expected = [squares.mean(), squares[:4].mean()]
    assert json.loads(done.stdout.splitlines()[-1]) == pytest.approx(
        [*expected, *(value + 0.0025 for value in expected)], rel=1e-6
    )


def test_a_step_of_ones_own_without_a_loss_of_keras_is_said_to_report_nothing():
    class Own(keras.Model):
        def train_step(self, data):
            return {"loss": keras.ops.mean(data[0])}

    inputs = keras.Input((1,))
    model = Own(inputs, keras.layers.Dense(1)(inputs))
    model.compile("sgd", "mse")
    with pytest.warns(errors.HubWarning, match=r"nothing to report[\s\S]*compute_loss"):
        history = model.fit(X, Y, verbose=0, callbacks=[callbacks.DataLoss()]).history
    assert sorted(history) == ["loss"]


@pytest.mark.filterwarnings("ignore:Early stopping conditioned:UserWarning")
def test_who_looks_before_it_is_there_is_named(produced):
    stop = keras.callbacks.EarlyStopping("val_data_loss", mode="min")
    text = r"after EarlyStopping\(monitor='val_data_loss'\)[\s\S]*DataLoss\(\) first"
    with pytest.warns(errors.HubWarning, match=text) as caught:
        fit(model_of(produced(producers.half_plus_one)), stop, callbacks.DataLoss())
    assert next(warning for warning in caught if warning.category is errors.HubWarning).filename == __file__


def test_a_copy_is_as_before_fit(produced):
    used = callbacks.DataLoss()
    fit(model_of(produced(producers.half_plus_one)), used)
    for made in (copy.deepcopy(used), pickle.loads(pickle.dumps(used))):
        assert made.model is None
        history = fit(model_of(produced(producers.half_plus_one), keras.optimizers.SGD(0.0)), made)
        assert history["data_loss"] == pytest.approx([np.mean((0.5 * X + 1 - Y) ** 2)], rel=1e-5)


def test_a_measured_model_is_saved_as_any_other(produced, tmp_path):
    model = model_of(produced(producers.half_plus_one))
    fit(model, callbacks.DataLoss())
    model.save(tmp_path / "model.keras")
    model.save_weights(tmp_path / "w.weights.h5")
    model_of(produced(producers.half_plus_one)).load_weights(tmp_path / "w.weights.h5")
    loaded = keras.saving.load_model(tmp_path / "model.keras", safe_mode=False)
    np.testing.assert_array_equal(loaded.predict(X, verbose=0), model.predict(X, verbose=0))


# -- who compares what cannot be compared ----------------------------------------------------------------------------


def comparing(tmp_path):
    return {
        "EarlyStopping": keras.callbacks.EarlyStopping("val_loss", patience=9),
        "ReduceLROnPlateau": keras.callbacks.ReduceLROnPlateau("loss"),
        "ModelCheckpoint": keras.callbacks.ModelCheckpoint(tmp_path / "m.keras", save_best_only=True),
        "ExportFinetuned": callbacks.ExportFinetuned(tmp_path / "export", monitor="val_loss", verbose=0),
        "ExportPiece": callbacks.ExportPiece(tmp_path / "piece", monitor="loss", verbose=0),
    }


@pytest.mark.parametrize(
    "kind", ["EarlyStopping", "ReduceLROnPlateau", "ModelCheckpoint", "ExportFinetuned", "ExportPiece"]
)
@pytest.mark.parametrize("is_first", [True, False])
@pytest.mark.filterwarnings("ignore:Export.*it was changed what is trained")  # the exporters say it too
def test_a_schedule_warns_of_callbacks_that_compare_the_whole_loss(produced, tmp_path, kind, is_first):
    schedule, other = callbacks.Unfreeze({0: None, 1: "all"}, verbose=0), comparing(tmp_path)[kind]
    text = rf"\['hub'\] publish regularization losses[\s\S]*{kind}\(monitor='\w*loss'\) compares[\s\S]*DataLoss\(\)"
    with pytest.warns(errors.HubWarning, match=text) as caught:
        fit(
            model_of(produced(producers.half_plus_one)),
            *([schedule, other] if is_first else [other, schedule]),
            epochs=2,
        )
    found = [warning.filename for warning in caught if "epochs that are not alike" in str(warning.message)]
    assert found == [__file__]


@pytest.mark.parametrize(
    ("producer", "schedule", "monitor"),
    [
        (producers.half_plus_one, {0: "all", 1: 1}, "val_loss"),
        (producers.half_plus_one, {1: "all"}, "val_loss"),
        (producers.half_plus_one, {0: None, 5: "all"}, "val_loss"),
        (producers.half_plus_one, {0: None, 1: "all"}, "val_mse"),
        (producers.batch_norm, {0: None, 1: "all"}, "val_loss"),
    ],
    ids=["trained all the time", "trained before too", "after the end", "a metric", "no losses"],
)  # fmt: skip
def test_a_schedule_is_silent_where_epochs_are_alike(produced, producer, schedule, monitor):
    stop = keras.callbacks.EarlyStopping(monitor, mode="min", patience=9)
    model = model_of(produced(producer), metrics=["mse"])
    fit(model, callbacks.DataLoss(), callbacks.Unfreeze(schedule, verbose=0), stop, epochs=2)


def test_what_the_warning_says_to_write_does_not_stop_at_unfreezing(produced):
    schedule = {0: None, 1: "all"}
    said = "[callbacks.DataLoss(), callbacks.Unfreeze(schedule), "
    said += "keras.callbacks.EarlyStopping('val_data_loss', mode='min')]"
    model = model_of(produced(producers.half_plus_one), keras.optimizers.SGD(0.01))
    stop = keras.callbacks.EarlyStopping("val_loss", patience=9)
    with pytest.warns(errors.HubWarning, match="not alike") as caught:
        fit(model, callbacks.Unfreeze(schedule, verbose=0), stop, epochs=2)
    assert any(str(warning.message).endswith(f"callbacks={said}") for warning in caught)
    written = eval(said, {"callbacks": callbacks, "keras": keras, "schedule": schedule})
    history = fit(model_of(produced(producers.half_plus_one), keras.optimizers.SGD(0.01)), *written, epochs=4)
    assert len(history["val_data_loss"]) == 4
    assert history["val_data_loss"] == sorted(history["val_data_loss"], reverse=True)


def test_fine_tune_reports_it_where_a_saved_model_publishes_losses(produced):
    model = model_of(produced(producers.half_plus_one), keras.optimizers.SGD(0.01), metrics=["mse"])
    stop = keras.callbacks.EarlyStopping("val_data_loss", mode="min")
    history = finetuning.fine_tune(
        model, (X, Y), 3, callbacks=[stop], validation_data=(X, Y), verbose=0, batch_size=4, warmup=0
    ).history
    assert history["val_data_loss"] == pytest.approx(history["val_mse"], rel=1e-5)
    assert history["data_loss"] == pytest.approx(history["mse"], rel=1e-5)


def test_fine_tune_warns_of_a_stop_by_the_whole_loss(produced):
    stop = keras.callbacks.EarlyStopping("val_loss", patience=9)
    with pytest.warns(errors.HubWarning, match=r"EarlyStopping\(monitor='val_loss'\) compares") as caught:
        finetuning.fine_tune(
            model_of(produced(producers.half_plus_one)), (X, Y), 2, callbacks=[stop], validation_data=(X, Y), verbose=0
        )
    assert [warning.filename for warning in caught if "not alike" in str(warning.message)] == [__file__]


def test_an_export_by_it_is_that_of_the_best_epoch_and_without_it_is_told_what_adds_it(produced, tmp_path):
    handle = produced(producers.half_plus_one)
    export = callbacks.ExportFinetuned(tmp_path / "export", monitor="val_data_loss", verbose=0)
    with pytest.raises(errors.ExportError, match=r"not in the logs[\s\S]*callbacks.DataLoss\(\)"):
        fit(model_of(handle), export)
    kept = {}
    keep = keras.callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, logs: kept.update(
            {logs["val_data_loss"]: float(np.ravel(model.layers[0].weights[0])[0])}
        )
    )
    model = model_of(handle, keras.optimizers.SGD(0.05))
    fit(model, callbacks.DataLoss(), callbacks.Unfreeze({0: None, 1: "all"}, verbose=0), keep, export, epochs=3)
    exported = layers.HubLayer(export.exported[0])
    assert float(np.ravel(exported.weights[0])[0]) == kept[min(kept)]


@pytest.mark.filterwarnings("ignore:The model does not have any trainable weights:UserWarning")
def test_losses_that_depend_on_inputs_are_left_out_too(produced):
    """Keras 2's activity regularizer counts while the layer is trainable only."""
    handle, scores = produced(producers.activity_regularizer), {}
    for trainable in (False, True):
        hub = layers.HubLayer(handle, trainable=trainable)
        model = keras.Sequential([keras.Input(hub.interface.traces[0].inputs.shape[1:]), hub])
        model.compile(keras.optimizers.SGD(0.0), "mse")
        x = RANDOM.normal(size=(10, model.input_shape[1])).astype("float32")
        y = np.zeros(model.predict(x, verbose=0).shape, "float32")
        history = model.fit(x, y, verbose=0, callbacks=[callbacks.DataLoss()], batch_size=10).history
        scores[trainable] = history["loss"][0] - history["data_loss"][0]
        assert history["data_loss"] == pytest.approx([np.mean(model.predict(x, verbose=0) ** 2)], rel=1e-5)
    assert scores[False] == pytest.approx(0.0, abs=1e-6)
    assert scores[True] > 1e-3
