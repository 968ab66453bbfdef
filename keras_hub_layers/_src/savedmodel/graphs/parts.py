"""Parts of a graph: cut out of it, and run inside the function that is being traced."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import tensorflow as tf

__all__ = ["cut_part", "run_graph"]


def cut_part(graph_def: Any, names: set[str], fed: Iterable[str]) -> Any:
    """The nodes of a graph with some names, without those that are fed.

    Args:
        graph_def: A protobuf of type `GraphDef`.
        names: Names of the nodes.
        fed: Names of the tensors that are given from outside.
    """
    part = type(graph_def)()
    part.versions.CopyFrom(graph_def.versions)
    part.library.CopyFrom(graph_def.library)
    outside = {name.removesuffix(":0") for name in fed}
    kept = {
        node.name
        for node in graph_def.node
        if node.name in names and (node.op != "Placeholder" or node.name not in outside)
    }
    for node in graph_def.node:
        if node.name in kept:
            copy = part.node.add()
            copy.CopyFrom(node)
            del copy.input[:]
            copy.input.extend(text for text in node.input if text[0] != "^" or text[1:] in kept)
    return part


def run_graph(graph_def: Any, feeds: Mapping[str, Any], fetches: Sequence[str]) -> list[Any]:
    """Put a graph into the function that is being traced, and return tensors of it.

    Args:
        graph_def: The graph.
        feeds: Name of a tensor -> the value that replaces it.
        fetches: Names of the tensors to return.
    """
    graph: Any = tf.compat.v1.get_default_graph()
    used = {text if ":" in text else f"{text}:0" for node in graph_def.node for text in node.input}
    given = {name: graph.capture(value) for name, value in feeds.items() if name in used or name in fetches}
    computed = [name for name in dict.fromkeys(fetches) if name not in given]
    mapped = {name: tensor for name, tensor in given.items() if name in used}
    tensors = tf.graph_util.import_graph_def(graph_def, mapped, computed, name="part")
    results = {**given, **dict(zip(computed, tensors or (), strict=True))}
    return [results[name] for name in fetches]
