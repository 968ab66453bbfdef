"""A search tries each of its arms once before chance decides, and says how each did."""

import re

import keras
import keras_tuner
import numpy as np
import pytest
from searches import X, Y, hypermodel_of, scale, tuner_of

from keras_hub_layers import errors, tuners
from keras_hub_layers._src.tuners.arms.coverage import arms_of, holds, try_each_first
from keras_hub_layers._src.tuners.arms.table import print_table

# Keras and KerasTuner write the scores of a trial with NumPy's old protocol; its protobufs warn too.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


class Scored:
    """Gives a tuner trials with scores, without any training."""

    def __init__(self, tuner):
        self.tuner = tuner

    def run(self, count, score=lambda values: 1.0):
        for _ in range(count):
            trial = self.tuner.oracle.create_trial("tuner0")
            if trial.status != "RUNNING":
                break
            value = score(trial.hyperparameters.values)
            self.tuner.oracle.update_trial(trial.trial_id, {"val_loss": value})
            trial.status = "COMPLETED"
            self.tuner.oracle.end_trial(trial)
        return [trial.hyperparameters.values for trial in self.tuner.oracle.trials.values()]


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_the_first_trials_have_each_arm_once(produced, tmp_path, seed):
    tuner = tuner_of(hypermodel_of(produced(scale)), tmp_path, trials=3, seed=seed)
    arms = arms_of(tuner)
    assert arms == [
        {"hub": produced(scale), "trainable": False},
        {"hub": produced(scale), "trainable": True, "unfreeze": "1"},
        {"hub": produced(scale), "trainable": True, "unfreeze": "all"},
    ]
    with try_each_first(tuner):
        tried = Scored(tuner).run(3)
    assert [sum(holds(values, arm) for values in tried) for arm in arms] == [1, 1, 1]
    assert all(1e-6 <= values["tuning_rate"] <= 1e-3 for values in tried if values["trainable"])
    assert "populate_space" not in vars(tuner.oracle)


@pytest.mark.parametrize("kind", ["BayesianOptimization", "Hyperband"])
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_search_by_other_means_that_begins_at_random_begins_with_each_arm(produced, tmp_path, kind, seed):
    tuner = tuner_of(hypermodel_of(produced(scale), depths=("all",)), tmp_path, kind, seed=seed)
    with try_each_first(tuner):
        assert sorted(values["trainable"] for values in Scored(tuner).run(2)) == [False, True]


def test_what_was_tried_before_is_not_tried_first_again(produced, tmp_path):
    tuner = tuner_of(hypermodel_of(produced(scale)), tmp_path, trials=20)
    with try_each_first(tuner):
        Scored(tuner).run(2)
    with try_each_first(tuner):
        tried = Scored(tuner).run(1)
    assert len({str(next(i for i, arm in enumerate(arms_of(tuner)) if holds(v, arm))) for v in tried}) == 3


def test_few_trials_are_frozen_and_tuned(produced, tmp_path):
    paths = [produced(scale), produced(scale, 0.25), produced(scale, 0.125)]
    tuner = tuner_of(hypermodel_of(*paths, depths=("all",)), tmp_path, trials=3)
    with try_each_first(tuner):
        tried = Scored(tuner).run(3)
    assert {values["hub"] for values in tried} == set(paths)
    assert {values["trainable"] for values in tried} == {False, True}


def test_a_hypermodel_of_ones_own_has_the_arms_of_trainable_choice(tmp_path):
    def build(hp):
        tuners.trainable_choice(hp)
        model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
        model.compile("sgd", "mse")
        return model

    tuner = keras_tuner.RandomSearch(build, "val_loss", max_trials=2, directory=str(tmp_path), seed=0)
    with try_each_first(tuner):
        assert {values["trainable"] for values in Scored(tuner).run(2)} == {False, True}


def test_the_table_has_a_row_for_each_arm_with_its_best_score_first(produced, tmp_path, capsys):
    tuner = tuner_of(hypermodel_of(produced(scale)), tmp_path, trials=2)
    with try_each_first(tuner):
        Scored(tuner).run(2, score=lambda values: 0.25 if values["trainable"] else 0.5)
    capsys.readouterr()
    print_table(tuner, verbose=1)
    assert [line.split() for line in capsys.readouterr().out.splitlines()] == [
        ["arm", "trials", "best", "val_loss"],
        ["trainable=True,", "unfreeze=1", "1", "0.25"],
        ["trainable=False", "1", "0.5"],
        ["trainable=True,", "unfreeze=all", "0", "not", "tried"],
    ]


