"""The outputs of a frozen layer, computed once for all epochs, trials and processes."""

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import keras
import numpy as np

from keras_hub_layers import _compat, layers
from keras_hub_layers.data import as_arrays
from keras_hub_layers.errors import TrainingError, explain

__all__ = ["features"]


def features(
    layer: keras.layers.Layer, data: Any, *, cache: str | os.PathLike[str] | None = None, batch_size: int = 32
) -> Any:
    """Compute the outputs of a frozen layer once, so that training what follows it never computes them again.

    Train the head alone on the result: `head.fit(*finetuning.features(layer, (x, y)), epochs=50)`. Targets and sample
    weights come back in the order of the features.

    The data are read twice, to see that they are the same each time, in any order: what augments or samples before the
    layer would otherwise be fixed for ever. Augment behind the cache only what may follow the layer.

    Args:
        layer: A `HubLayer`, or a Keras layer or model around one, with nothing to train and nothing random inside.
        data: Inputs as an array or a list or dict of arrays, or a tuple `(x, y)` or `(x, y, sample_weight)` of them;
            or a dataset of batches of the same that can be read again and ends (`tf.data.Dataset`, `PyDataset`).
        cache: Directory in which the result is kept, under a key of the handle, the weights and the data, and found
            again by other processes. Defaults to `None`: the result is in memory only.
        batch_size: Examples that are computed at once where the data are arrays. Defaults to 32, as in `fit`.

    Returns:
        The features, NumPy arrays structured as the layer's outputs, or a tuple `(features, y)` or
        `(features, y, sample_weight)` where the data have these. With `cache` the arrays are maps of files.

    Raises:
        errors.TrainingError: The layer is trainable or random, or the data change from one reading to the next, end
            never, or can be read once only.

    Example:

    ```python
    layer = layers.HubLayer("path/to/saved_model")
    x, y = finetuning.features(layer, (images, labels), cache="features")
    head = keras.Sequential([keras.layers.Dense(10)])
    head.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    head.fit(x, y, epochs=50)
    model = keras.Sequential([layer, head])
    ```
    """
    where = f"features of {layer.name!r}"
    _check_layer(layer, where)
    data = tuple(map(as_arrays, data)) if isinstance(data, tuple) else as_arrays(data)
    batches = _batches(data, batch_size, where)
    before = _fingerprint(batches())
    folder = None
    if cache is not None:
        folder = os.path.join(os.fspath(cache), _key(layer, before))
        if os.path.isdir(folder):
            return _read(folder)
    store: _Memory | _Files = _Memory() if folder is None else _Files(folder)
    try:
        after = _fingerprint(_stored(layer, batches(), store, where))
        if before != after:
            raise _refused(
                "The data are not the same each time that they are read, so their features cannot be kept.",
                "data without random augmentation or sampling before the layer; their order may change",
                "other examples at the second reading",
                where,
                "dataset = dataset.map(augment)   # leave this out, and augment in the input pipeline of a full fit",
            )
        return store.finish()
    finally:
        store.close()


def _stored(layer: keras.layers.Layer, batches: Iterable[Any], store: "_Memory | _Files", where: str) -> Iterator[Any]:
    """Compute and store the features of each batch, and pass the batch on."""
    checked = False
    compute: Callable[..., Any] = (
        layer.predict_on_batch if isinstance(layer, keras.Model) else lambda x: layer(x, training=False)
    )
    for batch in batches:
        x, rest = (batch[0], batch[1:]) if isinstance(batch, tuple) else (batch, ())
        outputs = keras.tree.map_structure(_array, compute(x))
        if not checked:
            _check_random(layer, x, outputs, where)
            checked = True
        store.add((outputs, *(keras.tree.map_structure(_array, part) for part in rest)) if rest else outputs)
        yield batch


class _Memory:
    """Results as lists of batches."""

    def __init__(self) -> None:
        self._batches: list[Any] = []

    def add(self, batch: Any) -> None:
        self._batches.append(batch)

    def finish(self) -> Any:
        return keras.tree.map_structure(lambda *parts: np.concatenate(parts), *self._batches)

    def close(self) -> None:
        pass


