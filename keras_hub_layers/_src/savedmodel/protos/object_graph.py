"""What a SavedModel's files say, without loading it: the same records as `live_object` gives for a loaded one.

Only `saved_model.pb` is read, so the answer takes a fraction of a second, needs neither TensorFlow nor custom ops, and
is there also for a SavedModel that TensorFlow cannot load.
"""

import functools
import inspect
import os
from collections.abc import Iterable
from typing import Any

from keras_hub_layers._src.savedmodel import input_losses
from keras_hub_layers._src.savedmodel.contents import Contents, Function, Trace, is_piece_name
from keras_hub_layers._src.savedmodel.graphs import ops
from keras_hub_layers._src.savedmodel.graphs.library import Body, body_of_function, library_of, unsaved_gradients
from keras_hub_layers._src.savedmodel.protos import tf1_graph
from keras_hub_layers._src.savedmodel.protos.saved_values import SavedVariable, decode, refuse_call
from keras_hub_layers._src.savedmodel.protos.specs import dtype_of, shape_of
from keras_hub_layers._src.savedmodel.traces import gather_variables, make_trace

_CONTAINERS = ("trackable_list_wrapper", "trackable_tuple_wrapper", "trackable_dict_wrapper")


def read(meta_graph: Any, custom_ops: Iterable[str] | None = None) -> Contents:
    """Describe one graph.

    Args:
        meta_graph: A protobuf of type `MetaGraphDef`.
        custom_ops: Its ops that TensorFlow itself does not offer. Defaults to `None`: they are looked up.
    """
    missing = ops.missing_ops(ops.custom(meta_graph) if custom_ops is None else custom_ops)
    if not meta_graph.HasField("object_graph_def"):
        return tf1_graph.read(meta_graph, missing)
    return _Objects(meta_graph, missing).contents(0)


