"""What JAX and PyTorch compute, against TensorFlow: `python benchmarks/backends.py [--write] [NAME ...]`.

Hypothesis: outputs, gradients, state and losses differ by at most 1e-5 in float32 and 1e-10 in float64, relative to the
largest number of each tensor, and each model trains. A process for each backend and dtype computes them from the same
SavedModels and inputs. One more compares TensorFlow with itself in float32, without oneDNN: what differs there is
rounding. The networks are made by Keras 2 with random weights; those of the zoo are other people's, in float32 only. A
training mode that draws random numbers is trained, and not compared.

`--write` puts the table into docs/support.md. JAX and PyTorch must be importable, or be in the environments that
`python3 dev.py backends` makes.
"""

import argparse
import importlib.util
import json
import os
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "build" / "benchmarks" / "backends"
BACKENDS = ("tensorflow", "jax", "torch")
CONTROL = "tensorflow without oneDNN"  # TensorFlow against itself: two ways to round
TITLES = {"jax": "JAX", "torch": "PyTorch", CONTROL: "TensorFlow, other kernels"}
LIMITS = {"float32": 1e-5, "float64": 1e-10}
# name -> (class of `tf_keras.applications`, its arguments)
VISION = {
    "MobileNetV2": {"alpha": 0.35},
    "MobileNetV3Small": {},
    "ResNet50": {},
    "DenseNet121": {},
    "InceptionV3": {},
    "EfficientNetB0": {},
    "EfficientNetV2B0": {},
    "ConvNeXtTiny": {},
}
SEQUENCES = ("transformer", "LSTM", "bidirectional GRU", "token embedding")
SIZE, TOKENS, WORDS = 75, 12, 50
# Its last images have one pixel. Batch normalization of two numbers makes -1 and 1 of them, so rounding would decide.
ROWS = {"InceptionV3": 8}
ZOO = {
    "bfcnn_resnet_1x6": {}, "hub_half_plus_two_v1": {}, "keras_mixedprec_lso_tf22": {}, "mlperf_tiny_kws": {},
    "serving_half_plus_two_tf2": {"signature": "serving_default", "output_key": "y"},
    "serving_half_plus_two_v1": {"signature": "serving_default", "output_key": "y"}, "tfjs_multi_signatures": {},
    "tfx_keras_penguin": {},
    "tfx_transform_tf2": {"signature": "transform_signature", "signature_outputs_as_dict": True},
}  # fmt: skip


# -- the models --------------------------------------------------------------------------------------------------------


def make(name: str, dtype: str, directory: str) -> None:
    """Save a network with Keras 2, with random weights and statistics, and a batch of its inputs."""
    import tensorflow as tf
    import tf_keras

    tf_keras.utils.set_random_seed(0)
    tf_keras.backend.set_floatx(dtype)
    model = vision(name) if name in VISION else sequence(name)
    random = np.random.default_rng(1)
    for variable in model.variables:
        part = variable.name.rpartition("/")[2]
        if part.startswith(("beta", "bias", "moving_mean")):
            variable.assign(variable + random.normal(0, 0.1, variable.shape))
        elif part.startswith(("gamma", "moving_variance")):
            variable.assign(variable * random.uniform(0.5, 1.5, variable.shape))
    tf.saved_model.save(reusable(model), directory)
    if name in VISION:
        values = random.uniform(0, 255, (ROWS.get(name, 2), SIZE, SIZE, 3)).astype(dtype)
    else:
        values = random.integers(0, WORDS, (3, TOKENS)).astype("int32")
    np.savez(f"{directory}/inputs.npz", **{"in:arg0": values})


def reusable(model):
    """The interface of a Reusable SavedModel, without the functions of each layer, which take minutes to trace."""
    import tensorflow as tf

    root = tf.train.Checkpoint(model=model)
    root.__call__ = tf.function(lambda inputs, training=False: model(inputs, training=training), autograph=False)
    for training in (False, True):
        spec = tf.TensorSpec(model.inputs[0].shape, model.inputs[0].dtype)
        root.__call__.get_concrete_function(spec, training=training)
    root.variables, root.trainable_variables = model.variables, model.trainable_variables
    if model.losses:
        root.regularization_losses = [tf.function(lambda: tf.add_n(model.losses), input_signature=[])]
    return root


