"""lr_find: rising learning rates, a suggestion, and a model that is as it was before."""

import keras
import numpy as np
import producers
import pytest

from keras_hub_layers import errors, finetuning, layers
from keras_hub_layers._src.finetuning import lr_find

X = np.ones((8, 1), "float32")
Y = np.zeros((8, 1), "float32")


def model_of(handle, optimizer="sgd", trainable=True):
    """y = d·(w·x + 1) with a dropout that changes nothing but its generator, and d = 1."""
    model = keras.Sequential(
        [
            keras.Input((1,)),
            layers.HubLayer(handle, trainable=trainable, name="hub"),
            keras.layers.Dense(1, use_bias=False, kernel_initializer="ones"),
            keras.layers.Dropout(1e-6, seed=1),
        ]
    )
    model.compile(optimizer, "mse")
    return model


def state(model):
    return [np.array(v) for v in (*model.variables, *model.optimizer.variables)]


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_weights_slots_rate_and_generators_are_as_before(produced, optimizer):
    model = model_of(produced(producers.half_plus_one, True), optimizer)
    model.fit(X, Y, verbose=0)
    before, history = state(model), model.history
    finetuning.lr_find(model, (X, Y), steps=12, batch_size=4)
    for value, kept in zip(state(model), before, strict=True):
        np.testing.assert_array_equal(value, kept)
    assert model.history is history
    assert not model.stop_training


def test_the_losses_are_those_of_a_loop_by_hand(produced):
    """One step each on the same batch: y = d·(w·x + 1) and a loss of y² + 0.01·w², from w = 0.5 and d = 1, by NumPy."""
    model = model_of(produced(producers.half_plus_one))
    found = finetuning.lr_find(model, (X, Y), start=1e-3, end=1e-1, steps=10, batch_size=8)
    w, d, mean, losses = 0.5, 1.0, 0.0, []
    for step, rate in enumerate(np.geomspace(1e-3, 1e-1, 10)):
        y = d * (w + 1)
        mean = 0.9 * mean + 0.1 * (y**2 + 0.01 * w**2)
        losses.append(mean / (1 - 0.9 ** (step + 1)))
        w, d = w - rate * (2 * y * d + 0.02 * w), d - rate * 2 * y * (w + 1)
    np.testing.assert_allclose(found.rates, np.geomspace(1e-3, 1e-1, 10), rtol=1e-6)
    np.testing.assert_allclose(found.losses, losses, rtol=1e-4)
    assert found.suggestion in found.rates
    assert float(found) == found.suggestion
    assert "suggestion" in str(found)


def test_the_suggestion_is_in_the_fall_and_not_in_the_noise_before_it(produced, monkeypatch):
    """Losses that jump up and down by 0.1 and then fall from 1 to 0.1: the fall is 20 to 29, its middle about 24."""
    losses = [1.0 + 0.1 * (-1) ** step for step in range(20)] + list(np.linspace(1.0, 0.1, 10)) + [0.1] * 5
    model = model_of(produced(producers.half_plus_one))
    trial = lr_find._Trial(1e-6, 2.0, 35)
    trial.set_model(model)
    monkeypatch.setattr(lr_find, "_SMOOTHING", 0.0)
    for loss in losses:
        trial.on_train_batch_begin(0)
        trial.on_train_batch_end(0, {"loss": loss})
    assert 1e-6 * 2.0**20 <= trial.result().suggestion <= 1e-6 * 2.0**27


def test_a_loss_that_hardly_falls_is_told(produced):
    with pytest.warns(errors.HubWarning, match=r"hardly falls, from .* to .*steps=20, batch_size=128\)"):
        finetuning.lr_find(model_of(produced(producers.half_plus_one)), (X, Y), start=1e-9, end=1e-7, steps=10)


def test_the_trial_ends_where_the_loss_diverges(produced):
    found = finetuning.lr_find(model_of(produced(producers.half_plus_one)), (X, Y), start=1e-4, end=1e6, steps=40)
    assert len(found.rates) == len(found.losses) < 40
    assert np.isfinite(found.losses).all()
    assert 1e-4 <= found.suggestion < 10


def test_targets_may_stand_beside_the_data(produced):
    model, given = model_of(produced(producers.half_plus_one)), {"start": 1e-3, "end": 1e-1, "steps": 10}
    assert finetuning.lr_find(model, X, Y, **given) == finetuning.lr_find(model, (X.tolist(), Y.tolist()), **given)


def test_a_layer_alone_is_answered_with_a_model_around_it(produced):
    with pytest.raises(errors.TrainingError, match=r"(?s)layer alone cannot be trained.*lr_find.*keras\.Sequential"):
        finetuning.lr_find(layers.HubLayer(produced(producers.half_plus_one)), X)


def test_a_frozen_layer_stays_frozen(produced):
    model = model_of(produced(producers.half_plus_one), trainable=False)
    assert len(finetuning.lr_find(model, (X, Y), start=1e-3, end=1e-1, steps=10).rates) == 10
    assert not model.get_layer("hub").trainable_weights


def test_a_model_that_is_not_compiled_is_said(produced):
    model = keras.Sequential([keras.Input((1,)), layers.HubLayer(produced(producers.half_plus_one))])
    with pytest.raises(errors.TrainingError, match=r"(?s)not compiled.*lr_find.*model\.compile"):
        finetuning.lr_find(model, (X, Y))


def test_rates_that_do_not_rise_are_said(produced):
    with pytest.raises(errors.TrainingError, match=r"(?s)no rising.*start=1, end=0\.1.*steps=100\)"):
        finetuning.lr_find(model_of(produced(producers.half_plus_one)), (X, Y), start=1, end=0.1)


def test_a_schedule_of_the_optimizer_is_said(produced):
    schedule = keras.optimizers.schedules.ExponentialDecay(1e-3, 10, 0.9)
    model = model_of(produced(producers.half_plus_one), keras.optimizers.SGD(schedule))
    with pytest.raises(errors.TrainingError, match=r"(?s)learning rate of the optimizer cannot be set.*Adam\(1e-3\)"):
        finetuning.lr_find(model, (X, Y))


def test_a_loss_that_is_never_finite_is_said(produced):
    model = model_of(produced(producers.half_plus_one))
    with pytest.raises(errors.TrainingError, match=r"(?s)diverges at the first.*lr_find\(model, data, start="):
        finetuning.lr_find(model, (X, np.full_like(Y, np.nan)), steps=10)
