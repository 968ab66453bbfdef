"""Whether an export is whole: finite weights, no Python inside, all files there, and the same results as here."""

import contextlib
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from tensorflow.core.protobuf import meta_graph_pb2

from keras_hub_layers._src import sample_inputs
from keras_hub_layers._src.export import signatures
from keras_hub_layers._src.savedmodel import missing_files
from keras_hub_layers._src.text import words
from keras_hub_layers.errors import ExportError, ExportWriteError

__all__ = [
    "Run",
    "check_files",
    "check_runs",
    "find_python_calls",
    "is_finite",
    "not_whole",
    "refuse_python",
    "run_here",
]


_TOLERANCE = {"float16": 1e-2, "bfloat16": 5e-2, "float64": 1e-6}  # else 1e-3: graphs are optimized differently


_INIT = "__saved_model_init_op"


# They hold the number of a Python function in the process that made them, and nothing that another process could run.
_PYTHON = ("EagerPyFunc", "PyFunc", "PyFuncStateless")


class NotFinite(ExportError):
    """Weights are NaN or infinite."""


def refuse_values(names: Sequence[str]) -> NotFinite:
    """The error for weights that are NaN or infinite."""
    return NotFinite(
        "Weights are NaN or infinite, so they are not exported; what was there before is untouched.",
        expected="finite weights",
        received=words.join_names(names),
        fix="model.compile(keras.optimizers.Adam(1e-4, clipnorm=1.0), loss)   # a lower learning rate, and fit again\n"
        '# callbacks.ExportFinetuned(directory, monitor="val_loss") exports the best epoch',
    )


def is_finite(variable: Any) -> bool:
    """Whether no value of a TensorFlow variable, or of a Keras variable of any backend, is NaN or infinite.

    A finite sum proves it, in half the time of a look at each.
    """
    is_of_other_backend = isinstance(variable, keras.Variable) and keras.backend.backend() != "tensorflow"
    values = tf.convert_to_tensor(keras.ops.convert_to_numpy(variable) if is_of_other_backend else variable)
    if not values.dtype.is_floating:
        return True
    return bool(tf.math.is_finite(tf.reduce_sum(values))) or bool(tf.reduce_all(tf.math.is_finite(values)))


def find_python_calls(graphs: Iterable[Any]) -> list[str]:
    """Names of the nodes that call a Python function, `tf.numpy_function` or `tf.py_function`.

    Args:
        graphs: Protobufs of type `MetaGraphDef`.
    """
    bodies = [
        nodes
        for graph in graphs
        for nodes in (graph.graph_def.node, *(function.node_def for function in graph.graph_def.library.function))
    ]
    return sorted({f"{node.name} ({node.op})" for nodes in bodies for node in nodes if node.op in _PYTHON})


def refuse_python(names: Sequence[str]) -> ExportError:
    """The error for graphs that call Python functions."""
    return ExportError(
        "It calls Python functions, so it would run in this process only; what was there before is untouched.",
        expected="TensorFlow and Keras operations: a SavedModel holds no Python",
        received=f"tf.numpy_function or tf.py_function at {words.join_names(names)}",
        fix='khl.export(khl.cut(model, outputs="layer_before"), "directory")   # leaves out what comes behind\n'
        "# or write that function with keras.ops or TensorFlow",
    )


def check_files(directory: str, graphs: list[Any]) -> None:
    """Raise unless each asset that the graphs name, and the checkpoint, is there.

    Raises:
        errors.ExportWriteError: Says what is missing.
    """
    for name in missing_files.missing_files(directory, graphs):
        raise not_whole(directory, f"the file {name!r}, which the graph needs", "no such file")


@dataclass(frozen=True, eq=False)
class Run:
    """What a signature computes in this process.

    Attributes:
        signature: Its name.
        inputs: NumPy arrays by input name.
        outputs: NumPy arrays by output name.
    """

    signature: str
    inputs: Mapping[str, np.ndarray]
    outputs: Mapping[str, np.ndarray]


def run_here(name: str, function: Any, variables: Iterable[Any]) -> Run | None:
    """Run a signature on inputs that are made up.

    Args:
        name: Its name.
        function: Its concrete function.
        variables: Those that it may change; they are as they were afterwards.

    Returns:
        `None` if it draws random numbers or refuses the inputs: then nothing can be compared.
    """
    before = [(variable, variable.read_value()) for variable in variables]
    try:
        args, kwargs = tf.nest.map_structure(_sample, function.structured_input_signature)
        with _full_precision():
            outputs, again = (_as_arrays(function(*args, **kwargs)) for _ in range(2))
    except Exception:  # an input that we made up and that the function refuses proves nothing
        return None
    finally:
        for variable, value in before:
            variable.assign(value)
    if not all(are_close(again[name], value) for name, value in outputs.items()):
        return None
    tensors = tf.nest.flatten((args, kwargs), expand_composites=True)
    inputs = [tensor.numpy() for tensor in tensors if tf.is_tensor(tensor)]
    return Run(name, dict(zip(signatures.argument_names(function), inputs, strict=True)), outputs)


