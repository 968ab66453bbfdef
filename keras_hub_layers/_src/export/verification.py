"""Whether a SavedModel that was just written is whole: it parses, its files are there, and it computes the same."""

import os
from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow.core.protobuf import meta_graph_pb2

from keras_hub_layers._src.savedmodel import meta_graphs, missing_files
from keras_hub_layers.errors import ExportWriteError, LoadError

__all__ = ["broken", "check_files", "check_outputs", "close"]


_TOLERANCE = {"float16": 1e-2, "bfloat16": 5e-2, "float64": 1e-6}  # else 1e-3: graphs are optimized differently


_INIT = "__saved_model_init_op"


def check_files(directory: str) -> None:
    """Raise unless `saved_model.pb` parses, and each asset that it names and the checkpoint's index are there.

    Raises:
        errors.ExportWriteError: Says what is missing.
    """
    try:
        graphs = meta_graphs.read_meta_graphs(directory)
    except LoadError as err:
        raise broken(directory, "a saved_model.pb that parses", str(err)) from err
    for name in missing_files.missing_files(directory, graphs):
        raise broken(directory, f"the file {name!r}, which the graph needs", "no such file")


def check_outputs(
    directory: str, signature: str, inputs: Mapping[str, Any] | None, expected: Mapping[str, Any]
) -> None:
    """Raise unless a signature computes the expected outputs in a new session, as TF Serving would run it.

    Args:
        directory: The SavedModel.
        signature: Name of the signature.
        inputs: NumPy arrays by input name; `None` to restore the variables and tables and run nothing.
        expected: NumPy arrays by output name.

    Raises:
        errors.ExportWriteError: Says which output differs, and by how much.
    """
    graph = meta_graphs.read_meta_graphs(directory)[0]
    try:
        found = _run(directory, graph, signature, inputs)
    except tf.errors.OpError as err:
        raise broken(directory, f"a signature {signature!r} that runs in a session", str(err)) from err
    for name, value in expected.items():
        if not close(found[name], value):
            raise broken(
                directory,
                f"the output {name!r} of {signature!r} as the live model computes it: {_short(value)}",
                _short(found[name]),
            )


def broken(directory: str, expected: str, received: str) -> ExportWriteError:
    """The error for an export that is not what it should be."""
    return ExportWriteError(
        "What was written is not a whole SavedModel; what was there before is untouched.",
        expected=expected,
        received=received,
        where=directory,
        fix="export again; if it happens again, look at the file system, or at what differs: "
        'khl.export(target, "elsewhere", verify=False)',
    )


def close(found: np.ndarray, expected: np.ndarray) -> bool:
    """Whether two arrays are equal up to what another order of the same computations changes."""
    if found.shape != expected.shape or found.dtype != expected.dtype:
        return False
    if tf.as_dtype(found.dtype).is_floating:
        tolerance = _TOLERANCE.get(found.dtype.name, 1e-3)
        found, expected = found.astype("float64"), expected.astype("float64")
        return np.allclose(found, expected, rtol=tolerance, atol=tolerance, equal_nan=True)
    return np.array_equal(found, expected)


def _run(directory: str, graph: meta_graph_pb2.MetaGraphDef, signature: str, inputs: Any) -> Any:
    """Import the graph, restore the variables, initialize tables from the assets, and run one signature."""
    definition = graph.signature_def[signature]
    config = tf.compat.v1.ConfigProto(device_count={"GPU": 0}, allow_soft_placement=True)
    config.graph_options.rewrite_options.disable_meta_optimizer = True  # it takes longer than the one run
    with tf.Graph().as_default() as imported, tf.compat.v1.Session(graph=imported, config=config) as session:
        tf.graph_util.import_graph_def(graph.graph_def, name="")
        assets = {
            asset.tensor_info.name: os.path.join(directory, "assets", asset.filename) for asset in graph.asset_file_def
        }
        saver = graph.saver_def
        if saver.restore_op_name:
            prefix = os.path.join(directory, "variables", "variables")
            session.run(saver.restore_op_name, {saver.filename_tensor_name: prefix, **assets})
        if _INIT in graph.signature_def:
            session.run(graph.signature_def[_INIT].outputs[_INIT].name, assets)
        if inputs is None:
            return {}
        outputs = {name: info.name for name, info in definition.outputs.items()}
        return session.run(outputs, {definition.inputs[name].name: value for name, value in inputs.items()})


def _short(value: np.ndarray) -> str:
    return f"{value.dtype.name} {value.shape}: {np.array2string(value.ravel()[:4], precision=6)}"
