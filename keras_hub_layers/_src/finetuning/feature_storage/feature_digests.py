"""Digests of layers and data, by which features are found again: they differ where the features would."""

import hashlib
import json
from typing import Any

import keras
import numpy as np

from keras_hub_layers._src.compat import models
from keras_hub_layers._src.finetuning.arguments import fit_data
from keras_hub_layers._src.layers import access, hub_layer
from keras_hub_layers._src.savedmodel import source as source_lib
from keras_hub_layers.errors import TrainingError

__all__ = ["Reading", "as_array", "of_data", "of_layer"]


_IRRELEVANT = ("build_config", "compile_config")  # there or not, the layer computes the same


class Reading:
    """What one reading of some data has seen.

    Attributes:
        examples: What says which examples there are, with their structure and dtypes, in any order; and how many.
        order: The same in their order.
        is_paired: Whether the examples have targets.
    """

    def __init__(self) -> None:
        self.examples = (0, 0)
        self.is_paired = False
        self._order = hashlib.blake2b(digest_size=16)

    @property
    def order(self) -> str:
        return self._order.hexdigest()

    def add(self, batch: Any) -> None:
        """Look at a batch."""
        self.is_paired = isinstance(batch, tuple) and len(batch) > 1
        leaves = [as_array(leaf) for leaf in keras.tree.flatten(batch)]
        form = repr(keras.tree.map_structure(lambda leaf: None, batch))
        form += "".join(f"{leaf.dtype.name}{leaf.shape[1:]}" for leaf in leaves)
        total, count = self.examples
        for row in range(len(leaves[0])):
            digest = hashlib.blake2b(form.encode(), digest_size=16)
            for leaf in leaves:
                value = leaf[row]
                if leaf.dtype == object:
                    value = np.asarray(value, object)
                digest.update(_bytes(value))
            total = (total + int.from_bytes(digest.digest(), "big")) % (1 << 128)
            count += 1
            self._order.update(digest.digest())
        self.examples = (total, count)


def of_data(data: Any) -> str:
    """A digest of all values in data, in their order; of shuffled data with targets in any order.

    Args:
        data: As `finetuning.features` takes them.

    Raises:
        errors.TrainingError: The data never end, or can be read once only.
    """
    if isinstance(data, (tuple, list, dict)) or hasattr(data, "shape"):
        digest = hashlib.blake2b(repr(keras.tree.map_structure(lambda leaf: None, data)).encode(), digest_size=16)
        for leaf in keras.tree.flatten(data):
            value = np.asarray(None) if leaf is None else as_array(leaf)
            digest.update(f"{value.dtype.name}{value.shape}".encode() + _bytes(value))
        return digest.hexdigest()
    reading = Reading()
    for batch in fit_data.batches_of(data)():
        reading.add(batch)
    return f"{reading.examples[0]:032x}{'' if reading.is_paired else reading.order}"


def of_layer(layer: keras.layers.Layer) -> str:
    """A digest of all that decides what a layer computes: graphs and assets of SavedModels, configs, weights.

    Names do not count, so that the same architecture has the same digest when it is made again. The code of layers of
    one's own is not seen.

    Raises:
        errors.TrainingError: A layer has no config.
    """
    digest = hashlib.blake2b(digest_size=20)
    parts = models.flatten_layers(layer)
    try:
        configs = [keras.saving.serialize_keras_object(entry) for entry in parts]
        digest.update(json.dumps(_nameless(configs), sort_keys=True).encode())
    except Exception as err:
        raise TrainingError(
            "What a layer computes cannot be told from its config, so its features cannot be kept on disk.",
            expected="layers with a config",
            received=f"{type(err).__name__}: {str(err)[:500]}",
            where=f"features of {layer.name!r}",
            fix="finetuning.features(layer, data)   # without cache: in memory",
        ) from err
    for entry in parts:
        source = access.source(entry) if isinstance(entry, hub_layer.HubLayer) else None
        if source is not None:
            digest.update(f"{source.digest} {source_lib.digest_of_assets(source)}".encode())
    for weight in layer.weights:
        digest.update(f"{tuple(weight.shape)} {weight.dtype}".encode() + as_array(weight).tobytes())
    return digest.hexdigest()


def as_array(value: Any) -> np.ndarray:
    """A tensor or variable as a NumPy array."""
    return value if isinstance(value, np.ndarray) else np.asarray(keras.ops.convert_to_numpy(value))


def _nameless(configs: Any) -> Any:
    """Configs in which each name is the number of its first occurrence."""
    names: dict[str, str] = {}

    def collect(value: Any) -> None:
        if isinstance(value, dict):
            if isinstance(value.get("name"), str):
                names.setdefault(value["name"], f"#{len(names)}")
            for entry in value.values():
                collect(entry)
        elif isinstance(value, (list, tuple)):
            for entry in value:
                collect(entry)

    def replace_names(value: Any) -> Any:
        if isinstance(value, dict):
            return {str(key): replace_names(entry) for key, entry in value.items() if key not in _IRRELEVANT}
        if isinstance(value, (list, tuple)):
            return [replace_names(entry) for entry in value]
        return names.get(value, value) if isinstance(value, str) else value

    collect(configs)
    return replace_names(configs)


def _bytes(value: np.ndarray) -> bytes:
    """All of an array: texts and other objects by their representation, however long they are."""
    if value.dtype == object:
        return repr(value.tolist()).encode()
    return np.ascontiguousarray(value).tobytes()
