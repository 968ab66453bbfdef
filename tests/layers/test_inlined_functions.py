"""Functions that a SavedModel's functions call stand in their place in the part that a layer loads, or stay calls."""

import random

import numpy as np
import producers
import pytest
import tensorflow as tf
import tf_keras
from google.protobuf import text_format
from tensorflow.core.protobuf import meta_graph_pb2

from keras_hub_layers import layers
from keras_hub_layers._src.layers import access
from keras_hub_layers._src.savedmodel.pruning.inline_functions import inline_functions

COLUMN = [[1.0], [-2.0], [4.0]]
SPEC = tf.TensorSpec((None, 1), tf.float32)
# TensorFlow itself gives what is handed on another name, so that it waits.
HANDED_ON = """
object_graph_def { nodes { function { concrete_functions: "outer" } } }
graph_def { library {
  function {
    signature { name: "outer" input_arg { name: "x" type: DT_FLOAT } output_arg { name: "y" type: DT_FLOAT } }
    node_def { name: "before" op: "NoOp" }
    node_def { name: "call" op: "PartitionedCall" attr { key: "f" value { func { name: "hand_on" } } } }
    ret { key: "y" value: "call:output:0" }
  }
  function {
    signature { name: "hand_on" input_arg { name: "x" type: DT_FLOAT } output_arg { name: "y" type: DT_FLOAT } }
    ret { key: "y" value: "x" }
  }
} }
"""


@pytest.fixture
def loaded(tmp_path, monkeypatch):
    """A function that saves an object and loads it, with its functions inlined and as it is."""

    def load(root, **save_arguments):
        path = producers.save(root, tmp_path / "model", **save_arguments)
        both = []
        for mode in ("always", "never"):
            monkeypatch.setenv("KERAS_HUB_LAYERS_PRUNE", mode)
            tf.random.set_seed(1)
            both.append(layers.HubLayer(path, trainable=True))
        return both

    return load


def saved(call, *variables, spec=SPEC, **children):
    """An object with this `__call__` and these variables."""
    root = tf.train.Checkpoint(**children)
    root.variables = root.trainable_variables = list(variables)
    root.__call__ = tf.function(call, input_signature=[spec, tf.TensorSpec((), tf.bool)])
    return root


def called(layer):
    """Names of the functions that the first trace calls, and those that they call."""
    graph = access.loaded_object(layer).__call__.concrete_functions[0].graph.as_graph_def()
    nodes = [*graph.node, *(node for function in graph.library.function for node in function.node_def)]
    return sorted(value.func.name for node in nodes for value in node.attr.values() if value.HasField("func"))


def number(layer, name):
    """How many of these calls are calls of a function with a name that contains `name`."""
    return sum(name in each for each in called(layer))


class Scale(tf.Module):
    """Multiplies by its weight, and draws numbers from a seed."""

    def __init__(self, weight):
        super().__init__()
        self.w = tf.Variable(weight)

    @tf.function
    def scale(self, x):
        return x * self.w

    @tf.function
    def draw(self, x):
        return tf.random.uniform(tf.shape(x), seed=7)


def test_each_call_has_its_own_variables_gradients_and_random_numbers(loaded):
    scales = [Scale(value) for value in (2.0, 3.0, 5.0)]

    def call(x, training):
        drawn = [layer.draw(x) for layer in scales]
        for layer in scales:
            x = layer.scale(x)
        return {"y": x, "drawn": tf.concat(drawn, 1)}

    drawn = []
    for layer, calls in zip(loaded(saved(call, *[s.w for s in scales], layers=scales)), (0, 3), strict=True):
        tf.random.set_seed(1)
        with tf.GradientTape() as tape:
            outputs = layer(tf.constant(COLUMN), training=True)
            loss = tf.reduce_sum(outputs["y"])
        gradients = tape.gradient(loss, [weight.value for weight in layer.weights])
        np.testing.assert_array_equal(outputs["y"], np.multiply(COLUMN, 30))
        np.testing.assert_array_equal(gradients, [np.sum(COLUMN) * 30 / value for value in (2, 3, 5)])
        drawn.append([outputs["drawn"], layer(COLUMN)["drawn"], layer(COLUMN)["drawn"]])
        assert (number(layer, "scale"), number(layer, "draw")) == (calls, calls)
    np.testing.assert_array_equal(*drawn)
    assert np.unique(drawn[0]).size == 6  # the same seed, so the same numbers in each of the calls


def test_effects_keep_their_order_also_where_no_output_needs_them(loaded):
    count = tf.Variable(1.0, trainable=False, name="count")

    @tf.function
    def add(amount):
        @tf.function
        def inner():
            count.assign_add(amount)

        inner()

    @tf.function
    def read():
        return count.read_value()

    @tf.function
    def double():
        count.assign(2 * count)
        return tf.constant(0.0)

    def call(x, training):
        first = read()  # c
        add(1.0)
        second = read()  # c + 1
        double()
        add(3.0)
        return tf.stack([first, second, read()]) * tf.ones_like(x)  # …, 2 * (c + 1) + 3

    for layer, calls in zip(loaded(saved(call, count)), (0, 7), strict=True):
        graph_call = tf.function(lambda x, layer=layer: layer(x))
        np.testing.assert_array_equal(layer(COLUMN)[0], [1, 2, 7])
        np.testing.assert_array_equal(graph_call(tf.constant(COLUMN))[0], [7, 8, 19])
        np.testing.assert_array_equal(layer.weights[0], 19)
        assert len(called(layer)) == calls + (calls > 0)  # the one inside of `add` too


