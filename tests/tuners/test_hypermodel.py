"""A search over SavedModels, frozen or tuned, runs to its end, and its best model is the one that is exported."""

import gc
import importlib
import json
import subprocess
import sys
import weakref

import h5py
import keras
import keras_tuner
import numpy as np
import producers
import pytest
import tensorflow as tf
from searches import X, Y, head, hypermodel_of, scale, search, tuner_of

import keras_hub_layers as khl
from keras_hub_layers import callbacks, errors, layers, tuners
from keras_hub_layers._src.tuners import model_pool

# Keras and KerasTuner write the scores of a trial with NumPy's old protocol; its protobufs warn too.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


def values(model):
    return {"/".join(v.path.split("/")[-2:]): np.ravel(v.numpy()).tolist() for v in model.weights}


def fixed(**given):
    hp = keras_tuner.HyperParameters()
    hp.values.update(given)
    return hp


@pytest.mark.parametrize("kind", ["RandomSearch", "Hyperband", "BayesianOptimization", "GridSearch"])
def test_a_search_runs_to_its_end_and_exports_the_best_trial(produced, tmp_path, kind):
    tuner = tuner_of(hypermodel_of(produced(scale)), tmp_path, kind, trials=4)
    search(tuner, epochs=1)
    trials = list(tuner.oracle.trials.values())
    assert {trial.status for trial in trials} == {"COMPLETED"}
    best = tuner.oracle.get_best_trials(1)[0]
    assert best.score == min(trial.score for trial in trials)
    model = tuner.get_best_models(1)[0]
    score = model.evaluate(X, Y, verbose=0)
    assert score == pytest.approx(best.score, rel=1e-5)
    path = tuners.export_best(tuner, tmp_path / "best", trainable=True)
    np.testing.assert_allclose(layers.HubLayer(path)(X), model.predict(X, verbose=0), rtol=1e-6)


def test_the_exports_of_each_tuner_reload_in_a_new_process(produced, tmp_path):
    one = np.ones((1, 1), "float32")
    paths, expected = [], []
    for kind in ("RandomSearch", "Hyperband", "BayesianOptimization"):
        tuner = tuner_of(hypermodel_of(produced(scale), trainable=(True,)), tmp_path / kind, kind, trials=1)
        search(tuner, epochs=1)
        paths.append(tuners.export_best(tuner, tmp_path / f"{kind}_whole"))
        paths.append(tuners.export_best(tuner, tmp_path / f"{kind}_part", layer="hub"))
        model = tuner.get_best_models(1)[0]
        expected += [float(model(one)[0, 0]), float(model.get_layer("hub")(one)[0, 0])]
    code = (
        "import sys, json, tensorflow as tf\n"
        "print(json.dumps([float(tf.saved_model.load(p)(tf.constant([[1.0]]))[0, 0]) for p in sys.argv[1:]]))"
    )
    done = subprocess.run([sys.executable, "-c", code, *paths], capture_output=True, text=True, check=True)
    assert 0.5 not in expected
    assert json.loads(done.stdout.splitlines()[-1]) == pytest.approx(expected, rel=1e-6)


def test_a_broken_arm_fails_loudly_before_the_search(produced, tmp_path):
    inference_only = produced(producers.batch_norm, modes=(False,))
    tuner = tuner_of(hypermodel_of(produced(scale), inference_only, depths=("all",)), tmp_path)
    with pytest.raises(tuners.PreflightError, match=r"1 of 5 arms[\s\S]*'trainable': True[\s\S]*inference"):
        search(tuner)
    assert tuner.oracle.trials == {}


def test_a_broken_arm_fails_loudly_in_a_plain_search_too(produced, tmp_path):
    tuner = tuner_of(hypermodel_of(produced(producers.batch_norm, modes=(False,)), depths=("all",)), tmp_path)
    with pytest.raises(tuners.PreflightError, match="1 of 3 arms"):
        tuner.search(X, Y, epochs=1, validation_data=(X, Y), verbose=0)


def test_each_saved_model_is_loaded_once_and_released_at_the_end(produced, tmp_path, monkeypatch):
    loads, load = [], tf.saved_model.load
    monkeypatch.setattr(tf.saved_model, "load", lambda *args, **kwargs: loads.append(args[0]) or load(*args, **kwargs))
    one, two = produced(scale), produced(scale, 0.25)
    tuner = tuner_of(hypermodel_of(one, two, depths=("all",)), tmp_path, trials=5)
    search(tuner, epochs=1)
    assert len(tuner.oracle.trials) == 5
    assert sorted(loads) == sorted([one, two])
    assert tuner.hypermodel.pool._pooled == {}


