"""What a SavedModel's files say, without loading it: the same records as `loaded` gives for a live object.

Only `saved_model.pb` is read, so the answer takes a fraction of a second, needs no custom ops, and is there also for a
SavedModel that TensorFlow cannot load.
"""

import inspect
import os
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import tensorflow as tf
from tensorflow.core.protobuf import meta_graph_pb2

from keras_hub_layers._src.savedmodel import contents, input_losses
from keras_hub_layers._src.savedmodel.contents import Blueprint
from keras_hub_layers._src.savedmodel.graphs import ops

_TF1_OPS = ("__saved_model_init_op", "__saved_model_train_op")


REFERENCES = ("Variable", "VariableV2")


_CONTAINERS = ("trackable_list_wrapper", "trackable_tuple_wrapper", "trackable_dict_wrapper")


# TypeSpecProto.TypeSpecClass
_SPARSE, _RAGGED = 1, 3


@dataclass(frozen=True, eq=False)
class SavedVariable:
    """A variable that is described and not there; compared by identity, as a `tf.Variable` is."""

    name: str
    shape: tf.TensorShape
    dtype: tf.DType
    trainable: bool = True


def read(meta_graph: Any) -> Blueprint:
    """Describe one graph, a protobuf of type `MetaGraphDef`."""
    missing = ops.missing(ops.custom(meta_graph))
    if not meta_graph.HasField("object_graph_def"):
        return _read_tf1(meta_graph, missing)
    return _Objects(meta_graph).blueprint(missing)


