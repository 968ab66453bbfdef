"""Two replicas in one process train, search, export and reload as one device does."""

import clusters
import mirrored_training
import producers
import pytest
from clusters import same


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("replicas")
    scale, texts = producers.shared_loss(folder / "scale"), producers.text_classifier(folder / "texts")
    codes = clusters.wait(clusters.start({"worker": 1}, "mirrored_training.py", folder, scale, texts, cluster=False))
    assert set(codes.values()) == {0}, clusters.log(folder)
    return clusters.report(folder)


@pytest.mark.parametrize("case", [case.__name__ for case in mirrored_training.CASES])
def test_two_replicas_compute_what_one_device_does(trained, case):
    same(trained["mirrored"][case], trained["alone"][case])


def test_what_is_exported_from_two_replicas_computes_what_the_model_does(trained):
    result = trained["mirrored"]["saved"]
    same(result["rows"]["whole"], result["live"])
    assert result["rows"]["exported"] == result["rows"]["tuned"]


def test_keras_cannot_fit_strings_under_a_strategy_by_itself(trained):
    """When this fails, Keras can: `compat.distribution` is needed for several workers only."""
    assert "Value for attr 'T' of string is not in the list" in trained["strings of Keras alone"]


def test_a_batch_that_was_split_where_texts_have_no_rows_is_an_error(trained):
    assert "The batch was split after the host stage" in trained["split"]
