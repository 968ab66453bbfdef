"""plot_history: the curves of a fit, and where what is trained has changed."""

import sys

import keras
import matplotlib as mpl
import numpy as np
import producers
import pytest

from keras_hub_layers import callbacks, errors, finetuning, layers

mpl.use("agg")
LOGS = {"loss": [3.0, 2.0, 1.0], "val_loss": [3.5, 2.5, 1.5], "mae": [0.3, 0.2, 0.1]}


@pytest.fixture
def tuned(produced):
    """A history of three epochs, the last two with the SavedModel unfrozen."""
    model = keras.Sequential([keras.Input((1,)), layers.HubLayer(produced(producers.half_plus_one)), _head()])
    model.compile(keras.optimizers.SGD(0.1), "mse")
    x = np.ones((4, 1), "float32")
    return finetuning.fine_tune(model, (x, x), 3, verbose=0, validation_data=(x, x))


def _head():
    return keras.layers.Dense(1, use_bias=False, kernel_initializer="ones")


def lines(ax):
    return {line.get_label(): list(line.get_ydata()) for line in ax.get_lines() if line.get_label()[0] != "_"}


def test_each_metric_has_axes_with_the_curves_of_training_and_validation():
    axes = finetuning.plot_history(LOGS)
    assert [ax.get_title() for ax in axes] == ["loss", "mae"]
    assert lines(axes[0]) == {"training": LOGS["loss"], "validation": LOGS["val_loss"]}
    assert lines(axes[1]) == {"training": LOGS["mae"]}


def test_the_history_of_fine_tune_says_what_was_trained_and_the_picture_marks_it(tuned):
    assert tuned.phases == [
        {"epoch": 0, "which": None, "parameters": 1, "learning_rate": pytest.approx(0.1)},
        {"epoch": 1, "which": "all", "parameters": 2, "learning_rate": pytest.approx(0.05)},
    ]
    (ax,) = finetuning.plot_history(tuned, ["loss"])
    assert [text.get_text() for text in ax.texts] == ["trains 'all', rate 0.05"]
    assert [list(line.get_xdata()) for line in ax.get_lines() if line.get_linestyle() == ":"] == [[1.5, 1.5]]


def test_the_table_needs_no_matplotlib(tuned, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    rows = finetuning.plot_history(tuned, ["loss"], as_text=True).splitlines()
    assert rows[0].split() == ["epoch", "loss", "val_loss", "from", "here", "on"]
    assert [row.split()[0] for row in rows[1:]] == ["1", "2", "3"]
    assert "trains 'all', rate 0.05" in rows[2]
    with pytest.raises(errors.MissingPackageError, match=r"(?s)needs matplotlib.*keras-hub-layers\[plots\]"):
        finetuning.plot_history(tuned)


def test_the_data_loss_stands_in_for_the_loss():
    axes = finetuning.plot_history({**LOGS, "data_loss": [1.0], "val_data_loss": [1.0], "learning_rate": [0.1]})
    assert [ax.get_title() for ax in axes] == ["mae", "data_loss"]


def test_a_metric_that_is_not_there_is_said_with_the_nearest():
    with pytest.raises(errors.TrainingError, match=r"(?s)no such metric.*metrics=\['mae'\]"):
        finetuning.plot_history(LOGS, ["mea"])


@pytest.mark.parametrize("nothing", [None, {}, keras.callbacks.History()])
def test_a_history_without_values_is_said(nothing):
    with pytest.raises(errors.TrainingError, match=r"(?s)nothing to draw.*model\.fit"):
        finetuning.plot_history(nothing)


def test_other_axes_than_curves_are_said():
    _, ax = mpl.pyplot.subplots()
    with pytest.raises(errors.TrainingError, match=r"(?s)more or fewer axes.*subplots\(1, 2\)"):
        finetuning.plot_history(LOGS, axes=ax)


def test_learning_rates_are_drawn_with_their_suggestion():
    ax = finetuning.LearningRates((1e-3, 1e-2, 1e-1), (3.0, 1.0, 2.0), 1e-2).plot()
    assert ax.get_xscale() == "log"
    assert lines(ax)["suggestion: 0.01"] == [0, 1]


def test_unfreeze_says_what_is_trained_and_with_which_rate(produced, capsys):
    model = keras.Sequential([keras.Input((1,)), layers.HubLayer(produced(producers.half_plus_one), name="hub")])
    model.add(_head())
    model.compile(keras.optimizers.SGD(0.1), "mse")
    x = np.ones((4, 1), "float32")
    schedule = callbacks.Unfreeze({0: None, 1: "all"}, learning_rates={1: 0.01}, warmup=2)
    model.fit(x, x, epochs=2, verbose=0, callbacks=[schedule])
    said = capsys.readouterr().out
    assert "epoch 1: None of the layer, 1 parameters of the model train, learning rate 0.1\n" in said
    assert "epoch 2: 'all' of the layer, 2 parameters of the model train, learning rate 0.01, after 2 batches\n" in said
