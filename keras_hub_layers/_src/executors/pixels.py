"""A warning for pixels of another range than that which the graph of an image model takes."""

import functools
import itertools
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from keras_hub_layers._src.compat import fit
from keras_hub_layers._src.executors.inputs import is_image
from keras_hub_layers._src.savedmodel import contents
from keras_hub_layers._src.savedmodel.graphs.pixel_range import wanted_range
from keras_hub_layers.errors import user_line

# What is no more than this is no image of 0 to 255: depths in metres, counts, pixels that interpolation has made more.
_MOST = 10.0


class PixelCheck:
    """Looks at the first images that a layer gets, and warns, once, if their range is not that of the model.

    Args:
        function: What the layer calls.
        warn: Called with the text of a warning, and with the line of the user that it is about.
    """

    def __init__(self, function: contents.Function, warn: Callable[..., None]) -> None:
        self._function, self._warn = function, warn
        self._is_done = function.is_signature  # what is done to its inputs is up to the signature
        self._traced: tf.Variable | None = None  # whether the images of a loop of Keras were looked at
        self._line: Any = None
        self._key = next(_keys)
        _checks[self._key] = self

    @functools.cached_property
    def _wanted(self) -> str | None:
        return wanted_range(self._function)

    def look(self, given: Any, inputs: Any) -> None:
        """Look at the inputs of a call: at once, or, in a step of `fit`, `evaluate` or `predict`, when it runs.

        Args:
            given: The inputs as the layer was given them.
            inputs: The same as tensors of the traced dtypes.
        """
        if self._is_done or not isinstance(inputs, tf.Tensor) or not inputs.dtype.is_floating:
            return
        if not is_image(tf.TensorSpec(inputs.shape, inputs.dtype)):
            return
        dtype = getattr(getattr(given, "dtype", None), "name", None) or str(getattr(given, "dtype", inputs.dtype.name))
        if dtype == "uint8":
            self._is_done = True
            if self._wanted == "unit":
                self._warn(_bytes_warning(f"uint8 pixels from 0 to 255 were cast to {inputs.dtype.name}"))
        elif self._wanted is not None and hasattr(inputs, "numpy"):
            self._is_done = True
            self._check(*_extent(inputs.numpy()), is_real=False)
        elif self._wanted is not None and fit.is_in_plain_step() and not tf.distribute.has_strategy():
            self._look_when_it_runs(inputs)

    def _look_when_it_runs(self, images: tf.Tensor) -> None:
        """Have the graph of a step hand the first images on to Python, once."""
        if self._traced is None:
            with tf.init_scope():
                self._traced = tf.Variable(tf.constant(False), trainable=False)
        self._line = user_line()
        done: Any = self._traced

        def report() -> tf.Tensor:
            done.assign(True)
            tf.numpy_function(_report, [self._key, images], [])
            return tf.constant(True)

        tf.cond(done, lambda: tf.constant(True), report)

    def report(self, images: np.ndarray) -> None:
        """Check the first images of a loop."""
        if not self._is_done:
            self._is_done = True
            self._check(*_extent(images), is_real=True)

    def _check(self, least: float, most: float, has_fractions: bool, is_real: bool) -> None:
        """Warn of images of another range; of a call by hand, which may be a trial with random numbers, not of all."""
        if self._wanted == "unit" and least >= 0 and most > _MOST:
            self._warn(_bytes_warning(f"the images have pixels from 0 to 255 (here {least:g} to {most:g})"), self._line)
        elif self._wanted == "bytes" and is_real and least >= 0 and most <= 1 and has_fractions:
            self._warn(
                f"the images have pixels from 0 to 1 (here {least:g} to {most:g}), and the graph of the SavedModel "
                "rescales pixels from 0 to 255 itself, so that all of these are black to it:\n"
                "x = keras.layers.Rescaling(255)(x)",
                self._line,
            )


# Keys of checks: a function that TensorFlow calls from a graph lives as long as the process, and must not hold layers.
_keys = itertools.count()


_checks: "weakref.WeakValueDictionary[int, PixelCheck]" = weakref.WeakValueDictionary()


def _report(key: Any, images: Any) -> None:
    check = _checks.get(int(key))
    if check is not None:
        check.report(np.asarray(images))


def _extent(images: np.ndarray) -> tuple[float, float, bool]:
    """Smallest and largest value, and whether there are any between 0 and 1."""
    if not images.size:
        return 0.0, 0.0, False
    images = images.astype("float32")
    return float(images.min()), float(images.max()), bool(((images > 0) & (images < 1)).any())


def _bytes_warning(problem: str) -> str:
    return (
        f"{problem}, and nothing in the SavedModel rescales them before its first weights. If those were trained on "
        "[0, 1], as TF Hub's image models are:\nx = keras.layers.Rescaling(1 / 255)(x)\n"
        "If 0 to 255 is what they take:\n"
        "warnings.filterwarnings('ignore', '.*pixels from 0 to 255')"
    )
