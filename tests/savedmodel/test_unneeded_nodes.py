"""Nodes that compute nothing are removed from a function, and everything still happens in the same order."""

import pytest
import tensorflow as tf
from tensorflow.core.framework import function_pb2, types_pb2

from keras_hub_layers._src.savedmodel.pruning.unneeded_nodes import remove_unneeded

IDENTITY = ("hand_on", "Identity", ["work:z:0"])


@pytest.fixture
def left():
    """A function that gives the nodes which stay of some, as name -> inputs."""

    def remove(*nodes, returned="end:activations:0", last=(), change=lambda function: None):
        function = function_pb2.FunctionDef()
        function.signature.input_arg.add(name="x", type=types_pb2.DT_FLOAT)
        function.signature.input_arg.add(name="v", type=types_pb2.DT_RESOURCE)
        for name, op, inputs in nodes:
            function.node_def.add(name=name, op=op, input=inputs)
        function.ret["y"] = returned
        for name in last:
            function.control_ret[name] = name
        change(function)
        remove_unneeded(function)
        return {node.name: list(node.input) for node in function.node_def}

    return remove


def test_what_hands_on_and_what_waits_is_removed(left):
    nodes = left(
        ("read", "ReadVariableOp", ["v"]),
        ("work", "AddV2", ["x", "read:value:0"]),
        ("wait", "NoOp", ["^read"]),
        (*IDENTITY[:2], ["work:z:0", "^wait"]),
        ("again", "Identity", ["hand_on:output:0"]),
        ("end", "Relu", ["again:output:0", "^hand_on"]),
    )
    assert nodes == {"read": ["v"], "work": ["x", "read:value:0"], "end": ["work:z:0", "^read", "^work"]}


def test_what_waited_for_a_read_that_nothing_uses_waits_for_what_came_before(left):
    nodes = left(
        ("first", "AssignVariableOp", ["v", "x"]),
        ("unused", "ReadVariableOp", ["v", "^first"]),
        ("second", "AssignVariableOp", ["v", "x", "^unused"]),
        ("wait", "NoOp", ["^second"]),
        ("end", "Relu", ["x"]),
        last=["wait"],
    )
    assert nodes == {
        "first": ["v", "x"],
        "second": ["v", "x", "^first"],
        "wait": ["^second"],
        "end": ["x"],
    }


def test_a_read_that_is_used_is_still_waited_for(left):
    nodes = left(
        ("read", "ReadVariableOp", ["v"]),
        ("assign", "AssignVariableOp", ["v", "x", "^read"]),
        ("end", "Relu", ["read:value:0"]),
    )
    assert nodes["assign"] == ["v", "x", "^read"]


@pytest.mark.parametrize("op", ["Assert", "PrintV2", "StatefulPartitionedCall"])
def test_what_hands_on_after_an_effect_stays(left, op):
    nodes = left(
        ("effect", op, ["x"]),
        ("wait", "NoOp", ["^effect"]),
        ("work", "AddV2", ["x", "x"]),
        (*IDENTITY[:2], ["work:z:0", "^wait"]),
        ("end", "Relu", ["hand_on:output:0"]),
    )
    assert nodes["hand_on"] == ["work:z:0", "^effect"]


def test_a_call_that_nothing_uses_or_waits_for_is_removed(left):
    call = ("call", "StatefulPartitionedCall", ["x"])
    assert list(left(call, ("end", "Relu", ["x"]))) == ["end"]
    assert list(left(call, ("end", "Relu", ["x"]), last=["call"])) == ["call", "end"]


def _set_device(function):
    function.node_def[1].device = "/CPU:0"


def _set_handle(function):
    function.node_def[1].attr["T"].type = types_pb2.DT_RESOURCE


def _set_other_attribute(function):
    function.node_def[1].attr["_other"].b = True


def _set_shapes(function):
    for node, size in zip(function.node_def, (-1, 3), strict=False):
        node.attr["_output_shapes"].list.shape.add().dim.add(size=size)


def _read_twice(function):
    function.node_def[2].input.append("work:z:0")


def _return(function):
    function.ret["y"] = "hand_on:output:0"


def _take_an_input(function):
    function.node_def[1].input[0] = "x"


CHANGES = (_set_device, _set_handle, _set_other_attribute, _set_shapes, _read_twice, _return, _take_an_input)


@pytest.mark.parametrize("change", CHANGES)
def test_what_hands_on_stays_where_something_could_tell(left, change):
    nodes = (("work", "AddV2", ["x", "x"]), IDENTITY, ("end", "Relu", ["hand_on:output:0"]))
    assert "hand_on" not in left(*nodes)
    assert "hand_on" in left(*nodes, change=change)