def test_a_build_function_of_ones_own_loads_once_and_each_trial_begins_with_the_first_weights(
    produced, tmp_path, monkeypatch
):
    loads, starts, load = [], [], tf.saved_model.load
    monkeypatch.setattr(tf.saved_model, "load", lambda *args, **kwargs: loads.append(args[0]) or load(*args, **kwargs))
    handle = produced(scale)

    def build(hp):
        chosen = tuners.hub_choice(hp, [handle])
        training = tuners.trainable_choice(hp, values=(True,), tuning_rates=(0.1, 0.2), depths=(1, "all"))
        hub = chosen.layer(training, name="hub")
        starts.append(float(hub(np.ones((1, 1), "float32"))[0, 0]))
        model = keras.Sequential([keras.Input((1,)), hub])
        model.compile(keras.optimizers.SGD(training.learning_rate), "mse")
        return model

    tuner = keras_tuner.RandomSearch(build, "loss", max_trials=3, seed=1, directory=str(tmp_path))
    tuners.search(tuner, X, Y, epochs=1, verbose=0)
    assert loads == [handle]
    assert len(starts) > 3
    assert set(starts) == {0.5}
    assert model_pool.SHARED._pooled == {}
    best = tuner.get_best_models(1)[0]
    assert best.evaluate(X, Y, verbose=0) < float(np.mean((0.5 * X - Y) ** 2))


def test_a_pooled_object_has_its_weights_again_and_a_live_layer_keeps_its_own(produced):
    pool = model_pool.ModelPool()
    layer = pool.layer(produced(scale), trainable=True)
    loaded = weakref.ref(layer.resolved_object)
    layer.weights[0].assign(9.0)
    other = pool.layer(produced(scale))
    assert other.resolved_object is not layer.resolved_object
    assert float(layer.weights[0].numpy()) == 9.0
    del layer
    again = pool.layer(produced(scale))
    assert again.resolved_object is loaded()
    assert float(again.weights[0].numpy()) == 0.5
    assert again.get_config()["handle"] == produced(scale)
    pool.release()
    del again, other
    gc.collect()
    assert loaded() is None


def test_checkpoints_hold_what_was_trained_only(produced, tmp_path):
    hypermodel = hypermodel_of(produced(scale))
    names = {}
    for which in (None, "1", "all"):
        model = hypermodel.build(
            fixed(hub=produced(scale), trainable=which is not None, unfreeze=which, tuning_rate=1e-3)
        )
        model.fit(X, Y, verbose=0)
        model.set_checkpoints([str(tmp_path / "w.weights.h5")])
        model.save_weights(tmp_path / "w.weights.h5")
        with h5py.File(tmp_path / "w.weights.h5") as file:
            names[which] = sorted(f"{g}/{name}" for g in file if g != "optimizer" for name in file[g])
        before = values(model)
        for weight in model.weights:
            weight.assign(weight + 1)
        model.load_weights(tmp_path / "w.weights.h5")
        assert values(model) == before
        del model
    assert names == {None: ["model/0"], "1": ["hub_0/1", "model/0"], "all": ["hub_0/0", "hub_0/1", "model/0"]}


def test_a_trial_that_goes_on_later_goes_on_with_its_optimizer(produced, tmp_path):
    def built():
        return hypermodel_of(produced(scale)).build(
            fixed(hub=produced(scale), trainable=True, unfreeze="all", tuning_rate=0.01)
        )

    straight, first, second = built(), built(), built()
    straight.fit(X, Y, epochs=2, shuffle=False, verbose=0)
    first.fit(X, Y, shuffle=False, verbose=0)
    first.set_checkpoints([tmp_path / "w.weights.h5"])
    first.save_weights(tmp_path / "w.weights.h5")
    second.load_weights(tmp_path / "w.weights.h5")
    second.fit(X, Y, shuffle=False, verbose=0)
    assert list(values(second).values()) == list(values(straight).values())
    for slot, known in zip(second.optimizer.variables, straight.optimizer.variables, strict=True):
        np.testing.assert_array_equal(slot, known)


def test_a_checkpoint_is_loaded_without_an_optimizer_that_trained_otherwise(produced, tmp_path):
    hypermodel = hypermodel_of(produced(scale))
    tuned = hypermodel.build(fixed(hub=produced(scale), trainable=True, unfreeze="all", tuning_rate=0.01))
    tuned.fit(X, Y, verbose=0)
    tuned.set_checkpoints([tmp_path / "w.weights.h5"])
    tuned.save_weights(tmp_path / "w.weights.h5")
    frozen = hypermodel.build(fixed(hub=produced(scale), trainable=False))
    frozen.load_weights(tmp_path / "w.weights.h5")
    assert list(values(frozen).values()) == list(values(tuned).values())
    assert int(frozen.optimizer.iterations) == 0