@pytest.mark.parametrize(("inputs", "calls", "result"), [(["x", "^before"], 1, "call:output:0"), (["x"], 0, "x")])
def test_a_function_that_hands_its_input_on_stays_a_call_where_it_waits_for_something(inputs, calls, result):
    meta_graph = text_format.Parse(HANDED_ON, meta_graph_pb2.MetaGraphDef())
    outer = meta_graph.graph_def.library.function[0]
    outer.node_def[1].input.extend(inputs)
    inline_functions(meta_graph)
    outer = meta_graph.graph_def.library.function[0]
    assert outer.ret["y"] == result
    assert sum(node.op == "PartitionedCall" for node in outer.node_def) == calls


def test_nodes_get_names_of_their_own_and_stay_with_those_that_they_are_placed_with():
    meta_graph = text_format.Parse(HANDED_ON, meta_graph_pb2.MetaGraphDef())
    outer, inner = meta_graph.graph_def.library.function
    outer.node_def[1].input.append("x")
    outer.node_def.add(name="sum", op="Relu", input=["call:output:0"])
    outer.node_def.add(name="call/sum", op="Relu", input=["sum:activations:0"])
    outer.ret["y"] = "call/sum:activations:0"
    for name, inputs in (("two", ["x", "x"]), ("sum", ["two:z:0", "x"])):
        inner.node_def.add(name=name, op="AddV2", input=inputs)
    inner.node_def[1].attr["_class"].list.s.extend([b"loc:@two", b"loc:@x"])
    inner.node_def[0].attr["_class"].list.s.append(b"loc:@sum")
    inner.ret["y"] = "sum:z:0"
    inline_functions(meta_graph)
    [outer] = meta_graph.graph_def.library.function
    nodes = {node.name: list(node.input) for node in outer.node_def}
    assert nodes == {
        "two": ["x", "x"],
        "call/sum_1": ["two:z:0", "x"],
        "sum": ["call/sum_1:z:0"],
        "call/sum": ["sum:activations:0"],
    }
    places = {node.name: list(node.attr["_class"].list.s) for node in outer.node_def if "_class" in node.attr}
    assert places == {"two": [b"loc:@call/sum_1"], "call/sum_1": [b"loc:@two"]}


@pytest.mark.parametrize("seed", range(12))
def test_random_programs_give_the_same_outputs_effects_and_gradients(loaded, seed):
    """Functions that call functions, read variables, assign to them and hand tensors on, in a random order."""
    draw = random.Random(seed)
    variables = [tf.Variable(draw.uniform(0.5, 1.5), name=f"v{number}") for number in range(3)]

    def program(depth):
        steps = [draw.choice(("read", "hand on", "assign", "check", "call", "call")) for _ in range(4)]
        steps = [
            (step, draw.choice(variables), draw.randrange(9), program(depth - 1) if step == "call" and depth else None)
            for step in steps
        ]

        @tf.function
        def run(x):
            known = [x]
            for step, variable, number, inner in steps:
                value = known[number % len(known)]
                if step == "read":
                    known.append(value * variable.read_value())
                elif step == "assign":
                    variable.assign(0.5 * variable + 0.125 * tf.reduce_mean(tf.stop_gradient(value)))
                elif step == "check":
                    with tf.control_dependencies([tf.debugging.assert_less(value, 1e30)]):
                        known.append(tf.identity(value))
                elif inner is not None:
                    known += inner(0.25 * value)
                else:
                    known.append(tf.identity(value))
            return known[-1], tf.add_n(known)

        return run

    main = program(3)
    found = []
    for layer in loaded(saved(lambda x, training: main(x), *variables)):
        weights = sorted(layer.weights, key=lambda weight: weight.path)
        with tf.GradientTape() as tape:
            outputs = layer(tf.constant(COLUMN), training=True)
            loss = tf.add_n([tf.reduce_sum(output) for output in outputs])
        gradients = tape.gradient(loss, [weight.value for weight in weights], unconnected_gradients="zero")
        second = tf.function(lambda x, layer=layer: layer(x))(tf.constant(COLUMN))
        found.append([*outputs, *gradients, *second, *(weight.numpy() for weight in weights)])
    for pruned, whole in zip(*found, strict=True):
        np.testing.assert_allclose(pruned, whole, rtol=1e-6)
    x = tf.constant(COLUMN)
    plain = [*main(x), *main(x), *variables]  # two calls too, on the variables that were saved
    for pruned, original in zip([*found[0][:2], *found[0][5:]], plain, strict=True):
        np.testing.assert_allclose(pruned, original, rtol=1e-6)