class _Objects:
    """The object graph of a TF2 SavedModel: nodes with named children."""

    def __init__(self, meta_graph: Any) -> None:
        self._meta = meta_graph
        self._graph = meta_graph.object_graph_def
        self._nodes = self._graph.nodes
        self._made: dict[int, SavedVariable] = {}

    def blueprint(self, missing: list[str], node: int = 0) -> Blueprint:
        """The contents of the object at a node, or of the function that it is."""
        root = self._children(node)
        function = self._function(node)
        signatures = {name: self._signature(node) for name, node in self._children(root.get("signatures")).items()}
        lists = {
            name: [self._variable(entry) for entry in self._entries(root.get(name))]
            for name in ("trainable_variables", "variables")
        }
        functions = ((function,) if function else ()) + tuple(signatures.values())
        files = [self._meta.asset_file_def[n.asset.asset_file_def_index] for n in self._nodes if n.HasField("asset")]
        return Blueprint(
            function=function,
            signatures=signatures,
            variables=contents.gather(lists["trainable_variables"], lists["variables"], functions),
            losses=len(self._entries(root.get("regularization_losses"))),
            input_losses=self._input_losses(root, function),
            pieces=self._pieces(root),
            assets=sorted({os.path.basename(file.filename) for file in files}),
            missing_ops=missing,
            piece=lambda name: self.blueprint(missing, self._node(node, name)),
        )

    def _input_losses(self, root: dict[str, int], call: contents.Function | None) -> str:
        """What becomes of the losses that depend on inputs."""

        def returned(keras_api: dict[str, int]) -> contents.Function | None:
            return next((self._function(keras_api[name]) for name in input_losses.NAMES if name in keras_api), None)

        if "keras_api" in root:
            return input_losses.verdict(call, returned(self._children(root["keras_api"])))
        layers = [self._children(self._children(node).get("keras_api")) for node in range(len(self._nodes))]
        is_lost = call is not None and any(
            input_losses.REGULARIZER in layer or input_losses.count(returned(layer)) for layer in layers
        )
        return "lost" if is_lost else ""

    def _node(self, node: int, name: str) -> int:
        """The node at a dotted name below another."""
        for part in name.split("."):
            node = self._children(node)[part]
        return node

    def _children(self, node: int | None) -> dict[str, int]:
        return {} if node is None else {child.local_name: child.node_id for child in self._nodes[node].children}

    def _entries(self, node: int | None) -> list[int]:
        """The entries of a published list, of lists and dicts in it too; of anything else itself."""
        if node is None:
            return []
        kind = self._nodes[node].user_object.identifier
        if kind not in _CONTAINERS:
            return [node]
        children = list(self._children(node).items())
        if kind != "trackable_dict_wrapper":
            children = sorted((int(name), child) for name, child in children if name.isdigit())
        return [entry for _, child in children for entry in self._entries(child)]

    def _variable(self, node: int) -> SavedVariable | None:
        if not self._nodes[node].HasField("variable"):
            return None
        if node not in self._made:
            saved = self._nodes[node].variable
            name = saved.name or "Variable"
            shape, dtype = tf.TensorShape(saved.shape), tf.as_dtype(saved.dtype)
            self._made[node] = SavedVariable(name, shape, dtype, saved.trainable)
        return self._made[node]

    def _is_function(self, node: int) -> bool:
        return self._nodes[node].WhichOneof("kind") in ("function", "bare_concrete_function")

    def _is_piece(self, node: int) -> bool:
        return bool(self._traces(node)[1])

    def _pieces(self, root: dict[str, int]) -> list[str]:
        names = []
        for name, child in root.items():
            if contents.NOT_PIECES.fullmatch(name):
                continue
            if self._is_piece(child):
                names.append(name)
            if not self._is_function(child):
                below = self._children(child).items()
                names += [
                    f"{name}.{n}" for n, node in below if self._is_piece(node) and not contents.NOT_PIECES.fullmatch(n)
                ]
        return sorted(names)

    def _traces(self, node: int | None) -> tuple[Any, list[str]]:
        """What is saved of the function that a node is, or of the `__call__` below it; and names of its traces."""
        while node is not None and not self._is_function(node):
            node = self._children(node).get("__call__")
        if node is None:
            return None, []
        kind = self._nodes[node].WhichOneof("kind")
        saved = getattr(self._nodes[node], kind)
        return saved, list(saved.concrete_functions) if kind == "function" else [saved.concrete_function_name]

    def _function(self, node: int) -> contents.Function | None:
        """The function that a node is, or that can be called below it."""
        saved, names = self._traces(node)
        if saved is None:
            return None
        input_name, parameters, is_open = _parameters(
            {pair.key: _decode(pair.value) for pair in saved.function_spec.fullargspec.named_tuple_value.values}
        )
        traces = []
        for name in names:
            concrete = self._graph.concrete_functions[name]
            args, kwargs = _decode(concrete.canonicalized_input_signature)
            outputs = _decode(concrete.output_signature)
            order = [input_name, *parameters]
            traces.append(contents.trace(args, kwargs, order, outputs, self._captured(concrete)))
        return contents.Function(
            _not_loaded, parameters, tuple(traces), is_open=is_open, is_restored=True, input_name=input_name
        )

    def _signature(self, node: int) -> contents.Function:
        concrete = self._graph.concrete_functions[self._nodes[node].bare_concrete_function.concrete_function_name]
        _, inputs = _decode(concrete.canonicalized_input_signature)
        outputs = _decode(concrete.output_signature)
        one = contents.Trace(inputs=dict(inputs), outputs=outputs, variables=self._captured(concrete))
        return contents.Function(call=_not_loaded, traces=(one,), is_signature=True)

    def _captured(self, concrete: Any) -> tuple[Any, ...]:
        found = [self._variable(node) for node in concrete.bound_inputs]
        return tuple(variable for variable in found if variable is not None)


def _read_tf1(meta_graph: Any, missing: list[str]) -> Blueprint:
    signatures = {}
    for name, saved in meta_graph.signature_def.items():
        if name not in _TF1_OPS:
            one = contents.Trace(inputs=_inputs(saved.inputs), outputs=_outputs(saved.outputs))
            signatures[name] = contents.Function(call=_not_loaded, traces=(one,), is_signature=True)
    nodes = meta_graph.graph_def.node
    variables = [_variable_of(node) for node in nodes if node.op == "VarHandleOp"]
    return Blueprint(
        function=None,
        signatures=signatures,
        variables=with_references(contents.gather([], variables, ()), nodes),
        losses=0,
        input_losses="",
        pieces=[],
        assets=_assets(meta_graph),
        missing_ops=missing,
        piece=_no_piece,
    )


def with_references(variables: contents.Variables, nodes: Iterable[Any]) -> contents.Variables:
    """Variables, and those of TF1 that only the nodes of a graph tell of, since TensorFlow 2 makes no objects of them.

    Args:
        variables: The others.
        nodes: The nodes, protobufs of type `NodeDef`.
    """
    references = tuple(_variable_of(node) for node in nodes if node.op in REFERENCES)
    return replace(variables, captured=(*variables.captured, *references))