def test_the_best_model_is_saved_and_loaded_as_any_keras_model(produced, tmp_path):
    model = hypermodel_of(produced(scale)).build(
        fixed(hub=produced(scale), trainable=True, unfreeze="1", tuning_rate=0.1)
    )
    model.fit(X, Y, verbose=0)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras", safe_mode=False)
    assert values(loaded) == values(model)


@pytest.mark.parametrize("save", ["save_weights", "khl.save", "save_weights of what was loaded"])
def test_the_weights_of_the_best_model_go_into_a_plain_model_of_the_same_layers(produced, tmp_path, save):
    tuner = tuner_of(hypermodel_of(produced(scale), trainable=(True,), tuning_rates=(0.1, 0.2)), tmp_path, trials=1)
    search(tuner)
    best, path = tuner.get_best_models(1)[0], tmp_path / "w.weights.h5"
    if save == "khl.save":
        khl.save(best, path)
    elif save == "save_weights":
        best.save_weights(path)
    else:
        best.save(tmp_path / "model.keras")
        keras.saving.load_model(tmp_path / "model.keras", safe_mode=False).save_weights(path)
    bias = tuner.get_best_hyperparameters()[0].get("bias")
    plain = keras.Sequential(
        [keras.Input((1,)), layers.HubLayer(produced(scale)), keras.layers.Dense(1, use_bias=bias)]
    )
    plain.load_weights(path)
    np.testing.assert_array_equal(plain.predict(X, verbose=0), best.predict(X, verbose=0))
    assert [float(weight.numpy()) for weight in plain.layers[0].weights] != [0.5, 1.0]
    if save == "khl.save":
        return  # a file without the optimizer is for models that have none, as ever in Keras
    again = tuner.get_best_models(1)[0]
    again.load_weights(path)
    np.testing.assert_array_equal(again.predict(X, verbose=0), best.predict(X, verbose=0))


def test_a_schedule_goes_together_with_a_search(produced, tmp_path):
    tuner = tuner_of(hypermodel_of(produced(scale), trainable=(False,)), tmp_path, trials=1)
    search(tuner, callbacks=[callbacks.Unfreeze({0: None, 1: "top"}, verbose=0)])
    assert [trial.status for trial in tuner.oracle.trials.values()] == ["COMPLETED"]
    best = values(tuner.get_best_models(1)[0])
    assert best["hub/bottom.a"] == [0.5]
    assert best["hub/top.b"] != [1.0]


def test_a_checkpoint_of_another_model_is_refused(produced, tmp_path):
    hypermodel = hypermodel_of(produced(scale))
    model = hypermodel.build(fixed(hub=produced(scale), trainable=False, bias=True))
    model.set_checkpoints([tmp_path / "w.weights.h5"])
    model.save_weights(tmp_path / "w.weights.h5")
    other = hypermodel.build(fixed(hub=produced(scale), trainable=False, bias=False))
    with pytest.raises(errors.TrainingError, match=r"another model[\s\S]*model/1"):
        other.load_weights(tmp_path / "w.weights.h5")


@pytest.mark.parametrize("as_dataset", [False, True])
def test_head_only_trials_on_cached_features_score_as_those_that_compute_them(produced, tmp_path, as_dataset):
    scores = {}
    for cached in (True, False) if as_dataset else (True, False, str(tmp_path / "features")):
        keras.utils.set_random_seed(0)
        tuner = tuner_of(
            hypermodel_of(produced(scale), trainable=(False,), cached=cached),
            tmp_path / "search",
            trials=1,
            overwrite=True,
        )
        data = tf.data.Dataset.from_tensor_slices((X, Y)).batch(4)
        if as_dataset:
            tuners.search(tuner, data, epochs=2, validation_data=data, verbose=0, shuffle=False)
        else:
            tuners.search(tuner, X, Y, batch_size=4, epochs=2, validation_data=(X, Y), verbose=0, shuffle=False)
        scores[cached] = [trial.score for trial in tuner.oracle.trials.values()]
        best = tuner.get_best_models(1)[0]
        assert best.evaluate(X, Y, verbose=0) == pytest.approx(min(scores[cached]), rel=1e-5)
    first, *others = scores.values()
    assert all(other == pytest.approx(first, rel=1e-5) for other in others)