def vision(name: str):
    import tf_keras

    options = {"weights": None, "input_shape": (SIZE, SIZE, 3), "include_top": False, "pooling": "avg", **VISION[name]}
    return getattr(tf_keras.applications, name)(**options)


def sequence(name: str):
    import tf_keras

    layers = tf_keras.layers
    inputs = layers.Input((TOKENS,), dtype="int32")
    x = layers.Embedding(WORDS, 16, mask_zero=name == "LSTM")(inputs)
    if name == "transformer":
        attended = layers.MultiHeadAttention(2, 8)(x, x)
        x = layers.LayerNormalization()(x + attended)
        x = layers.LayerNormalization()(x + layers.Dense(16)(layers.Dense(32, activation="gelu")(x)))
        x = layers.Dense(8, activation="tanh")(x[:, 0])
    elif name == "LSTM":
        x = layers.LSTM(8)(x)
    elif name == "bidirectional GRU":
        x = layers.Bidirectional(layers.GRU(8))(x)
    else:
        x = layers.Dense(8, activation="relu", kernel_regularizer="l2")(layers.GlobalAveragePooling1D()(x))
    return tf_keras.Model(inputs, layers.BatchNormalization()(x))


def read_inputs(path: str):
    """A tensor, a list or a dict of arrays."""
    with np.load(path, allow_pickle=True) as arrays:
        inputs = {key[3:]: arrays[key] for key in arrays if key.startswith("in:")}
    if all(key.startswith("arg") for key in inputs):
        inputs = [inputs[key] for key in sorted(inputs)]
    if len(inputs) == 1:
        return next(iter(inputs.values())) if isinstance(inputs, dict) else inputs[0]
    return inputs


# -- one backend -------------------------------------------------------------------------------------------------------


def compute_all(jobs: list[dict], results: str) -> None:
    """Compute each model on the running backend, and write the numbers and the errors."""
    warnings.simplefilter("ignore")
    errors: dict[str, str] = {}
    for job in jobs:
        numbers: dict[str, np.ndarray] = {}
        for part, compute in (("outputs", outputs), ("gradients", gradients), ("training", training), ("fit", fit)):
            try:
                values = compute(job)
            except Exception as err:
                errors[f"{job['name']} {part}"] = f"{type(err).__name__}: {err}"
                continue
            for number, value in enumerate([] if values is None else values):
                numbers[f"{part} {number}"] = value
        np.savez(f"{results}/{job['name']}.npz", **numbers)
        Path(results, "errors.json").write_text(json.dumps(errors), "utf-8")


def layer_of(job: dict, **given):
    from keras_hub_layers import layers

    return layers.HubLayer(job["directory"], **job["arguments"], **given)


def outputs(job: dict):
    import keras

    return [as_array(value) for value in keras.tree.flatten(layer_of(job)(read_inputs(job["inputs"])))]


def gradients(job: dict):
    """Loss and gradients in inference mode."""
    return loss_gradients_and_state(layer_of(job, trainable=True), job, False) if can_train(job) else None


def can_train(job: dict) -> bool:
    """Whether TensorFlow can fine-tune it."""
    import keras_hub_layers as khl

    return not job["arguments"] and khl.inspect(job["directory"]).fine_tunable


def training(job: dict):
    """Loss, gradients and state in training mode, unless it draws random numbers."""
    if not can_train(job):
        return None
    layer = layer_of(job, trainable=True)
    return None if draws(layer) else loss_gradients_and_state(layer, job, True)


