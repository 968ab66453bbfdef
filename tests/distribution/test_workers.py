"""Several workers train what one process trains on the global batch."""

import clusters
import producers
import pytest
import worker_training
from clusters import same

ALL = (*worker_training.CASES, worker_training.loop)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """What each of two workers reports, and what one process computes."""
    folder = tmp_path_factory.mktemp("workers")
    scale, texts = producers.shared_loss(folder / "scale"), producers.text_classifier(folder / "texts")
    processes = clusters.start({"worker": 2}, "worker_training.py", folder, scale, texts)
    try:
        alone = worker_training.run(ALL, scale, texts)
    finally:
        codes = clusters.wait(processes)
    assert set(codes.values()) == {0}, [clusters.log(folder, "worker", index) for index in range(2)]
    return clusters.report(folder, "worker", 0), clusters.report(folder, "worker", 1), alone


@pytest.mark.parametrize("case", [case.__name__ for case in ALL])
def test_two_workers_train_what_one_process_trains_on_the_global_batch(trained, case):
    chief, other, alone = trained
    same(chief[case], alone[case])
    assert other[case] == chief[case]


def test_keras_cannot_fit_on_several_workers_by_itself(trained):
    """When this fails, Keras can: `compat.distribution` is no longer needed from this version on."""
    for report in trained[:2]:
        assert "PerReplica" in report["fit of Keras alone"]
