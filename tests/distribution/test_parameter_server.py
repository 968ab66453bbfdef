"""Under a parameter server a coordinator trains with the loop that our error shows, and Keras' `fit` does not."""

import clusters
import numpy as np
import parameter_server
import producers
import pytest
import worker_training
from clusters import same

from keras_hub_layers import layers


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cluster")
    scale = producers.shared_loss(folder / "scale")
    processes = clusters.start({"chief": 1, "worker": 1, "ps": 1}, "parameter_server.py", folder, scale)
    try:
        model = parameter_server.make_model(scale)
        dataset = worker_training.dataset_of()
        model.fit(dataset, epochs=2, shuffle=False, verbose=0)
        codes = clusters.wait({("chief", 0): processes["chief", 0]}, 280)
    finally:
        for process in processes.values():  # servers never end by themselves
            process.kill()
            process.wait()
    assert codes == {("chief", 0): 0}, clusters.log(folder, "chief")
    return clusters.report(folder, "chief"), model, folder


def test_the_loop_of_the_error_trains_what_fit_does_in_one_process(trained):
    report, model, _ = trained
    same(report["trained"], worker_training.outcome(model))
    assert all("/job:ps/" in device for device in report["server"])


def test_what_the_coordinator_exports_computes_what_it_has_trained(trained):
    report, model, folder = trained
    for rows, expected in zip(report["rows"], (model.get_layer("hub"), model), strict=True):
        same(rows, np.ravel(expected(worker_training.X)).tolist())
    loaded = worker_training.keras.models.load_model(folder / "model.keras", safe_mode=False)
    same(np.ravel(loaded(worker_training.X)).tolist(), report["rows"][1])
    same(np.ravel(layers.HubLayer(str(folder / "tuned"))(worker_training.X)).tolist(), report["rows"][0])


def test_what_was_saved_goes_on_in_the_scope(trained):
    report, model, _ = trained
    same(report["loaded"], worker_training.outcome(model, steps=[4, 4]))


def test_a_worker_that_is_started_again_takes_the_steps_of_the_one_that_died(trained):
    assert trained[0]["steps with another worker"] == 4 + 4


def test_a_server_that_dies_ends_the_steps_with_an_error_that_names_it(trained):
    assert "UnavailableError" in trained[0]["dead server"]
    assert "/job:ps/replica:0/task:0" in trained[0]["dead server"]


def test_what_cannot_train_there_says_what_can(trained):
    for name in ("enable_fit", "train"):
        assert "Keras 3 cannot train under ParameterServerStrategy with fit()" in trained[0][name]
        assert "coordinator.schedule(step, args=(iterator,))" in trained[0][name]


@pytest.mark.parametrize(
    ("data", "text"),
    [
        ("arrays", "you need to pass this dataset to ClusterCoordinator.create_per_worker_dataset"),
        ("dataset", "you need to pass this dataset to ClusterCoordinator.create_per_worker_dataset"),
        ("function", "Cannot get the cardinality of a dataset"),
    ],
)
def test_fit_of_keras_fails_there(trained, data, text):
    """When this fails, Keras can: `distribution.unsupported` is needed no more."""
    assert text in trained[0][data]
