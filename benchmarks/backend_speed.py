"""Steps and constructions on JAX and PyTorch: `python benchmarks/backend_speed.py [--write] [BACKEND ...]`.

Hypotheses: a training step through `HubLayer` takes at most 1.15 × the step of the same network in layers of Keras, on
the same backend and with the same weights; a construction takes at most 2 × that on TensorFlow.

The networks are MobileNetV2 (width 0.35, 96 × 96, batches of 16) and a transformer encoder (4 layers of width 128, 64
tokens, dropout, batches of 16). Keras 2 saves them. A process for each backend trains both sides in turns, by
`train_on_batch` with Adam: compiled on JAX, eager on PyTorch. Each construction is in a process of its own. Processor
seconds are those of all threads. JAX and PyTorch must be importable, or be in the environments that
`python3 dev.py backends` makes. It takes about ten minutes on two cores. `--write` puts the tables into README.md.
`--memory` prints instead what the imports and a layer take.
"""

import argparse
import itertools
import json
import os
import resource
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "build" / "benchmarks" / "backend_speed"
TITLES = {"tensorflow": "TensorFlow", "jax": "JAX", "torch": "PyTorch"}
NETWORKS = ("mobilenet", "encoder")
STEP_LIMIT, CONSTRUCTION_LIMIT = 1.15, 2.0
BATCH, SIZE, TOKENS, WORDS, WIDTH = 16, 96, 64, 8000, 128
ROUNDS, REPETITIONS = {"mobilenet": 25, "encoder": 25}, 3


def network(name: str, keras):
    """The network in layers of Keras 2 or of Keras 3."""
    if name == "mobilenet":
        options = {"weights": None, "input_shape": (SIZE, SIZE, 3), "alpha": 0.35}
        return keras.applications.MobileNetV2(include_top=False, pooling="avg", **options)
    layers = keras.layers
    ids = layers.Input((TOKENS,), dtype="int32")
    x = layers.Dropout(0.1)(layers.LayerNormalization()(layers.Embedding(WORDS, WIDTH)(ids)))
    for _ in range(4):
        attended = layers.MultiHeadAttention(4, WIDTH // 4, dropout=0.1)(x, x)
        x = layers.LayerNormalization()(layers.Add()([x, layers.Dropout(0.1)(attended)]))
        hidden = layers.Dense(WIDTH)(layers.Dense(4 * WIDTH, activation="gelu")(x))
        x = layers.LayerNormalization()(layers.Add()([x, layers.Dropout(0.1)(hidden)]))
    return keras.Model(ids, layers.GlobalAveragePooling1D()(x))


def make(name: str) -> None:
    """Save a network with Keras 2, and its weights by layers."""
    import tensorflow as tf
    import tf_keras

    tf_keras.utils.set_random_seed(0)
    model = network(name, tf_keras)
    tf.saved_model.save(model, str(FOLDER / name))
    weights = [weight for layer in model.layers for weight in layer.get_weights()]
    np.savez(FOLDER / f"{name}.npz", *weights)


def batch(name: str) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(0)
    labels = random.integers(0, 10, BATCH).astype("int32")
    if name == "mobilenet":
        return random.random((BATCH, SIZE, SIZE, 3), "float32"), labels
    return random.integers(0, WORDS, (BATCH, TOKENS)).astype("int32"), labels


# -- one process -------------------------------------------------------------------------------------------------------


def steps(name: str) -> dict:
    """Seconds of the steps of both sides, in turns."""
    import keras

    from keras_hub_layers import layers

    x, y = batch(name)
    native = network(name, keras)
    with np.load(FOLDER / f"{name}.npz") as saved:
        waiting = iter([saved[f"arr_{number}"] for number in range(len(saved.files))])
    for layer in native.layers:
        layer.set_weights([next(waiting) for _ in layer.get_weights()])
    sides = {"Keras": native, "HubLayer": layers.HubLayer(str(FOLDER / name), trainable=True)}
    values = {side: keras.ops.convert_to_numpy(layer(x, training=False)) for side, layer in sides.items()}
    np.testing.assert_allclose(values["HubLayer"], values["Keras"], rtol=1e-3, atol=1e-4)
    models, first = {}, {}
    for side, core in sides.items():
        inputs = keras.Input(x.shape[1:], dtype=str(x.dtype))
        model = keras.Model(inputs, keras.layers.Dense(10)(core(inputs)))
        model.compile(keras.optimizers.Adam(1e-4), keras.losses.SparseCategoricalCrossentropy(from_logits=True))
        start = time.perf_counter()
        model.train_on_batch(x, y)
        models[side], first[side] = model, time.perf_counter() - start
    wall: dict[str, list[float]] = {side: [] for side in models}
    processor: dict[str, list[float]] = {side: [] for side in models}
    for number in range(ROUNDS[name] + 3):
        for side in sorted(models, reverse=number % 2 == 0):
            starts = time.perf_counter(), time.process_time()
            models[side].train_on_batch(x, y)
            if number >= 3:
                wall[side].append(time.perf_counter() - starts[0])
                processor[side].append(time.process_time() - starts[1])
    return {"wall": wall, "processor": processor, "first": first}


def construction(name: str) -> dict:
    """Processor seconds until a model with the layer is there, after the imports."""
    import keras

    from keras_hub_layers import layers

    x, _ = batch(name)
    keras.ops.zeros((1,))
    start = time.process_time()
    inputs = keras.Input(x.shape[1:], dtype=str(x.dtype))
    keras.Model(inputs, layers.HubLayer(str(FOLDER / name), trainable=True)(inputs))
    return {"processor": time.process_time() - start}


def memory(name: str) -> dict:
    """Processor seconds and megabytes of the imports and of the layer."""
    stages: dict[str, list[float]] = {}

    def note(stage: str) -> None:
        pages = int(Path("/proc/self/statm").read_text().split()[1])  # Linux only
        stages[stage] = [time.process_time(), pages * resource.getpagesize() / 1e6]

    note("Python")
    import keras

    note("keras")
    import tensorflow

    note("tensorflow")
    from keras_hub_layers import layers

    note("keras_hub_layers")
    held = layers.HubLayer(str(FOLDER / name), trainable=True)
    note("layer")
    return {**stages, "modules": [keras.__name__, tensorflow.__name__, len(held.weights)]}


# -- the comparison ----------------------------------------------------------------------------------------------------


def run(backend: str, what: str, name: str) -> dict:
    """What a new process on a backend answers."""
    from backends import python_of

    settings = {"KERAS_BACKEND": backend, "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1"}
    command = [python_of(backend), "-W", "ignore", __file__, "--one", what, name]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env={**os.environ, **settings})
    return json.loads(done.stdout.splitlines()[-1])