def check_runs(directory: str, graph: meta_graph_pb2.MetaGraphDef, runs: Sequence[Run]) -> None:
    """Raise unless signatures compute in a new session, as TF Serving would run them, what they computed here.

    Args:
        directory: The SavedModel.
        graph: Its graph.
        runs: What to compare; if there is nothing, the variables and tables are restored all the same.

    Raises:
        errors.ExportWriteError: Says which output differs, and by how much.
    """
    config = tf.compat.v1.ConfigProto(device_count={"GPU": 0}, allow_soft_placement=True)
    config.graph_options.rewrite_options.disable_meta_optimizer = True  # it takes longer than the one run
    with tf.Graph().as_default() as imported, tf.compat.v1.Session(graph=imported, config=config) as session:
        try:
            tf.graph_util.import_graph_def(graph.graph_def, name="")
            _restore(session, directory, graph)
            if _INIT in graph.signature_def:
                session.run(graph.signature_def[_INIT].outputs[_INIT].name, _assets(directory, graph))
        except tf.errors.OpError as err:
            raise not_whole(directory, "a graph, variables and tables that a session restores", str(err)) from err
        for number, run in enumerate(runs):
            if number:
                _restore(session, directory, graph)  # a signature may have changed the variables
            _check_run(session, directory, graph, run)


def not_whole(directory: str, expected: str, received: str) -> ExportWriteError:
    """The error for an export that is not what it should be."""
    return ExportWriteError(
        "The written SavedModel is not complete; what was there before is unchanged.",
        expected=expected,
        received=received,
        where=directory,
        fix="export again; if it happens again, look at the file system, or at what differs: "
        'khl.export(target, "elsewhere", verify=False)',
    )


def are_close(value: np.ndarray, expected: np.ndarray) -> bool:
    """Whether two arrays are equal up to what another order of the same computations changes."""
    if value.shape != expected.shape or value.dtype != expected.dtype:
        return False
    if tf.as_dtype(value.dtype).is_floating:
        tolerance = _TOLERANCE.get(value.dtype.name, 1e-3)
        value, expected = value.astype("float64"), expected.astype("float64")
        return np.allclose(value, expected, rtol=tolerance, atol=tolerance, equal_nan=True)
    return np.array_equal(value, expected)


def _check_run(session: Any, directory: str, graph: Any, run: Run) -> None:
    definition = graph.signature_def[run.signature]
    if set(definition.inputs) != set(run.inputs) or set(definition.outputs) != set(run.outputs):
        return  # TensorFlow named them otherwise than we can tell
    try:
        outputs = session.run(
            {name: info.name for name, info in definition.outputs.items()},
            {definition.inputs[name].name: value for name, value in run.inputs.items()},
        )
    except tf.errors.OpError as err:
        raise not_whole(directory, f"a signature {run.signature!r} that runs in a session", str(err)) from err
    for name, value in run.outputs.items():
        if not are_close(outputs[name], value):
            expected = f"the output {name!r} of {run.signature!r} as the live model computes it: {_shorten(value)}"
            raise not_whole(directory, expected, _shorten(outputs[name]))


def _restore(session: Any, directory: str, graph: Any) -> None:
    saver = graph.saver_def
    if saver.restore_op_name:
        prefix = os.path.join(directory, "variables", "variables")
        session.run(saver.restore_op_name, {saver.filename_tensor_name: prefix, **_assets(directory, graph)})


def _assets(directory: str, graph: Any) -> dict[str, str]:
    return {asset.tensor_info.name: os.path.join(directory, "assets", asset.filename) for asset in graph.asset_file_def}


@contextlib.contextmanager
def _full_precision() -> Iterator[None]:
    """Make a GPU multiply in float32: TensorFloat-32, TensorFlow's default there, keeps three decimal digits."""
    was_enabled = tf.config.experimental.tensor_float_32_execution_enabled()
    tf.config.experimental.enable_tensor_float_32_execution(False)
    try:
        yield
    finally:
        tf.config.experimental.enable_tensor_float_32_execution(was_enabled)


def _sample(spec: Any) -> Any:
    if not isinstance(spec, tf.TypeSpec):
        return spec
    components = [tf.constant(component) for component in sample_inputs.sample(spec)]
    return tf.nest.pack_sequence_as(spec, components, expand_composites=True)


def _as_arrays(outputs: Any) -> dict[str, np.ndarray]:
    if not isinstance(outputs, Mapping):  # what TensorFlow calls the outputs of a signature that returns no dict
        flat = outputs if isinstance(outputs, (list, tuple)) else [outputs]
        outputs = {f"output_{i}": value for i, value in enumerate(flat)}
    return {name: value.numpy() for name, value in outputs.items()}


def _shorten(value: np.ndarray) -> str:
    return f"{value.dtype.name} {value.shape}: {np.array2string(value.ravel()[:4], precision=6)}"
