"""What a function of a SavedModel writes while it runs: the variables that it assigns to."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from keras_hub_layers._src.savedmodel import contents
from keras_hub_layers._src.savedmodel.graphs.concrete import body_of_concrete
from keras_hub_layers._src.savedmodel.graphs.library import Body, Library, called_functions, node_name

__all__ = ["assigned_in", "assigned_variables"]


_WRITES = ("Assign", "ResourceScatter", "ResourceApply", "ResourceSparseApply", "ResourceStridedSliceAssign")


_PASS = ("Identity", "Enter", "Switch", "Merge", "RefIdentity")


def assigned_variables(function: contents.Function) -> list[Any]:
    """The variables that a function assigns to in inference mode, `tf.Variable`s, each once.

    Read from the graphs of its traces, those inside others included, without running anything.
    """
    variables: dict[int, Any] = {}
    for concrete in getattr(function.call, "concrete_functions", [function.call]):
        if hasattr(concrete, "graph") and not _trains(concrete):
            variables |= {id(variable): variable for variable in assigned_in(body_of_concrete(concrete))}
    return list(variables.values())


def assigned_in(body: Body) -> list[Any]:
    """The variables that a body assigns to, each once."""
    variables = _assigned(body.nodes, body.variables, body.library)
    return list({id(variable): variable for variable in variables}.values())


def _trains(concrete: Any) -> bool:
    """Whether a trace is one for training: `training=True` is fixed in it, by name or place."""
    args, kwargs = concrete.structured_input_signature
    return kwargs.get("training") is True or any(value is True for value in args)


def _assigned(nodes: Iterable[Any], known: Mapping[str, Any], library: Library) -> Iterator[Any]:
    """The variables that some nodes write; `known` are those behind the names of inputs."""
    names = dict(known)
    for node in nodes:
        inputs = [names.get(node_name(text)) for text in node.input if not text.startswith("^")]
        if node.op.startswith(_WRITES):
            if inputs and inputs[0] is not None:
                yield inputs[0]
        elif node.op in _PASS:
            if inputs and inputs[0] is not None:
                names[node.name] = inputs[0]
        else:
            for called in called_functions(node):
                definition = library.functions.get(called)
                if definition is None:
                    continue
                arguments = inputs[1:] if node.op in ("If", "StatelessIf", "Case") else inputs
                inner = {
                    argument.name: variable
                    for argument, variable in zip(definition.signature.input_arg, arguments, strict=False)
                    if variable is not None
                }
                if inner:
                    yield from _assigned(definition.node_def, inner, library)
