"""check_tf_config(): read the cluster in `TF_CONFIG`, and raise an error if it is wrong."""

import json
import os
from dataclasses import dataclass
from typing import Any

from keras_hub_layers._src.public import public
from keras_hub_layers.errors import DistributionError

__all__ = ["TFConfig", "check_tf_config"]

_EXAMPLE = """export TF_CONFIG='{"cluster": {"worker": ["10.0.0.1:2222", "10.0.0.2:2222"]}, "task": {"type": "worker", "index": 0}}'
# with "index": 1 on the second machine"""  # noqa: E501
_JOBS = ("chief", "worker", "ps", "evaluator")


@public("distribution")
@dataclass(frozen=True)
class TFConfig:
    """What `TF_CONFIG` says about this process.

    Attributes:
        job: `"worker"`, `"chief"`, `"ps"` or `"evaluator"`.
        index: The number of this process among those of its job, an `int`.
        cluster: Addresses of all processes by job, a dict of lists of `str`.
    """

    job: str
    index: int
    cluster: dict[str, list[str]]


@public("distribution")
def check_tf_config() -> TFConfig | None:
    """Read the environment variable `TF_CONFIG`, and raise an error if it is wrong.

    TensorFlow accepts most mistakes silently. Then it waits for minutes for workers that do not exist. So call this
    function before `tf.distribute.MultiWorkerMirroredStrategy()`.

    Returns:
        A `distribution.TFConfig`. `None` if `TF_CONFIG` is not set or `{}`: then one process trains alone.

    Raises:
        errors.DistributionError: `TF_CONFIG` is not JSON, or this process is not a part of the cluster that it
            describes.

    Example:

    ```python
    from keras_hub_layers import distribution

    task = distribution.check_tf_config()
    print("one process" if task is None else f"{task.job} {task.index} of {task.cluster}")
    ```
    """
    text = os.environ.get("TF_CONFIG", "{}")
    try:
        config = json.loads(text)
    except ValueError as err:
        raise _malformed_error("JSON", f"{text[:200]!r}: {err}") from err
    if config == {}:
        return None
    if not isinstance(config, dict):
        raise _malformed_error('an object with "cluster" and "task"', repr(text[:200]))
    cluster = _cluster(config.get("cluster"))
    task = config.get("task")
    if not isinstance(task, dict) or not {"type", "index"} <= set(task):
        raise _malformed_error('"task" with "type" and "index"', f"task: {json.dumps(task)}")
    job = task["type"]
    if job not in cluster and job != "evaluator":
        raise _malformed_error(f'"type" of "task" to be one of {sorted(cluster)}', f"type: {json.dumps(job)}")
    index = _index(task["index"], len(cluster.get(job, ())) or 1, job)
    _check_threads(cluster)
    return TFConfig(job, index, cluster)


def _cluster(cluster: Any) -> dict[str, list[str]]:
    if not isinstance(cluster, dict) or not cluster:
        raise _malformed_error('"cluster" with a list of addresses for each job', f"cluster: {json.dumps(cluster)}")
    for job, addresses in cluster.items():
        if job not in _JOBS:
            raise _malformed_error(f"jobs among {list(_JOBS)}", f"a job {job!r}")
        if not isinstance(addresses, list) or not addresses:
            raise _malformed_error(f"a list of addresses for {job!r}", json.dumps(addresses))
        for address in addresses:
            if not isinstance(address, str) or not address.rpartition(":")[0] or not _is_port(address):
                raise _malformed_error("addresses of the form host:port", f"{job}: {json.dumps(address)}")
    everybody = [address for addresses in cluster.values() for address in addresses]
    twice = [address for address in dict.fromkeys(everybody) if everybody.count(address) > 1]
    if twice:
        raise _malformed_error("a different address for each process", f"{twice[0]!r} more than once")
    if len(cluster.get("chief", ())) > 1:
        raise _malformed_error("one chief", f"chief: {json.dumps(cluster['chief'])}")
    return cluster


def _is_port(address: str) -> bool:
    port = address.rpartition(":")[2]
    return port.isdecimal() and 0 < int(port) < 65536


def _index(index: Any, count: int, job: str) -> int:
    number = int(index) if isinstance(index, str) and index.isdecimal() else index  # schedulers write strings
    if isinstance(number, bool) or not isinstance(number, int) or not 0 <= number < count:
        raise _malformed_error(
            f'"index" of "task" to be an integer from 0 to {count - 1}, as there are {count} of {job!r}',
            f"index: {json.dumps(index)}",
        )
    return number


def _check_threads(cluster: dict[str, list[str]]) -> None:
    if "ps" in cluster and os.environ.get("TF_NUM_INTEROP_THREADS") == "1":
        raise DistributionError(
            "TensorFlow would wait forever: with parameter servers, one thread for operations is not enough.",
            expected="TF_NUM_INTEROP_THREADS unset, or at least 2, in each process of the cluster",
            received="TF_NUM_INTEROP_THREADS=1",
            where="the environment",
            fix="unset TF_NUM_INTEROP_THREADS",
        )


def _malformed_error(expected: str, received: str) -> DistributionError:
    return DistributionError(
        "TF_CONFIG does not describe a cluster with this process.",
        expected=expected,
        received=received,
        where="the environment variable TF_CONFIG",
        fix=_EXAMPLE,
    )