def _variable_of(node: Any) -> SavedVariable:
    return SavedVariable(node.name, tf.TensorShape(node.attr["shape"].shape), tf.as_dtype(node.attr["dtype"].type))


def _inputs(infos: Any) -> dict[str, Any]:
    """The inputs of a TF1 signature; of a sparse one its three parts, as TensorFlow 2 takes them."""
    found = {}
    for name, info in sorted(infos.items()):
        dtype, shape = tf.as_dtype(info.dtype), tf.TensorShape(info.tensor_shape)
        if info.WhichOneof("encoding") == "coo_sparse":
            found[f"{name}_indices"] = tf.TensorSpec((None, shape.rank), tf.int64)
            found[f"{name}_values"] = tf.TensorSpec((None,), dtype)
            found[f"{name}_dense_shape"] = tf.TensorSpec((shape.rank,), tf.int64)
        else:
            found[name] = tf.TensorSpec(shape, dtype)
    return found


def _outputs(infos: Any) -> dict[str, Any]:
    found = {}
    for name, info in sorted(infos.items()):
        kind = tf.SparseTensorSpec if info.WhichOneof("encoding") == "coo_sparse" else tf.TensorSpec
        found[name] = kind(tf.TensorShape(info.tensor_shape), tf.as_dtype(info.dtype))
    return found


def _assets(meta_graph: Any) -> list[str]:
    """File names of the assets; a TF1 SavedModel lists them as a collection."""
    files = list(meta_graph.asset_file_def)
    for packed in meta_graph.collection_def["saved_model_assets"].any_list.value:
        files.append(meta_graph_pb2.AssetFileDef())
        packed.Unpack(files[-1])
    return sorted({os.path.basename(file.filename) for file in files})


def _parameters(spec: dict[str, Any]) -> tuple[str, dict[str, Any], bool]:
    """Name of the first argument; names and defaults of the others; whether any keyword may be tried."""
    names = [name for name in spec["args"] if name != "self"]
    parameters = dict.fromkeys(names, inspect.Parameter.empty)
    defaults = list(spec["defaults"] or ())
    parameters.update(zip(names[len(names) - len(defaults) :], defaults, strict=True))
    given = spec["kwonlydefaults"] or {}
    parameters.update({name: given.get(name, inspect.Parameter.empty) for name in spec["kwonlyargs"] or ()})
    first = next(iter(names), "inputs")  # what comes by name only is no input
    parameters.pop(first, None)
    return first, parameters, spec["varkw"] is not None


def _decode(value: Any) -> Any:
    """A Python value or `tf.TypeSpec` from a `StructuredValue`; what has no such form is its protobuf's text."""
    kind = value.WhichOneof("kind")
    if kind in (None, "none_value"):
        return None
    one = getattr(value, kind)
    if kind in ("list_value", "tuple_value"):
        parts = [_decode(part) for part in one.values]
        return parts if kind == "list_value" else tuple(parts)
    if kind == "dict_value":
        return {key: _decode(part) for key, part in sorted(one.fields.items())}
    if kind == "named_tuple_value":
        return [_decode(pair.value) for pair in one.values]
    if kind in ("tensor_spec_value", "bounded_tensor_spec_value"):
        return tf.TensorSpec(tf.TensorShape(one.shape), tf.as_dtype(one.dtype))
    if kind == "tensor_dtype_value":
        return tf.as_dtype(one)
    if kind == "tensor_shape_value":
        return tf.TensorShape(one)
    if kind == "type_spec_value":
        return _type_spec(one)
    return one if isinstance(one, (bool, int, float, str)) else str(one).strip()


def _type_spec(saved: Any) -> Any:
    state = _decode(saved.type_state)
    if saved.type_spec_class == _RAGGED:
        return tf.RaggedTensorSpec(*state[:4])
    if saved.type_spec_class == _SPARSE:
        return tf.SparseTensorSpec(*state[:2])
    return saved.type_spec_class_name


def _no_piece(name: str) -> Blueprint:
    raise KeyError(name)


def _not_loaded(*args: Any, **kwargs: Any) -> Any:
    raise TypeError("the SavedModel was described, not loaded: khl.load(handle)")
