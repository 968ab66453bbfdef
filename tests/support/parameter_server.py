"""A coordinator that trains with the loop that our error shows; or a worker or parameter server of its cluster.

python parameter_server.py FOLDER SCALE
"""

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import clusters
import keras
import numpy as np
import tensorflow as tf
import worker_training
from worker_training import X, Y, dataset_of, error_of, model_of, outcome

import keras_hub_layers as khl
from keras_hub_layers import callbacks, distribution, errors, layers


def make_model(scale):
    return model_of(scale, lambda model: keras.optimizers.Adam(0.05))


def coordinate(folder, scale):
    """Train as the error says; a single worker runs the steps in their order."""
    strategy = tf.distribute.ParameterServerStrategy(tf.distribute.cluster_resolver.TFConfigClusterResolver())
    worker_training.scope = strategy.scope
    model, results = make_model(scale), {}
    with strategy.scope():
        results["enable_fit"] = error_of(distribution.enable_fit)
    results["train"] = error_of(distribution.train, model, dataset_of())
    for name, data in {
        "arrays": (X, Y),
        "dataset": (dataset_of(),),
        "function": (strategy.distribute_datasets_from_function(lambda context: dataset_of()),),
    }.items():
        results[name] = error_of(model.fit, *data, batch_size=None if name != "arrays" else 8, verbose=0)
    try:
        distribution.train(model, dataset_of())
    except errors.DistributionError as error:
        loop = re.sub(r"model = \.\.\..*", "model = make_model(scale)", error.fix)
    names = {"make_dataset": lambda: dataset_of().repeat(), "make_model": make_model, "scale": scale}
    names |= {"tf": tf, "strategy": strategy, "epochs": 2, "steps_per_epoch": 2}
    exec(loop, names)
    model = names["model"]
    export = callbacks.ExportFinetuned(f"{folder}/tuned", verbose=0)
    export.set_model(model)
    paths = [
        *export.export(),
        khl.export(model, f"{folder}/whole"),
        khl.save(model, f"{folder}/model.keras", include_optimizer=True),
    ]
    results["rows"] = [np.ravel(layers.HubLayer(path)(X)).tolist() for path in paths[:2]]
    results["trained"] = outcome(model)
    results["server"] = [weight.value.device for weight in model.get_layer("hub").weights]
    with strategy.scope():
        loaded = keras.models.load_model(paths[2], safe_mode=False)
    results["loaded"] = outcome(loaded, steps=[int(each.optimizer.iterations) for each in (loaded, model)])
    with worker_replaced(folder):
        run_steps(names, 4)
        results["steps with another worker"] = int(model.optimizer.iterations)
        os.kill(int(Path(folder, "ps.pid").read_text()), signal.SIGKILL)
        results["dead server"] = error_of(run_steps, names, 1)
    clusters.tell(folder, results)


def run_steps(names, count):
    """More steps of the loop."""
    for _ in range(count):
        names["coordinator"].schedule(names["step"], args=(names["iterator"],))
    names["coordinator"].join()


@contextlib.contextmanager
def worker_replaced(folder):
    """Kill the worker, and start another one in its place until the end of the block."""
    os.kill(int(Path(folder, "worker.pid").read_text()), signal.SIGKILL)
    config = json.loads(os.environ["TF_CONFIG"]) | {"task": {"type": "worker", "index": 0}}
    environ = {**os.environ, "TF_CONFIG": json.dumps(config)}
    process = subprocess.Popen([sys.executable, *sys.argv], env=environ)
    try:
        yield
    finally:
        process.kill()
        process.wait()


def main(folder, scale):
    task = distribution.check_tf_config()
    if task.job == "chief":
        coordinate(folder, scale)
    else:
        Path(folder, f"{task.job}.pid").write_text(str(os.getpid()))
        tf.distribute.Server(task.cluster, job_name=task.job, task_index=task.index, protocol="grpc").join()


if __name__ == "__main__":
    main(*sys.argv[1:])
