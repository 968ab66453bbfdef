"""The part of a SavedModel's graph that a layer uses, as protobufs."""

import os
from dataclasses import dataclass
from typing import Any

from tensorflow.core.protobuf import meta_graph_pb2

from keras_hub_layers._src.savedmodel.pruning.inline_functions import inline_functions
from keras_hub_layers._src.savedmodel.pruning.reach import NotUnderstood, Reach, Use, reach

__all__ = ["Pruned", "copy_part", "prune", "with_assets_of"]


# Copying takes about as long as loading two functions. With many functions it pays, because the next layer shares them.
_LEAST, _MANY = 4, 16


@dataclass(frozen=True, eq=False)
class Pruned:
    """A part of a graph.

    Attributes:
        meta_graph: A protobuf of type `MetaGraphDef`.
        numbers: The number in the whole graph of each node of the part.
    """

    meta_graph: Any
    numbers: tuple[int, ...]


def prune(meta_graph: Any, use: Use, directory: str, is_forced: bool = False) -> Pruned:
    """The part of a graph that a layer uses.

    Args:
        meta_graph: A protobuf of type `MetaGraphDef` with an object graph.
        use: What the layer calls.
        directory: The SavedModel. The names of the assets point into it.
        is_forced: Whether to prune also if it does not pay. Defaults to `False`.

    Raises:
        NotUnderstood: The SavedModel has to be loaded whole, or pruning does not pay.
    """
    kept, library = reach(meta_graph, use), meta_graph.graph_def.library
    omitted = len(library.function) - len(kept.functions)
    if omitted < _LEAST and len(library.function) < _MANY and not is_forced:
        raise NotUnderstood(f"{omitted} of its {len(library.function)} functions are not used, so pruning does not pay")
    part = copy_part(meta_graph, kept, directory)
    inline_functions(part.meta_graph)
    return part


def copy_part(meta_graph: Any, kept: Reach, directory: str) -> Pruned:
    """A copy of a graph with only these nodes and functions. It can be loaded from another directory."""
    nodes = meta_graph.object_graph_def.nodes
    numbers = tuple(sorted(kept.nodes))
    places = {number: place for place, number in enumerate(numbers)}
    copy = meta_graph_pb2.MetaGraphDef()
    copy.meta_info_def.CopyFrom(meta_graph.meta_info_def)
    _set_assets(copy, meta_graph, directory)
    for number in numbers:
        _copy_node(nodes[number], copy.object_graph_def.nodes.add(), places)
    _copy_concrete_functions(meta_graph.object_graph_def, kept, copy.object_graph_def, places)
    _copy_library(meta_graph.graph_def, kept, copy.graph_def)
    values = {nodes[number].constant.operation for number in numbers} - {""}
    copy.graph_def.node.extend(node for node in meta_graph.graph_def.node if node.name in values)
    return Pruned(copy, numbers)


def with_assets_of(pruned: Pruned, meta_graph: Any, directory: str) -> Pruned:
    """A part with the assets of another directory that holds the same graph."""
    if not meta_graph.asset_file_def:
        return pruned
    copy = meta_graph_pb2.MetaGraphDef()
    copy.CopyFrom(pruned.meta_graph)
    _set_assets(copy, meta_graph, directory)
    return Pruned(copy, pruned.numbers)


def _set_assets(copy: Any, meta_graph: Any, directory: str) -> None:
    del copy.asset_file_def[:]
    copy.asset_file_def.extend(meta_graph.asset_file_def)
    for asset in copy.asset_file_def:
        asset.filename = os.path.join(os.path.abspath(directory), "assets", asset.filename)


def _copy_node(node: Any, copy: Any, places: dict[int, int]) -> None:
    copy.CopyFrom(node)
    del copy.slot_variables[:]  # those of an optimizer
    for references, originals in ((copy.children, node.children), (copy.dependencies, node.dependencies)):
        del references[:]
        for original in originals:
            if original.node_id in places:
                references.add(local_name=original.local_name, node_id=places[original.node_id])


def _copy_concrete_functions(graph: Any, kept: Reach, copy: Any, places: dict[int, int]) -> None:
    for name, function in graph.concrete_functions.items():
        if name in kept.functions:
            copy.concrete_functions[name].CopyFrom(function)
            copy.concrete_functions[name].bound_inputs[:] = [places[number] for number in function.bound_inputs]


def _copy_library(graph: Any, kept: Reach, copy: Any) -> None:
    copy.versions.CopyFrom(graph.versions)
    library = graph.library
    copy.library.function.extend(f for f in library.function if f.signature.name in kept.functions)
    copy.library.gradient.extend(g for g in library.gradient if g.function_name in kept.functions)
    gradients = (g for g in library.registered_gradients if g.gradient_func in kept.functions)
    copy.library.registered_gradients.extend(gradients)