def print_memory(backend: str, stages: dict) -> None:
    """What each import, and the layer, took."""
    stages.pop("modules")
    for (_, before), (stage, after) in itertools.pairwise(stages.items()):
        print(f"{TITLES[backend]}: {stage}: {after[0] - before[0]:.1f} s, {after[1] - before[1]:.0f} MB", flush=True)


def step_rows(backends: list[str]):
    """A row of the table for each backend and network, and whether it misses the limit."""
    from common import ratio

    for backend in backends:
        for name in NETWORKS:
            measured = run(backend, "steps", name)
            cells, missed = [f"{TITLES[backend]}: {name}"], False
            for clock in ("wall", "processor"):
                native, ours = (np.array(measured[clock][side]) * 1e3 for side in ("Keras", "HubLayer"))
                middle, low, high = ratio(ours, native)
                cells += [f"{np.median(native):.1f} ms", f"{np.median(ours):.1f} ms"]
                cells.append(f"{middle:.2f} ({low:.2f} – {high:.2f})")
                missed |= middle > STEP_LIMIT
            cells += [f"{measured['first'][side]:.1f} s" for side in ("Keras", "HubLayer")]
            yield cells, missed


def construction_rows(backends: list[str]):
    """A row for each network and backend: median and range of a few processes, in turns with TensorFlow."""
    for name in NETWORKS:
        seconds: dict[str, list[float]] = {backend: [] for backend in ("tensorflow", *backends)}
        for _ in range(REPETITIONS):
            for backend, values in seconds.items():
                values.append(run(backend, "construction", name)["processor"])
        known = float(np.median(seconds["tensorflow"]))
        for backend in backends:
            own = float(np.median(seconds[backend]))
            spread = f"{own:.1f} s ({min(seconds[backend]):.1f} – {max(seconds[backend]):.1f})"
            yield (
                [f"{TITLES[backend]}: {name}", f"{known:.1f} s", spread, f"{own / known:.2f}"],
                (own / known > CONSTRUCTION_LIMIT),
            )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("backends", nargs="*")
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--memory", action="store_true")
    parser.add_argument("--make")
    parser.add_argument("--one", nargs=2)
    arguments = parser.parse_args()
    if arguments.make:
        make(arguments.make)
        return 0
    if arguments.one:
        what, name = arguments.one
        print(json.dumps({"steps": steps, "construction": construction, "memory": memory}[what](name)))
        return 0
    for name in NETWORKS:
        if not (FOLDER / f"{name}.npz").exists():
            FOLDER.mkdir(parents=True, exist_ok=True)
            subprocess.run([sys.executable, __file__, "--make", name], check=True, stderr=subprocess.DEVNULL)
    backends, exit_code = arguments.backends or ["jax", "torch"], 0
    if arguments.memory:
        for backend in backends:
            print_memory(backend, run(backend, "memory", "mobilenet"))
        return 0
    lines = [
        "| step | Keras, wall | HubLayer, wall | ratio | Keras, processor | HubLayer, processor | ratio "
        "| Keras, first step | HubLayer, first step |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for rows, heads in (
        (step_rows, ()),
        (construction_rows, ("", "| construction | TensorFlow | HubLayer | ratio |", "|---|---|---|---|")),
    ):
        lines += heads
        for cells, missed in rows(backends):
            exit_code |= missed
            lines.append(f"| {' | '.join(cells)} |")
            print(lines[-1], "MISSED" if missed else "", flush=True)
    if arguments.write:
        write("\n".join(lines))
    return exit_code


def write(tables: str) -> None:
    path = ROOT / "benchmarks" / "README.md"
    before, start, rest = path.read_text("utf-8").partition("<!-- backend_speed.py -->\n\n")
    _, end, after = rest.partition("\n\n<!-- end of backend_speed.py -->")
    path.write_text(before + start + tables + end + after, "utf-8")


if __name__ == "__main__":
    sys.exit(main())