class _Files:
    """Results as files of bytes beside their destination, which they are moved to when they are complete."""

    def __init__(self, folder: str) -> None:
        self._folder = folder
        os.makedirs(os.path.dirname(folder), exist_ok=True)
        self._work = tempfile.mkdtemp(prefix=".work-", dir=os.path.dirname(folder))
        self._files: list[Any] = []
        self._leaves: list[dict[str, Any]] = []
        self._like: Any = None

    def add(self, batch: Any) -> None:
        leaves = keras.tree.flatten(batch)
        if not self._files:
            self._like = _plan(batch, iter(range(len(leaves))))
            self._files = [open(os.path.join(self._work, f"{n}.bin"), "wb") for n in range(len(leaves))]  # noqa: SIM115
            self._leaves = [{"dtype": leaf.dtype.name, "shape": [0, *leaf.shape[1:]]} for leaf in leaves]
        for file, about, leaf in zip(self._files, self._leaves, leaves, strict=True):
            if leaf.dtype == object or list(leaf.shape[1:]) != about["shape"][1:]:
                raise _refused(
                    "These values cannot be kept in files.",
                    "numbers, of the same shape in each batch",
                    f"{leaf.dtype.name} {leaf.shape[1:]} after {about}",
                    self._folder,
                    "finetuning.features(layer, data)   # without cache: in memory",
                )
            about["shape"][0] += len(leaf)
            file.write(np.ascontiguousarray(leaf).tobytes())

    def finish(self) -> Any:
        self.close_files()
        with open(os.path.join(self._work, "about.json"), "w", encoding="utf-8") as file:
            json.dump({"leaves": self._leaves, "like": self._like}, file)
        try:
            os.rename(self._work, self._folder)
        except OSError:
            if not os.path.isdir(self._folder):  # else another process was faster, with the same result
                raise
        return _read(self._folder)

    def close_files(self) -> None:
        for file in self._files:
            file.close()

    def close(self) -> None:
        self.close_files()
        shutil.rmtree(self._work, ignore_errors=True)


def _plan(structure: Any, numbers: Iterator[int]) -> Any:
    """A structure as JSON, with the numbers of its leaves in the order of `keras.tree.flatten`."""
    if isinstance(structure, dict):
        return {"dict": {key: _plan(structure[key], numbers) for key in sorted(structure)}}
    if isinstance(structure, (tuple, list)):
        return {type(structure).__name__: [_plan(part, numbers) for part in structure]}
    return next(numbers)


def _rebuilt(plan: Any, leaves: list[Any]) -> Any:
    if isinstance(plan, int):
        return leaves[plan]
    ((kind, parts),) = plan.items()
    if kind == "dict":
        return {key: _rebuilt(part, leaves) for key, part in parts.items()}
    return {"tuple": tuple, "list": list}[kind](_rebuilt(part, leaves) for part in parts)


def _read(folder: str) -> Any:
    with open(os.path.join(folder, "about.json"), encoding="utf-8") as file:
        about = json.load(file)
    leaves = [
        np.memmap(os.path.join(folder, f"{n}.bin"), leaf["dtype"], "r", shape=tuple(leaf["shape"]))
        for n, leaf in enumerate(about["leaves"])
    ]
    return _rebuilt(about["like"], leaves)


def _check_layer(layer: keras.layers.Layer, where: str) -> None:
    inside = _compat.flatten_layers(layer)
    tuned = [part.name for part in inside if isinstance(part, layers.HubLayer) and part.trainable]
    if tuned or layer.trainable_weights:
        raise _refused(
            "The features of a layer that is trained change with it.",
            "a frozen layer",
            f"trainable: {tuned or [weight.path for weight in layer.trainable_weights][:5]}",
            where,
            "layer.trainable = False",
        )
    random = [part.name for part in inside if any(map(_draws, vars(part).values()))]
    if random:
        raise _random(f"{random}", where)


def _check_random(layer: keras.layers.Layer, x: Any, outputs: Any, where: str) -> None:
    """Refuse a layer that computes another thing in training, or each time: what no attribute shows."""
    again = keras.tree.map_structure(_array, layer(_tensors(x), training=True))
    pairs = zip(keras.tree.flatten(outputs), keras.tree.flatten(again), strict=True)
    if not all(_same(one, other) for one, other in pairs):
        raise _random("other outputs of the same batch in a training step", where)