def test_what_no_output_needs_is_left_out_unless_it_may_have_an_effect():
    meta_graph = text_format.Parse(HANDED_ON, meta_graph_pb2.MetaGraphDef())
    outer, inner = meta_graph.graph_def.library.function
    outer.node_def[1].input.append("x")
    inner.node_def.add(name="unused", op="Identity", input=["x"])
    inner.node_def.add(name="read", op="ReadVariableOp", input=["x"])
    inner.node_def.add(name="effect", op="PrintV2", input=["x"])
    inline_functions(meta_graph)
    assert [node.name for node in meta_graph.graph_def.library.function[0].node_def] == ["effect"]


def test_a_loss_that_xla_compiles_is_still_compiled_and_any_other_is_called_without_a_function_around_it(loaded):
    weight = tf.Variable(3.0, name="w")
    for is_compiled in (False, True):
        root = saved(lambda x, training: x * weight, weight)
        root.regularization_losses = [tf.function(lambda: weight**2, input_signature=[], jit_compile=is_compiled)]
        for layer in loaded(root):
            graph = tf.function(lambda layer=layer: tf.add_n(layer.losses)).get_concrete_function().graph
            attributes = [node.attr for node in graph.as_graph_def().node if node.op.endswith("PartitionedCall")]
            nested = [f for f in graph.as_graph_def().library.function if "restored_function" in f.signature.name]
            assert len(attributes) == 1
            assert bool(nested) == is_compiled
            np.testing.assert_array_equal(tf.add_n(layer.losses), 9)


def test_functions_in_branches_and_loops_are_inlined_there(loaded):
    weight = tf.Variable(3.0, name="w")

    @tf.function
    def scaled(x):
        return x * weight

    def call(x, training):
        y = tf.cond(training, lambda: scaled(scaled(x)), lambda: scaled(x))
        return tf.while_loop(lambda i, y: i < 2, lambda i, y: (i + 1, scaled(y)), [0, y])[1]

    for layer, calls in zip(loaded(saved(call, weight)), (0, 8), strict=True):
        np.testing.assert_array_equal(layer(COLUMN), np.multiply(COLUMN, 27))
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(layer(tf.constant(COLUMN), training=True))
        np.testing.assert_array_equal(loss, 81 * np.sum(COLUMN))
        np.testing.assert_array_equal(tape.gradient(loss, layer.weights[0].value), 4 * 27 * np.sum(COLUMN))
        assert number(layer, "scaled") == calls


def test_a_custom_gradient_inside_a_function_is_used(loaded):
    weight = tf.Variable(2.0, name="w")

    @tf.custom_gradient
    def product(x, w):
        return x * w, lambda upstream: (2 * upstream, 100 * tf.reduce_sum(upstream))

    @tf.function
    def inner(x):
        return product(x, weight)

    root = saved(lambda x, training: inner(inner(x)), weight)
    for layer in loaded(root, options=tf.saved_model.SaveOptions(experimental_custom_gradients=True)):
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(layer(tf.constant(COLUMN), training=True))
        np.testing.assert_array_equal(loss, 4 * np.sum(COLUMN))
        np.testing.assert_array_equal(tape.gradient(loss, layer.weights[0].value), 100 * 3 + 100 * 3 * 2)


HOW = {"experimental_implements": "some.op"}, {"jit_compile": True}, {"experimental_attributes": {"_noinline": True}}


@pytest.mark.parametrize("how", HOW)
def test_a_function_that_says_how_it_has_to_be_called_stays_a_call(loaded, how):
    weight = tf.Variable(3.0, name="w")

    @tf.function(**how)
    def special(x, w):
        return x * w

    for layer in loaded(saved(lambda x, training: special(x, weight.read_value()), weight)):
        np.testing.assert_array_equal(layer(COLUMN), np.multiply(COLUMN, 3))
        assert number(layer, "special") == 1


def test_an_lstm_may_still_be_computed_in_two_ways(loaded):
    inputs = tf_keras.Input((4, 2))
    model = tf_keras.Model(inputs, tf_keras.layers.LSTM(3)(inputs))
    x = np.random.default_rng(0).normal(size=(2, 4, 2)).astype("float32")
    for layer in loaded(model):
        np.testing.assert_allclose(layer(x), model(x), rtol=1e-6)
        assert number(layer, "standard_lstm")  # TensorFlow replaces it on a GPU


def test_functions_that_call_others_many_times_stay_calls(loaded):
    weight = tf.Variable(1.0, name="w")

    def plus_one(x):
        return x + weight

    function = tf.function(plus_one)
    for _ in range(10):
        function = tf.function(lambda x, inner=function: inner(inner(x)))

    for layer in loaded(saved(lambda x, training: function(x), weight)):
        np.testing.assert_array_equal(layer(COLUMN), np.add(COLUMN, 1024))
        assert len(called(layer)) > 10