def draws(layer) -> bool:
    """Whether the SavedModel draws random numbers in one of its modes."""
    from keras_hub_layers._src.layers import access

    bodies = [trace.body() for trace in access.function(layer).usable_traces if trace.body]
    return any(op.startswith(("Random", "Stateless", "Stateful", "Rng")) for body in bodies for op in body.ops
               if not op.endswith(("Call", "While", "If", "Case")))  # fmt: skip


def fit(job: dict):
    """The loss of one step of `fit`, which must be a number, and whether weights moved."""
    import keras

    if not can_train(job):
        return None
    layer = layer_of(job, trainable=True)
    if not layer.trainable_weights:
        return None
    inputs = read_inputs(job["inputs"])
    symbols = keras.tree.map_structure(lambda x: keras.Input(x.shape[1:], dtype=str(x.dtype)), inputs)
    model = keras.Model(symbols, layer(symbols))
    model.compile(keras.optimizers.SGD(1e-3), "mse")
    known = keras.tree.map_structure(as_array, layer(inputs))
    before = [as_array(weight.value) for weight in layer.trainable_weights]
    targets = keras.tree.map_structure(np.zeros_like, known)
    loss = model.fit(inputs, targets, batch_size=len(keras.tree.flatten(inputs)[0]), verbose=0).history["loss"][0]
    moved = any((as_array(w.value) != old).any() for w, old in zip(layer.trainable_weights, before, strict=True))
    if not np.isfinite(loss) or not moved:
        raise ValueError(f"loss {loss}, weights moved: {moved}")
    return None


def loss_gradients_and_state(layer, job: dict, mode: bool):
    import keras

    inputs = read_inputs(job["inputs"])
    flat = keras.tree.flatten(inputs)
    places = [place for place, value in enumerate(flat) if value.dtype.kind == "f"]
    trained = [weight.value for weight in layer.trainable_weights]
    others = [variable.value for variable in layer.non_trainable_variables]
    count = len(layer.non_trainable_weights)  # without the seed

    def run(weights, floats):
        values = [keras.ops.convert_to_tensor(value) for value in flat]
        for place, value in zip(places, floats, strict=True):
            values[place] = value
        given = keras.tree.pack_sequence_as(inputs, values)
        results, state, losses = layer.stateless_call(weights, others, given, training=mode, return_losses=True)
        floating = [y for y in keras.tree.flatten(results) if "float" in keras.backend.standardize_dtype(y.dtype)]
        total = sum([keras.ops.sum(keras.ops.square(y)) / int(np.prod(y.shape)) for y in floating], 0.0) + sum(
            losses, 0.0
        )
        return total, [*floating, *state[:count]]

    floats = [keras.ops.convert_to_tensor(flat[place]) for place in places]
    backend = keras.backend.backend()
    if backend == "jax":
        import jax

        function = jax.value_and_grad(run, argnums=(0, 1), has_aux=True)  # `fit` compiles
        (loss, rest), (slopes, of_inputs) = function(trained, floats)
        slopes = [*slopes, *of_inputs]
    elif backend == "torch":
        import torch

        leaves = [value.detach().clone().requires_grad_() for value in (*trained, *floats)]
        loss, rest = run(leaves[: len(trained)], leaves[len(trained) :])
        slopes = torch.autograd.grad(loss, leaves, allow_unused=True)
        slopes = [
            torch.zeros_like(leaf) if value is None else value for value, leaf in zip(slopes, leaves, strict=True)
        ]
    else:
        return of_tensorflow(layer, inputs, places, mode)
    return [as_array(value) for value in (loss, *rest, *slopes)]


