"""The ops of a graph say which package it needs and what hinders XLA."""

import re

import producers
import pytest
import tensorflow as tf
from tensorflow.python.framework import kernels

from keras_hub_layers._src.savedmodel import meta_graphs
from keras_hub_layers._src.savedmodel.graphs import ops, xla
from keras_hub_layers._src.savedmodel.protos import object_graph


def graph(directory):
    return meta_graphs.select_graph(str(directory), str(directory))


def hindrances_of(directory):
    """Name of each signature, and "" for the object itself -> what hinders XLA in it."""
    contents = object_graph.read(graph(directory))
    functions = {"": contents.function} if contents.function else {}
    functions |= contents.signatures
    return {name: xla.hindrances(function, lambda trace: trace.body()) for name, function in functions.items()}


def test_no_op_that_xla_compiles_is_called_a_hindrance():
    tf.function(lambda x: x + 1, jit_compile=True)(1.0)  # registers the kernels
    compiled = {
        kernel.op for kernel in kernels.get_all_registered_kernels().kernel if kernel.device_type.endswith("JIT")
    }
    assert {"MatMul", "Conv2D", "Where"} <= compiled
    accused = {op for op in dir(tf.raw_ops) if re.fullmatch(xla._NOT_COMPILED, op)}
    assert {"StringSplitV2", "LookupTableFindV2", "EagerPyFunc", "ParseExampleV2"} <= accused
    assert not accused & compiled


@pytest.mark.parametrize(
    ("producer", "hindrances"),
    [
        (producers.half_plus_one, ()),
        (producers.words, ("StringSplitV2", "string inputs")),
        (producers.sparse_sum, ("SparseTensorDenseMatMul",)),
        (
            producers.text_classifier,
            ("LookupTableFindV2", "LookupTableSizeV2", "StringSplitV2", "StringToHashBucketFast", "string inputs"),
        ),
    ],
)
def test_text_tables_and_sparse_tensors_hinder_xla(produced, producer, hindrances):
    assert hindrances_of(produced(producer))[""] == hindrances


def test_nested_functions_are_searched_and_messages_of_checks_are_no_hindrance(tmp_path):
    @tf.function
    def inner(x):
        return tf.strings.to_number(tf.strings.as_string(x))

    def call(x, deep=False):
        tf.debugging.assert_positive(x, message="a text")
        return inner(x) if deep else 2 * x

    root = tf.train.Checkpoint()
    root.shallow = tf.function(lambda x: call(x), input_signature=[tf.TensorSpec((None,))])
    root.deep = tf.function(lambda x: call(x, deep=True), input_signature=[tf.TensorSpec((None,))])
    path = producers.save(root, tmp_path / "model", signatures={"shallow": root.shallow, "deep": root.deep})
    assert hindrances_of(path) == {"shallow": (), "deep": ("AsString", "StringToNumber")}


def test_branches_are_searched(tmp_path):
    def call(x):
        branches = [lambda: x, lambda: tf.strings.to_number(tf.strings.as_string(x))]
        return tf.switch_case(tf.cast(x[0], tf.int32), branches)

    root = tf.train.Checkpoint()
    root.__call__ = tf.function(call, input_signature=[tf.TensorSpec((1,))])
    found = hindrances_of(producers.save(root, tmp_path / "model"))
    assert found[""] == ("AsString", "StringToNumber")


def test_what_a_tf1_signature_is_fed_with_is_not_searched(tmp_path):
    v1 = tf.compat.v1
    with tf.Graph().as_default() as default, v1.Session(graph=default) as session:
        text = v1.placeholder(tf.string, [None])
        number = tf.strings.to_number(text)
        twice = 2 * number
        builder = v1.saved_model.Builder(str(tmp_path / "model"))
        signatures = {
            "of_text": v1.saved_model.predict_signature_def({"x": text}, {"y": twice}),
            "of_numbers": v1.saved_model.predict_signature_def({"x": number}, {"y": twice}),
        }
        builder.add_meta_graph_and_variables(session, ["serve"], signatures)
        builder.save()
    assert hindrances_of(tmp_path / "model") == {
        "of_text": ("StringToNumber", "string inputs"),
        "of_numbers": (),
    }


def test_custom_ops_are_those_that_tensorflow_does_not_offer(tmp_path):
    path = producers.words(tmp_path / "model")
    assert ops.custom(graph(path)) == []
    file = tmp_path / "model" / "saved_model.pb"
    file.write_bytes(file.read_bytes().replace(b"StringSplitV2", b"NobodysOpV123"))
    assert ops.custom(graph(path)) == ["NobodysOpV123"]
    assert ops.missing_ops(["NobodysOpV123", "_Arg"]) == ["NobodysOpV123"]


def test_ops_of_packages_hinder_xla_too(tmp_path):
    path = producers.words(tmp_path / "model")
    file = tmp_path / "model" / "saved_model.pb"
    file.write_bytes(file.read_bytes().replace(b"StringSplitV2", b"RougeLV123456"))
    assert hindrances_of(path)[""] == ("RougeLV123456", "string inputs")


def test_the_shape_of_a_string_is_no_hindrance_of_its_own(tmp_path):
    root = tf.train.Checkpoint()
    root.__call__ = tf.function(lambda x: tf.shape(x), input_signature=[tf.TensorSpec((None,), tf.string)])
    assert hindrances_of(producers.save(root, tmp_path / "model"))[""] == ("string inputs",)