def test_early_stopping_stops_a_head_only_trial(produced, tmp_path):
    tuner = tuner_of(hypermodel_of(produced(scale), trainable=(False,)), tmp_path, trials=1)
    seen = []

    class Watch(keras.callbacks.Callback):
        def __deepcopy__(self, memo):
            return self

        def on_epoch_end(self, epoch, logs=None):
            seen.append(epoch)

    stop = keras.callbacks.EarlyStopping("loss", min_delta=1e9, patience=1)
    search(tuner, epochs=9, callbacks=[stop, Watch()])
    assert seen == [0, 1]


def test_augmentation_before_the_saved_model_turns_the_cache_off_with_a_warning(produced, tmp_path):
    candidate = tuners.Candidate(produced(scale), input_shape=(1,), preprocessor=keras.layers.GaussianNoise(0.1))
    tuner = tuner_of(hypermodel_of(candidate, trainable=(False,)), tmp_path, trials=1)
    with pytest.warns(errors.HubWarning, match=r"compute all features[\s\S]*random or augments"):
        search(tuner)
    assert [trial.status for trial in tuner.oracle.trials.values()] == ["COMPLETED"]


def test_a_search_goes_on_from_the_disk(produced, tmp_path):
    search(tuner_of(hypermodel_of(produced(scale), depths=(1,)), tmp_path, trials=1))
    tuner = tuner_of(hypermodel_of(produced(scale), depths=(1,)), tmp_path, trials=2)
    assert len(tuner.oracle.trials) == 1
    search(tuner)
    assert len(tuner.oracle.trials) == 2
    model = tuner.get_best_models(1)[0]
    assert model.evaluate(X, Y, verbose=0) == pytest.approx(tuner.oracle.get_best_trials(1)[0].score, rel=1e-5)


def test_each_trial_and_execution_exports_to_a_directory_of_its_own(produced, tmp_path):
    tuner = tuner_of(
        hypermodel_of(produced(scale), trainable=(True,), depths=("all",)), tmp_path, trials=2, executions_per_trial=2
    )
    out = tmp_path / "out"
    search(
        tuner,
        epochs=1,
        callbacks=[callbacks.ExportFinetuned(out, verbose=0), callbacks.ExportPiece(tmp_path / "piece", verbose=0)],
    )
    assert sorted(str(path.parent.relative_to(out)) for path in out.rglob("saved_model.pb")) == [
        "0/0",
        "0/1",
        "1/0",
        "1/1",
    ]
    assert len(list((tmp_path / "piece").rglob("saved_model.pb"))) == 4


def test_without_a_trial_there_is_nothing_to_export(produced, tmp_path):
    with pytest.raises(errors.TrainingError, match=r"No trial[\s\S]*0 trials[\s\S]*tuners.search"):
        tuners.export_best(tuner_of(hypermodel_of(produced(scale)), tmp_path), tmp_path / "out")


def test_each_learning_rate_comes_from_an_active_hyperparameter_and_is_never_none():
    hp = keras_tuner.HyperParameters()
    chosen = tuners.trainable_choice(hp, depths=(1, "all"))
    assert (chosen.trainable, chosen.unfreeze, chosen.tuning_rate) == (False, None, 0.0)
    assert chosen.learning_rate == pytest.approx(1e-3)
    assert set(hp.values) == {"trainable", "learning_rate"}
    hp.values["trainable"] = True
    hp.ensure_active_values()  # as KerasTuner does with the values of a trial
    hp.values["unfreeze"] = "all"
    chosen = tuners.trainable_choice(hp, depths=(1, "all"))
    assert (chosen.trainable, chosen.unfreeze) == (True, "all")
    assert 1e-4 <= chosen.learning_rate <= 1e-2
    assert 1e-6 <= chosen.tuning_rate <= 1e-3
    hp.values["unfreeze"] = "1"
    assert tuners.trainable_choice(hp, depths=(1, "all")).unfreeze == 1


def test_a_head_trains_at_its_own_rate_where_the_saved_model_is_tuned(produced):
    hypermodel = hypermodel_of(produced(scale), optimizer=keras.optimizers.SGD)
    rates = {"learning_rate": 0.5, "tuning_rate": 0.125}
    model = hypermodel.build(fixed(hub=produced(scale), trainable=True, unfreeze="all", bias=False, **rates))
    # y = h·b·a·x with a = 1/2, b = h = 1 for the target 0 at x = 1: dL/dh = 2·y·a·b = 1/2, dL/da = 1, dL/db = 1/2
    model.fit(np.ones((1, 1)), np.zeros((1, 1)), verbose=0)
    moved = {name.split("/")[-1]: value for name, (value,) in values(model).items()}
    assert moved == pytest.approx({"bottom.a": 0.5 - 0.125 * 1, "top.b": 1 - 0.125 / 2, "kernel": 1 - 0.5 / 2})


