"""Merges equal functions: layers of one kind often have functions that differ in nothing but their names."""

from typing import Any

from keras_hub_layers._src.savedmodel.graphs.library import called_functions
from keras_hub_layers._src.savedmodel.pruning.function_states import callers_of, calls_of, functions_with_state

__all__ = ["merge_equal_functions"]


def merge_equal_functions(meta_graph: Any) -> None:
    """Keep one of the functions that are equal except for their names, and have the others' callers call it.

    TensorFlow makes a graph of each function, and of its gradient, so the layer loads and trains its first step sooner.
    What is computed stays the same, because a function takes its variables as arguments. A function with a state
    inside, such as a random generator with a seed, is kept, and so is one that is used other than by a call.

    Args:
        meta_graph: A protobuf of type `MetaGraphDef`, which is changed.
    """
    library, object_graph = meta_graph.graph_def.library, meta_graph.object_graph_def
    kept = callers_of(calls_of(library), functions_with_state(library)) | _used_by_name(library, object_graph)
    merged: dict[str, str] = {}  # name -> name of the function that is called instead
    while replaced := _equal_functions(library, kept | merged.keys()):
        merged |= replaced
        for function in library.function:
            for node in function.node_def:
                _call_others(node, replaced)
    remaining = [function for function in library.function if function.signature.name not in merged]
    del library.function[:]
    library.function.extend(remaining)
    for name in merged.keys() & object_graph.concrete_functions.keys():
        del object_graph.concrete_functions[name]


def _used_by_name(library: Any, object_graph: Any) -> set[str]:
    """Names of the functions that something else than a call in a function names."""
    names = {name for gradient in library.gradient for name in (gradient.function_name, gradient.gradient_func)}
    names |= {gradient.gradient_func for gradient in library.registered_gradients}
    for node in object_graph.nodes:
        names.update(node.function.concrete_functions)
        names |= {node.bare_concrete_function.concrete_function_name, node.captured_tensor.concrete_function}
    for function in library.function:
        named = {value.s.decode(errors="replace") for value in function.attr.values()}  # such as its gradient
        names |= named | ({function.signature.name} if "api_implements" in function.attr else set())
    return names


def _equal_functions(library: Any, kept: set[str]) -> dict[str, str]:
    """Name of each function that equals an earlier one, except for its name -> the name of the earlier one."""
    first: dict[bytes, str] = {}
    equal = {}
    for function in library.function:
        name = function.signature.name
        if name in kept:
            continue
        function.signature.name = ""
        content = function.SerializeToString(deterministic=True)
        function.signature.name = name
        if first.setdefault(content, name) != name:
            equal[name] = first[content]
    return equal


def _call_others(node: Any, replaced: dict[str, str]) -> None:
    """Have a node call the functions that others are replaced by."""
    if replaced.keys().isdisjoint(called_functions(node)):
        return
    node.op = replaced.get(node.op, node.op)
    for value in node.attr.values():
        for function in (value.func, *value.list.func) if value.HasField("func") else value.list.func:
            function.name = replaced.get(function.name, function.name)
