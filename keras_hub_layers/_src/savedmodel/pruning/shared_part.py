"""Keeps the part of a SavedModel that a layer uses for the next layer. So its graphs are made once in a process."""

import collections
import hashlib
import threading
import weakref
from typing import Any

from keras_hub_layers._src.compat import shared_functions
from keras_hub_layers._src.resolve import environment
from keras_hub_layers._src.savedmodel.pruning.function_states import (
    RANDOM_OPS,
    callers_of,
    calls_of,
    functions_with_state,
    reachable_from,
)
from keras_hub_layers._src.savedmodel.pruning.prune import Pruned
from keras_hub_layers._src.savedmodel.pruning.reach import NotUnderstood

__all__ = ["SharedPart", "forget", "keep", "kept", "key_of", "share"]

# How many parts are kept that no layer uses any more. A search makes and drops the layers of one or two handles.
_KEPT = 2
_lock = threading.Lock()
_alive: "weakref.WeakValueDictionary[Any, SharedPart]" = weakref.WeakValueDictionary()
_latest: "collections.OrderedDict[Any, SharedPart]" = collections.OrderedDict()


class SharedPart:
    """A part of a SavedModel whose functions are loaded, without variables.

    Args:
        pruned: The part, with only the functions that each layer loads itself.
        functions: Name -> function for `shared_functions.bind`.
    """

    def __init__(self, pruned: Pruned, functions: dict[str, Any]) -> None:
        self.pruned = pruned
        self._functions = functions

    def load_functions(self, load: Any, library: Any, object_graph: Any) -> dict[str, Any]:
        """The functions for another layer, for `shared_functions.load_functions_by`."""
        functions = load(library, object_graph)
        return {**functions, **{name: shared_functions.bind(shared) for name, shared in self._functions.items()}}


def key_of(content: bytes, *use: Any) -> tuple[Any, ...]:
    """The key of a part. Two layers with the same key may share the part.

    Args:
        content: The whole graph, a serialized `MetaGraphDef`.
        *use: What the layers use of the graph, and how.
    """
    return (hashlib.sha256(content).digest(), *use)


def kept(key: Any) -> SharedPart | None:
    """The part that an earlier layer has left, if there is one."""
    if not environment.sharing():
        return None
    with _lock:
        part = _alive.get(key)
        if part is not None and key in _latest:
            _latest.move_to_end(key)
        return part


def keep(key: Any, part: SharedPart) -> None:
    """Keep a part for the next layer, as long as a layer holds it. The latest parts are kept longer."""
    with _lock:
        _alive[key] = _latest[key] = part
        while len(_latest) > _KEPT:
            _latest.popitem(last=False)


def forget() -> None:
    """Forget all parts. The next layer of each SavedModel loads its functions."""
    with _lock:
        _latest.clear()
        _alive.clear()


def share(pruned: Pruned) -> SharedPart:
    """Load the functions of a part that layers can share.

    Args:
        pruned: The part. The functions that a layer need not load itself are removed from it.

    Raises:
        NotUnderstood: Each layer needs functions of its own.
    """
    if not environment.sharing():
        raise NotUnderstood("KERAS_HUB_LAYERS_SHARE says so")
    library, object_graph = pruned.meta_graph.graph_def.library, pruned.meta_graph.object_graph_def
    _check_captures(library, object_graph)
    calls = calls_of(library)
    own = callers_of(calls, _with_state(library, object_graph, calls))
    needed = reachable_from(calls, own)
    if len(needed) > len(calls) / 2:
        raise NotUnderstood("most of its functions have a state of their own")
    part = type(library)()
    part.function.extend(function for function in library.function if function.signature.name not in own)
    part.gradient.extend(gradient for gradient in library.gradient if gradient.function_name not in own)
    part.registered_gradients.extend(g for g in library.registered_gradients if g.gradient_func not in own)
    shared = shared_functions.load_functions(part, object_graph)
    for functions, name_of in (
        (library.function, lambda function: function.signature.name),
        (library.gradient, lambda gradient: gradient.function_name),
        (library.registered_gradients, lambda gradient: gradient.gradient_func),
    ):
        remaining = [item for item in functions if name_of(item) in needed]
        del functions[:]
        functions.extend(remaining)
    return SharedPart(pruned, shared)


def _check_captures(library: Any, object_graph: Any) -> None:
    """Refuse functions that use another function other than by a call."""
    if any(node.HasField("captured_tensor") for node in object_graph.nodes):
        raise NotUnderstood("a function captures a tensor of another")
    concrete = object_graph.concrete_functions
    for gradient in library.registered_gradients:
        if gradient.gradient_func in concrete and concrete[gradient.gradient_func].bound_inputs:
            raise NotUnderstood("a custom gradient captures variables")


def _with_state(library: Any, object_graph: Any, calls: dict[str, set[str]]) -> set[str]:
    """Names of the functions that have a state inside, which layers cannot share.

    Ops draw different numbers each time if they have no seed. With a seed, each layer has to draw the same sequence. It
    does: a layer calls these functions in a function of its own, where TensorFlow inlines them. Only a function that is
    called without inlining, by the name that the layers share, has one state for all of them.
    """
    nodes = object_graph.nodes
    seeded = {function.signature.name for function in library.function if any(map(_has_seed, function.node_def))}
    called_as_they_are = {f.signature.name for f in library.function if "_noinline" in f.attr} | {
        nodes[child.node_id].bare_concrete_function.concrete_function_name
        for node in nodes
        if not node.HasField("function")  # whose children are its own traces
        for child in node.children
        if nodes[child.node_id].HasField("bare_concrete_function")
    }
    return functions_with_state(library, RANDOM_OPS) | (
        seeded if callers_of(calls, seeded) & called_as_they_are else set()
    )


def _has_seed(node: Any) -> bool:
    return node.op in RANDOM_OPS and any(name in node.attr and node.attr[name].i for name in ("seed", "seed2"))