def of_tensorflow(layer, inputs, places, mode: bool):
    """The same numbers by TensorFlow's own functions, which change the variables themselves."""
    import tensorflow as tf

    values = list(map(tf.constant, tf.nest.flatten(inputs)))
    floats = [values[place] for place in places]
    with tf.GradientTape() as tape:
        tape.watch(floats)
        results = layer(tf.nest.pack_sequence_as(inputs, values), training=mode)
        floating = [y for y in tf.nest.flatten(results) if y.dtype.is_floating]
        total = sum([tf.reduce_mean(tf.square(y)) for y in floating]) + sum(
            tf.cast(loss, floating[0].dtype) for loss in layer.losses
        )
    sources = [*[weight.value for weight in layer.trainable_weights], *floats]
    slopes = tape.gradient(total, sources, unconnected_gradients=tf.UnconnectedGradients.ZERO)
    state = [weight.value for weight in layer.non_trainable_weights]
    return [np.asarray(tf.convert_to_tensor(value)) for value in (total, *floating, *state, *slopes)]


def as_array(value):
    import keras

    return np.asarray(keras.ops.convert_to_numpy(value))


# -- the comparison ----------------------------------------------------------------------------------------------------


def python_of(backend: str) -> str:
    """A Python that can import a backend."""
    own = ROOT / f".venv-{backend}" / "bin" / "python"
    return sys.executable if importlib.util.find_spec(backend) or not own.exists() else str(own)


