"""A worker dies in the middle of an epoch: the other ends with an error, and a restart ends as if nothing had been."""

import shutil

import clusters
import numpy as np
import producers
import pytest
import worker_backup
from clusters import same

from keras_hub_layers import layers


@pytest.fixture(scope="module")
def restarted(tmp_path_factory):
    """Codes and log of workers of which one was killed; what each reports after a restart; an uninterrupted run."""
    folder = tmp_path_factory.mktemp("workers")
    scale, shared = producers.shared_loss(folder / "scale"), folder / "shared"
    shared.mkdir()
    codes = clusters.wait(clusters.start({"worker": 2}, "worker_backup.py", folder, scale, shared, "killed"), 280)
    log = clusters.log(folder, "worker", 0)
    shutil.copytree(shared / "backup", shared / "own0")
    (shared / "file").touch()
    processes = clusters.start({"worker": 2}, "worker_backup.py", folder, scale, shared, "whole")
    try:
        alone = worker_backup.fit(scale, folder / "alone")
    finally:
        again = clusters.wait(processes, 280)
    assert set(again.values()) == {0}, [clusters.log(folder, "worker", index) for index in range(2)]
    return codes, log, [clusters.report(folder, "worker", index) for index in range(2)], alone, folder


def test_the_survivor_ends_by_itself_with_an_error_that_says_what_to_do(restarted):
    codes, log, *_ = restarted
    assert codes["worker", 1] == -9
    assert codes["worker", 0] not in (0, None), "it had to be ended"
    assert "DistributionError: Another worker is gone" in log


def test_after_a_restart_all_is_as_without_an_interruption(restarted):
    _, _, reports, alone, folder = restarted
    for report in reports:
        same(report["resumed"], alone)
        assert report["files"] == ["export", "file", "own0"]
    exported, expected = (layers.HubLayer(str(folder / name / "export")) for name in ("shared", "alone"))
    for weight, value in zip(exported.get_weights(), expected.get_weights(), strict=True):
        np.testing.assert_allclose(weight, value, rtol=1e-6)


def test_workers_that_see_other_backups_or_no_place_for_one_end_with_an_error(restarted):
    chief, other = restarted[2]
    for report in (chief, other):
        assert "The workers do not see the same backup" in report["not shared"]
        assert "worker 1: backup none" in report["not shared"]
        assert "file" in report["no directory"]
