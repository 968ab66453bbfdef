"""A schedule trains what it says from the epoch that it says, and the optimizer forgets nothing.

The model is y = k·(w·x) with w = 0.5 inside a SavedModel and a head k = 1; on x = 1 and the target 0 its gradients are
2·k·y for w and 2·w·y for k.
"""

import copy
import json
import pickle
import subprocess
import sys

import keras
import numpy as np
import producers
import pytest
import tensorflow as tf

from keras_hub_layers import callbacks, errors, finetuning, layers
from keras_hub_layers._src.finetuning import optimizer_slots
from keras_hub_layers._src.finetuning.layerwise import LayerwiseOptimizer
from keras_hub_layers._src.layers import access

X, Y = np.ones((4, 1), "float32"), np.zeros((4, 1), "float32")


def scale(directory):
    """y = a·b·x with a = 0.5 and b = 1, named `bottom/a` and `top/b`."""
    root = tf.train.Checkpoint()
    root.a, root.b = tf.Variable(0.5, name="bottom/a"), tf.Variable(1.0, name="top/b")
    root.__call__ = tf.function(lambda x: root.b * (root.a * x), input_signature=[tf.TensorSpec((None, 1))])
    root.variables = root.trainable_variables = [root.a, root.b]
    return producers.save(root, directory)


def model_of(handle, optimizer, **kwargs):
    model = keras.Sequential(
        [
            keras.Input((1,)),
            layers.HubLayer(handle, name="hub", **kwargs),
            keras.layers.Dense(1, use_bias=False, kernel_initializer="ones", name="head"),
        ]
    )
    model.compile(optimizer, "mse")
    return model


def fit(model, *extra, epochs=1, **kwargs):
    return model.fit(X, Y, batch_size=4, epochs=epochs, verbose=0, callbacks=list(extra), **kwargs)


def values(model):
    return {"/".join(v.path.split("/")[-2:]): float(np.ravel(v.numpy())[0]) for v in model.weights}


class Seen(keras.callbacks.Callback):
    """The weights and the learning rate after each epoch."""

    def __init__(self):
        super().__init__()
        self.weights, self.rates = [], []

    def on_epoch_end(self, epoch, logs=None):
        self.weights.append(values(self.model))
        self.rates.append(float(self.model.optimizer.learning_rate.numpy()))


def quiet(schedule, layer=None, **kwargs):
    return callbacks.Unfreeze(schedule, layer, verbose=0, **kwargs)


def slot(optimizer, lists, variable):
    """The value of a slot of a variable."""
    return float(np.ravel(getattr(optimizer, lists)[optimizer._get_variable_index(variable)].numpy())[0])


def test_each_epoch_trains_what_the_schedule_says_by_known_amounts(produced):
    model, seen = model_of(produced(scale), keras.optimizers.SGD(0.1)), Seen()
    history = fit(model, quiet({0: None, 1: 1, 2: "all"}), seen, epochs=3)
    first, second, third = seen.weights
    # Epoch 1, the head alone: y = 0.5, k -= 0.1·2·0.5·0.5.
    assert first == pytest.approx({"hub/bottom.a": 0.5, "hub/top.b": 1.0, "head/kernel": 0.95})
    # Epoch 2, the last group too: y = 0.475, b -= 0.1·2·y·0.5·0.95 and k -= 0.1·2·y·0.5.
    assert second == pytest.approx({"hub/bottom.a": 0.5, "hub/top.b": 1 - 0.045125, "head/kernel": 0.95 - 0.0475})
    # Epoch 3, all of it.
    a, b, k = second["hub/bottom.a"], second["hub/top.b"], second["head/kernel"]
    step = 0.2 * a * b * k
    assert third["hub/bottom.a"] == pytest.approx(a - step * b * k)
    assert third["hub/top.b"] == pytest.approx(b - step * a * k)
    assert third["head/kernel"] == pytest.approx(k - step * a * b)
    assert len(history.history["loss"]) == 3
    assert history.epoch == [0, 1, 2]