def run_backend(backend: str, dtype: str, jobs: list[dict]) -> Path:
    """Compute the models on a backend, in a process of its own."""
    results = FOLDER / "results" / f"{backend}-{dtype}"
    results.mkdir(parents=True, exist_ok=True)
    settings = {"KERAS_BACKEND": backend.partition(" ")[0], "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1"}
    settings |= {"TF_ENABLE_ONEDNN_OPTS": "0"} if backend == CONTROL else {}
    settings |= {"JAX_ENABLE_X64": "1", "KHL_FLOATX": dtype} if dtype == "float64" else {}
    print(f"computing {len(jobs)} models in {dtype} on {backend}", file=sys.stderr, flush=True)
    subprocess.run(
        [python_of(backend), __file__, "--compute", str(results), "--dtype", dtype],
        input=json.dumps(jobs), text=True, check=True, env={**os.environ, **settings}, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    return results


def difference(value, known, scale: float) -> float:
    """The largest difference, relative to the largest number of the tensor, or to `scale` if that is larger."""
    if known.dtype.kind not in "fiub" or value.shape != known.shape:
        return 0.0 if value.shape == known.shape and (value == known).all() else float("inf")
    if not known.size:
        return 0.0
    apart = np.abs(value.astype("float64") - known.astype("float64"))
    if known.dtype == np.uint8:  # a pixel may be rounded to the other side
        return 0.0 if apart.max() <= 1 and (apart > 0).mean() < 1e-3 else float("inf")
    return float(apart.max() / max(np.abs(known.astype("float64")).max(), scale, 1e-30))


def compare(name: str, part: str, results: Path, known: Path, errors: dict) -> float | str | None:
    """The largest difference in a part of a model, why there is none, or `None` if nothing is compared."""
    error = errors.get(f"{name} {part}")
    if error:
        return error
    with np.load(results / f"{name}.npz", allow_pickle=True) as file:
        ours = {key: file[key] for key in file if key.startswith(f"{part} ")}
    with np.load(known / f"{name}.npz", allow_pickle=True) as file:
        right = {key: file[key] for key in file if key.startswith(f"{part} ")}
    if set(ours) != set(right):
        return "other numbers of tensors"
    floats = [np.abs(value).max() for value in right.values() if value.dtype.kind == "f" and value.size]
    # Some gradients are zero but for rounding, such as that of the bias of keys in attention.
    scale = 1e-3 * float(max(floats, default=0.0))
    return max((difference(ours[key], right[key], scale) for key in right), default=None)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*")
    parser.add_argument("--zoo", default=str(ROOT.parent / "shared" / "zoo"))
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--dtype", choices=list(LIMITS))
    parser.add_argument("--backends", default=f"jax,torch,{CONTROL}")
    parser.add_argument("--make")
    parser.add_argument("--compute")
    arguments = parser.parse_args()
    if arguments.make:
        make(arguments.names[0], arguments.dtype, arguments.make)
        return 0
    if arguments.compute:
        import keras

        keras.config.set_floatx(arguments.dtype)
        compute_all(json.load(sys.stdin), arguments.compute)
        return 0
    for dtype in [arguments.dtype] if arguments.dtype else LIMITS:
        jobs = list(jobs_of(dtype, Path(arguments.zoo), arguments.names))
        known = run_backend("tensorflow", dtype, jobs)
        for backend in arguments.backends.split(","):
            if backend == CONTROL:
                jobs = [job for job in jobs if dtype == "float32" and job["name"] not in ZOO]
            if not jobs:
                continue
            results = run_backend(backend, dtype, jobs)
            errors = json.loads((results / "errors.json").read_text("utf-8"))
            for job in jobs:
                name = job["name"]
                cells = [compare(name, part, results, known, errors) for part in ("outputs", "gradients", "training")]
                remember(name, backend, dtype, [*cells, errors.get(f"{name} fit")])
                print(name, backend, dtype, *cells, errors.get(f"{name} fit"), sep=" | ", flush=True)
    if arguments.write:
        write()
    return 0


def remember(name: str, backend: str, dtype: str, cells: list) -> None:
    """Keep a result, so that the models can be computed in several runs."""
    kept = recall()
    kept.setdefault(name, {}).setdefault(backend, {})[dtype] = cells
    (FOLDER / "rows.json").write_text(json.dumps(kept, indent=1), "utf-8")


def recall() -> dict:
    path = FOLDER / "rows.json"
    return json.loads(path.read_text("utf-8")) if path.exists() else {}


def write() -> None:
    """Put the table of all results into the documentation."""
    lines = [
        "| model | backend | outputs | gradients | training mode | `fit` |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for name, backends in recall().items():
        for backend, dtypes in backends.items():
            if backend == CONTROL and isinstance(dtypes["float32"][0], str):
                continue  # TensorFlow 2.21 without oneDNN cannot compute the grouped convolutions of ConvNeXt
            cells = [[dtypes[dtype][place] for dtype in LIMITS if dtype in dtypes] for place in range(3)]
            parts = [" / ".join(map(shown, values)) if any(v is not None for v in values) else "–" for values in cells]
            has_gradients = any(cells[1] is not None for cells in dtypes.values())
            trains = "–" if not has_gradients else "yes" if all(cells[3] is None for cells in dtypes.values()) else "no"
            lines.append(f"| {name} | {TITLES[backend]} | {' | '.join(parts)} | {trains} |")
    path = ROOT / "docs" / "support.md"
    before, start, rest = path.read_text("utf-8").partition("<!-- table of benchmarks/backends.py -->\n\n")
    _, end, after = rest.partition("\n<!-- end of the table -->")
    path.write_text(before + start + "\n".join(lines) + "\n" + end + after, "utf-8")


def shown(value: float | str | None) -> str:
    return "–" if value is None else "refused" if isinstance(value, str) else f"{value:.0e}" if value else "0"


def jobs_of(dtype: str, zoo: Path, names: list[str]):
    """The models of a dtype, made if they are not there."""
    for name in (*VISION, *SEQUENCES):
        if names and name not in names:
            continue
        directory = FOLDER / dtype / name.replace(" ", "_")
        if not (directory / "inputs.npz").exists():
            command = [sys.executable, __file__, "--make", str(directory), "--dtype", dtype, name]
            settings = {**os.environ, "KERAS_BACKEND": "tensorflow", "TF_CPP_MIN_LOG_LEVEL": "3"}
            subprocess.run(command, check=True, env=settings, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        yield {"name": name, "directory": str(directory), "inputs": f"{directory}/inputs.npz", "arguments": {}}
    if dtype == "float32" and zoo.exists():
        for name, given in ZOO.items():
            if not names or name in names:
                inputs = str(zoo / f"{name}.ref.npz")
                yield {"name": name, "directory": str(zoo / name), "inputs": inputs, "arguments": given}


if __name__ == "__main__":
    sys.exit(main())