def test_with_the_same_shape_what_hands_on_is_removed(left):
    def change(function):
        for node in function.node_def[:2]:
            node.attr["_output_shapes"].list.shape.add().dim.add(size=3)

    assert "hand_on" not in left(
        ("work", "AddV2", ["x", "x"]), IDENTITY, ("end", "Relu", ["hand_on:output:0"]), change=change
    )


def test_nodes_that_many_wait_for_stay_so_that_there_are_not_more_edges(left):
    reads = [(f"read_{number}", "ReadVariableOp", ["v"]) for number in range(40)]
    several = ("several", "AddN", [f"{name}:value:0" for name, *_ in reads])
    wait = ("wait", "NoOp", [f"^{name}" for name, *_ in reads])
    assigns = [(f"assign_{number}", "AssignVariableOp", ["v", "x", "^wait"]) for number in range(40)]
    nodes = left(*reads, several, wait, *assigns, ("end", "Relu", ["several:sum:0"]))
    assert len(nodes["wait"]) == 40
    assert all(nodes[name] == ["v", "x", "^wait"] for name, *_ in assigns)


def test_long_chains_are_removed(left):
    waits = [(f"wait_{number}", "NoOp", [f"^wait_{number - 1}"] if number else ["^read"]) for number in range(3000)]
    nodes = left(
        ("read", "ReadVariableOp", ["v"]),
        *reversed(waits),
        ("assign", "AssignVariableOp", ["v", "x", "^wait_2999"]),
        ("end", "Relu", ["read:value:0"]),
    )
    assert nodes == {"read": ["v"], "assign": ["v", "x", "^read"], "end": ["read:value:0"]}


def test_a_function_with_a_custom_gradient_stays_as_it_is(left):
    def change(function):
        function.node_def[1].attr["_gradient_op_type"].s = b"Custom"

    nodes = (("unused", "AddV2", ["x", "x"]), ("end", "Relu", ["x"]))
    assert list(left(*nodes, change=change)) == ["unused", "end"]
    assert list(left(*nodes)) == ["end"]


@pytest.mark.parametrize("dtype", [tf.float32, tf.bfloat16, tf.int32])
@pytest.mark.parametrize("is_read_twice", [False, True])
def test_a_constant_factor_takes_the_sign_if_nothing_else_reads_both(left, dtype, is_read_twice):
    seen = []

    def change(function):
        seen.append(function)
        factor, product = function.node_def[2:4]
        factor.attr["value"].tensor.CopyFrom(tf.make_tensor_proto(3, dtype))
        product.attr["T"].type = dtype.as_datatype_enum
        if is_read_twice:
            function.node_def[4].input.append("minus:y:0")

    nodes = left(
        ("work", "AddV2", ["x", "x"]),
        ("minus", "Neg", ["work:z:0"]),
        ("factor", "Const", []),
        ("product", "Mul", ["factor:output:0", "minus:y:0"]),
        ("end", "Relu", ["product:z:0"]),
        change=change,
    )
    [value] = [tf.make_ndarray(n.attr["value"].tensor) for n in seen[0].node_def if n.name == "factor"]
    moves = dtype.is_floating and not is_read_twice
    assert ("minus" not in nodes) == moves
    assert value == (-3 if moves else 3)
    assert value.dtype == dtype.as_numpy_dtype
    assert nodes["product"] == ["factor:output:0", "work:z:0" if moves else "minus:y:0"]


def test_constants_that_are_equal_become_one(left):
    def change(function):
        for node, value in zip(function.node_def, (1.0, 1.0, 2.0, 1), strict=False):
            node.attr["value"].tensor.CopyFrom(tf.make_tensor_proto(value))
        function.node_def[1].attr["_output_shapes"].list.shape.add()

    names = ("one", "again", "two", "integer")
    nodes = left(
        *((name, "Const", []) for name in names),
        ("far", "Const", ["^end"]),
        ("end", "AddN", [f"{name}:output:0" for name in names]),
        ("last", "AddN", ["far:output:0", "again:output:0"]),
        returned="last:sum:0",
        change=change,
    )
    assert nodes == {
        "one": [],
        "two": [],
        "integer": [],
        "far": ["^end"],
        "end": ["one:output:0", "one:output:0", "two:output:0", "integer:output:0"],
        "last": ["far:output:0", "one:output:0"],
    }
