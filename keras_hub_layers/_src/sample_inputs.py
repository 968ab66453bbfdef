"""Sample inputs for a trace: made up from its shapes and dtypes, or as the user describes them."""

import os
import re
from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from keras_hub_layers._src.inspect.specs import Spec, spec_of
from keras_hub_layers.errors import InputError

__all__ = ["sample"]


_BATCH = 2


_SIDE = 32  # of images of any size


_LENGTH = 8  # of sequences of any length


_TEXT = "a sample text"


def made_up(nest: Any) -> Any:
    """Tensors that fit a nest of `Spec`s: small random numbers, ones, and short texts; the same in each run.

    Args:
        nest: A `Spec`, or a list or dict of them.
    """
    return _made_up(nest, np.random.default_rng(0))


def read(texts: Sequence[str]) -> Any:
    """The inputs that a user describes.

    Args:
        texts: `SHAPE:DTYPE`, such as `"2,224,224,3:float32"`, or the path of an `.npy` file; several for a list, each
            with `NAME=` before it for a dict.

    Returns:
        One tensor, or a list or dict of tensors.

    Raises:
        errors.InputError: A text has neither form, or the file cannot be read.
    """
    named = [re.fullmatch(r"([A-Za-z_][\w.-]*)=(.+)", text) for text in texts]
    if any(named):
        if not all(named):
            raise _unknown(str(list(texts)), "either all inputs have names or none has")
        return {match[1]: _read(match[2]) for match in named if match}
    tensors = [_read(text) for text in texts]
    return tensors[0] if len(tensors) == 1 else tensors


def _read(text: str) -> Any:
    if text.endswith(".npy"):
        try:
            array = np.load(os.path.expanduser(text), allow_pickle=False)
        except (OSError, ValueError) as error:
            raise _unknown(text, str(error)) from error
        return tf.constant(array.astype(object) if array.dtype.kind in "US" else array)
    shape, _, dtype = text.partition(":")
    try:
        lengths = tuple(int(length) for length in shape.strip("()[] ,").split(",") if length.strip())
        return _made_up(Spec(lengths, tf.as_dtype(dtype or "float32").name), np.random.default_rng(0), exact=True)
    except (TypeError, ValueError) as error:
        raise _unknown(text, str(error)) from error


def _unknown(text: str, reason: str) -> InputError:
    return InputError(
        "The sample input cannot be made.",
        expected="SHAPE:DTYPE, or the path of an .npy file; NAME= before each of several that make a dict",
        received=f"{text!r} ({reason})",
        where="--input",
        fix="--input 2,224,224,3:float32",
    )


def _made_up(nest: Any, random: np.random.Generator, exact: bool = False) -> Any:
    if isinstance(nest, dict):
        made = {key: _made_up(value, random) for key, value in nest.items()}
        made.update(_sparse_parts(nest))
        return made
    if isinstance(nest, (list, tuple)):
        return [_made_up(value, random) for value in nest]
    shape = nest.shape if exact else _shape(nest)
    dense = tf.constant(_values(shape, tf.as_dtype(nest.dtype), random))
    if nest.kind == "ragged":
        return tf.RaggedTensor.from_tensor(dense)  # pyright: ignore[reportAttributeAccessIssue]
    return tf.sparse.from_dense(dense) if nest.kind == "sparse" else dense


def _sparse_parts(nest: dict[str, Any]) -> dict[str, Any]:
    """Indices and shapes that agree, where a TF1 signature takes sparse tensors in three parts."""
    made = {}
    for key in nest:
        name = key.removesuffix("_indices")
        shape = f"{name}_dense_shape"
        if name != key and shape in nest and f"{name}_values" in nest:
            rank = nest[key].shape[-1]
            made[key] = tf.constant([[row] + [0] * (rank - 1) for row in range(_BATCH)], nest[key].dtype)
            made[shape] = tf.constant([_BATCH] + [1] * (rank - 1), nest[shape].dtype)
    return made


def _shape(spec: Spec) -> tuple[int, ...]:
    """A shape that fits: a small batch, images of one size, sequences of one length."""
    if spec.shape is None:
        return (_BATCH,) if spec.dtype == "string" else (_BATCH, 1)
    free = _SIDE if len(spec.shape) >= 4 else _LENGTH
    return tuple(
        length if length is not None else _BATCH if place == 0 else free for place, length in enumerate(spec.shape)
    )


def _values(shape: tuple[int, ...], dtype: tf.DType, random: np.random.Generator) -> Any:
    if dtype == tf.string:
        return np.full(shape, _TEXT, dtype=object)
    if dtype.is_floating or dtype.is_complex:
        return random.uniform(size=shape).astype(dtype.as_numpy_dtype)
    return np.ones(shape, dtype.as_numpy_dtype)  # a valid index, mask and truth value


def sample(spec: Any) -> list[np.ndarray]:
    """Small inputs for a `tf.TypeSpec`: one array per component, the same in every process.

    Raises:
        ValueError: The rank is unknown.
    """
    if spec.shape.rank is None:
        raise ValueError("unknown rank")
    value = made_up(spec_of(spec))
    if isinstance(spec, tf.RaggedTensorSpec):
        ragged: Any = spec  # TensorFlow's type stubs lack most of it
        kind: Any = tf.RaggedTensor
        value = kind.from_tensor(
            value.to_tensor(), ragged_rank=ragged.ragged_rank, row_splits_dtype=ragged.row_splits_dtype
        )
    return [component.numpy() for component in tf.nest.flatten(value, expand_composites=True)]
