"""Several processes of one script on loopback that form a cluster of `tf.distribute`."""

import json
import os
import select
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

SUPPORT = Path(__file__).parent
ROOT = SUPPORT.parents[1]


def free_ports(count):
    """Ports that nobody listens on now, as the operating system gives them."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


def start(jobs, script, folder, *arguments, cluster=True, **environ):
    """Start one process of `tests/support/<script>` for each task of a cluster.

    Args:
        jobs: Dict of job to how many tasks it has, such as `{"worker": 2}`.
        script: Name of the script.
        folder: Where the outputs of the processes go; the script's first argument.
        arguments: Further arguments.
        cluster: Whether to tell them of each other.
        environ: Further environment variables.

    Returns:
        Dict of (job, index) to the process.
    """
    ports = iter(free_ports(sum(jobs.values())))
    addresses = {job: [f"127.0.0.1:{next(ports)}" for _ in range(count)] for job, count in jobs.items()}
    processes = {}
    for job, count in jobs.items():
        for index in range(count):
            config = json.dumps({"cluster": addresses, "task": {"type": job, "index": index}}) if cluster else "{}"
            shared = {"TF_CONFIG": config, "PYTHONPATH": f"{ROOT}{os.pathsep}{SUPPORT}", "PYTHONFAULTHANDLER": "1"}
            with open(Path(folder) / f"{job}{index}.log", "w") as log:
                processes[job, index] = subprocess.Popen(
                    [sys.executable, str(SUPPORT / script), str(folder), *map(str, arguments)],
                    env={**os.environ, **shared, **environ},
                    stdout=log,
                    stderr=subprocess.STDOUT,
                )
    return processes


def wait(processes, seconds=900, after_a_failure=60):
    """Wait for processes, and end those that are left when the time is over.

    Args:
        processes: What `start` returned.
        seconds: The time for all of them.
        after_a_failure: The time that the others have when one has failed, since they may wait for it.

    Returns:
        Their exit codes by name, `None` for those that had to be ended.
    """
    waiting = {os.pidfd_open(process.pid): name for name, process in processes.items() if process.poll() is None}
    end = time.monotonic() + seconds
    while waiting:
        ended, _, _ = select.select(list(waiting), [], [], max(0, end - time.monotonic()))
        for descriptor in ended:
            os.close(descriptor)
            if processes[waiting.pop(descriptor)].wait():
                end = min(end, time.monotonic() + after_a_failure)
        if not ended:
            break
    for descriptor, name in waiting.items():
        os.close(descriptor)
        processes[name].kill()
        processes[name].wait()
    return {name: None if name in waiting.values() else process.returncode for name, process in processes.items()}


def report(folder, job="worker", index=0):
    """What a process has written with `tell`."""
    return json.loads((Path(folder) / f"{job}{index}.json").read_text())


def log(folder, job="worker", index=0):
    """The end of what a process has printed."""
    return (Path(folder) / f"{job}{index}.log").read_text()[-3000:]


def tell(folder, results):
    """Write what a process has found, for `report`."""
    task = json.loads(os.environ["TF_CONFIG"]).get("task", {"type": "worker", "index": 0})
    path = Path(folder) / f"{task['type']}{task['index']}.json"
    path.with_suffix(".part").write_text(json.dumps(results))
    path.with_suffix(".part").rename(path)


def same(found, expected, tolerance=1e-6):
    """Whether two results are equal: lists and dicts of numbers."""
    assert type(found) is type(expected)
    if isinstance(expected, dict):
        assert list(found) == list(expected)
    if isinstance(expected, (dict, list)):
        assert len(found) == len(expected)
        for key in expected if isinstance(expected, dict) else range(len(expected)):
            same(found[key], expected[key], tolerance)
    else:
        np.testing.assert_allclose(found, expected, rtol=tolerance, atol=tolerance)
