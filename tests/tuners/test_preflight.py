"""Every arm of a search is tried on one batch before it, so that a crash is not taken for a bad score."""

import keras
import keras_tuner
import numpy as np
import producers
import pytest
import tensorflow as tf
from searches import X, Y, hypermodel_of, scale, search, tuner_of

from keras_hub_layers import errors, tuners
from keras_hub_layers._src.tuners import preflight

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


class Builds:
    """A `build` function that remembers what it was asked for."""

    def __init__(self, declare, rate=0.1, metrics=None):
        self.asked, self._declare, self._rate, self._metrics = [], declare, rate, metrics

    def __call__(self, hp):
        self._declare(hp)
        self.asked.append(dict(hp.values))
        model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
        model.compile(keras.optimizers.SGD(self._rate), "mse", metrics=self._metrics)
        return model


def tried(declare):
    """The arms of a hypermodel of one's own, as they are tried."""
    build = Builds(declare)
    tuners.preflight(hypermodel(build), X, Y)
    return build.asked


def hypermodel(build):
    class Own(keras_tuner.HyperModel):
        def build(self, hp):
            return build(hp)

    return Own()


def test_the_arms_of_a_hypermodel_of_ones_own_are_its_combinations():
    def declare(hp):
        hp.Boolean("trainable")
        hp.Choice("units", [1, 2, 3])
        hp.Float("rate", 0.0, 1.0)

    found = tried(declare)
    assert sorted((arm["trainable"], arm["units"]) for arm in found) == [
        (flag, units) for flag in (False, True) for units in (1, 2, 3)
    ]
    assert {arm["rate"] for arm in found} == {0.0}


def test_a_choice_that_hangs_on_another_is_tried_where_it_is_active_only():
    def declare(hp):
        if hp.Boolean("trainable"):
            with hp.conditional_scope("trainable", [True]):
                hp.Choice("depth", [1, 2])
        else:
            with hp.conditional_scope("trainable", [False]):
                hp.Choice("pooling", ["max", "mean"])

    found = [{name: arm[name] for name in ("depth", "pooling") if name in arm} for arm in tried(declare)]
    assert sorted(map(str, found)) == sorted(
        map(str, [{"pooling": "max"}, {"pooling": "mean"}, {"depth": 1}, {"depth": 2}])
    )


def test_of_many_combinations_each_value_is_tried():
    def declare(hp):
        for number in range(6):
            hp.Choice(f"choice_{number}", ["a", "b", "c"])

    found = tried(declare)
    assert 13 <= len(found) <= 32
    assert {item for arm in found for item in arm.items()} == {
        (f"choice_{number}", value) for number in range(6) for value in "abc"
    }


def test_a_hubhypermodels_own_arms_come_first_and_each_value_of_its_head_once(produced):
    asked = []

    def head(hp, x):
        asked.append((hp.get("trainable"), hp.Choice("units", [1, 2, 3])))
        return keras.layers.Dense(1)(x)

    tuners.preflight(tuners.HubHyperModel([produced(scale)], head, loss="mse"), X, Y)
    assert asked == [(False, 1), (True, 1), (False, 2), (False, 3)]


def test_a_broken_value_of_the_head_fails_loudly(produced, tmp_path):
    def head(hp, x):
        return keras.layers.Dense(1, activation=hp.Choice("activation", ["linear", "liner"]))(x)

    tuner = tuner_of(tuners.HubHyperModel([produced(scale)], head, loss="mse"), tmp_path)
    with pytest.raises(
        tuners.PreflightError, match=r"1 of 3 arms[\s\S]*'liner'[\s\S]*hp.Choice\('activation', \['linear'\]\)"
    ):
        search(tuner)
    assert tuner.oracle.trials == {}


def test_a_broken_arm_of_a_build_function_of_ones_own_fails_loudly(tmp_path):
    def declare(hp):
        if hp.Boolean("trainable"):
            raise ValueError("no gradient")

    tuner = tuner_of(Builds(declare), tmp_path)
    with pytest.raises(tuners.PreflightError, match=r"1 of 2[\s\S]*'trainable': True\}: ValueError: no gradient"):
        search(tuner)
    assert tuner.oracle.trials == {}


def test_arms_that_were_broken_are_tried_again_by_the_next_search(produced, tmp_path):
    tuner = tuner_of(hypermodel_of(produced(producers.batch_norm, modes=(False,)), depths=("all",)), tmp_path)
    for _ in range(2):
        with pytest.raises(tuners.PreflightError, match=r"1 of 3 arms[\s\S]*HubHyperModel\(..., trainable=\[False\]\)"):
            search(tuner)


def test_an_arm_whose_loss_is_not_finite_is_broken(tmp_path):
    tuner = tuner_of(Builds(lambda hp: hp.Boolean("trainable")), tmp_path)
    with pytest.raises(tuners.PreflightError, match=r"2 of 2 arms[\s\S]*the loss of the first batch is nan"):
        tuners.search(tuner, X * np.nan, Y, epochs=1, validation_data=(X, Y), verbose=0)


