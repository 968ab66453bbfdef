"""What the graph of a TF1 SavedModel says, without loading it: its signatures and variables."""

import os
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from keras_hub_layers._src.savedmodel.contents import Contents, Function, Trace, Variables
from keras_hub_layers._src.savedmodel.graphs.library import Body, Library, library_of, needed_nodes, node_name
from keras_hub_layers._src.savedmodel.protos.messages import message
from keras_hub_layers._src.savedmodel.protos.saved_values import SavedVariable, refuse_call
from keras_hub_layers._src.savedmodel.protos.specs import DType, SavedSpec, Shape, dtype_of, shape_of
from keras_hub_layers._src.savedmodel.traces import gather_variables

_NOT_SIGNATURES = ("__saved_model_init_op", "__saved_model_train_op")
REFERENCES = ("Variable", "VariableV2")


def read(meta_graph: Any, missing_ops: list[str]) -> Contents:
    """Describe a graph of TF1.

    Args:
        meta_graph: A protobuf of type `MetaGraphDef`.
        missing_ops: Those of its ops that the running TensorFlow does not have.
    """
    nodes = {node.name: node for node in meta_graph.graph_def.node}
    library = library_of(meta_graph.graph_def)
    signatures = {
        name: _signature(saved, nodes, library)
        for name, saved in meta_graph.signature_def.items()
        if name not in _NOT_SIGNATURES
    }
    variables = [_variable_of(node) for node in nodes.values() if node.op == "VarHandleOp"]
    return Contents(
        function=None,
        signatures=signatures,
        variables=with_references(gather_variables([], variables, ()), nodes.values()),
        losses=(),
        input_losses="",
        pieces=[],
        assets=_assets(meta_graph),
        missing_ops=missing_ops,
        piece=_no_piece,
        not_loadable=_why_not_loadable(meta_graph, nodes),
    )


def _why_not_loadable(meta_graph: Any, nodes: dict[str, Any]) -> str:
    """Why TensorFlow 2 cannot load the graph; `""` if nothing is known. It loads all signatures or none."""
    for name, saved in meta_graph.signature_def.items():
        if any(dtype_of(info.dtype).name.endswith("_ref") for info in saved.outputs.values()):
            return "a signature returns a TF1 reference"
        inputs, outputs = _ends(saved)
        for node in needed_nodes(nodes, inputs, outputs):
            if node.op == "Placeholder" and name not in _NOT_SIGNATURES:
                return f"the signature {name!r} needs the placeholder {node.name!r}, which is none of its inputs"
    assets = tuple(node_name(asset.tensor_info.name) for asset in meta_graph.asset_file_def)
    for node in needed_nodes(nodes, assets, tuple(_initializers(meta_graph))):
        if node.op == "Placeholder":
            return f"its initialization needs the placeholder {node.name!r}"
    return ""


def _initializers(meta_graph: Any) -> list[str]:
    """Names of the ops that run once after loading."""
    saved = meta_graph.signature_def.get("__saved_model_init_op")
    names = [info.name for info in saved.outputs.values()] if saved is not None else []
    for key in ("saved_model_main_op", "legacy_init_op"):
        names += meta_graph.collection_def[key].node_list.value if key in meta_graph.collection_def else []
    return names


def _ends(saved: Any) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Names of the nodes that are fed, and of the tensors that are returned."""
    inputs = tuple(node_name(tensor) for info in saved.inputs.values() for tensor in _tensors(info))
    return inputs, tuple(tensor for info in saved.outputs.values() for tensor in _tensors(info))


def with_references(variables: Variables, nodes: Iterable[Any]) -> Variables:
    """Variables, and those of TF1 that only the nodes of a graph tell of, since TensorFlow 2 makes no objects of them.

    Args:
        variables: The others.
        nodes: The nodes, protobufs of type `NodeDef`.
    """
    references = tuple(_variable_of(node) for node in nodes if node.op in REFERENCES)
    return replace(variables, captured=(*variables.captured, *references))


def _signature(saved: Any, nodes: dict[str, Any], library: Library) -> Function:
    def body() -> Body:
        inputs, outputs = _ends(saved)
        return Body(needed_nodes(nodes, inputs, outputs), inputs, outputs, {}, library)

    trace = Trace(inputs=_inputs(saved.inputs), outputs=_outputs(saved.outputs), body=body)
    return Function(call=refuse_call, traces=(trace,), is_signature=True)


def _tensors(info: Any) -> list[str]:
    if info.WhichOneof("encoding") == "coo_sparse":
        sparse = info.coo_sparse
        return [sparse.values_tensor_name, sparse.indices_tensor_name, sparse.dense_shape_tensor_name]
    return [info.name]


def _variable_of(node: Any) -> SavedVariable:
    return SavedVariable(node.name, shape_of(node.attr["shape"].shape), dtype_of(node.attr["dtype"].type))


def _inputs(infos: Any) -> dict[str, Any]:
    """The inputs of a TF1 signature; of a sparse one its three parts, as TensorFlow 2 takes them."""
    specs = {}
    for name, info in sorted(infos.items()):
        dtype, shape = dtype_of(info.dtype), shape_of(info.tensor_shape)
        if info.WhichOneof("encoding") == "coo_sparse":
            specs[f"{name}_indices"] = SavedSpec(Shape((None, shape.rank)), DType("int64"))
            specs[f"{name}_values"] = SavedSpec(Shape((None,)), dtype)
            specs[f"{name}_dense_shape"] = SavedSpec(Shape((shape.rank,)), DType("int64"))
        else:
            specs[name] = SavedSpec(shape, dtype)
    return specs


def _outputs(infos: Any) -> dict[str, Any]:
    specs = {}
    for name, info in sorted(infos.items()):
        kind = "sparse" if info.WhichOneof("encoding") == "coo_sparse" else "dense"
        specs[name] = SavedSpec(shape_of(info.tensor_shape), dtype_of(info.dtype), kind)
    return specs


def _assets(meta_graph: Any) -> list[str]:
    """File names of the assets; a TF1 SavedModel lists them as a collection."""
    files = list(meta_graph.asset_file_def)
    for packed in meta_graph.collection_def["saved_model_assets"].any_list.value:
        files.append(message("AssetFileDef").FromString(packed.value))
    return sorted({os.path.basename(file.filename) for file in files})


def _no_piece(name: str) -> Contents:
    raise KeyError(name)
