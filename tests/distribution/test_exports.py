"""Several workers export together: the chief writes, the others wait for its word."""

import clusters
import keras
import numpy as np
import producers
import pytest
from clusters import same

from keras_hub_layers import layers


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """What each of two workers reports, and where they have exported to."""
    folder = tmp_path_factory.mktemp("workers")
    norm, raw = producers.batch_norm(folder / "norm", keras2=True), producers.batch_norm(folder / "raw")
    shared = folder / "shared"
    shared.mkdir()
    (shared / "file").touch()
    codes = clusters.wait(clusters.start({"worker": 2}, "worker_exports.py", folder, norm, raw, shared))
    assert set(codes.values()) == {0}, [clusters.log(folder, "worker", index) for index in range(2)]
    return clusters.report(folder, "worker", 0), clusters.report(folder, "worker", 1), shared


def flat(weights):
    return [np.ravel(weight).tolist() for weight in weights]


@pytest.mark.parametrize("name", ["keras2", "raw"])
def test_what_is_exported_has_the_mean_of_the_statistics_of_all_workers(exported, name):
    chief, other, shared = exported
    mean = [np.mean(pair, axis=0).tolist() for pair in zip(chief[name]["values"], other[name]["values"], strict=True)]
    assert chief[name]["values"] != other[name]["values"], "nothing to average"
    tuned = layers.HubLayer(str(shared / name))
    same(flat(tuned.get_weights()), mean[: len(tuned.weights)])
    whole = layers.HubLayer(str(shared / f"{name}_whole" / "1"))
    same(sorted(flat(whole.get_weights())), sorted(mean))
    model = keras.models.load_model(shared / f"{name}.keras", safe_mode=False)
    same(flat(model.get_weights()), mean)


@pytest.mark.parametrize("name", ["keras2", "raw"])
def test_each_worker_is_told_the_path_and_keeps_its_values(exported, name):
    chief, other, shared = exported
    paths = [str(shared / f"{name}_by_hand"), str(shared / f"{name}.keras")]
    for report in (chief, other):
        assert report[name]["exported"] == [str(shared / name)]
        assert report[name]["paths"] == paths
        assert report[name]["values afterwards"] == report[name]["values"]


@pytest.mark.parametrize(
    ("what", "message"),
    [("no directory", "file"), ("exists", "exists already"), ("no directory for fit", "file"), ("nan", "NaN")],
)
def test_a_failure_of_the_chief_is_an_error_on_each_worker(exported, what, message):
    chief, other, _ = exported
    assert message in chief[what]
    assert "The chief, which writes for all workers, could not" in other[what]
    assert message in other[what]


@pytest.mark.parametrize("kind", ["ExportFinetuned", "Backup"])
def test_a_directory_that_cannot_be_written_to_is_told_on_each_worker_before_the_first_step(exported, kind):
    for report in exported[:2]:
        assert "ExportWriteError" in report[f"read-only for {kind}"]
        assert "Permission denied" in report[f"read-only for {kind}"]
        assert report["steps"] == []


def test_what_is_not_finite_is_skipped_on_each_worker_and_leaves_the_earlier_export(exported):
    chief, other, shared = exported
    for report in (chief, other):
        paths, warnings = report["skipped"]
        assert paths == []
        assert ["NaN" in text for text in warnings] == [True]
    assert np.isfinite(np.concatenate(flat(layers.HubLayer(str(shared / "raw_by_hand")).get_weights()))).all()
    assert chief["files"] == sorted(
        ["file"] + [f"{n}{end}" for n in ("keras2", "raw") for end in ("", ".keras", "_by_hand", "_whole")]
    )