@pytest.mark.parametrize("verbose", [0, "auto"])
def test_the_table_is_left_out_where_nobody_looks_on(produced, tmp_path, capsys, verbose):
    tuner = tuner_of(hypermodel_of(produced(scale)), tmp_path, trials=1)
    Scored(tuner).run(1)
    capsys.readouterr()
    print_table(tuner, verbose=verbose)
    assert capsys.readouterr().out == ""


def test_a_search_covers_its_arms_and_prints_the_table(produced, tmp_path, capsys):
    tuner = tuner_of(hypermodel_of(produced(scale), depths=("all",)), tmp_path, trials=2)
    tuners.search(tuner, (X, Y), epochs=1, validation_data=(X, Y), verbose=2)
    assert {trial.hyperparameters.values["trainable"] for trial in tuner.oracle.trials.values()} == {False, True}
    lines = capsys.readouterr().out.splitlines()
    scores = {line.split()[0]: float(line.split()[-1]) for line in lines if line.startswith("trainable=")}
    best = {str(t.hyperparameters.values["trainable"]): t.score for t in tuner.oracle.trials.values()}
    assert scores == pytest.approx({f"trainable={flag}": score for flag, score in best.items()}, rel=1e-5)


def test_what_is_no_tuner_is_answered_with_the_lines_that_make_one(produced):
    hypermodel = hypermodel_of(produced(scale))
    with pytest.raises(errors.TrainingError, match=r"(?s)A search needs a tuner.*keras_tuner.RandomSearch\(hypermodel"):
        tuners.search(hypermodel, np.ones((2, 1)), np.ones((2, 1)))


# -- the picture -------------------------------------------------------------------------------------------------------


@pytest.fixture
def searched(produced, tmp_path):
    """A search of three trials, frozen, tuned and failed, with the scores 0.5 and 0.25."""
    tuner = tuner_of(hypermodel_of(produced(scale), depths=("all",)), tmp_path, trials=3)
    with try_each_first(tuner):
        Scored(tuner).run(3, score=lambda values: 0.25 if values["trainable"] else 0.5)
    last = list(tuner.oracle.trials.values())[-1]
    last.status, last.score, last.message = "FAILED", None, "ValueError: out of range\nmore"
    return tuner


def test_the_picture_of_a_search_has_a_point_for_each_trial_in_the_colour_of_its_arm(searched):
    import matplotlib as mpl

    mpl.use("agg")
    ax = tuners.plot_search(searched)
    drawn = {line.get_label(): (list(line.get_xdata()), list(line.get_ydata())) for line in ax.get_lines()}
    scores = [trial.score for trial in searched.oracle.trials.values()][:2]
    places = {score: place for place, score in enumerate(scores, 1)}
    assert drawn["trainable=False"] == ([places[0.5]], [0.5])
    assert drawn["trainable=True"] == ([places[0.25]], [0.25])
    assert drawn["failed"][0] == [3]
    assert drawn["best so far"] == ([1, 2, 3], [scores[0], 0.25, 0.25])
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("trial", "val_loss")


def test_the_text_of_a_search_says_the_same(searched):
    lines = [re.split("  +", line) for line in tuners.plot_search(searched, as_text=True).splitlines()]
    scores = [trial.score for trial in searched.oracle.trials.values()][:2]
    assert lines[0] == ["trial", "val_loss", "best so far", "arm"]
    for line, score, best in zip(lines[1:], scores, [scores[0], 0.25], strict=False):
        assert line[1:3] == [str(score), str(best)]
        assert line[3] == f"trainable={score == 0.25}"
    assert lines[3][1:3] == ["failed", "0.25"]
    assert lines[3][-1] == "ValueError: out of range"


def test_a_search_without_trials_is_answered(produced, tmp_path):
    with pytest.raises(errors.TrainingError, match=r"(?s)no trials yet.*tuners\.search\(tuner.*plot_search\(tuner\)"):
        tuners.plot_search(tuner_of(hypermodel_of(produced(scale)), tmp_path))
