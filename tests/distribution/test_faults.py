"""A worker that differs, has no file, or dies while it writes: all workers end, and the old export is whole."""

import os
import signal

import clusters
import numpy as np
import producers
import pytest
import worker_faults
import worker_training

import keras_hub_layers as khl
from keras_hub_layers import layers

SECONDS = 240


@pytest.fixture(scope="module")
def ended(tmp_path_factory):
    """Of each pair of workers: its folder, its exit codes, what it reports and what the second one has printed."""
    processes, results = {}, {}
    for mode in ("differences", "swap"):
        folder = tmp_path_factory.mktemp(mode)
        scale, half, shared = (
            producers.shared_loss(folder / "scale"),
            producers.half_plus_one(folder / "half"),
            folder / "shared",
        )
        installed = shared / f"keras_hub_layers-{worker_faults.NEWER}.dist-info"
        installed.mkdir(parents=True)
        (installed / "METADATA").write_text(f"Name: keras-hub-layers\nVersion: {worker_faults.NEWER}\n")
        processes[mode] = folder, clusters.start({"worker": 2}, "worker_faults.py", folder, scale, half, shared, mode)
    for mode, (folder, pair) in processes.items():
        codes = clusters.wait(pair, SECONDS)
        reports = [clusters.report(folder, "worker", index) for index in range(2)]
        results[mode] = folder, codes, reports, clusters.log(folder, "worker", 1)
    return results


@pytest.mark.parametrize(
    ("fault", "received"),
    [
        ("another SavedModel", "HubLayer 'hub', graph: "),
        ("another version", f"keras_hub_layers: {khl.__version__} on worker 0; {worker_faults.NEWER} on worker 1"),
    ],
)
def test_workers_that_differ_are_told_so_before_the_first_step(ended, fault, received):
    for report in ended["differences"][2]:
        assert "The workers do not train the same thing" in report[fault]
        assert received in report[fault]
        assert report["steps"] == []


def test_a_worker_without_the_file_ends_with_that_error_and_the_others_with_one_that_names_the_worker(ended):
    _, codes, (chief, _), log = ended["differences"]
    assert None not in codes.values(), "one had to be ended"
    assert codes["worker", 1] != 0
    assert "HandleNotFoundError: There is nothing at this path" in log
    assert "/job:worker/replica:0/task:1" in chief["a worker without the file"]


def test_a_chief_that_dies_between_two_renames_leaves_the_export_before_and_the_others_end(ended):
    folder, codes, (chief, other), _ = ended["swap"]
    assert codes["worker", 0] == -signal.SIGKILL
    assert codes["worker", 1] is not None, "it had to be ended"
    assert "DistributionError: Another worker is gone" in other["second"]
    shared = folder / "shared"
    assert not (shared / "export").exists(), "it died too early or too late"
    layer = layers.HubLayer(str(shared / "export"), trainable=True)  # the restart
    first = np.ravel(layer(worker_training.X))
    np.testing.assert_allclose(first, chief["first"], rtol=1e-6)
    khl.export(layer, shared / "export")
    assert [name for name in os.listdir(shared) if "export" in name] == ["export"]