class _Objects:
    """The object graph of a TF2 SavedModel: nodes with named children."""

    def __init__(self, meta_graph: Any, missing: list[str]) -> None:
        self._meta = meta_graph
        self._missing = missing
        self._concrete = meta_graph.object_graph_def.concrete_functions
        self._nodes = meta_graph.object_graph_def.nodes
        self._variables: dict[int, SavedVariable] = {}

    @functools.cached_property
    def _library(self) -> Any:
        graph = self._meta.graph_def
        return library_of(graph, unsaved_gradients(graph))

    def contents(self, node: int) -> Contents:
        """The contents of the object at a node, or of the function that it is."""
        root = {} if self._is_function(node) else self._children(node)  # the children of a function are its traces
        function = self._function(node)
        signatures = {name: self._signature(node) for name, node in self._children(root.get("signatures")).items()}
        trainable, published = (
            [self._variable(entry) for entry in self._entries(root.get(name))]
            for name in ("trainable_variables", "variables")
        )
        functions = ((function,) if function else ()) + tuple(signatures.values())
        files = [self._meta.asset_file_def[n.asset.asset_file_def_index] for n in self._nodes if n.HasField("asset")]
        return Contents(
            function=function,
            signatures=signatures,
            variables=gather_variables(trainable, published, functions),
            losses=tuple(map(self._loss, self._entries(root.get("regularization_losses")))),
            input_losses=self._input_losses(root, function),
            pieces=self._pieces(root),
            assets=sorted({os.path.basename(file.filename) for file in files}),
            missing_ops=self._missing,
            piece=lambda name: self.contents(self._node(node, name)),
        )

    def _input_losses(self, root: dict[str, int], call: Function | None) -> str:
        """What becomes of the losses that depend on inputs."""

        def losses_function(keras_api: dict[str, int]) -> Function | None:
            return next((self._function(keras_api[name]) for name in input_losses.NAMES if name in keras_api), None)

        if "keras_api" in root:
            return input_losses.verdict(call, losses_function(self._children(root["keras_api"])))
        children = (child for node in self._nodes for child in node.children)
        layers = [self._children(child.node_id) for child in children if child.local_name == "keras_api"]
        is_lost = call is not None and any(
            input_losses.REGULARIZER in layer or input_losses.count(losses_function(layer)) for layer in layers
        )
        return "lost" if is_lost else ""

    # -- nodes -------------------------------------------------------------------------------------------------------

    def _node(self, node: int, name: str) -> int:
        """The node at a dotted name below another."""
        for segment in name.split("."):
            node = self._children(node)[segment]
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
        if node not in self._variables:
            saved = self._nodes[node].variable
            shape, dtype = shape_of(saved.shape), dtype_of(saved.dtype)
            self._variables[node] = SavedVariable(saved.name or "Variable", shape, dtype, saved.trainable)
        return self._variables[node]

    def _pieces(self, root: dict[str, int]) -> list[str]:
        """Dotted names of the named callables: the object's own, and one level further down."""
        names = []
        for name, child in root.items():
            if not is_piece_name(name):
                continue
            if self._trace_names(child):
                names.append(name)
            if not self._is_function(child):
                names += [
                    f"{name}.{below}"
                    for below, node in self._children(child).items()
                    if is_piece_name(below) and self._trace_names(node)
                ]
        return sorted(names)

    # -- functions ---------------------------------------------------------------------------------------------------

    def _is_function(self, node: int) -> bool:
        return self._nodes[node].WhichOneof("kind") in ("function", "bare_concrete_function")

    def _saved_function(self, node: int | None) -> Any:
        """What is saved of the function that a node is, or of the `__call__` below it; or `None`."""
        while node is not None and not self._is_function(node):
            node = self._children(node).get("__call__")
        return None if node is None else getattr(self._nodes[node], self._nodes[node].WhichOneof("kind"))

    @staticmethod
    def _has_traces(saved: Any) -> bool:
        """Whether a saved function has several traces, rather than being one."""
        return "concrete_functions" in saved.DESCRIPTOR.fields_by_name

    def _trace_names(self, node: int | None) -> list[str]:
        saved = self._saved_function(node)
        if saved is None:
            return []
        return list(saved.concrete_functions if self._has_traces(saved) else [saved.concrete_function_name])

    def _function(self, node: int) -> Function | None:
        """The function that a node is, or that can be called below it."""
        saved = self._saved_function(node)
        if saved is None:
            return None
        spec = {pair.key: decode(pair.value) for pair in saved.function_spec.fullargspec.named_tuple_value.values}
        input_name, parameters, is_open = _parameters(spec)
        names = [input_name, *parameters]
        traces = tuple(self._trace(name, names) for name in self._trace_names(node))
        return Function(refuse_call, parameters, traces, is_open=is_open, is_restored=True, input_name=input_name)

    def _trace(self, name: str, names: list[str]) -> Trace:
        concrete = self._concrete[name]
        args, kwargs = decode(concrete.canonicalized_input_signature)
        outputs = decode(concrete.output_signature)
        body = functools.partial(self._body, name)
        return make_trace(args, kwargs, names, outputs, self._captured_variables(concrete), body)

    def _signature(self, node: int) -> Function:
        name = self._nodes[node].bare_concrete_function.concrete_function_name
        concrete = self._concrete[name]
        _, inputs = decode(concrete.canonicalized_input_signature)
        trace = Trace(
            inputs=dict(inputs),
            outputs=decode(concrete.output_signature),
            variables=self._captured_variables(concrete),
            body=functools.partial(self._body, name),
        )
        return Function(call=refuse_call, traces=(trace,), is_signature=True, is_restored=True)

    def _loss(self, node: int) -> Trace | None:
        names = self._trace_names(node)
        return self._trace(names[0], ["inputs"]) if names else None

    def _captured_variables(self, concrete: Any) -> tuple[Any, ...]:
        variables = [self._variable(node) for node in concrete.bound_inputs]
        return tuple(variable for variable in variables if variable is not None)

    def _body(self, name: str) -> Body:
        captures = [self._variable(node) for node in self._concrete[name].bound_inputs]
        return body_of_function(self._library.functions[name], captures, self._library)


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