@pytest.mark.parametrize("only", [False, True])
def test_one_value_of_trainable_is_no_choice(only):
    hp = keras_tuner.HyperParameters()
    chosen = tuners.trainable_choice(hp, values=(only,))
    assert chosen.trainable is only
    assert isinstance(chosen.learning_rate, float)


def test_two_choices_of_one_space_have_hyperparameters_of_their_own():
    hp = keras_tuner.HyperParameters()
    first = tuners.trainable_choice(hp, head_rates=(1e-4, 1e-3))
    second = tuners.trainable_choice(hp, name="decoder", head_rates=(1e-1, 1.0), values=(True,))
    assert first.learning_rate < 1e-3 < 1e-1 < second.learning_rate
    assert {"learning_rate", "decoder_learning_rate", "decoder_tuning_rate", "decoder_unfreeze"} <= set(hp.values)


def test_another_name_of_trainable_has_its_arms_too(produced, tmp_path):
    hypermodel = hypermodel_of(produced(scale), name="tuned")
    assert [arm.get("tuned_unfreeze") for arm in hypermodel.arms()] == [None, "1", "all"]
    tuner = tuner_of(hypermodel, tmp_path, trials=2)
    search(tuner, epochs=1)
    assert len(tuner.oracle.trials) == 2


def test_a_loss_of_the_tuner_is_that_of_all_trials(produced, tmp_path):
    hypermodel = hypermodel_of(produced(scale), optimizer=lambda rate: keras.optimizers.SGD(0.0), depths=("all",))
    tuner = tuner_of(hypermodel, tmp_path, loss="mae", trials=8)
    search(tuner, epochs=1)
    scores = {(t.hyperparameters.values["trainable"], round(t.score, 4)) for t in tuner.oracle.trials.values()}
    expected = round(float(np.mean(np.abs(0.5 * X - Y))), 4)
    assert scores == {(False, expected), (True, expected)}


def test_several_executions_load_once(produced, tmp_path, monkeypatch):
    loads, load = [], tf.saved_model.load
    monkeypatch.setattr(tf.saved_model, "load", lambda *args, **kwargs: loads.append(args[0]) or load(*args, **kwargs))
    tuner = tuner_of(hypermodel_of(produced(scale), depths=("all",)), tmp_path, trials=2, executions_per_trial=2)
    search(tuner, epochs=1)
    assert loads == [produced(scale)]


@pytest.fixture
def _mixed():
    keras.config.set_dtype_policy("mixed_float16")
    yield
    keras.config.set_dtype_policy("float32")


@pytest.mark.usefixtures("_mixed")
def test_trials_have_the_policy_that_the_search_was_made_under(produced, tmp_path):
    seen = []

    def watched(hp, x):
        layer = keras.layers.Dense(1)
        seen.append(layer.dtype_policy.name)
        return layer(x)

    tuner = tuner_of(tuners.HubHyperModel([produced(scale)], watched, loss="mse"), tmp_path, trials=2)
    search(tuner, epochs=1)
    assert {trial.status for trial in tuner.oracle.trials.values()} == {"COMPLETED"}
    assert len(seen) > 3
    assert set(seen) == {"mixed_float16"}
    assert isinstance(tuner.get_best_models(1)[0].optimizer, keras.optimizers.LossScaleOptimizer)


def test_a_preprocessor_with_weights_to_train_is_refused(produced):
    wide = tuners.Candidate(produced(scale), input_shape=(1,), preprocessor=keras.layers.Dense(1), label="wide")
    with pytest.raises(errors.TrainingError, match=r"Dense with trainable weights[\s\S]*preprocessor=lambda x:"):
        hypermodel_of(wide).build(fixed(hub="wide", trainable=False))


def test_an_object_that_a_layer_uses_is_not_used_again():
    obj = tf.train.Checkpoint()
    obj.w = tf.Variable(2.0)
    obj.__call__ = tf.function(lambda x: obj.w * x, input_signature=[tf.TensorSpec((None, 1))])
    obj.variables = obj.trainable_variables = [obj.w]
    pool = model_pool.ModelPool()
    layer = pool.layer(obj)
    with pytest.raises(errors.TrainingError, match=r"share their weights[\s\S]*tf.saved_model.save"):
        pool.layer(obj)
    del layer
    gc.collect()
    assert float(pool.layer(obj)(np.ones((1, 1), "float32"))[0, 0]) == 2.0


