"""Symbolic inputs and outputs: Keras' tensors for TensorFlow's specs, and back; and whether their rows agree."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
import tensorflow as tf

from keras_hub_layers._src.executors.inputs import flatten
from keras_hub_layers._src.inspect import specs as specs_lib
from keras_hub_layers._src.savedmodel import contents
from keras_hub_layers.errors import InputError, InterfaceError


def specs_of(inputs: Any, traces: Sequence[contents.Trace]) -> Any:
    """The `tf.TypeSpec`s for the `KerasTensor`s in inputs; other values as they are.

    Keras' hints are not to be trusted: some dense results (`x * 2`) are marked as sparse, and a Sequential model
    without Input declares dense inputs for whatever it is given. What the traces take decides.

    Args:
        inputs: `KerasTensor`s and other values, nested.
        traces: Those of the function that is called.
    """
    taken = [spec for trace in traces for spec in flatten(trace.inputs)]
    return keras.tree.map_structure(lambda tensor: _spec_of(tensor, taken), inputs)


def _spec_of(tensor: Any, taken: Sequence[Any]) -> Any:
    if not isinstance(tensor, keras.KerasTensor):
        return tensor
    shape, dtype = tensor.shape, tf.as_dtype(tensor.dtype)
    if getattr(tensor, "ragged", False):
        rank = getattr(tensor, "ragged_rank", None) or 1
        splits = getattr(tensor, "row_splits_dtype", None) or "int64"
        return tf.RaggedTensorSpec(shape, dtype, rank, tf.as_dtype(splits))
    kinds = {type(spec) for spec in taken}
    if kinds == {tf.RaggedTensorSpec}:
        return tf.RaggedTensorSpec(shape, dtype, taken[0].ragged_rank, taken[0].row_splits_dtype)
    if kinds == {tf.SparseTensorSpec} or (tensor.sparse and tf.SparseTensorSpec in kinds):
        return tf.SparseTensorSpec(shape, dtype)
    return tf.TensorSpec(shape, dtype)


def keras_tensor(spec: Any) -> keras.KerasTensor:
    """The symbolic tensor of a spec, or of a tensor of a graph."""
    spec = spec if isinstance(spec, tf.TypeSpec) else tf.type_spec_from_value(spec)
    if tf.TensorShape(spec.shape).rank is None:
        raise InterfaceError(
            "TensorFlow cannot infer the shape of an output.",
            expected="an output of known rank",
            received=specs_lib.describe(specs_lib.spec_of(spec)),
            fix=lambda line: f"{line(output_shape=[128])}   # as its publisher says, without the batch axis",
        )
    kind = {}
    if isinstance(spec, tf.RaggedTensorSpec) and hasattr(keras.KerasTensor, "ragged"):  # Keras 3.8 has no such mark
        ragged: Any = spec
        kind = {"ragged": True, "ragged_rank": ragged.ragged_rank, "row_splits_dtype": ragged.row_splits_dtype.name}
    return keras.KerasTensor(tuple(spec.shape), spec.dtype.name, sparse=isinstance(spec, tf.SparseTensorSpec), **kind)


def single_dtype(traces: Sequence[contents.Trace], function: contents.Function) -> str | None:
    """The dtype of the one input of a function, `None` if it has several; of several float traces the widest."""
    specs = [trace.inputs for trace in traces if not trace.keywords]
    if function.is_signature and specs and len(specs[0]) == 1:
        specs = list(specs[0].values())
    if not specs or not all(isinstance(spec, tf.TypeSpec) for spec in specs):
        return None
    dtypes = {spec.dtype for spec in specs}
    if len(dtypes) > 1 and not all(dtype.is_floating for dtype in dtypes):
        return None
    return max(dtypes, key=lambda dtype: dtype.size).name


def input_names(traces: Sequence[contents.Trace]) -> tuple[str, ...]:
    """The keys of the inputs, if they are a dict; else empty."""
    return next((tuple(map(str, trace.inputs)) for trace in traces if isinstance(trace.inputs, Mapping)), ())


def tensors_of_traced(shapes: Any, traces: Sequence[contents.Trace], function: contents.Function) -> Any:
    """`KerasTensor`s of the dtypes of the first trace, for shapes with the batch axis."""
    if not traces:
        return keras.KerasTensor(shapes)
    specs = traces[0].inputs
    if function.is_signature and len(specs) == 1 and not isinstance(shapes, Mapping):
        specs = next(iter(specs.values()))
    return tensors_of_shapes(shapes, specs)


def tensors_of_shapes(shapes: Any, specs: Any) -> Any:
    """`KerasTensor`s of the traced dtypes and kinds.

    Args:
        shapes: Shapes with the batch axis.
        specs: What a trace takes: a `tf.TypeSpec`, or a list, tuple or dict of them.

    Raises:
        errors.InputError: The shapes are not structured as the specs are.
    """
    try:
        return _tensors_of_shapes(shapes, specs)
    except (AttributeError, KeyError, TypeError, ValueError) as err:
        raise InputError(
            "The shapes are not structured as the inputs are.",
            expected=f"shapes with the batch axis for {specs_lib.describe(specs_lib.spec_of(specs))}",
            received=repr(shapes),
            fix="layer.compute_output_shape(" + _example(specs) + ")",
        ) from err


def _tensors_of_shapes(shapes: Any, specs: Any) -> Any:
    if isinstance(specs, Mapping):
        return {key: _tensors_of_shapes(shapes[key], spec) for key, spec in specs.items()}
    if isinstance(specs, (list, tuple)):
        return [_tensors_of_shapes(shape, spec) for shape, spec in zip(shapes, specs, strict=True)]
    return keras_tensor(_with_shape(specs, tuple(shapes)))


def _with_shape(spec: Any, shape: tuple[int | None, ...]) -> Any:
    """The same kind of tensor with another shape."""
    if isinstance(spec, tf.RaggedTensorSpec):
        ragged: Any = spec
        return tf.RaggedTensorSpec(shape, ragged.dtype, ragged.ragged_rank, ragged.row_splits_dtype)
    kind = tf.SparseTensorSpec if isinstance(spec, tf.SparseTensorSpec) else tf.TensorSpec
    return kind(shape, spec.dtype)


def _example(specs: Any) -> str:
    """Shapes to paste, structured as the inputs are."""
    if isinstance(specs, Mapping):
        return "{" + ", ".join(f"{key!r}: {_example(spec)}" for key, spec in specs.items()) + "}"
    if isinstance(specs, (list, tuple)):
        return "[" + ", ".join(map(_example, specs)) + "]"
    return str(tuple(specs.shape)) if specs.shape.rank is not None else "(None, 1)"


# How many rows to try where the shapes say nothing: numbers that no model is likely to compute from themselves.
_SAMPLES = (1009, 20011)


def has_other_rows(inputs: Any, traces: Sequence[contents.Trace], outputs: Any, run: Callable[[Any], Any]) -> bool:
    """Whether the first axis of some output is not that of the inputs.

    Args:
        inputs: The inputs' specs.
        traces: The traces of what is called; inputs of a fixed number of rows are told of elsewhere.
        outputs: The outputs, specs or symbolic tensors, as inferred from the inputs.
        run: Computes outputs. It is called where nothing else tells: the shapes of a restored function do not.
    """
    leaves = tf.nest.flatten(inputs)
    if not all(isinstance(leaf, tf.TensorSpec) and leaf.shape.rank for leaf in leaves):
        return False
    traced = [leaf.shape for trace in traces for leaf in tf.nest.flatten(trace.inputs)]
    if not traced or any(shape.rank is None or shape[:1].as_list() != [None] for shape in traced):
        return False
    if any(rows not in (None, leaves[0].shape[0]) for rows in _rows(outputs)):
        return True
    is_flat = all(leaf.shape.rank == 1 and leaf.dtype != tf.string for leaf in leaves)
    return is_flat and None in _rows(outputs) and _computes_other_rows(inputs, run)


def _computes_other_rows(inputs: Any, run: Callable[[Any], Any]) -> bool:
    for count in _SAMPLES:
        try:
            with tf.init_scope():
                zeros = tf.nest.map_structure(lambda leaf: tf.zeros([count], leaf.dtype), inputs)  # noqa: B023
                return any(rows != count for rows in _rows(run(zeros)))
        except (tf.errors.OpError, ValueError):  # it may be too short for what is computed
            continue
    return False


def rows_warning(inputs: Any) -> str:
    """What to say, where `has_other_rows`."""
    leaf = tf.nest.flatten(inputs)[0]
    is_one = leaf.shape.rank == 1 and len(tf.nest.flatten(inputs)) == 1
    text = (
        "the outputs do not have a row for each row of the inputs, so fit, evaluate and predict are wrong about them: "
        "they cut what they get into batches along the first axis, and put the results one after the other. "
    )
    if not is_one:
        return text + "To compute all rows at once:\noutputs = layer(x)"
    return text + (
        "The SavedModel takes one example, such as a waveform, at a time:\n"
        "outputs = layer(x)\n"
        "For several of one length, of shape (examples, length):\n"
        "outputs = tf.vectorized_map(layer, x)"
    )


def _rows(outputs: Any) -> list[int | None]:
    """Lengths of the first axes of the dense outputs, `None` where unknown; 0 for a scalar, which has none."""
    dense = [leaf for leaf in tf.nest.flatten(outputs) if isinstance(leaf, (tf.TensorSpec, tf.Tensor))]
    return [leaf.shape[0] if leaf.shape.rank else 0 for leaf in dense if leaf.shape.rank is not None]
