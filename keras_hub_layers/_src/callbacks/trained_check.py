"""Warn when a `fit` has trained nothing of a layer, or has moved what is frozen."""

import hashlib
from collections.abc import Mapping
from typing import Any

import keras
import numpy as np

from keras_hub_layers._src.text.words import listed
from keras_hub_layers.errors import warn

__all__ = ["check_trained", "fingerprint"]


def fingerprint(layer: keras.layers.Layer) -> dict[str, bytes]:
    """Path of each weight of a layer -> a hash of its value."""
    return {weight.path: _hash(weight) for weight in layer.weights}


def check_trained(layer: keras.layers.Layer, before: Mapping[str, bytes], where: str) -> None:
    """Warn if `fit` has trained nothing of a layer, or has moved what is frozen.

    Args:
        layer: The layer at the end of `fit`.
        before: Its fingerprint at the start.
        where: Who exports it, for the warning.
    """
    if not layer.trainable_weights:
        if layer.weights:
            warn(
                f"{where}: HubLayer {layer.name!r} is frozen, so this fit has trained nothing of it. To fine-tune it: "
                "layer.trainable = True before compile()."
            )
        moved = [weight.path for weight in layer.weights if before.get(weight.path, _hash(weight)) != _hash(weight)]
        if moved:
            warn(
                f"{where}: HubLayer {layer.name!r} is frozen, and fit has changed {listed(moved)} all the same: the "
                "SavedModel or a callback assigns to it. The export holds the changed values."
            )
    elif before and all(before.get(weight.path) == _hash(weight) for weight in layer.trainable_weights):
        warn(
            f"{where}: nothing of HubLayer {layer.name!r} was fine-tuned: its {len(layer.trainable_weights)} trainable "
            "weights are bit by bit what they were before fit. Was it made trainable after compile, is it not part of "
            "what the loss is computed from, is the learning rate 0, or are gradients accumulated over more batches "
            "than there were? To begin anew:\n"
            "layer.trainable = True; model.compile(keras.optimizers.Adam(1e-5), loss, metrics=metrics)"
        )


def _hash(weight: Any) -> bytes:
    value = np.atleast_1d(np.ascontiguousarray(weight.numpy()))
    return hashlib.blake2b(value.view(np.uint8).data, digest_size=16).digest()