def test_the_optimizer_keeps_its_slots_and_iterations(produced):
    optimizer = keras.optimizers.SGD(0.1, momentum=0.9)
    model, seen = model_of(produced(scale), optimizer), Seen()
    fit(model, quiet({0: None, 2: "all"}), seen, epochs=2)
    k = model.get_layer("head").kernel
    before = slot(optimizer, "momentums", k)
    assert before != 0
    weights = values(model)
    fit(model, quiet({0: None, 2: "all"}), epochs=3, initial_epoch=2)
    y = weights["hub/bottom.a"] * weights["hub/top.b"] * weights["head/kernel"]
    gradient = 2 * y * weights["hub/bottom.a"] * weights["hub/top.b"]
    assert values(model)["head/kernel"] == pytest.approx(weights["head/kernel"] + 0.9 * before - 0.1 * gradient)
    assert int(optimizer.iterations.numpy()) == 3
    assert model.optimizer is optimizer


def test_what_is_frozen_for_a_while_finds_its_slots_again(produced):
    optimizer = keras.optimizers.SGD(0.1, momentum=0.9)
    model, seen, momenta = model_of(produced(scale), optimizer), Seen(), []
    a = next(w for w in model.get_layer("hub").weights if w.path.endswith("bottom.a"))

    def note(epoch, logs):
        trained = any(variable is a for variable in model.trainable_variables)
        momenta.append(slot(optimizer, "momentums", a) if trained else None)

    watch = keras.callbacks.LambdaCallback(on_epoch_end=note)
    fit(model, quiet({0: "all", 1: None, 2: "bottom"}), seen, watch, epochs=3)
    weights = seen.weights[1]
    assert momenta[0] != 0
    assert momenta[1] is None
    y = weights["hub/bottom.a"] * weights["hub/top.b"] * weights["head/kernel"]
    gradient = 2 * y * weights["hub/top.b"] * weights["head/kernel"]
    assert momenta[2] == pytest.approx(0.9 * momenta[0] - 0.1 * gradient)


OPTIMIZERS = {
    "adam": lambda: keras.optimizers.Adam(0.01),
    "amsgrad": lambda: keras.optimizers.AdamW(0.01, amsgrad=True, weight_decay=0.01),
    "rmsprop": lambda: keras.optimizers.RMSprop(0.01, momentum=0.5, centered=True),
    "accumulation": lambda: keras.optimizers.Adam(0.01, gradient_accumulation_steps=2),
    "ema": lambda: keras.optimizers.SGD(0.01, momentum=0.9, use_ema=True, ema_momentum=0.5),
    "nadam": lambda: keras.optimizers.Nadam(0.01),
    "adagrad": lambda: keras.optimizers.Adagrad(0.01),
    "lion": lambda: keras.optimizers.Lion(0.01),
    "adafactor": lambda: keras.optimizers.Adafactor(0.01),
    "ftrl": lambda: keras.optimizers.Ftrl(0.01),
    "adadelta": lambda: keras.optimizers.Adadelta(0.01),
    "adamax": lambda: keras.optimizers.Adamax(0.01),
    "lamb": lambda: keras.optimizers.Lamb(0.01),
    "loss_scale_adafactor": lambda: keras.optimizers.LossScaleOptimizer(keras.optimizers.Adafactor(0.01)),
    "layerwise_adafactor": lambda: LayerwiseOptimizer(keras.optimizers.Adafactor(0.01), {}),
    "loss_scale": lambda: keras.optimizers.LossScaleOptimizer(keras.optimizers.Adam(0.01)),
    "loss_scale_nadam": lambda: keras.optimizers.LossScaleOptimizer(keras.optimizers.Nadam(0.01)),
    "loss_scale_layerwise_nadam": lambda: keras.optimizers.LossScaleOptimizer(
        LayerwiseOptimizer(keras.optimizers.Nadam(0.01), {})
    ),
}


if hasattr(keras.optimizers, "Muon"):
    OPTIMIZERS["muon"] = lambda: keras.optimizers.Muon(0.01)


