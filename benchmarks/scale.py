"""What grows with many workers, large tables and many downloads: curves on one machine, for docs/scale.md.

python benchmarks/scale.py search|tables|downloads
"""

import concurrent.futures
import http.client
import os
import resource
import subprocess
import sys
import tempfile
import time
import urllib.parse
from pathlib import Path


def search() -> None:
    """Seconds that KerasTuner's chief needs for one trial, by the number of trials that it has had."""
    import keras_tuner

    with tempfile.TemporaryDirectory() as folder:
        space = keras_tuner.HyperParameters()
        for number in range(5):
            space.Float(f"rate_{number}", 1e-5, 1e-2, sampling="log")
        oracle = keras_tuner.oracles.RandomSearchOracle("val_loss", max_trials=2000, hyperparameters=space, seed=0)
        oracle._set_project_dir(folder, "search")
        oracle.verbose = 0
        started, count = time.perf_counter(), 0
        for until in (10, 100, 200, 500, 1000):
            before, first = time.perf_counter(), count
            for count in range(first + 1, until + 1):
                trial = oracle.create_trial(f"worker{count % 50}")
                oracle.update_trial(trial.trial_id, {"val_loss": 1.0 / count})
                trial.status = "COMPLETED"
                oracle.end_trial(trial)
            now = time.perf_counter()
            each = 1000 * (now - before) / (until - first)
            print(f"{until} trials: {now - started:.1f} s in all, the last {until - first} took {each:.1f} ms each")


def tables() -> None:
    """Memory of a table, of a layer around it, of a fit and of an export, by the size of the table."""
    for megabytes in (100, 200, 400):
        with tempfile.TemporaryDirectory() as folder:
            for step in ("save", "load", "fit", "export"):
                command = [sys.executable, __file__, "table", step, folder, str(megabytes)]
                print(subprocess.check_output(command, text=True, stderr=subprocess.DEVNULL).strip(), flush=True)


def table(step: str, folder: str, megabytes: str) -> None:
    """One step with a table of a size, in a process of its own."""
    import keras
    import tensorflow as tf

    import keras_hub_layers as khl
    from keras_hub_layers import layers

    source = os.path.join(folder, "model")
    rows = int(megabytes) * 2**20 // 256
    if step == "save":
        root = tf.train.Checkpoint(table=tf.Variable(tf.ones((rows, 64)), name="table"))
        root.__call__ = tf.function(
            lambda ids: tf.gather(root.table, ids), input_signature=[tf.TensorSpec((None,), tf.int64)]
        )
        root.variables = root.trainable_variables = [root.table]
        tf.saved_model.save(root, source)
        return
    before, started = _peak(), time.perf_counter()
    hub = layers.HubLayer(source, trainable=True)
    if step == "fit":
        inputs = keras.Input((), dtype="int64")
        model = keras.Model(inputs, hub(inputs))
        model.compile("adam", "mse")
        model.train_on_batch(tf.range(64, dtype=tf.int64), tf.zeros((64, 64)))
    elif step == "export":
        khl.export(hub, os.path.join(folder, "out"), verify=False)
    seconds = time.perf_counter() - started
    print(f"{megabytes} MB, {step}: {(_peak() - before) / int(megabytes):.1f} x the table, {seconds:.1f} s")


def _peak() -> float:
    """MB that this process has had in memory at most."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def downloads() -> None:
    """Archives of 5 MB that one process of `keras-hub-layers serve` sends in a second, by the number of clients."""
    from keras_hub_layers._src.publish.server import serve_in_thread

    with tempfile.TemporaryDirectory() as folder:
        model = Path(folder, "model")
        (model / "variables").mkdir(parents=True)
        (model / "saved_model.pb").write_bytes(b"")
        (model / "variables" / "variables.data-00000-of-00001").write_bytes(os.urandom(5_000_000))
        with serve_in_thread(folder) as base:
            _download(base)  # packs the archive
            for clients in (1, 4, 16, 64):
                started = time.perf_counter()
                with concurrent.futures.ThreadPoolExecutor(clients) as pool:
                    sizes = list(pool.map(_download, [base] * 128))
                seconds = time.perf_counter() - started
                print(
                    f"{clients} clients: {128 / seconds:.0f} archives a second, {sum(sizes) / seconds / 1e6:.0f} MB/s"
                )


def _download(base: str) -> int:
    parts = urllib.parse.urlsplit(base)
    connection = http.client.HTTPConnection(str(parts.hostname), parts.port, timeout=60)
    connection.request("GET", f"{parts.path}/model?tf-hub-format=compressed")
    response = connection.getresponse()
    assert response.status == 200, response.status
    size = len(response.read())
    connection.close()
    return size


if __name__ == "__main__":
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    {"search": search, "tables": tables, "table": table, "downloads": downloads}[sys.argv[1]](*sys.argv[2:])
