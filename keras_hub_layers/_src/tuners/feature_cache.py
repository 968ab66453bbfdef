"""FeatureCache: the features of data that a search reads again and again, found by what the data hold."""

import hashlib
import os
from typing import Any

import keras

from keras_hub_layers._src.finetuning import features
from keras_hub_layers._src.finetuning.feature_storage import feature_digests
from keras_hub_layers._src.layers import access

__all__ = ["FeatureCache"]


_KEPT = 4  # results for one model: training and validation data, of this search and of the one before


class FeatureCache:
    """Features in memory, and in a directory if there is one.

    What the data hold decides, not which object they are: an array may have been changed in place, and a dataset may
    read what has changed.

    Args:
        directory: As `finetuning.features` takes `cache`. Defaults to `None`: in memory only.
    """

    def __init__(self, directory: str | os.PathLike[str] | None = None) -> None:
        self._directory = directory
        self._results: dict[str, dict[str, Any]] = {}

    def features(self, name: str, body: keras.Model, data: Any) -> Any:
        """The features of some data, from memory if they were computed before.

        Args:
            name: Name of the candidate, which stands for its SavedModel.
            body: The model from the inputs to the features.
            data: As `finetuning.features` takes them.
        """
        known = self._results.setdefault(name, {})
        key = f"{_digest_around(body)} {feature_digests.of_data(data)}"
        result = known.pop(key, None)
        if result is None:
            result = features.features(body, data, cache=self._directory)
        known[key] = result  # the latest is the last
        while len(known) > _KEPT:
            del known[next(iter(known))]
        return result

    def clear(self) -> None:
        self._results.clear()


def _digest_around(body: keras.Model) -> str:
    """A digest of the weights around the SavedModels, such as what a preprocessor was adapted to."""
    inside = {id(weight) for layer in access.hub_layers(body) for weight in layer.weights}
    digest = hashlib.blake2b(digest_size=16)
    for weight in body.weights:
        if id(weight) not in inside:
            digest.update(feature_digests.as_array(weight).tobytes())
    return digest.hexdigest()
