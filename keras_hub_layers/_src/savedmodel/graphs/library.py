"""The functions of a graph: which are behind `__call__` and the signatures, and which a node calls."""

from collections.abc import Iterator
from typing import Any


def _called(node: Any) -> Iterator[str]:
    """Names of the functions that a node calls."""
    for value in node.attr.values():
        if value.HasField("func"):
            yield value.func.name
        yield from (function.name for function in value.list.func)


def _base(text: str) -> str:
    return text.partition(":")[0]


def _entries(graph: Any) -> dict[str, list[str]]:
    """Names of the library's functions behind `__call__`, as `""`, and behind each signature."""
    root = _children(graph, 0)
    entries = {name: _functions(graph, node) for name, node in _children(graph, root.get("signatures")).items()}
    if "__call__" in root:
        entries[""] = _functions(graph, root["__call__"])
    return entries


def _children(graph: Any, node: int | None) -> dict[str, int]:
    return {} if node is None else {child.local_name: child.node_id for child in graph.nodes[node].children}


def _functions(graph: Any, node: int) -> list[str]:
    while (kind := graph.nodes[node].WhichOneof("kind")) not in ("function", "bare_concrete_function"):
        below = _children(graph, node)
        if "__call__" not in below:
            return []
        node = below["__call__"]
    saved = getattr(graph.nodes[node], kind)
    return list(saved.concrete_functions) if kind == "function" else [saved.concrete_function_name]