@pytest.mark.parametrize(
    ("objective", "kwargs", "text"),
    [
        (
            "val_los",
            {"validation_data": (X, Y)},
            r"'data_loss', 'loss', 'mae', 'val_data_loss', 'val_loss', 'val_mae'\][\s\S]*'val_loss', max",
        ),
        ("val_mae", {}, r"Received: 'val_mae', without validation data[\s\S]*validation_split="),
        ("acc", {"validation_split": 0.5}, r"Received: 'acc'\n"),
    ],
)
def test_an_objective_that_fit_does_not_report_is_refused_before_the_search(tmp_path, objective, kwargs, text):
    build = Builds(lambda hp: hp.Boolean("trainable"), metrics=["mae"])
    tuner = keras_tuner.RandomSearch(build, keras_tuner.Objective(objective, "min"), directory=str(tmp_path))
    with pytest.raises(tuners.PreflightError, match=text):
        tuners.search(tuner, X, Y, epochs=1, verbose=0, **kwargs)


def test_several_objectives_are_looked_for_one_by_one(tmp_path):
    both = [keras_tuner.Objective("val_loss", "min"), keras_tuner.Objective("val_f1", "max")]
    tuner = keras_tuner.RandomSearch(Builds(lambda hp: hp.Boolean("b")), both, directory=str(tmp_path))
    with pytest.raises(tuners.PreflightError, match="'val_f1'"):
        tuners.search(tuner, X, Y, epochs=1, verbose=0, validation_data=(X, Y))


def test_an_objective_that_a_callback_of_ones_own_may_report_is_trusted(tmp_path):
    class Scores(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            logs["score"] = 1.0

    build = Builds(lambda hp: hp.Boolean("trainable"))
    tuner = keras_tuner.RandomSearch(
        build, keras_tuner.Objective("score", "max"), max_trials=1, directory=str(tmp_path)
    )
    tuners.search(tuner, X, Y, epochs=1, verbose=0, callbacks=[Scores()])
    assert [trial.score for trial in tuner.oracle.trials.values()] == [1.0]


def test_a_plain_search_of_a_hubhypermodel_checks_its_objective_too(produced, tmp_path):
    tuner = tuner_of(hypermodel_of(produced(scale)), tmp_path)
    with pytest.raises(tuners.PreflightError, match="'val_loss', without validation data"):
        tuner.search(X, Y, epochs=1, verbose=0)


def test_a_model_that_its_own_fit_compiles_is_built_only(tmp_path):
    class Own(keras_tuner.HyperModel):
        def build(self, hp):
            hp.Boolean("trainable")
            return keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])

        def fit(self, hp, model, x, y, epochs, **kwargs):
            model.compile("sgd", "mse")
            return model.fit(x, y, epochs=epochs, verbose=0).history["loss"][-1]

    tuner = keras_tuner.RandomSearch(Own(), max_trials=2, directory=str(tmp_path))
    tuners.search(tuner, X, Y, epochs=1, verbose=0)
    assert {trial.status for trial in tuner.oracle.trials.values()} == {"COMPLETED"}


def test_a_tuner_that_runs_trials_of_its_own_is_left_alone(tmp_path):
    class Numbers(keras_tuner.RandomSearch):
        def run_trial(self, trial, *args, **kwargs):
            return float(trial.hyperparameters.Int("x", 1, 3))

    tuner = Numbers(max_trials=2, directory=str(tmp_path))
    tuners.search(tuner)
    assert len(tuner.oracle.trials) == 2


def test_data_that_can_be_read_once_only_are_refused(produced, tmp_path):
    tuner = tuner_of(hypermodel_of(produced(scale)), tmp_path)
    batches = ((X, Y) for _ in range(3))
    with pytest.raises(tuners.PreflightError, match="read once only"):
        tuners.search(tuner, batches, epochs=1, verbose=0)
    assert len(list(batches)) == 3


@pytest.mark.parametrize("kind", ["arrays", "tf.data", "PyDataset", "list of batches"])
def test_the_first_batch_is_taken_from_whatever_fit_takes(kind):
    many = np.repeat(X, 4, 0)

    class Batches(keras.utils.PyDataset):
        def __len__(self):
            return 2

        def __getitem__(self, index):
            return many[:8], many[:8], np.ones(8)

    class Loader:
        def __iter__(self):
            return iter([(many[:8], many[:8])])

    x = {
        "arrays": many,
        "tf.data": tf.data.Dataset.from_tensor_slices((many, many)).batch(8),
        "PyDataset": Batches(),
        "list of batches": Loader(),
    }[kind]
    first = preflight._first_batch({"x": x, "y": many if kind == "arrays" else None, "sample_weight": None})
    if kind == "tf.data":
        assert [len(part) for part in next(iter(first["x"]))] == [8, 8]
    else:
        assert {name: len(part) for name, part in first.items()} == {
            "arrays": {"x": 32, "y": 32},
            "PyDataset": {"x": 8, "y": 8, "sample_weight": 8},
            "list of batches": {"x": 8, "y": 8},
        }[kind]


def test_an_error_can_be_caught_as_any_of_training():
    assert issubclass(tuners.PreflightError, errors.TrainingError)