def _same(one: np.ndarray, other: np.ndarray) -> bool:
    if one.shape != other.shape or one.dtype.kind not in "fc":
        return np.array_equal(one, other)
    return np.allclose(one.astype("float64"), other.astype("float64"), rtol=1e-3, atol=1e-5, equal_nan=True)


def _draws(value: Any) -> bool:
    """Whether an attribute of a layer gives it random numbers."""
    return isinstance(value, keras.random.SeedGenerator)


def _random(received: str, where: str) -> TrainingError:
    return _refused(
        "The layer is random or augments; its outputs would be the same in every epoch.",
        "a layer without dropout, noise or augmentation",
        received,
        where,
        "finetuning.features(hub_layer, (x, y))   # the HubLayer alone",
    )


def _batches(data: Any, batch_size: int, where: str) -> Callable[[], Iterator[Any]]:
    """What reads the data from the start, batch by batch."""
    leaves = keras.tree.flatten(data) if isinstance(data, (tuple, list, dict)) else [data]
    if all(hasattr(leaf, "shape") and hasattr(leaf, "__getitem__") and len(leaf.shape) for leaf in leaves):
        size = len(leaves[0])
        parts = [slice(start, start + batch_size) for start in range(0, size, batch_size)]
        return lambda: (keras.tree.map_structure(lambda leaf, part=part: leaf[part], data) for part in parts)
    cardinality = getattr(data, "cardinality", None)
    if cardinality is not None and int(cardinality()) == -1:
        raise _refused("The data have no end.", "a dataset that ends", "repeat()", where, "dataset.take(batches)")
    if isinstance(data, keras.utils.PyDataset):
        return lambda: (data[number] for number in range(data.num_batches or 0))
    if not hasattr(data, "__iter__") or iter(data) is data:
        raise _refused(
            "The data cannot be read twice.",
            "arrays, or a dataset of batches",
            type(data).__name__,
            where,
            "finetuning.features(layer, (x, y))",
        )
    return lambda: iter(data)


def _fingerprint(batches: Iterable[Any]) -> tuple[int, int]:
    """A number that says which examples there are, in any order, and how many."""
    total, count = 0, 0
    for batch in batches:
        leaves = [_array(leaf) for leaf in keras.tree.flatten(batch)]
        for row in range(len(leaves[0])):
            digest = hashlib.blake2b(digest_size=16)
            for leaf in leaves:
                value = leaf[row]
                digest.update(repr(value).encode() if leaf.dtype == object else np.ascontiguousarray(value).tobytes())
            total = (total + int.from_bytes(digest.digest(), "big")) % (1 << 128)
            count += 1
    return total, count


def _key(layer: keras.layers.Layer, data: tuple[int, int]) -> str:
    """Name of the entry for what this layer, with its weights of now, makes of these data."""
    digest = hashlib.blake2b(digest_size=20)
    for part in _compat.flatten_layers(layer):
        config = {name: value for name, value in part.get_config().items() if name not in ("name", "layers")}
        digest.update(f"{type(part).__name__} {json.dumps(config, sort_keys=True, default=repr)}".encode())
    for weight in layer.weights:
        digest.update(f"{tuple(weight.shape)} {weight.dtype}".encode() + _array(weight).tobytes())
    return f"{digest.hexdigest()}-{data[0]:032x}-{data[1]}"


def _tensors(x: Any) -> Any:
    """Inputs as a layer takes them when it is called: NumPy's texts as tensors."""
    return keras.tree.map_structure(lambda leaf: as_arrays(leaf) if isinstance(leaf, np.ndarray) else leaf, x)


def _array(value: Any) -> np.ndarray:
    return value if isinstance(value, np.ndarray) else np.asarray(keras.ops.convert_to_numpy(value))


def _refused(problem: str, expected: str, received: str, where: str, fix: str) -> TrainingError:
    return TrainingError(explain(problem, expected=expected, received=received, where=where, fix=fix))
