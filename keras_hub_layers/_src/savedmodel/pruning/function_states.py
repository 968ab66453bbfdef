"""Which functions of a SavedModel call which, and which of them have a state inside."""

from collections.abc import Iterable
from typing import Any

from keras_hub_layers._src.compat.tensorflow import is_stateful
from keras_hub_layers._src.savedmodel.graphs.library import called_functions, custom_gradient

__all__ = ["RANDOM_OPS", "callers_of", "calls_of", "functions_with_state", "reachable_from"]

# Stateful ops whose state is in a variable or a table. Each layer has its own variables and tables. Other stateful ops
# may have their state in the op, such as a random generator with a seed, or under a name that two layers would share.
_STATE_ELSEWHERE = frozenset(
    (
        "AssignAddVariableOp",
        "AssignSubVariableOp",
        "AssignVariableOp",
        "Assert",
        "Case",
        "If",
        "InitializeTableFromTextFileV2",
        "LookupTableExportV2",
        "LookupTableFindV2",
        "LookupTableImportV2",
        "LookupTableSizeV2",
        "ReadVariableOp",
        "ResourceGather",
        "ResourceGatherNd",
        "RestoreV2",
        "RngReadAndSkip",
        "RngSkip",
        "SaveV2",
        "StatefulPartitionedCall",
        "VarIsInitializedOp",
        "While",
    )
)
# Ops that draw random numbers. Their state is in the op, which matters if they have a seed.
RANDOM_OPS = frozenset(("RandomStandardNormal", "RandomUniform", "RandomUniformInt", "TruncatedNormal"))


def calls_of(library: Any) -> dict[str, set[str]]:
    """Name of each function -> the functions that it calls, also those for its gradient."""
    gradients = {gradient.registered_op_type: gradient.gradient_func for gradient in library.registered_gradients}
    calls: dict[str, set[str]] = {}
    for function in library.function:
        called: set[str] = set()
        calls[function.signature.name] = called
        for node in function.node_def:
            called.update(called_functions(node))
            called.add(gradients.get(custom_gradient(node), ""))
    return {name: called & calls.keys() for name, called in calls.items()}


def functions_with_state(library: Any, ignored: frozenset[str] = frozenset()) -> set[str]:
    """Names of the functions with an op that has a state inside, or may have one.

    Args:
        library: A protobuf of type `FunctionDefLibrary`.
        ignored: Further ops that do not count. Defaults to none.
    """
    ops = {function.signature.name: {node.op for node in function.node_def} for function in library.function}
    stateful = {op for op in set().union(*ops.values()) - ops.keys() if is_stateful(op)}
    stateful -= _STATE_ELSEWHERE | ignored
    return {name for name, several in ops.items() if several & stateful}


def callers_of(calls: dict[str, set[str]], names: Iterable[str]) -> set[str]:
    """Functions, the functions that call them, and so on."""
    callers: dict[str, set[str]] = {}
    for name, several in calls.items():
        for called in several:
            callers.setdefault(called, set()).add(name)
    return reachable_from(callers, names)


def reachable_from(edges: dict[str, set[str]], names: Iterable[str]) -> set[str]:
    reached, waiting = set(), list(names)
    while waiting:
        name = waiting.pop()
        if name not in reached:
            reached.add(name)
            waiting += edges.get(name, ())
    return reached