@pytest.mark.parametrize("kind", OPTIMIZERS)
@pytest.mark.parametrize("is_first", [True, False])
def test_frozen_first_then_unfrozen_equals_an_optimizer_that_knew_all_from_the_start(kind, is_first):
    """The head's updates are independent of the other variable's, so they must not notice the change.

    Both have the same shape, so that a slot of the other one would fit; HubLayers stand before the head.
    """
    grown, straight = OPTIMIZERS[kind](), OPTIMIZERS[kind]()
    start = np.array([[1.0, 2.0], [-1.0, 0.5]], "float32")
    head, other = (keras.Variable(start, name=name) for name in ("head", "other"))
    twin, rest = (keras.Variable(start, name=name) for name in ("head", "other"))
    random = np.random.default_rng(0)
    gradients = [tf.constant(random.normal(size=(2, 2)), "float32") for _ in range(6)]
    zero = tf.zeros((2, 2))

    def apply(optimizer, gradient, trained, still):
        pairs = [(zero, still), (gradient, trained)]
        optimizer.apply(*map(list, zip(*(pairs if is_first else pairs[::-1]), strict=True)))

    for gradient in gradients[:3]:
        grown.apply([gradient], [head])
        apply(straight, gradient, twin, rest)
    optimizer_slots.rebuild(grown, [other, head] if is_first else [head, other])
    assert int(grown.iterations.numpy()) == int(straight.iterations.numpy())
    for gradient in gradients[3:]:
        apply(grown, gradient, head, other)
        apply(straight, gradient, twin, rest)
    np.testing.assert_array_equal(head.numpy(), twin.numpy())
    assert not np.array_equal(head.numpy(), start)


def test_what_is_excluded_from_weight_decay_stays_so(produced):
    optimizer = keras.optimizers.SGD(0.1, weight_decay=0.5)
    optimizer.exclude_from_weight_decay(var_names=["kernel"])
    model = model_of(produced(scale), optimizer)
    zero = np.zeros((4, 1))
    model.fit(zero, zero, epochs=3, verbose=0, callbacks=[quiet({0: None, 1: "all"})])
    found = values(model)
    assert found["head/kernel"] == 1.0
    assert found["hub/top.b"] == pytest.approx(0.95**2)  # two steps of 1 - 0.1·0.5


def test_an_optimizer_with_variables_of_unknown_purpose_is_refused():
    class Odd(keras.optimizers.SGD):
        def build(self, variables):
            super().build(variables)
            self.odd = {variable.path: self.add_variable(variable.shape) for variable in variables}

    one, two = keras.Variable(1.0), keras.Variable(2.0)
    optimizer = Odd(0.1)
    optimizer.build([one])
    with pytest.raises(errors.TrainingError, match="nothing says to which of the model's they belong"):
        optimizer_slots.rebuild(optimizer, [one, two])


def test_gradients_that_wait_to_be_applied_are_not_kept_while_their_variables_are_frozen(produced):
    model = model_of(produced(scale), keras.optimizers.SGD(0.1, gradient_accumulation_steps=2))
    seen = Seen()
    model.fit(X, Y, batch_size=len(X), epochs=6, verbose=0, callbacks=[quiet({0: "all", 1: None, 4: "all"}), seen])
    # Epoch 0 is the first batch of a pair, whose second one comes when a is frozen; 4 and 5 are a pair of their own.
    assert [weights["hub/bottom.a"] for weights in seen.weights[:5]] == [0.5] * 5
    b, k = seen.weights[4]["hub/top.b"], seen.weights[4]["head/kernel"]
    assert seen.weights[5]["hub/bottom.a"] == pytest.approx(0.5 - 0.1 * 2 * (0.5 * b * k) * b * k)


def test_a_new_average_starts_at_the_weight_and_not_at_zero(produced):
    optimizer = keras.optimizers.SGD(0.01, use_ema=True, ema_momentum=0.9)
    model = model_of(produced(scale), optimizer)
    fit(model, quiet({0: None, 2: "all"}), epochs=4)
    assert 0.4 < values(model)["hub/bottom.a"] < 0.5  # fit ends by writing the averages back


def test_learning_rates_change_with_the_schedule_and_rise_after_it(produced):
    class Rates(keras.callbacks.Callback):
        seen = ()

        def on_train_batch_end(self, batch, logs=None):
            self.seen = (*self.seen, round(float(self.model.optimizer.learning_rate.numpy()), 6))

    rates, model = Rates(), model_of(produced(scale), keras.optimizers.SGD(0.5))
    model.fit(X, Y, batch_size=2, epochs=3, verbose=0, callbacks=[
        quiet({1: "all"}, learning_rates={0: 0.1, 1: 0.04}, warmup=4), rates,
    ])  # fmt: skip
    assert rates.seen == (0.1, 0.1, 0.01, 0.02, 0.03, 0.04)


