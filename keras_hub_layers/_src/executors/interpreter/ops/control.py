"""Ops that need more than the values of their inputs: variables, calls, branches, loops, lists."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from keras_hub_layers._src.executors.interpreter import host
from keras_hub_layers._src.executors.interpreter.custom_gradients import refuse, with_gradient
from keras_hub_layers._src.executors.interpreter.ops.array import gather_nd
from keras_hub_layers._src.executors.interpreter.ops.table import Table
from keras_hub_layers._src.executors.interpreter.values import (
    HostObject,
    TensorList,
    UnsupportedOp,
    VariableRef,
    dtype_of,
    integers,
    is_static,
    shape_of,
    tensor,
)

ops: Any = keras.ops  # the hints of some functions say that they may return nothing

OF_SHAPES = frozenset({"Shape", "ShapeN", "Size", "EnsureShape"})  # which TensorFlow computes as tensors too
_LONGEST_LOOP = 10_000  # the most steps that a loop may have, since it is unrolled


@dataclass(frozen=True, eq=False)
class Context:
    """Where a node runs.

    Attributes:
        program: The `Program` that it belongs to.
        state: The `State` of the variables.
        node: The node.
    """

    program: Any
    state: Any
    node: Any

    def call(self, function: str, inputs: list[Any], state: Any = None) -> tuple[Any, ...]:
        return tuple(self.program.call(function, inputs, self.state if state is None else state))


SPECIAL = Table()


# -- values that are known, or handed on -------------------------------------------------------------------------------


@SPECIAL("Const")
def constant(context: Context, inputs: list[Any]) -> tuple[Any, ...]:
    return (context.node["value"],)


@SPECIAL("Identity", "EnsureShape", "CheckNumerics", "PlaceholderWithDefault", "Snapshot", "DeepCopy")
def hand_on(context: Context, inputs: list[Any]) -> tuple[Any, ...]:
    return (inputs[0],)


@SPECIAL("IdentityN")
def hand_all_on(context: Context, inputs: list[Any]) -> tuple[Any, ...]:
    return tuple(inputs)


@SPECIAL("PreventGradient")
def prevent_gradient(context: Context, inputs: list[Any]) -> tuple[Any, ...]:
    node = context.node
    compute = refuse(f"a gradient that its author forbids: {node['message']}", node.op, node.name)
    return tuple(with_gradient(inputs, inputs, [], compute))


def _lengths(context: Context, value: Any) -> Any:
    return np.array(value.shape if isinstance(value, VariableRef) else shape_of(value), context.node["out_type"])


@SPECIAL("Shape", "VariableShape")
def shape(context: Context, inputs: list[Any]) -> tuple[Any, ...]:
    return (_lengths(context, inputs[0]),)


@SPECIAL("ShapeN")
def shapes(context: Context, inputs: list[Any]) -> tuple[Any, ...]:
    return tuple(_lengths(context, value) for value in inputs)


@SPECIAL("Size")
def size(context: Context, inputs: list[Any]) -> tuple[Any, ...]:
    return (np.array(np.prod(shape_of(inputs[0])), context.node["out_type"]),)


@SPECIAL("Rank")
def rank(context: Context, inputs: list[Any]) -> tuple[Any, ...]:
    return (np.array(len(inputs[0].shape), "int32"),)


@SPECIAL("Variable", "VariableV2")
def reference(context: Context, inputs: list[Any]) -> tuple[Any, ...]:
    """A variable of TF1 that belongs to the graph. It is read here, and what would assign to it is refused."""
    return (host.read_reference(context.node),)


@SPECIAL("VarHandleOp")
def variable_of_graph(context: Context, inputs: list[Any]) -> tuple[Any, ...]:
    raise UnsupportedOp(f"the op {context.node.op}, a variable that belongs to the graph")


# -- variables ---------------------------------------------------------------------------------------------------------


@SPECIAL("ReadVariableOp")
def read(context: Context, inputs: list[Any]) -> tuple[Any, ...]:
    if isinstance(inputs[0], HostObject):
        return host.compute(context.node, inputs)
    return (context.state.read(inputs[0].number),)


@SPECIAL("VarIsInitializedOp")
def is_initialized(context: Context, inputs: list[Any]) -> tuple[Any, ...]:
    return (np.array(True),)


@SPECIAL("ResourceGather")
def gather_rows(context: Context, inputs: list[Any]) -> tuple[Any, ...]:
    if context.node["batch_dims"]:
        raise UnsupportedOp("ResourceGather with batch_dims")
    return (ops.take(context.state.read(inputs[0].number), tensor(inputs[1]), axis=0),)


@SPECIAL("ResourceGatherNd")
def gather_entries(context: Context, inputs: list[Any]) -> tuple[Any, ...]:
    return (gather_nd(context.node, context.state.read(inputs[0].number), inputs[1]),)


@SPECIAL("AssignVariableOp")
def assign(context: Context, inputs: list[Any]) -> tuple[Any, ...]:
    context.state.assign(inputs[0].number, tensor(inputs[1]))
    return ()


@SPECIAL("AssignAddVariableOp")
def assign_add(context: Context, inputs: list[Any]) -> tuple[Any, ...]:
    number = inputs[0].number
    context.state.assign(number, context.state.read(number) + tensor(inputs[1]))
    return ()


@SPECIAL("AssignSubVariableOp")
def assign_sub(context: Context, inputs: list[Any]) -> tuple[Any, ...]:
    number = inputs[0].number
    context.state.assign(number, context.state.read(number) - tensor(inputs[1]))
    return ()


# -- calls, branches, loops --------------------------------------------------------------------------------------------


@SPECIAL("PartitionedCall", "StatefulPartitionedCall")
def call(context: Context, inputs: list[Any]) -> tuple[Any, ...]:
    return context.call(context.node["f"], inputs)


@SPECIAL("If", "StatelessIf", "Case", "StatelessCase")
def branch(context: Context, inputs: list[Any]) -> tuple[Any, ...]:
    """The branch that is taken, if it is known. Else all branches, by `keras.ops.cond`, with what they assign."""
    condition, *rest = inputs
    node = context.node
    branches = [node["else_branch"], node["then_branch"]] if node.op.endswith("If") else node["branches"]
    known = _known(condition)
    if known is not None:
        number = int(bool(known)) if node.op.endswith("If") else int(known)
        return context.call(branches[number if 0 <= number < len(branches) else -1], rest)
    written = sorted({value.number for value in rest if isinstance(value, VariableRef)})

    def run(function: str) -> Callable[[], list[Any]]:
        def compute() -> list[Any]:
            state = context.state.fork()
            outputs = [tensor(value) for value in context.call(function, rest, state)]
            return [*outputs, *map(state.read, written)]

        return compute

    number = ops.cast(ops.reshape(condition, ()), "int32")
    if len(branches) == 2 and node.op.endswith("If"):
        results = ops.cond(ops.cast(number, "bool"), run(branches[1]), run(branches[0]))
    else:
        last = len(branches) - 1
        is_inside = ops.logical_and(number >= 0, number <= last)
        results = ops.switch(ops.where(is_inside, number, last), list(map(run, branches)))
    count = len(results) - len(written)
    for variable, value in zip(written, results[count:], strict=True):
        context.state.assign(variable, value)
    return tuple(results[:count])


@SPECIAL("While", "StatelessWhile")
def loop(context: Context, inputs: list[Any]) -> tuple[Any, ...]:
    """The loop is unrolled while its condition is known. So gradients and static shapes pass through it.

    Else it is computed by `keras.ops.while_loop`, which JAX cannot differentiate.
    """
    values, steps = tuple(inputs), 0
    while True:
        condition = _known(context.call(context.node["cond"], list(values))[0])
        if condition is None:
            return _loop_by_values(context, list(values))
        if not bool(condition):
            return values
        if steps == _LONGEST_LOOP:
            raise UnsupportedOp(f"a loop of more than {_LONGEST_LOOP:,} steps")
        values, steps = context.call(context.node["body"], list(values)), steps + 1


def _loop_by_values(context: Context, inputs: list[Any]) -> tuple[Any, ...]:
    """A loop whose number of steps depends on values. Variables may be assigned in it, and lists may not be used."""
    if any(isinstance(value, TensorList) for value in inputs):
        raise UnsupportedOp("a loop with lists of tensors whose number of steps depends on the inputs' values")
    kept = [place for place, value in enumerate(inputs) if isinstance(value, (VariableRef, HostObject))]
    places = [place for place in range(len(inputs)) if place not in kept]
    written = sorted({value.number for value in inputs if isinstance(value, VariableRef)})
    start = [*(tensor(inputs[place]) for place in places), *map(context.state.read, written)]

    def run(function: str, values: Any) -> list[Any]:
        state, given = context.state.fork(), list(inputs)
        for place, value in zip(places, values, strict=False):
            given[place] = value
        state.assigned.update(zip(written, values[len(places) :], strict=True))
        outputs = context.call(function, given, state)
        if function == context.node["cond"]:
            return [ops.reshape(tensor(outputs[0]), ())]
        if any(outputs[place] is not inputs[place] for place in kept):
            raise UnsupportedOp("a loop that exchanges variables")
        results = [*(tensor(outputs[place]) for place in places), *map(state.read, written)]
        return [ops.cast(value, dtype_of(first)) for value, first in zip(results, start, strict=True)]

    node = context.node
    try:
        results = ops.while_loop(
            lambda *values: run(node["cond"], values)[0], lambda *values: tuple(run(node["body"], values)), tuple(start)
        )
    except TypeError as err:  # of JAX, for shapes that differ from step to step
        raise UnsupportedOp("a loop that changes shapes, and whose number of steps depends on values") from err
    outputs = list(inputs)
    for place, value in zip(places, results, strict=False):
        outputs[place] = value
    for number, value in zip(written, results[len(places) :], strict=True):
        context.state.assign(number, value)
    return tuple(outputs)


def _known(value: Any) -> Any:
    """The value of a scalar, or `None` while it is traced."""
    if is_static(value):
        return value
    if keras.backend.backend() == "torch":
        return keras.ops.convert_to_numpy(value)
    return value.numpy() if hasattr(value, "numpy") and not hasattr(value, "graph") else None


# -- lists of tensors --------------------------------------------------------------------------------------------------


@SPECIAL("TensorListReserve")
def reserve(context: Context, inputs: list[Any]) -> tuple[Any, ...]:
    return (TensorList([None] * integers(inputs[1])[0]),)


@SPECIAL("EmptyTensorList")
def empty_list(context: Context, inputs: list[Any]) -> tuple[Any, ...]:
    return (TensorList(),)


@SPECIAL("TensorListFromTensor")
def list_of_rows(context: Context, inputs: list[Any]) -> tuple[Any, ...]:
    rows = inputs[0]
    return (TensorList(list(rows) if is_static(rows) else ops.unstack(rows, num=shape_of(rows)[0], axis=0)),)


@SPECIAL("TensorListGetItem")
def item(context: Context, inputs: list[Any]) -> tuple[Any, ...]:
    entry = inputs[0][integers(inputs[1])[0]]
    return (np.zeros(integers(inputs[2]), context.node["element_dtype"]) if entry is None else entry,)


@SPECIAL("TensorListSetItem")
def set_item(context: Context, inputs: list[Any]) -> tuple[Any, ...]:
    entries, place = TensorList(inputs[0]), integers(inputs[1])[0]
    entries += [None] * (place + 1 - len(entries))
    entries[place] = inputs[2]
    return (entries,)


@SPECIAL("TensorListPushBack")
def push(context: Context, inputs: list[Any]) -> tuple[Any, ...]:
    return (TensorList([*inputs[0], inputs[1]]),)


@SPECIAL("TensorListPopBack")
def pop(context: Context, inputs: list[Any]) -> tuple[Any, ...]:
    return (TensorList(inputs[0][:-1]), inputs[0][-1])


@SPECIAL("TensorListLength")
def length(context: Context, inputs: list[Any]) -> tuple[Any, ...]:
    return (np.array(len(inputs[0]), "int32"),)


@SPECIAL("TensorListStack")
def stack(context: Context, inputs: list[Any]) -> tuple[Any, ...]:
    entries = inputs[0]
    example = next((entry for entry in entries if entry is not None), None)
    if example is None:
        lengths = [max(0, number) for number in integers(inputs[1])]
        return (np.zeros([len(entries), *lengths], context.node["element_dtype"]),)
    if is_static(entries) and all(entry is not None for entry in entries):
        return (np.stack(entries),)
    zeros = ops.zeros(shape_of(example), dtype=dtype_of(example))
    return (ops.stack([zeros if entry is None else tensor(entry) for entry in entries], axis=0),)
