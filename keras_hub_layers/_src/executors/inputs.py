"""What a user passes, made to match what was traced: structure, keys, kinds and dtypes."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf


class Mismatch(Exception):
    """The value does not fit the trace, for the reason given."""


def conform(value: Any, spec: Any) -> tuple[Any, int]:
    """Make a value match the specs of a trace.

    Values are cast within and from integers to floats, and never otherwise; extra keys are dropped; tuples and
    lists stand for each other.

    Args:
        value: Tensors, arrays or Python values, or a list, tuple or dict of them.
        spec: A `tf.TypeSpec`, or a list, tuple or dict of them.

    Returns:
        The matching value, and what it cost: 0 for an exact match, more for each cast.

    Raises:
        Mismatch: It cannot be made to match.
    """
    if isinstance(spec, Mapping):
        return _conform_dict(value, spec)
    if isinstance(spec, (list, tuple)) and not isinstance(spec, tf.TypeSpec):
        return _conform_list(value, spec)
    if isinstance(spec, tf.RaggedTensorSpec):
        return _conform_ragged(value, spec)
    if isinstance(spec, tf.SparseTensorSpec):
        return _conform_sparse(value, spec)
    if isinstance(spec, tf.TensorSpec):
        return _conform_dense(value, spec)
    raise Mismatch(f"a {type(spec).__name__} is expected, which no Keras layer can pass on")


def to_tensor(value: Any, dtype: Any = None) -> Any:
    """A tensor from an array or Python values; tensors, ragged and sparse ones stay as they are.

    Raises:
        Mismatch: There is no tensor of these values.
    """
    if tf.is_tensor(value) or isinstance(value, (tf.RaggedTensor, tf.SparseTensor)):
        return value
    try:
        if any(tf.is_tensor(leaf) for leaf in tf.nest.flatten(value)) or hasattr(value, "__tf_tensor__"):
            return tf.convert_to_tensor(value)
        array = np.asarray(value)  # keeps the precision that TensorFlow's own conversion of Python floats drops
        if dtype is not None and dtype.is_integer:
            _check_range(array, dtype)
        return tf.convert_to_tensor(array)
    except (TypeError, ValueError) as err:
        raise Mismatch(f"no tensor can be made of {type(value).__name__}: {err}") from err


def guarded(value: Any, spec: Any) -> tuple[Any, list[Any]]:
    """Conforming inputs, with a check in the graph of lengths that are fixed in the trace and not known yet.

    TensorFlow runs a trace for a batch of one on any batch, and goes on with shapes that are wrong.

    Args:
        value: What `conform` returned.
        spec: What it was made to match.

    Returns:
        The inputs, and the specs of those that are checked.
    """
    checked = []

    def guard(tensor: Any, one: Any) -> Any:
        if not isinstance(one, tf.TensorSpec) or not one.shape.rank or tensor.shape.rank != one.shape.rank:
            return tensor
        if all(given is not None or length is None for given, length in zip(tensor.shape, one.shape, strict=True)):
            return tensor
        checked.append(one)
        return tf.ensure_shape(tensor, one.shape)  # tf.debugging.assert_equal is optimized away while training

    return tf.nest.map_structure(guard, value, spec), checked


def _conform_dict(value: Any, spec: Mapping) -> tuple[Any, int]:
    if not isinstance(value, Mapping):
        raise Mismatch(f"a dict with the keys {_some(spec)} is expected, a {type(value).__name__} given")
    missing = set(spec) - set(value)
    if missing:
        raise Mismatch(f"the keys {_some(missing)} are missing")
    parts = {key: _at(key, value[key], part) for key, part in spec.items()}
    return {key: part for key, (part, _) in parts.items()}, sum(cost for _, cost in parts.values())


def _conform_list(value: Any, spec: Any) -> tuple[Any, int]:
    if not isinstance(value, (list, tuple)) or len(value) != len(spec):
        got = f"one of {len(value)}" if isinstance(value, (list, tuple)) else f"a {type(value).__name__}"
        raise Mismatch(f"a list of {len(spec)} tensors is expected, {got} given")
    parts = [_at(i, one, part) for i, (one, part) in enumerate(zip(value, spec, strict=True))]
    return type(spec)(part for part, _ in parts), sum(cost for _, cost in parts)


def _at(key: Any, value: Any, spec: Any) -> tuple[Any, int]:
    try:
        return conform(value, spec)
    except Mismatch as err:
        raise Mismatch(f"at {key!r}: {err}") from err


def _conform_ragged(value: Any, spec: Any) -> tuple[Any, int]:
    if isinstance(value, (list, tuple)):
        try:
            value = tf.ragged.constant(value, ragged_rank=spec.ragged_rank)
        except ValueError as err:
            raise Mismatch(f"no ragged tensor can be made of it: {err}") from err
    if not isinstance(value, tf.RaggedTensor):
        raise Mismatch("a ragged tensor is expected")
    if value.ragged_rank != spec.ragged_rank:
        raise Mismatch(f"{spec.ragged_rank} ragged dimensions are expected, {value.ragged_rank} given")
    _check_shape(value.shape, spec.shape)
    cost = _cast_cost(value.dtype, spec.dtype)
    return _cast(value, spec.dtype).with_row_splits_dtype(spec.row_splits_dtype), cost


def _conform_sparse(value: Any, spec: Any) -> tuple[Any, int]:
    cost = 0
    if not isinstance(value, tf.SparseTensor):
        value, cost = _sparse_from(value, spec), 1000
    _check_shape(value.shape, spec.shape)
    cost += _cast_cost(value.dtype, spec.dtype)
    return _cast(value, spec.dtype), cost


def _sparse_from(value: Any, spec: Any) -> Any:
    """The same numbers as a sparse tensor: Keras hands sparse data on as dense where no `Input` says otherwise."""
    value = to_tensor(value, spec.dtype)
    if not isinstance(value, tf.Tensor) or not (value.dtype.is_floating or value.dtype.is_integer):
        raise Mismatch("a sparse tensor is expected")
    return tf.sparse.from_dense(value)


def _conform_dense(value: Any, spec: tf.TensorSpec) -> tuple[Any, int]:
    value = to_tensor(value, spec.dtype)
    if isinstance(value, tf.RaggedTensor):
        raise Mismatch("a dense tensor is expected, a ragged one given")
    if isinstance(value, tf.SparseTensor):
        raise Mismatch("a dense tensor is expected, a sparse one given")
    cost = _cast_cost(value.dtype, spec.dtype)
    _check_shape(value.shape, spec.shape)
    return _cast(value, spec.dtype), cost


def _cast_cost(given: tf.DType, expected: tf.DType) -> int:
    """0 for the same dtype, 1 to a wider one, more the more bits a narrower one loses; from integers to floats 100."""
    if given == expected:
        return 0
    for kind in ("is_floating", "is_integer", "is_complex"):
        if getattr(given, kind) and getattr(expected, kind):
            lost = 8 * (given.size - expected.size) + (given.is_integer and given.is_unsigned != expected.is_unsigned)
            return 1 if lost < 0 or (lost == 0 and given.is_floating) else 2 + lost
    if given.is_integer and expected.is_floating:
        return 100
    raise Mismatch(f"{expected.name} is expected, {given.name} given, and that cast would change values")


def _cast(value: Any, dtype: tf.DType) -> Any:
    """A cast that refuses integers that do not fit, where their values are known."""
    if value.dtype == dtype:
        return value
    if dtype.is_integer and isinstance(value, tf.Tensor) and hasattr(value, "numpy"):
        _check_range(value.numpy(), dtype)
    return tf.cast(value, dtype)


def _check_shape(given: tf.TensorShape, expected: tf.TensorShape) -> None:
    if tf.TensorShape(expected).is_compatible_with(given):
        return
    raise Mismatch(f"the shape {_shape(expected)} is expected, {_shape(given)} given")


def _check_range(array: np.ndarray, dtype: tf.DType) -> None:
    if array.dtype.kind in "iu" and array.size and not (dtype.min <= array.min() and array.max() <= dtype.max):
        raise Mismatch(f"values from {array.min()} to {array.max()} do not fit into {dtype.name}")


def _shape(shape: Any) -> str:
    shape = tf.TensorShape(shape)
    return "(…)" if shape.rank is None else str(tuple(shape.as_list()))


def _some(names: Any) -> str:
    """Names as a list, of many only the first."""
    names = sorted(map(str, names))
    return str(names) if len(names) <= 8 else f"[{', '.join(map(repr, names[:5]))}, … {len(names) - 5} more]"


def is_image(spec: Any) -> bool:
    """Whether a spec is one of a batch of images: (batch, height, width, channels) with 1, 3 or 4 channels."""
    return isinstance(spec, tf.TensorSpec) and spec.shape.rank == 4 and spec.shape[-1] in (1, 3, 4)
