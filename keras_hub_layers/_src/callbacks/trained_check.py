"""Whether a `fit` has trained nothing of a layer, or has moved what is frozen."""

import hashlib
from collections.abc import Iterator, Mapping
from typing import Any

import keras
import numpy as np

from keras_hub_layers._src.text.words import join_names

__all__ = ["describe_training", "hash_weights"]


def hash_weights(layer: keras.layers.Layer) -> dict[str, bytes]:
    """Path of each weight of a layer -> a hash of its value."""
    return {weight.path: _hash(weight) for weight in layer.weights}


def describe_training(layer: keras.layers.Layer, before: Mapping[str, bytes]) -> Iterator[str]:
    """What went wrong, in words, if `fit` has trained nothing of a layer or has moved what is frozen.

    Args:
        layer: The layer at the end of `fit`.
        before: The hashes of its weights at the start; empty if no epoch was run.
    """
    now = hash_weights(layer) if before else {}
    moved = [path for path, value in now.items() if before.get(path, value) != value]
    if not layer.trainable_weights:
        if layer.weights:
            yield (
                f"HubLayer {layer.name!r} is frozen, so this fit has trained nothing of it. To fine-tune it: "
                "layer.trainable = True before compile()."
            )
        if moved:
            yield (
                f"HubLayer {layer.name!r} is frozen, and fit has changed {join_names(moved)} all the same: the "
                "SavedModel or a callback assigns to it. The export holds the changed values."
            )
    elif before and not {weight.path for weight in layer.trainable_weights}.intersection(moved):
        yield (
            f"nothing of HubLayer {layer.name!r} was fine-tuned: its {len(layer.trainable_weights)} trainable weights "
            "are bit by bit what they were before fit. Was it made trainable after compile, is it not part of what the "
            "loss is computed from, is the learning rate 0, or are gradients accumulated over more batches than there "
            "were? To begin anew:\n"
            "layer.trainable = True; model.compile(keras.optimizers.Adam(1e-5), loss, metrics=metrics)"
        )


def _hash(weight: Any) -> bytes:
    value = np.atleast_1d(np.ascontiguousarray(weight.numpy()))
    return hashlib.blake2b(value.view(np.uint8).data, digest_size=16).digest()
