"""KerasTuner's distributed mode: a chief and two workers on loopback, one of each trial, one download."""

import json
import os
import socket
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from searches import scale
from werkzeug.serving import make_server

from keras_hub_layers import layers
from keras_hub_layers._src.publish.hub_app import Hub

X = np.linspace(-1, 1, 16, dtype="float32")[:, None]


def test_a_chief_and_two_workers_search_together_and_download_once(tmp_path):
    scale(tmp_path / "hub" / "scale" / "1")
    hub, sent = Hub(tmp_path / "hub"), []

    def counted(environ, start_response):
        if environ["REQUEST_METHOD"] == "GET" and "compressed" in environ["QUERY_STRING"]:
            sent.append(environ["PATH_INFO"])
        return hub(environ, start_response)

    server = make_server("127.0.0.1", 0, counted, threaded=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    shared = {
        **os.environ,
        "KERASTUNER_ORACLE_IP": "127.0.0.1",
        "KERASTUNER_ORACLE_PORT": str(port),
        "KERAS_HUB_LAYERS_CACHE": str(tmp_path / "cache"),
    }
    command = [sys.executable, str(Path(__file__).parents[1] / "support" / "tuner_worker.py")]
    command += [f"http://127.0.0.1:{server.port}/scale/1", str(tmp_path / "out")]
    try:
        processes = [
            subprocess.Popen(
                command, env={**shared, "KERASTUNER_TUNER_ID": name}, text=True, stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
            )
            for name in ("chief", "tuner0", "tuner1")
        ]  # fmt: skip
        outputs = [process.communicate(timeout=240) for process in processes]
    finally:
        server.shutdown()
        hub.close()
    assert [process.returncode for process in processes] == [0, 0, 0], outputs
    result = json.loads(outputs[0][0].splitlines()[-1])
    assert set(result["trials"].values()) == {"COMPLETED"}
    assert len(result["trials"]) == 4
    assert result["found"] == pytest.approx(result["score"], rel=1e-5)
    assert sent == ["/scale/1"]
    exports = sorted(os.listdir(tmp_path / "out" / "exports"))
    assert exports == sorted(result["trials"])
    error = float(tf.reduce_mean((layers.HubLayer(result["path"])(X) - 3 * X) ** 2))
    assert error == pytest.approx(result["found"], rel=1e-5)
