"""Which ops of a SavedModel XLA cannot compile."""

import re
from collections.abc import Iterable
from typing import Any

import tensorflow as tf

from keras_hub_layers._src.savedmodel.graphs import op_packages
from keras_hub_layers._src.savedmodel.graphs.library import _entries

_STRING = tf.string.as_datatype_enum


# Families of ops for which XLA has no kernel: text, tables, files, Python, parsing, data sets, ragged and sparse.
_NOT_COMPILED = re.compile(
    r".*(String|Regex|Lookup|HashTable|DenseHash|UTF8|Base64|Dataset|Iterator|PyFunc|Parse|Decode|File)\w*"
    r"|Substr|AsString|Unicode\w+|InitializeTable\w*|Print(V2)?|\w*Summary(V2)?|Encode\w+|ReduceJoin|Ragged\w+"
    r"|Sparse(Reorder|Reshape|Slice|Concat|Split|Cross|FillEmptyRows|TensorDenseMatMul)\w*"
)


# Strings may stand in these without hindering XLA: messages of checks, and what only hands them on or counts them.
_HARMLESS = frozenset(("Const", "Assert", "Identity", "IdentityN", "NoOp", "Placeholder", "Rank", "Shape", "Size"))


_TF1_OPS = ("__saved_model_init_op", "__saved_model_train_op")


def not_compiled(meta_graph: Any) -> dict[str, tuple[str, ...]]:
    """What hinders XLA, per function that can be called.

    Args:
        meta_graph: A protobuf of type `MetaGraphDef`.

    Returns:
        Name of each signature, and `""` for the object itself -> sorted names of ops without an XLA kernel that it
        uses, and `"string inputs"`. An empty tuple does not say that XLA can compile the rest.
    """
    library = {function.signature.name: function for function in meta_graph.graph_def.library.function}
    if not meta_graph.HasField("object_graph_def"):
        return {
            name: _hindrances(_needed(meta_graph.graph_def, saved), library, saved.inputs.values())
            for name, saved in meta_graph.signature_def.items()
            if name not in _TF1_OPS
        }
    found = {}
    for name, functions in _entries(meta_graph.object_graph_def).items():
        roots = [library[function] for function in functions if function in library]
        nodes = [node for function in roots for node in function.node_def]
        arguments = [argument for function in roots for argument in function.signature.input_arg]
        found[name] = _hindrances(nodes, library, [_Typed(argument.type) for argument in arguments])
    return found


class _Typed:
    """Something with a dtype, as the inputs of a TF1 signature have one."""

    def __init__(self, dtype: int) -> None:
        self.dtype = dtype


def _hindrances(nodes: Iterable[Any], library: dict[str, Any], inputs: Iterable[Any]) -> tuple[str, ...]:
    found = {"string inputs" for info in inputs if info.dtype == _STRING}
    seen: set[str] = set()
    todo = list(nodes)
    while todo:
        node = todo.pop()
        called = [node.op] if node.op in library else []
        for attribute in node.attr.values():
            kind = attribute.WhichOneof("value")
            if kind == "func":
                called.append(attribute.func.name)
            elif kind == "list":
                called += [function.name for function in attribute.list.func]
            elif kind == "type" and attribute.type == _STRING and node.op not in _HARMLESS:
                found.add(node.op)
        if node.op not in library and (_NOT_COMPILED.fullmatch(node.op) or op_packages.package_of(node.op)):
            found.add(node.op)
        for name in called:
            if name in library and name not in seen:
                seen.add(name)
                todo += library[name].node_def
    return tuple(sorted(found))


def _needed(graph: Any, signature: Any) -> list[Any]:
    """The nodes of a TF1 graph that a signature's outputs depend on."""
    nodes = {node.name: node for node in graph.node}
    fed = {_node_of(tensor) for info in signature.inputs.values() for tensor in _tensors(info)}
    todo = [tensor for info in signature.outputs.values() for tensor in _tensors(info)]
    found: dict[str, Any] = {}
    while todo:
        name = _node_of(todo.pop())
        if name in nodes and name not in found and name not in fed:
            found[name] = nodes[name]
            todo += nodes[name].input
    return list(found.values())


def _tensors(info: Any) -> list[str]:
    if info.WhichOneof("encoding") == "coo_sparse":
        sparse = info.coo_sparse
        return [sparse.values_tensor_name, sparse.indices_tensor_name, sparse.dense_shape_tensor_name]
    return [info.name]


def _node_of(tensor: str) -> str:
    return tensor.removeprefix("^").split(":")[0]