def test_the_rise_counts_batches_also_where_several_are_one_execution(produced):
    model = model_of(produced(scale), keras.optimizers.SGD(0.1))
    model.compile(keras.optimizers.SGD(0.1), "mse", steps_per_execution=4)
    seen = Seen()
    model.fit(np.ones((8, 1)), np.zeros((8, 1)), batch_size=1, epochs=2, verbose=0,
              callbacks=[quiet({0: "all"}, warmup=16), seen])  # fmt: skip
    assert seen.rates == pytest.approx([0.05, 0.1])


def test_what_other_callbacks_make_of_the_rate_is_where_the_next_rise_ends(produced):
    class Tenth(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            self.model.optimizer.learning_rate = 0.1 * float(self.model.optimizer.learning_rate.numpy())

    model, seen = model_of(produced(scale), keras.optimizers.SGD(0.1)), Seen()
    model.fit(np.ones((4, 1)), np.zeros((4, 1)), batch_size=2, epochs=3, verbose=0,
              callbacks=[quiet({0: 1, 2: "all"}, warmup=2), seen, Tenth()])  # fmt: skip
    assert seen.rates == pytest.approx([0.1, 0.01, 0.001])


def test_a_rise_that_is_cut_short_by_freezing_leaves_the_full_rate(produced):
    model, seen = model_of(produced(scale), keras.optimizers.SGD(0.1)), Seen()
    model.fit(np.ones((4, 1)), np.zeros((4, 1)), batch_size=2, epochs=3, verbose=0,
              callbacks=[quiet({0: "all", 1: None, 2: "all"}, warmup=10), seen])  # fmt: skip
    assert seen.rates == pytest.approx([0.02, 0.1, 0.02])


def test_a_later_start_begins_with_what_the_schedule_says_for_that_epoch(produced):
    model, seen = model_of(produced(scale), keras.optimizers.SGD(0.1)), Seen()
    fit(model, quiet({0: None, 1: 1, 3: "all"}, learning_rates={0: 0.1, 2: 0.01}), seen, epochs=3, initial_epoch=2)
    (end,) = seen.weights
    assert end["hub/bottom.a"] == 0.5
    assert end["hub/top.b"] != 1.0
    assert seen.rates == pytest.approx([0.01])


class Crash(keras.callbacks.Callback):
    """Ends the process at the start of an epoch, or of a batch of it."""

    def __init__(self, epoch, batch=None):
        super().__init__()
        self.epoch, self.batch = epoch, batch

    def on_epoch_begin(self, epoch, logs=None):
        self.now = epoch
        if self.batch is None and epoch == self.epoch:
            raise InterruptedError("crash")

    def on_train_batch_begin(self, batch, logs=None):
        if self.now == self.epoch and batch == self.batch:
            raise InterruptedError("crash")


@pytest.mark.parametrize("epoch", [1, 2, 3, 4])
def test_a_fit_that_was_interrupted_resumes_as_if_it_had_not_been(produced, tmp_path, epoch):
    def trained(*extra):
        model = model_of(produced(scale), keras.optimizers.Adam(0.01))
        plan = quiet({1: None, 2: "top", 4: "all"}, learning_rates={0: 0.01, 4: 0.005})
        fit(model, plan, *extra, epochs=6)
        return values(model), [v.numpy() for v in model.optimizer.variables]

    def backup():
        return keras.callbacks.BackupAndRestore(tmp_path / "backup")

    expected, slots_of = trained()
    with pytest.raises(InterruptedError, match="crash"):
        trained(backup(), Crash(epoch))
    resumed, slots_resumed = trained(backup())
    assert resumed == expected
    for value, known in zip(slots_resumed, slots_of, strict=True):
        np.testing.assert_array_equal(value, known)


def test_a_fit_that_was_interrupted_within_an_epoch_resumes_with_the_slots_of_that_epoch(produced, tmp_path):
    def trained(*extra):
        model = model_of(produced(scale), keras.optimizers.Adam(0.01))
        backup = keras.callbacks.BackupAndRestore(tmp_path / "backup", save_freq=1)
        model.fit(X, Y, batch_size=2, epochs=3, verbose=0, callbacks=[quiet({0: None, 1: "all"}), backup, *extra])
        return model

    with pytest.raises(InterruptedError, match="crash"):
        trained(Crash(1, batch=1))
    model = trained()  # warnings are errors: Keras warns of an optimizer that it cannot restore
    assert int(model.optimizer.iterations) == 2 + 1 + 4  # Keras begins epoch 1 anew


def test_a_backup_that_is_restored_before_the_schedule_is_warned_of(produced, tmp_path):
    def trained(*extra):
        model = model_of(produced(scale), keras.optimizers.Adam(0.01))
        fit(model, keras.callbacks.BackupAndRestore(tmp_path / "backup"), quiet({0: "all"}), *extra, epochs=2)

    with pytest.raises(InterruptedError, match="crash"):
        trained(Crash(1))
    with (
        pytest.warns(UserWarning, match="Skipping variable loading for optimizer"),
        pytest.warns(errors.HubWarning, match=r"callbacks=\[Unfreeze\(\.\.\.\), BackupAndRestore"),
    ):
        trained()


def test_a_schedule_can_freeze_again(produced):
    model, seen = model_of(produced(scale), keras.optimizers.Adam(0.01)), Seen()
    fit(model, quiet({0: "all", 1: None}), seen, epochs=2)
    assert seen.weights[0]["hub/top.b"] == seen.weights[1]["hub/top.b"] != 1.0
    assert seen.weights[0]["head/kernel"] != seen.weights[1]["head/kernel"]


def test_validation_and_regularization_losses_follow_the_schedule(produced):
    """The loss of w is 0.01·w² = 0.0025 while it is trained, and not there while it is frozen."""
    model = keras.Sequential([keras.Input((1,)), layers.HubLayer(produced(producers.half_plus_one)), keras.layers.Dense(
        1, kernel_initializer="zeros", bias_initializer="zeros", trainable=True)])  # fmt: skip
    model.compile(keras.optimizers.SGD(0.0), "mse")
    history = fit(model, quiet({0: None, 1: "all"}), epochs=2, validation_data=(X, Y))
    assert history.history["val_loss"] == pytest.approx([0.0, 0.0025])
    assert history.history["loss"] == pytest.approx([0.0, 0.0025])


def test_copies_and_pickles_hold_the_schedule_and_no_model(produced):
    callback = quiet({0: None, 1: "all"}, layer="hub", learning_rates={0: 0.1})
    model = model_of(produced(scale), keras.optimizers.SGD(0.1))
    fit(model, callback)
    for twin in (copy.deepcopy(callback), pickle.loads(pickle.dumps(callback))):
        assert (twin.schedule, twin.layer, twin.learning_rates) == ({0: None, 1: "all"}, "hub", {0: 0.1})
        assert twin.model is None


def test_it_says_what_it_does_unless_told_not_to(produced, capsys):
    fit(model_of(produced(scale), "sgd"), callbacks.Unfreeze({0: 1}))
    assert "Unfreeze: epoch 1: 1 of the layer, 2 parameters of the model train" in capsys.readouterr().out
    fit(model_of(produced(scale), "sgd"), quiet({0: 1}))
    assert capsys.readouterr().out == ""


def test_moving_averages_of_frozen_groups_are_warned_of(tmp_path):
    handle = producers.small_image_model(tmp_path / "model")
    x, y = np.ones((4, 8, 8, 1), "float32"), np.ones((4, 4), "float32")
    pinned = layers.HubLayer(handle, arguments={"training": False})
    moving = layers.HubLayer(handle)
    for layer in (pinned, moving):
        model = keras.Sequential([keras.Input((8, 8, 1)), layer])
        model.compile("sgd", "mse")
        arguments = {"x": x, "y": y, "verbose": 0, "callbacks": [quiet({0: "conv"})]}
        if layer is pinned:
            model.fit(**arguments)
        else:
            with pytest.warns(errors.HubWarning, match=r"moves its averages in the frozen groups \['norm'\]"):
                model.fit(**arguments)
    names = access.weight_names(pinned)
    means = [[w.numpy() for w in layer.weights if "moving_mean" in w.path] for layer in (pinned, moving)]
    assert "norm/moving_mean" in names.values()
    np.testing.assert_array_equal(means[0][0], np.zeros(4))
    assert np.abs(means[1][0]).max() > 0


@pytest.mark.parametrize(
    ("schedule", "kwargs", "text"),
    [
        ({0: "nowhere"}, {}, "matches no variable"),
        ({0: 3}, {}, r"1 to 2: \['bottom', 'top'\]"),
        ({0: "all"}, {"layer": "hup"}, r"one of \['hub'\][\s\S]*layer='hub'"),
    ],
)
def test_mistakes_are_found_before_the_first_batch(produced, schedule, kwargs, text):
    model = model_of(produced(scale), "sgd")
    with pytest.raises(errors.TrainingError, match=text):
        fit(model, quiet(schedule, **kwargs))
    assert values(model)["head/kernel"] == 1.0


def test_an_epoch_that_is_none_is_refused():
    with pytest.raises(errors.TrainingError, match="integers that count from 0"):
        callbacks.Unfreeze({"1": "all"})


def test_a_schedule_without_epochs_is_refused():
    with pytest.raises(errors.TrainingError, match=r"Received: 3[\s\S]*Unfreeze\(\{0: None, 2: \"all\"\}"):
        callbacks.Unfreeze(3)


def test_a_schedule_of_which_nothing_happens_is_warned_of(produced):
    model = model_of(produced(scale), "sgd")
    with pytest.warns(errors.HubWarning, match=r"nothing of the schedule[\s\S]*after 2 epochs[\s\S]*epochs=6"):
        fit(model, quiet({2: 1, 5: "all"}), epochs=2)


def test_a_learning_rate_schedule_leaves_nothing_to_set(produced):
    decay = keras.optimizers.schedules.ExponentialDecay(0.1, 10, 0.9)
    with pytest.raises(errors.TrainingError, match=r"cannot be set[\s\S]*Adam\(1e-3\)"):
        fit(model_of(produced(scale), keras.optimizers.SGD(decay)), quiet({0: None}, learning_rates={0: 0.1}))


def test_an_optimizer_that_cannot_be_copied_is_named(produced):
    class Stubborn(keras.optimizers.SGD):
        def get_config(self):
            raise NotImplementedError("no config")

    with pytest.raises(errors.TrainingError, match=r"no config[\s\S]*Stubborn"):
        fit(model_of(produced(scale), Stubborn(0.1)), quiet({0: None, 1: "all"}), epochs=2)


def test_the_optimizer_saves_and_loads_with_all_its_slots(produced, tmp_path):
    model = model_of(produced(scale), keras.optimizers.Adam(0.01))
    fit(model, quiet({0: None, 1: "all"}), epochs=2)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras", safe_mode=False)
    for restored, kept in zip(loaded.optimizer.variables, model.optimizer.variables, strict=True):
        np.testing.assert_array_equal(restored.numpy(), kept.numpy())
    fit(loaded), fit(model)
    assert values(loaded) == pytest.approx(values(model))


def test_fine_tune_trains_the_head_first_and_then_all_more_slowly(produced):
    model, seen = model_of(produced(scale), keras.optimizers.SGD(0.1)), Seen()
    history = finetuning.fine_tune(
        model, (X, Y), 3, batch_size=4, verbose=0, callbacks=[seen], validation_data=(X, Y), warmup=0, rate_factor=0.1
    )
    first, second, _ = seen.weights
    assert first == pytest.approx({"hub/bottom.a": 0.5, "hub/top.b": 1.0, "head/kernel": 0.95})
    assert second["hub/bottom.a"] == pytest.approx(0.5 - 0.01 * 2 * 0.475 * 0.95)
    assert seen.rates == pytest.approx([0.1, 0.01, 0.01])
    assert sorted(history.history) == ["loss", "val_loss"]
    assert len(history.history["loss"]) == 3


def test_fine_tune_warms_up_over_a_tenth_of_the_batches_that_follow(produced):
    model, rates = model_of(produced(scale), keras.optimizers.SGD(0.1)), []
    record = keras.callbacks.LambdaCallback(
        on_train_batch_end=lambda batch, logs: rates.append(float(model.optimizer.learning_rate.numpy()))
    )
    x = np.ones((20, 1), "float32")
    finetuning.fine_tune(model, (x, x), 2, batch_size=1, verbose=0, callbacks=[record])
    assert rates[:20] == pytest.approx([0.1] * 20)
    assert rates[20:] == pytest.approx([0.025] + [0.05] * 19)


def test_fine_tune_takes_datasets(produced):
    model = model_of(produced(scale), keras.optimizers.SGD(0.1))
    data = tf.data.Dataset.from_tensor_slices((X, Y)).batch(2)
    history = finetuning.fine_tune(model, data, 2, verbose=0, shuffle=False, which=1, learning_rate=0.2)
    assert len(history.history["loss"]) == 2
    assert values(model)["hub/bottom.a"] == 0.5
    assert values(model)["hub/top.b"] != 1.0
    assert float(model.optimizer.learning_rate.numpy()) == pytest.approx(0.1)


@pytest.mark.parametrize(
    ("change", "arguments", "text"),
    [
        (lambda model: keras.Sequential(model.layers), {}, "not compiled"),
        (lambda model: model, {"head_epochs": 2}, "leave none for the rest"),
    ],
)
def test_fine_tune_refuses_what_cannot_work(produced, change, arguments, text):
    model = change(model_of(produced(scale), "sgd"))
    with pytest.raises(errors.TrainingError, match=text):
        finetuning.fine_tune(model, (X, Y), 2, **arguments)


@pytest.mark.parametrize(
    ("data", "epochs"), [([X, Y], 2), ((X, Y), Y), ((X, Y), 2.0)], ids=["a list", "targets for epochs", "a float"]
)
def test_fine_tune_takes_data_as_one_argument_and_epochs_as_an_integer(produced, data, epochs):
    model = model_of(produced(scale), "sgd")
    with pytest.raises(errors.TrainingError, match=r"fine_tune\(model, \(x, y\), epochs=5\)"):
        finetuning.fine_tune(model, data, epochs)


def test_fine_tune_takes_lists_and_arrays_of_texts(produced):
    texts, targets = ["good", "bad", "good", "bad"], [1.0, 0.0, 1.0, 0.0]
    model = keras.Sequential([layers.HubLayer(produced(producers.text_classifier)), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    for given in (texts, np.array(texts), np.array(texts, dtype=object)):
        history = finetuning.fine_tune(model, (given, targets), 2, validation_data=(given, targets), verbose=0)
        assert len(history.history["val_loss"]) == 2


def test_fine_tune_without_a_head_says_so_for_a_model_that_is_not_built_yet(produced):
    model = keras.Sequential([layers.HubLayer(produced(scale))])
    model.compile("sgd", "mse")
    with pytest.raises(errors.TrainingError, match=r"no head[\s\S]*head_epochs=0"):
        finetuning.fine_tune(model, (X, Y), 2)


def test_fine_tune_without_a_head_says_how_to_go_on(produced):
    model = keras.Sequential([keras.Input((1,)), layers.HubLayer(produced(scale), name="hub")])
    model.compile(keras.optimizers.SGD(0.1), "mse")
    with pytest.raises(errors.TrainingError, match=r"no head[\s\S]*head_epochs=0"):
        finetuning.fine_tune(model, (X, Y), 2)
    finetuning.fine_tune(model, (X, Y), 1, head_epochs=0, verbose=0)
    assert values(model)["hub/bottom.a"] < 0.5


TWO_REPLICAS = """
import json, sys
import keras, numpy as np, tensorflow as tf
from keras_hub_layers import callbacks, layers

cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)

def model_of():
    head = keras.layers.Dense(1, use_bias=False, kernel_initializer="ones")
    model = keras.Sequential([keras.Input((1,)), layers.HubLayer(sys.argv[1]), head])
    model.compile(keras.optimizers.SGD(0.1, momentum=0.9), "mse")
    return model

def weights(model):
    step = callbacks.Unfreeze({0: None, 1: 1, 2: "all"}, verbose=0)
    model.fit(np.ones((4, 1)), np.zeros((4, 1)), batch_size=4, epochs=4, verbose=0, callbacks=[step])
    return [float(np.ravel(weight.numpy())[0]) for weight in model.weights]

with tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"]).scope():
    mirrored = model_of()
print(json.dumps([weights(model_of()), weights(mirrored)]))
"""


def test_two_replicas_go_through_a_schedule_as_one_does(produced):
    command = [sys.executable, "-c", TWO_REPLICAS, produced(scale)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    alone, mirrored = json.loads(done.stdout.splitlines()[-1])
    assert mirrored == pytest.approx(alone, rel=1e-6)
    assert alone[0] != 0.5
