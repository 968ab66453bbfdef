"""Resizing of images, as a product with two small matrices. Their numbers are those of TensorFlow's kernels."""

import math
from typing import Any

import keras
import numpy as np

from keras_hub_layers._src.executors.interpreter.ops.table import Table
from keras_hub_layers._src.executors.interpreter.values import integers, shape_of, tensor

ops: Any = keras.ops  # the hints of some functions say that they may return nothing

OPS = Table()


@OPS("ResizeBilinear")
def resize_bilinear(node: Any, x: Any, size: Any) -> Any:
    """The resized image, in float32 whatever the input is."""
    x, dtype = tensor(x), "float32"
    lengths = zip(shape_of(x)[1:3], integers(size), strict=True)
    rows, columns = (tensor(_bilinear(node, old, new).astype(dtype)) for old, new in lengths)
    return ops.einsum("nhwc,oh,pw->nopc", ops.cast(x, dtype), rows, columns)


@OPS("ResizeNearestNeighbor")
def resize_nearest(node: Any, x: Any, size: Any) -> Any:
    x = tensor(x)
    for axis, new in zip((1, 2), integers(size), strict=True):
        x = ops.take(x, tensor(_nearest(node, shape_of(x)[axis], new)), axis=axis)
    return x


def _places(node: Any, old: int, new: int, offset: float) -> Any:
    """For each place of the new axis, its position in the old axis. It is float32, as in TensorFlow."""
    scale = np.float32((old - 1) / (new - 1)) if node["align_corners"] and new > 1 else np.float32(old / new)
    numbers = np.arange(new, dtype="float32")
    return (numbers + np.float32(0.5)) * scale - np.float32(offset) if node["half_pixel_centers"] else numbers * scale


def _nearest(node: Any, old: int, new: int) -> Any:
    places = _places(node, old, new, 0.0)
    rounded = np.floor(places + 0.5) if node["align_corners"] else np.floor(places)
    return np.clip(rounded, 0, old - 1).astype("int32")


def _bilinear(node: Any, old: int, new: int) -> Any:
    """A matrix with a row for each new place. The row holds the shares of the old places."""
    weights = np.zeros((new, old))
    for row, place in enumerate(_places(node, old, new, 0.5)):
        first = math.floor(place)
        share = float(place) - first
        low, high = min(max(first, 0), old - 1), min(max(math.ceil(place), 0), old - 1)
        weights[row, low] += 1 - share
        weights[row, high] += share
    return weights
