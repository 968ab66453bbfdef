"""The script that takes the place of an Estimator trains the same on one machine and on two workers."""

import os

import clusters
import estimator_page
import numpy as np
import producers
import pytest
import tensorflow as tf
from clusters import same

from keras_hub_layers import layers


@pytest.mark.filterwarnings("ignore:`shuffle=True` was passed:UserWarning")  # Keras 3.15, for each dataset
def test_the_script_of_the_page_trains_on_two_workers_what_it_trains_on_one_machine(tmp_path, monkeypatch):
    places = [tmp_path / "workers", tmp_path / "alone"]
    for place in places:
        producers.text_classifier(place / estimator_page.HANDLE)
    processes = clusters.start({"worker": 2}, "estimator_page.py", tmp_path, places[0])
    try:
        monkeypatch.delenv("TF_CONFIG", raising=False)
        monkeypatch.chdir(places[1])
        alone = estimator_page.run()
    finally:
        codes = clusters.wait(processes, 280)
    assert set(codes.values()) == {0}, [clusters.log(tmp_path, "worker", index) for index in range(2)]
    for index in range(2):
        same(clusters.report(tmp_path, "worker", index), alone)
    for place in places:
        assert sorted(os.listdir(place)) == ["fine_tuned", "path", "served"]
        assert os.listdir(place / "served") == ["1"]
    texts = tf.constant(["good world", "bad"])
    tuned, expected = (layers.HubLayer(str(place / "fine_tuned"))(texts) for place in places)
    np.testing.assert_allclose(tuned, expected, rtol=1e-5)