def test_a_choice_brings_its_input_size_and_preprocessor(produced, tmp_path):
    wide = tuners.Candidate(
        produced(scale), input_shape=(2,), preprocessor=lambda x: keras.ops.sum(x, -1, keepdims=True), label="wide"
    )
    hypermodel = hypermodel_of(produced(scale), wide)
    assert [arm["hub"] for arm in hypermodel.arms() if not arm["trainable"]] == [produced(scale), "wide"]
    model = hypermodel.build(fixed(hub="wide", trainable=False))
    assert model.input_shape == (None, 2)
    assert float(model(np.array([[1.0, 2.0]]))[0, 0]) == 1.5


def test_candidates_must_differ_and_say_their_input_size(produced):
    with pytest.raises(errors.TrainingError, match=r"differ in name[\s\S]*label="):
        hypermodel_of(produced(scale), produced(scale))
    with pytest.raises(errors.TrainingError, match=r"shape of the model's input is not known[\s\S]*input_shape="):
        hypermodel_of(produced(producers.multiply), tuners.Candidate(produced(producers.plus_one))).build(
            fixed(hub=produced(producers.plus_one), trainable=False)
        )


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ({"trainable": "both"}, r"another kind of trainable[\s\S]*'both'[\s\S]*trainable=\(False, True\)"),
        ({"trainable": ()}, "another kind of trainable"),
        ({"optimizer": keras.optimizers.SGD(0.1)}, r"another kind of optimizer[\s\S]*optimizer=keras.optimizers.Adam"),
        ({"optimizer": 0.1}, "another kind of optimizer"),
    ],
)
def test_arguments_of_another_kind_are_refused_at_once(produced, given, text):
    with pytest.raises(errors.TrainingError, match=text):
        hypermodel_of(produced(scale), **given)


def test_a_head_that_returns_no_outputs_is_refused(produced):
    hypermodel = tuners.HubHyperModel([produced(scale)], lambda hp, x: keras.layers.Dense(1), loss="mse")
    with pytest.raises(errors.TrainingError, match=r"another kind of head[\s\S]*<Dense[\s\S]*head=lambda hp, features"):
        hypermodel.build(keras_tuner.HyperParameters())


def test_single_values_and_names_are_taken_for_what_they_mean(produced):
    hypermodel = tuners.HubHyperModel(
        produced(scale), head, loss="mse", trainable=True, depths=1, optimizer="sgd", tuning_rates=(0.1, 0.1)
    )
    assert list(hypermodel.arms()) == [{"hub": produced(scale), "trainable": True, "unfreeze": "1"}]
    model = hypermodel.build(keras_tuner.HyperParameters())
    assert type(model.optimizer.inner_optimizer) is keras.optimizers.SGD


def test_texts_and_targets_may_be_lists(produced, tmp_path):
    hypermodel = tuners.HubHyperModel([produced(producers.text_classifier)], head, loss="mse")
    tuner = tuner_of(hypermodel, tmp_path, trials=2)
    texts, targets = ["good", "bad", "good", "bad"], [1.0, 0.0, 1.0, 0.0]
    tuners.search(tuner, texts, targets, epochs=1, verbose=0, validation_data=(np.array(texts), targets))
    assert {trial.status for trial in tuner.oracle.trials.values()} == {"COMPLETED"}


class Failing(keras.callbacks.Callback):
    """Fails in trials with a bias: what no preflight on one batch can see."""

    def on_epoch_end(self, epoch, logs=None):
        if self.model.layers[-1].use_bias:
            raise ValueError("no memory left")


def test_trials_that_failed_are_told_at_the_end(produced, tmp_path):
    tuner = tuner_of(hypermodel_of(produced(scale), trainable=(False,)), tmp_path, kind="GridSearch")
    with pytest.warns(errors.HubWarning, match=r"of 4 trials have failed[\s\S]*'bias': True[\s\S]*no memory left"):
        search(tuner, callbacks=[Failing()])


