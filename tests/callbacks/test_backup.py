"""A `fit` that was interrupted goes on, and ends as if it had not been interrupted."""

import copy
import os
import pickle

import keras
import numpy as np
import producers
import pytest
import tensorflow as tf

from keras_hub_layers import callbacks, errors, layers

X, Y = np.linspace(0.5, 2, 8, dtype="float32")[:, None], np.zeros((8, 1), "float32")


def scale(directory):
    """y = a·b·x with a = 0.5 and b = 1, named `bottom/a` and `top/b`."""
    root = tf.train.Checkpoint()
    root.a, root.b = tf.Variable(0.5, name="bottom/a"), tf.Variable(1.0, name="top/b")
    root.__call__ = tf.function(lambda x: root.b * (root.a * x), input_signature=[tf.TensorSpec((None, 1))])
    root.variables = root.trainable_variables = [root.a, root.b]
    return producers.save(root, directory)


class Scores(keras.callbacks.Callback):
    """Puts a score into the logs: the second epoch has the best one."""

    def on_epoch_end(self, epoch, logs=None):
        logs["score"] = [5.0, 1.0, 3.0, 4.0, 2.0, 6.0][epoch]


class Crash(keras.callbacks.Callback):
    """Ends `fit` in the second batch of an epoch, or, with `None`, at its end."""

    def __init__(self, epoch):
        super().__init__()
        self.epoch, self.now = epoch, None

    def on_epoch_begin(self, epoch, logs=None):
        self.now = epoch

    def on_train_batch_begin(self, batch, logs=None):
        if self.now == self.epoch and batch == 1:
            raise InterruptedError("crash")

    def on_train_end(self, logs=None):
        if self.epoch is None:
            raise InterruptedError("crash")


def trained(handle, folder, *extra, patience=9):
    """A new model after 6 epochs, and all that `fit` has left: weights, slots, history, export."""
    model = keras.Sequential(
        [
            keras.Input((1,)),
            layers.HubLayer(handle, name="hub"),
            keras.layers.Dropout(0.5, seed=1),
            keras.layers.Dense(1, use_bias=False, kernel_initializer="ones"),
        ]
    )
    model.compile(keras.optimizers.Adam(0.01), "mse")
    plan = callbacks.Unfreeze({0: "all", 2: "top", 4: "all"}, learning_rates={0: 0.02}, warmup=5, verbose=0)
    rest = [
        keras.callbacks.ReduceLROnPlateau("score", mode="min", patience=2),
        keras.callbacks.EarlyStopping("score", mode="min", patience=patience),
        callbacks.ExportFinetuned(folder, monitor="score", mode="min", verbose=0),
    ]
    history = model.fit(
        X, Y, batch_size=4, epochs=6, shuffle=False, verbose=0, callbacks=[Scores(), plan, *rest, *extra]
    )
    return {
        "weights": [np.ravel(variable.numpy()).tolist() for variable in model.variables],
        "slots": [np.ravel(variable.numpy()).tolist() for variable in model.optimizer.variables],
        "history": history.history,
        "epochs": history.epoch,
        "phases": history.phases,
        "exported": [weight.numpy().tolist() for weight in layers.HubLayer(str(folder)).weights],
    }


@pytest.fixture(scope="module")
def uninterrupted(produced, tmp_path_factory):
    return trained(produced(scale), tmp_path_factory.mktemp("uninterrupted") / "export")


@pytest.mark.parametrize("epoch", [1, 3, None])
def test_an_interrupted_fit_ends_as_one_that_was_not(produced, tmp_path, uninterrupted, epoch):
    backup = tmp_path / "backup"
    with pytest.raises(InterruptedError, match="crash"):
        trained(produced(scale), tmp_path / "export", Crash(epoch), callbacks.Backup(backup, verbose=0))
    assert os.listdir(backup) == ["backup.npz"]
    assert trained(produced(scale), tmp_path / "export", callbacks.Backup(backup, verbose=0)) == uninterrupted
    assert not backup.exists()


def test_a_fit_that_had_stopped_early_trains_no_further(produced, tmp_path):
    expected = trained(produced(scale), tmp_path / "export", patience=2)
    assert expected["epochs"] == [0, 1, 2, 3]
    with pytest.raises(InterruptedError, match="crash"):
        trained(produced(scale), tmp_path / "out", Crash(None), callbacks.Backup(tmp_path, verbose=0), patience=2)
    assert trained(produced(scale), tmp_path / "out", callbacks.Backup(tmp_path, verbose=0), patience=2) == expected


