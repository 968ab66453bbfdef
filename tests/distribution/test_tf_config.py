"""What is wrong with `TF_CONFIG` is said before a strategy waits for workers that never come."""

import json

import pytest

from keras_hub_layers import distribution, errors

CLUSTER = {"worker": ["10.0.0.1:2222", "10.0.0.2:2222"]}
TASK = {"type": "worker", "index": 1}


def test_what_tf_config_says_of_this_process(monkeypatch):
    monkeypatch.setenv("TF_CONFIG", json.dumps({"cluster": CLUSTER, "task": {"type": "worker", "index": "1"}}))
    assert distribution.check_tf_config() == distribution.TFConfig("worker", 1, CLUSTER)


@pytest.mark.parametrize("text", [None, "{}", " {} "])
def test_without_tf_config_one_process_trains_alone(monkeypatch, text):
    monkeypatch.delenv("TF_CONFIG", raising=False)
    if text is not None:
        monkeypatch.setenv("TF_CONFIG", text)
    assert distribution.check_tf_config() is None


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ("{'cluster'", "JSON"),
        ("[1]", "an object with"),
        ("", "JSON"),
        ({"task": TASK}, "cluster: null"),
        ({"cluster": {"workers": ["a:1"]}, "task": TASK}, "a job 'workers'"),
        ({"cluster": {"worker": "a:1"}, "task": TASK}, "a list of addresses for 'worker'"),
        ({"cluster": {"worker": ["10.0.0.1"]}, "task": TASK}, "host:port"),
        ({"cluster": {"worker": ["a:99999"]}, "task": TASK}, "host:port"),
        ({"cluster": {"worker": ["a:1", "a:1"]}, "task": TASK}, "'a:1' more than once"),
        ({"cluster": {"chief": ["a:1", "b:1"], "worker": ["c:1"]}, "task": TASK}, "one chief"),
        ({"cluster": CLUSTER}, "task: null"),
        ({"cluster": CLUSTER, "task": {"type": "worker"}}, '"type" and "index"'),
        ({"cluster": CLUSTER, "task": {"type": "chief", "index": 0}}, 'type: "chief"'),
        ({"cluster": CLUSTER, "task": {"type": "worker", "index": 2}}, "from 0 to 1"),
        ({"cluster": CLUSTER, "task": {"type": "worker", "index": True}}, "index: true"),
    ],
)
def test_a_cluster_that_cannot_be_is_an_error(monkeypatch, config, message):
    monkeypatch.setenv("TF_CONFIG", config if isinstance(config, str) else json.dumps(config))
    with pytest.raises(errors.DistributionError, match=message) as caught:
        distribution.check_tf_config()
    line = str(caught.value.fix).partition("\n")[0]
    monkeypatch.setenv("TF_CONFIG", line.partition("'")[2].rstrip("'"))
    assert distribution.check_tf_config() == distribution.TFConfig("worker", 0, CLUSTER)


def test_a_parameter_server_with_one_thread_hangs_so_it_is_refused(monkeypatch):
    cluster = {"chief": ["a:1"], "worker": ["b:1"], "ps": ["c:1"]}
    monkeypatch.setenv("TF_CONFIG", json.dumps({"cluster": cluster, "task": {"type": "chief", "index": 0}}))
    monkeypatch.setenv("TF_NUM_INTEROP_THREADS", "1")
    with pytest.raises(errors.DistributionError, match="unset TF_NUM_INTEROP_THREADS"):
        distribution.check_tf_config()
    monkeypatch.delenv("TF_NUM_INTEROP_THREADS")
    assert distribution.check_tf_config().job == "chief"