def test_a_search_without_a_completed_trial_is_an_error_and_so_is_its_export(produced, tmp_path):
    class AllFail(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            raise ValueError("no memory left")

    tuner = tuner_of(hypermodel_of(produced(scale)), tmp_path, trials=2)
    with pytest.raises(errors.TrainingError, match=r"No trial[\s\S]*2 trials; ValueError: no memory left\n"):
        search(tuner, callbacks=[AllFail()])
    with pytest.raises(errors.TrainingError, match="No trial"):
        tuners.export_best(tuner, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_without_kerastuner_the_error_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "keras_tuner", None)
    for name in ("tuners", "_src.tuners.hypermodel", "_src.tuners.preflight"):
        monkeypatch.delitem(sys.modules, f"keras_hub_layers.{name}")
    with pytest.raises(errors.MissingPackageError, match=r'pip install "keras-hub-layers\[tuner\]"'):
        importlib.import_module("keras_hub_layers.tuners")


# -- KerasTuner's own recipes ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("trainable", [False, True])
def test_the_best_hyperparameters_are_trained_again_without_callbacks(produced, tmp_path, trainable):
    tuner = tuner_of(hypermodel_of(produced(scale), trainable=(trainable,)), tmp_path, trials=1)
    search(tuner, epochs=1)
    hp = tuner.get_best_hyperparameters()[0]
    model = tuner.hypermodel.build(hp)
    before = model.evaluate(X, Y, verbose=0)
    history = tuner.hypermodel.fit(hp, model, X, Y, epochs=3, verbose=0)
    assert len(history.history["loss"]) == 3
    assert model.evaluate(X, Y, verbose=0) < before


def test_metrics_may_be_a_dict_by_output(produced, tmp_path):
    def named(hp, x):
        return {"score": keras.layers.Dense(1, name="score")(x), "twice": keras.layers.Dense(1, name="twice")(x)}

    for trainable in (False, True):
        hypermodel = tuners.HubHyperModel(
            [produced(scale)],
            named,
            loss={"score": "mse", "twice": "mae"},
            metrics={"score": ["mae"], "twice": ["mse"]},
            trainable=trainable,
        )
        objective = keras_tuner.Objective("val_score_mae", "min")
        tuner = keras_tuner.RandomSearch(hypermodel, objective, max_trials=1, directory=str(tmp_path / str(trainable)))
        targets = {"score": Y, "twice": 2 * Y}
        tuners.search(tuner, X, targets, epochs=1, validation_data=(X, targets), verbose=0)
        best = tuner.get_best_models(1)[0]
        error = float(np.mean(np.abs(best.predict(X, verbose=0)["score"] - Y)))
        assert tuner.oracle.get_best_trials(1)[0].score == pytest.approx(error, rel=1e-5)


@pytest.mark.filterwarnings("ignore:Your input ran out of data")  # Keras, of a dataset that does not know its length
@pytest.mark.parametrize("as_dataset", [False, True])
def test_a_reused_hypermodel_sees_that_its_data_have_changed(produced, tmp_path, as_dataset):
    """y = a·b·x with a·b = 1/2 and a head of ones: frozen and not trained, its error is that of x/2."""
    hypermodel = hypermodel_of(produced(scale), trainable=(False,), optimizer=lambda rate: keras.optimizers.SGD(0.0))
    x, scores = X.copy(), []
    for number in range(3):
        tuner = tuner_of(hypermodel, tmp_path / str(number), trials=1)
        if as_dataset:
            data = tf.data.Dataset.from_generator(
                lambda x=x: zip(x, Y, strict=True),
                output_signature=(tf.TensorSpec((1,)), tf.TensorSpec((1,))),
            ).batch(4)
            tuner.search(data, epochs=1, validation_data=data, verbose=0)
        else:
            tuner.search(x, Y, epochs=1, validation_data=(x, Y), verbose=0)
        scores.append(tuner.oracle.get_best_trials(1)[0].score)
        x *= -2.0
    expected = [float(np.mean((0.5 * factor * X - Y) ** 2)) for factor in (1, -2, 4)]
    assert scores == pytest.approx(expected, rel=1e-5)


def test_a_preprocessor_that_was_adapted_anew_is_computed_anew(produced, tmp_path):
    layer = keras.layers.Normalization(axis=None)
    layer.adapt(X)
    candidate = tuners.Candidate(produced(scale), input_shape=(1,), preprocessor=layer)
    hypermodel = hypermodel_of(candidate, trainable=(False,), optimizer=lambda rate: keras.optimizers.SGD(0.0))
    for number, scaled in enumerate((X, 10 * X)):
        layer.adapt(scaled)
        tuner = tuner_of(hypermodel, tmp_path / str(number), trials=1)
        tuner.search(X, Y, epochs=1, validation_data=(X, Y), verbose=0)
        expected = float(np.mean((0.5 * (X - scaled.mean()) / scaled.std() - Y) ** 2))
        assert tuner.oracle.get_best_trials(1)[0].score == pytest.approx(expected, rel=1e-4)


def test_an_unused_output_of_the_saved_model_leaves_the_head_trainable_on_features(produced, tmp_path):
    candidate = tuners.Candidate(produced(producers.sum_and_difference), arguments={"return_dict": True}, label="both")
    hypermodel = tuners.HubHyperModel(
        [candidate], lambda hp, x: keras.layers.Dense(1)(x["sigma"]), loss="mse", trainable=False
    )
    tuner = tuner_of(hypermodel, tmp_path, trials=1)
    data = {"x": X, "y": X}
    tuners.search(tuner, data, Y, epochs=1, validation_data=(data, Y), verbose=0)
    best = tuner.get_best_models(1)[0]
    assert best.evaluate(data, Y, verbose=0) == pytest.approx(tuner.oracle.get_best_trials(1)[0].score, rel=1e-5)


def with_loss(directory):
    """y = a·x with a = 0.5 that can be tuned, and a published loss of 1 that does not depend on it."""
    root = tf.train.Checkpoint()
    root.a = tf.Variable(0.5, name="a")
    root.__call__ = tf.function(lambda x: root.a * x, input_signature=[tf.TensorSpec((None, 1))])
    root.variables = root.trainable_variables = [root.a]
    root.regularization_losses = [tf.function(lambda: 1.0 + 0.0 * root.a, input_signature=[])]
    return producers.save(root, directory)


def head_of_one(hp, x):
    return keras.layers.Dense(1, use_bias=False, kernel_initializer="ones")(x)


@pytest.mark.parametrize("how", ["tuners.search", "tuner.search"])
def test_the_loss_of_the_data_chooses_the_better_model_whatever_its_regularization(produced, tmp_path, how):
    def tuner_by(objective, name):
        rates = {"head_rates": (1e-7, 2e-7), "tuning_rates": (0.1, 0.2)}  # the head stays as it is
        hypermodel = tuners.HubHyperModel([produced(with_loss)], head_of_one, loss="mse", **rates)
        return keras_tuner.RandomSearch(hypermodel, objective, max_trials=6, directory=str(tmp_path / name), seed=1)

    def run(tuner):
        arguments = {"epochs": 2, "validation_data": (X, Y), "verbose": 0}
        if how == "tuners.search":
            tuners.search(tuner, X, Y, **arguments)
        else:
            tuner.search(X, Y, **arguments)
        return tuner.oracle.get_best_trials(1)[0]

    fair = tuner_by(keras_tuner.Objective("val_data_loss", "min"), "fair")
    best = run(fair)
    assert best.hyperparameters.values["trainable"] is True
    model = fair.get_best_models(1)[0]
    assert best.score == pytest.approx(float(np.mean((model.predict(X, verbose=0) - Y) ** 2)), rel=1e-5)
    frozen = [trial for trial in fair.oracle.trials.values() if not trial.hyperparameters.values["trainable"]]
    assert 0 < len(frozen) < 6
    assert {round(trial.score, 4) for trial in frozen} == {round(float(np.mean((0.5 * X - Y) ** 2)), 4)}
    text = r"'val_loss' holds the regularization losses[\s\S]*Objective\(\"val_data_loss\", \"min\"\)"
    with pytest.warns(errors.HubWarning, match=text) as caught:
        run(tuner_by("val_loss", "unfair"))
    assert [warning.filename for warning in caught if "regularization" in str(warning.message)] == [__file__]


STRATEGY = """
import json, sys
import keras, keras_tuner, numpy as np, tensorflow as tf
from keras_hub_layers import tuners

cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
x = np.linspace(-1, 1, 16, dtype="float32")[:, None]
hypermodel = tuners.HubHyperModel(
    [sys.argv[1]],
    lambda hp, features: keras.layers.Dense(1, kernel_initializer="ones")(features),
    loss="mse",
    tuning_rates=(0.1, 0.2),
)
tuner = keras_tuner.RandomSearch(
    hypermodel, "val_loss", max_trials=4, directory=sys.argv[2], seed=1,
    distribution_strategy=tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"]),
)
arguments = {"epochs": 1, "batch_size": 4, "validation_data": (x, 3 * x), "verbose": 0}
if sys.argv[3] == "tuners.search":
    tuners.search(tuner, x, 3 * x, **arguments)
else:
    tuner.search(x, 3 * x, **arguments)
trials = tuner.oracle.trials.values()
values = [(t.hyperparameters.values["trainable"], t.status) for t in trials]
path = tuners.export_best(tuner, sys.argv[2] + "/best", trainable=True)
error = float(np.mean((tf.saved_model.load(path)(x).numpy() - 3 * x) ** 2))
print(json.dumps([values, tuner.oracle.get_best_trials(1)[0].score, error]))
"""


@pytest.mark.parametrize("how", ["tuners.search", "tuner.search"])
def test_a_tuner_with_a_strategy_of_two_replicas_completes_each_trial(produced, tmp_path, how):
    command = [sys.executable, "-c", STRATEGY, produced(scale), str(tmp_path), how]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    trials, score, error = json.loads(done.stdout.splitlines()[-1])
    assert {status for _, status in trials} == {"COMPLETED"}
    assert {trainable for trainable, _ in trials} == {True, False}
    assert score == pytest.approx(error, rel=1e-5)
