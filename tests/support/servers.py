"""NVIDIA's Triton server from the package `nvidia-pytriton`, and clients that ask it without a pause."""

import contextlib
import http.client
import importlib.util
import json
import os
import platform
import shutil
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import clusters
import numpy as np

SECONDS = 120  # the longest wait for a server or for an answer
CONFIG = """
backend: "saved_model"
input {{ name: "{input}" data_type: TYPE_{input_type} dims: {input_shape} }}
output {{ name: "{output}" data_type: TYPE_{output_type} dims: {output_shape} }}
"""


def configure(folder, **names):
    """Write what the server has to know of a model beside its numbered versions."""
    Path(folder, "config.pbtxt").write_text(CONFIG.format(**names))


@contextlib.contextmanager
def started(repository, folder):
    """A server of a folder of models, which looks for new versions each second; ends it after the block.

    Args:
        repository: A folder of models. Each has a `config.pbtxt` and its numbered versions.
        folder: Where the server's own files go.

    Yields:
        The ports of REST and of gRPC.
    """
    package = Path(importlib.util.find_spec("pytriton").origin).parent / "tritonserver"
    backends = Path(folder, "backends")
    shutil.copytree(package / "backends", backends)
    stub = package / "python_backend_stubs" / ".".join(platform.python_version_tuple()[:2])
    shutil.copy(stub / "triton_python_backend_stub", backends / "python")
    (backends / "saved_model").mkdir()
    shutil.copy(clusters.SUPPORT / "serving_backend.py", backends / "saved_model" / "model.py")
    shutil.copy(clusters.SUPPORT / "c_loader.py", backends / "saved_model")
    ports = clusters.free_ports(2)
    environment = {
        "LD_LIBRARY_PATH": str(package.parents[1] / "nvidia_pytriton.libs"),
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
    }
    command = [package / "bin" / "tritonserver", f"--model-repository={repository}", f"--backend-directory={backends}"]
    command += [
        "--model-control-mode=poll",
        "--repository-poll-secs=1",
        "--allow-metrics=false",
        "--exit-timeout-secs=5",
    ]
    for name, port in zip(("http", "grpc"), ports, strict=True):
        command += [f"--{name}-address=127.0.0.1", f"--{name}-port={port}"]
    process = subprocess.Popen(
        [str(part) for part in command], env={**os.environ, **environment}, text=True, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )  # fmt: skip
    lines, is_ready = [], threading.Event()
    reader = threading.Thread(target=_read, args=(process.stdout, lines, is_ready), daemon=True)
    reader.start()
    try:
        is_ready.wait(SECONDS)
        assert _listens(ports[0], process), "".join(lines[-60:])
        yield ports
    finally:
        process.terminate()
        try:
            process.wait(SECONDS)
        finally:
            process.kill()
            reader.join(SECONDS)
            process.stdout.close()


def _listens(port, process):
    """Try to connect until a server that says that it has started listens; false if it has ended."""
    end = time.monotonic() + SECONDS
    while process.poll() is None and time.monotonic() < end:
        with contextlib.suppress(ConnectionRefusedError), socket.create_connection(("127.0.0.1", port)):
            return True
    return False


def _read(stream, lines, is_ready):
    """Collect what a server prints, and tell when it answers or has ended."""
    for line in stream:
        lines.append(line)
        if "Started HTTPService" in line:
            is_ready.set()
    is_ready.set()


class Rest:
    """Asks over HTTP, with one connection, as a client of the protocol of KServe does."""

    def __init__(self, ports, model):
        self.connection = http.client.HTTPConnection("127.0.0.1", ports[0], timeout=SECONDS)
        self.model = model

    def close(self):
        self.connection.close()

    def ask(self, name, array):
        """The version that has answered, and its outputs by name."""
        kind = "BYTES" if array.dtype == object else "FP32"
        data = [text.decode() for text in array.ravel()] if kind == "BYTES" else array.ravel().tolist()
        tensor = {"name": name, "shape": list(array.shape), "datatype": kind, "data": data}
        self.connection.request("POST", f"/v2/models/{self.model}/infer", json.dumps({"inputs": [tensor]}))
        response = self.connection.getresponse()
        text = response.read()
        if response.status != 200:
            raise RuntimeError(f"{response.status}: {text[:500]!r}")
        answer = json.loads(text)
        outputs = {each["name"]: np.reshape(each["data"], each["shape"]) for each in answer["outputs"]}
        return int(answer["model_version"]), outputs


class Grpc:
    """Asks over gRPC."""

    def __init__(self, ports, model):
        import tritonclient.grpc

        self.package = tritonclient.grpc
        self.client = tritonclient.grpc.InferenceServerClient(f"127.0.0.1:{ports[1]}")
        self.model = model

    def close(self):
        self.client.close()

    def ask(self, name, array):
        """The version that has answered, and its outputs by name."""
        tensor = self.package.InferInput(name, array.shape, "BYTES" if array.dtype == object else "FP32")
        tensor.set_data_from_numpy(array)
        result = self.client.infer(self.model, [tensor], client_timeout=SECONDS)
        answer = result.get_response()
        return int(answer.model_version), {each.name: result.as_numpy(each.name) for each in answer.outputs}


class Load:
    """Clients that ask one after the other without a pause, each in a thread, until the end of a block.

    Attributes:
        answers: What each client was answered: (version, outputs), or the error.
    """

    def __init__(self, clients, name, array):
        self.answers = {client: [] for client in clients}
        self._question = name, array
        self._changed = threading.Condition()
        self._ended = False
        self._threads = [threading.Thread(target=self._ask, args=(client,), daemon=True) for client in clients]

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *error):
        self._ended = True
        for thread in self._threads:
            thread.join(SECONDS)
        for client in self.answers:
            client.close()

    def wait_for(self, version):
        """Wait until the last answer of each client is of a version."""
        with self._changed:
            is_so = self._changed.wait_for(
                lambda: all(answers and answers[-1][0] == version for answers in self.answers.values()), SECONDS
            )
        assert is_so, f"version {version} was not served: {[answers[-1:] for answers in self.answers.values()]}"

    def _ask(self, client):
        while not self._ended:
            try:
                answer = client.ask(*self._question)
            except Exception as error:
                answer = None, repr(error)
            with self._changed:
                self.answers[client].append(answer)
                self._changed.notify_all()
