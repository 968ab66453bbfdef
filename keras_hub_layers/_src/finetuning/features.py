"""features(layer, data): the outputs of a frozen layer, computed once for all epochs, trials and processes."""

import itertools
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import keras
import numpy as np

from keras_hub_layers._src.compat import models
from keras_hub_layers._src.finetuning.arguments.fit_data import as_arrays, as_pair, batches_of, refusal
from keras_hub_layers._src.finetuning.arguments.targets import check_layer
from keras_hub_layers._src.finetuning.feature_storage import feature_digests, feature_stores
from keras_hub_layers._src.layers import hub_layer
from keras_hub_layers._src.public import public
from keras_hub_layers._src.text.progress import progress
from keras_hub_layers.errors import TrainingError, add_place

__all__ = ["features"]


@public("finetuning")
def features(
    layer: keras.layers.Layer,
    data: Any,
    y: Any = None,
    *,
    cache: str | os.PathLike[str] | None = None,
    batch_size: int = 32,
) -> Any:
    """Compute the outputs of a frozen layer once, so that the training of the layers after it does not repeat that.

    Train the head alone on the result: `head.fit(*finetuning.features(layer, (x, y)), epochs=50)`. Targets and sample
    weights come back in the order of the features.

    The data are read twice, to check that they are the same each time, in any order. If data were augmented or sampled
    before the layer, one random result would be used in all epochs. Augment only after the cached features.

    Args:
        layer: A `HubLayer`, or a Keras layer or model around one, without trainable weights and without randomness.
        data: Inputs as an array, a data frame, or a list or dict of arrays, or a tuple `(x, y)` or `(x, y,
            sample_weight)` of them; or a dataset of batches of the same that can be read again and ends
            (`tf.data.Dataset`, `PyDataset`).
        y: Targets, where the data are inputs alone: `features(layer, x, y)` is `features(layer, (x, y))`. Defaults to
            `None`.
        cache: Directory in which the result is kept and found again by other processes, under a key of the data and of
            the layer: its SavedModels, config and weights, but not the code of layers of your own. Defaults to `None`:
            the result is in memory only.
        batch_size: Examples that are computed at once where the data are arrays. Defaults to 32, as in `fit`.

    Returns:
        The features, NumPy arrays structured as the layer's outputs, or a tuple `(features, y)` or
        `(features, y, sample_weight)` where the data have these. With `cache` the arrays are maps of files.

    Raises:
        errors.TrainingError: The layer is trainable or random, or its outputs are ragged or sparse; or the data change
            from one reading to the next, never end, can be read once only, or are shuffled without their targets.

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
    check_layer(layer, "finetuning.features(layer, data)")
    data = as_pair(data, y)
    with add_place(f"features of {layer.name!r}"):
        return _compute_or_find(layer, batches_of(data, batch_size), data, cache)


def _compute_or_find(
    layer: keras.layers.Layer, batches: Callable[[], Iterator[Any]], data: Any, cache: str | os.PathLike[str] | None
) -> Any:
    if not all(sublayer.built for sublayer in models.flatten_layers(layer)):  # its weights are not there yet
        for batch in itertools.islice(batches(), 1):
            layer(_tensors(batch[0] if isinstance(batch, tuple) else batch), training=False)
    _check_layer(layer)
    before, after = feature_digests.Reading(), feature_digests.Reading()
    with progress("reading the data", "examples") as advance:
        for batch in batches():
            before.add(batch)
            advance(before.examples[1], None)
    if not before.examples[1]:
        raise refusal("There are no examples.", "at least one", "none", "finetuning.features(layer, (x, y))")
    key = "" if cache is None else feature_digests.of_layer(layer)
    in_order, in_any_order = f"{key}-{before.order}", f"{key}-{before.examples[0]:032x}"
    if cache is not None:
        for name in [in_order, in_any_order] if before.is_paired else [in_order]:
            stored = feature_stores.read(os.path.join(cache, name))
            if stored is not None:
                return stored
    if isinstance(data, keras.utils.PyDataset):
        data.on_epoch_end()  # as fit does: what it changes is seen by the second reading
    store = feature_stores.Memory() if cache is None else feature_stores.Files(os.fspath(cache))
    try:
        with progress(f"computing the features of {layer.name}", "examples") as advance:
            for batch in _compute_into(store, layer, batches()):
                after.add(batch)
                advance(after.examples[1], before.examples[1])
        _check_readings(before, after)
        if isinstance(store, feature_stores.Memory):
            return store.finish()
        return store.finish(in_order if before.order == after.order else in_any_order)
    finally:
        store.close()


def _check_readings(before: feature_digests.Reading, after: feature_digests.Reading) -> None:
    if before.examples != after.examples:
        raise refusal(
            "The data are not the same each time that they are read, so their features cannot be kept.",
            "data without random augmentation or sampling before the layer; their order may change",
            "other examples at the second reading",
            "dataset = dataset.map(augment)   # leave this out, and augment in the input pipeline of a full fit",
        )
    if before.order != after.order and not before.is_paired:
        raise refusal(
            "The order of the data is another each time, so nobody could tell which features belong to what.",
            "shuffled data with their targets, or data in one order",
            "inputs alone, in another order at the second reading",
            "finetuning.features(layer, tf.data.Dataset.zip((inputs, targets)).shuffle(1000).batch(32))",
        )


def _compute_into(
    store: feature_stores.Memory | feature_stores.Files, layer: keras.layers.Layer, batches: Iterable[Any]
) -> Iterator[Any]:
    """Compute and store the features of each batch, and pass the batch on."""
    checked = False
    strategy = getattr(layer, "distribute_strategy", None)  # with several replicas Keras predicts a batch in each
    is_compiled = isinstance(layer, keras.Model) and getattr(strategy, "num_replicas_in_sync", 1) == 1
    compute: Callable[..., Any] = layer.predict_on_batch if is_compiled else lambda x: layer(x, training=False)
    for batch in batches:
        x, rest = (batch[0], batch[1:]) if isinstance(batch, tuple) else (batch, ())
        outputs = keras.tree.map_structure(_dense_array, compute(_tensors(x)))
        if not checked:
            _check_rows(x, outputs)
            _check_random(layer, x, outputs)
            checked = True
        store.add((outputs, *(keras.tree.map_structure(_dense_array, tensor) for tensor in rest)) if rest else outputs)
        yield batch


def _check_layer(layer: keras.layers.Layer) -> None:
    inside = models.flatten_layers(layer)
    tuned = [sublayer.name for sublayer in inside if isinstance(sublayer, hub_layer.HubLayer) and sublayer.trainable]
    if tuned or layer.trainable_weights:
        raise refusal(
            "The features of a layer that is trained change with it.",
            "a frozen layer",
            f"trainable: {tuned or [weight.path for weight in layer.trainable_weights][:5]}",
            _frozen_part(layer, inside),
        )
    others = [sublayer for sublayer in inside if not isinstance(sublayer, hub_layer.HubLayer)]  # frozen, it draws none
    random = [sublayer.name for sublayer in others if any(map(_is_random, vars(sublayer).values()))]
    if random:
        raise _random_layer(f"{random}")


def _frozen_part(layer: keras.layers.Layer, inside: Sequence[keras.layers.Layer]) -> str:
    """The lines for the frozen part of a layer: of a model that ends in a head, what comes before it."""
    hubs = [sublayer.name for sublayer in inside if isinstance(sublayer, hub_layer.HubLayer)]
    if not isinstance(layer, keras.Model) or len(hubs) != 1 or models.graph_of(layer) is None:
        return "layer.trainable = False   # before this line"
    return (
        f"body = khl.cut(model, outputs={hubs[0]!r})   # without what follows it\n"
        "body.trainable = False\nfeatures, *rest = finetuning.features(body, data)"
    )


def _check_rows(x: Any, outputs: Any) -> None:
    """Refuse outputs that are not one for each example."""
    count = len(feature_digests.as_array(keras.tree.flatten(x)[0]))
    shapes = [leaf.shape for leaf in keras.tree.flatten(outputs)]
    if any(shape[:1] != (count,) for shape in shapes):
        raise refusal(
            "The features have no row for each example.",
            f"outputs of {count} rows for a batch of {count}",
            f"shapes {shapes}",
            "finetuning.features(hub_layer, (x, y))   # a layer that keeps the batch axis",
        )


def _check_random(layer: keras.layers.Layer, x: Any, outputs: Any) -> None:
    """Refuse a layer that computes another thing in training, or each time: what no attribute shows."""
    again = keras.tree.map_structure(_dense_array, layer(_tensors(x), training=True))
    pairs = zip(keras.tree.flatten(outputs), keras.tree.flatten(again), strict=True)
    if not all(_is_same(one, other) for one, other in pairs):
        raise _random_layer("other outputs of the same batch in a training step")


def _is_same(one: np.ndarray, other: np.ndarray) -> bool:
    if one.shape != other.shape or one.dtype.kind not in "fc":
        return np.array_equal(one, other)
    return np.allclose(one.astype("float64"), other.astype("float64"), rtol=1e-3, atol=1e-5, equal_nan=True)


def _is_random(value: Any) -> bool:
    """Whether an attribute of a layer gives it random numbers."""
    return isinstance(value, keras.random.SeedGenerator)


def _random_layer(received: str) -> TrainingError:
    return refusal(
        "The layer is random or augments; its outputs would be the same in every epoch.",
        "a layer without dropout, noise or augmentation",
        received,
        "finetuning.features(hub_layer, (x, y))   # the HubLayer alone",
    )


def _tensors(x: Any) -> Any:
    """Inputs as a layer takes them when it is called: NumPy's texts as tensors."""
    return keras.tree.map_structure(lambda leaf: as_arrays(leaf) if isinstance(leaf, np.ndarray) else leaf, x)


def _dense_array(value: Any) -> np.ndarray:
    """An output, or what came with it, as an array."""
    if hasattr(value, "ragged_rank") or hasattr(value, "dense_shape"):
        raise refusal(
            "The features have rows of different lengths, or are sparse; as arrays they would be padded.",
            "dense outputs",
            type(value).__name__,
            "layer = keras.Sequential([layer, keras.layers.Lambda(lambda x: x.to_tensor(shape=(None, 64)))])",
        )
    return feature_digests.as_array(value)