def dense(*extra, units=1, optimizer="sgd", epochs=2, model=None):
    if model is None:
        model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(units)])
        model.compile(optimizer, "mse")
    model.fit(X, np.zeros((8, units)), epochs=epochs, verbose=0, callbacks=list(extra))
    return model


def interrupt(directory):
    with pytest.raises(InterruptedError, match="crash"):
        dense(Crash(None), callbacks.Backup(directory, verbose=0))


def test_the_next_fit_of_a_resumed_model_starts_at_its_beginning(tmp_path, capsys):
    interrupt(tmp_path)
    resumed = dense(callbacks.Backup(tmp_path), epochs=3)
    assert "Backup: 2 epochs were complete" in capsys.readouterr().out
    assert resumed.history.epoch == [0, 1, 2]
    assert dense(model=resumed).history.epoch == [0, 1]
    assert dense(callbacks.Backup(tmp_path), model=resumed).history.epoch == [0, 1]


def test_a_backup_lies_on_a_remote_file_system_too():
    interrupt("ram://somewhere/backup")
    assert tf.io.gfile.exists("ram://somewhere/backup/backup.npz")
    assert dense(callbacks.Backup("ram://somewhere/backup", verbose=0), epochs=3).history.epoch == [0, 1, 2]
    assert not tf.io.gfile.exists("ram://somewhere/backup/backup.npz")


def test_a_backup_of_another_model_is_an_error_and_stays(tmp_path):
    interrupt(tmp_path)
    backup = callbacks.Backup(tmp_path, verbose=0)
    with pytest.raises(errors.TrainingError, match=r"(?s)another model.*\(1, 1\), \(1,\).*Received.*\(1, 2\), \(2,\)"):
        dense(backup, units=2)
    with pytest.raises(errors.TrainingError, match="the optimizer Adam"):
        dense(backup, optimizer="adam")
    with pytest.raises(errors.TrainingError, match="EarlyStopping"):
        dense(keras.callbacks.EarlyStopping("loss"), backup)
    assert os.listdir(tmp_path) == ["backup.npz"]


@pytest.mark.parametrize("content", [b"no backup", b"PK\x03\x04", b""])
def test_a_file_that_is_no_backup_is_an_error_and_stays(tmp_path, content):
    (tmp_path / "backup.npz").write_bytes(content)
    with pytest.raises(errors.TrainingError, match="in the place of the backup is none"):
        dense(callbacks.Backup(tmp_path))
    assert (tmp_path / "backup.npz").read_bytes() == content


def test_what_cannot_be_kept_is_said_at_the_start(tmp_path):
    with pytest.raises(errors.TrainingError, match=r"(?s)ReduceLROnPlateau behind it.*callbacks=\[\.\.\., callbacks"):
        dense(callbacks.Backup(tmp_path), keras.callbacks.ReduceLROnPlateau("loss"))
    with pytest.raises(errors.TrainingError, match="swap_on_epoch=False"):
        dense(keras.callbacks.SwapEMAWeights(swap_on_epoch=True), callbacks.Backup(tmp_path))
    (tmp_path / "file").touch()
    with pytest.raises(errors.ExportWriteError, match="file"):
        dense(callbacks.Backup(tmp_path / "file" / "backup"))


def test_a_callback_of_the_user_is_kept_that_says_its_state(tmp_path):
    class Counter(keras.callbacks.Callback):
        count = 0

        def on_epoch_end(self, epoch, logs=None):
            self.count += 1

        def get_fit_state(self):
            return {"count": self.count, "array": np.ones(2)}

        def set_fit_state(self, state):
            assert state["array"].tolist() == [1.0, 1.0]
            self.count = state["count"]

    with pytest.raises(InterruptedError, match="crash"):
        dense(Counter(), Crash(None), callbacks.Backup(tmp_path, verbose=0))
    counter = Counter()
    dense(counter, callbacks.Backup(tmp_path, verbose=0), epochs=3)
    assert counter.count == 3


def test_a_callback_in_use_can_be_copied(tmp_path):
    backup = callbacks.Backup(tmp_path, verbose=0)
    dense(backup)
    for twin in (copy.deepcopy(backup), pickle.loads(pickle.dumps(backup))):
        assert (twin.directory, twin.verbose) == (str(tmp_path), 0)
        dense(twin)
