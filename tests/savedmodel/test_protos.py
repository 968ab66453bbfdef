"""What reads a SavedModel without TensorFlow agrees with TensorFlow: messages, dtypes, shapes, constants, nests."""

import collections
import pickle
from pathlib import Path

import numpy as np
import producers
import pytest
import tensorflow as tf
from tensorflow.core.framework import types_pb2
from tensorflow.core.protobuf import meta_graph_pb2, saved_model_pb2

from keras_hub_layers._src.savedmodel import meta_graphs
from keras_hub_layers._src.savedmodel.protos import messages, specs
from keras_hub_layers._src.savedmodel.protos.tensors import numbers_of

INTEGERS = ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64")
KNOWN = [number for number in types_pb2.DataType.values() if number not in (0, 100)]


def kind_of(field):
    names = {value: name for name, value in vars(type(field)).items() if name.startswith("TYPE_")}
    name = names[field.type].removeprefix("TYPE_").lower()
    return "int32" if name == "enum" else name


def test_each_field_of_the_schema_has_the_number_and_type_that_tensorflow_gives_it():
    waiting = [
        (messages.message("SavedModel").DESCRIPTOR, saved_model_pb2.SavedModel.DESCRIPTOR),
        (messages.message("AssetFileDef").DESCRIPTOR, meta_graph_pb2.AssetFileDef.DESCRIPTOR),  # in collections
    ]
    compared = set()
    while waiting:
        own, theirs = waiting.pop()
        if (own.full_name, theirs.full_name) in compared:
            continue
        compared.add((own.full_name, theirs.full_name))
        for field in own.fields:
            other = theirs.fields_by_name[field.name]
            assert (field.number, kind_of(field)) == (other.number, kind_of(other)), (own.full_name, field.name)
            assert getattr(field.containing_oneof, "name", None) == getattr(other.containing_oneof, "name", None)
            if field.message_type:
                assert field.message_type.GetOptions().map_entry == other.message_type.GetOptions().map_entry
                waiting.append((field.message_type, other.message_type))
    assert {own.rpartition(".")[2] for own, _ in compared} > set(messages.schema())


def test_fields_that_are_not_in_the_schema_are_kept(produced):
    for producer in (producers.half_plus_one, producers.text_classifier, producers.tf1):
        content = Path(produced(producer), "saved_model.pb").read_bytes()
        own, theirs = messages.message("SavedModel").FromString(content), saved_model_pb2.SavedModel.FromString(content)
        assert saved_model_pb2.SavedModel.FromString(own.SerializeToString()) == theirs
        nodes = [[node.name for node in model.meta_graphs[0].graph_def.node] for model in (own, theirs)]
        assert nodes[0] == nodes[1] != []


def test_graphs_can_be_read_with_the_fields_of_tensorflow(produced):
    path = produced(producers.half_plus_one)
    graph = meta_graphs.read_meta_graphs(path, saved_model_pb2.SavedModel)[0]
    assert graph.DESCRIPTOR.full_name == "tensorflow.MetaGraphDef"
    assert meta_graphs.read_meta_graphs(path)[0].DESCRIPTOR.full_name == "keras_hub_layers.MetaGraphDef"


@pytest.mark.parametrize("number", KNOWN)
def test_a_dtype_is_that_of_tensorflow(number):
    own, theirs = specs.dtype_of(number), tf.as_dtype(number)
    assert own.name == theirs.name
    assert (own == theirs, theirs == own, pickle.loads(pickle.dumps(own)) == theirs) == (True, True, True)
    for name in ("is_floating", "is_integer", "is_complex", "size"):
        assert getattr(own, name) == getattr(theirs, name), name
    assert (repr(own), str(own)) == (repr(theirs), str(theirs))


def test_a_dtype_that_nobody_knows_is_named_by_its_number():
    assert (specs.dtype_of(77).name, specs.dtype_of(77).size, specs.dtype_of(77).is_floating) == ("type_77", 0, False)


@pytest.mark.parametrize("lengths", [None, (), (3,), (None, 4), (None, None, 0)])
def test_a_shape_is_that_of_tensorflow(lengths):
    theirs = tf.TensorShape(lengths)
    own = specs.shape_of(messages.message("TensorShapeProto").FromString(theirs.as_proto().SerializeToString()))
    assert (own.rank, own.is_fully_defined(), repr(own)) == (theirs.rank, theirs.is_fully_defined(), repr(theirs))
    assert specs.lengths_of(own) == specs.lengths_of(theirs) == lengths
    assert own == specs.Shape(lengths)
    assert own != specs.Shape((7, 7))
    if lengths is None:
        with pytest.raises(ValueError, match="unknown rank"):
            own.as_list()
    else:
        assert own.as_list() == theirs.as_list()
        assert (own == theirs, theirs == own) == (True, True)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64", *INTEGERS])
@pytest.mark.parametrize("values", [[1.0, 2.0, 100.0], [7.0, 7.0, 7.0], 3.0, [], [0.0, 0.0]])
def test_the_numbers_of_a_constant_are_those_that_tensorflow_reads(dtype, values):
    constant = np.asarray(values, tf.as_dtype(dtype).as_numpy_dtype)
    protos = [tf.make_tensor_proto(constant)]
    if constant.size == 1 or len(set(np.ravel(constant).tolist())) == 1:  # as a value that is written once
        protos.append(tf.make_tensor_proto(np.ravel(constant)[0], dtype, constant.shape))
    for proto in protos:
        own = messages.message("TensorProto").FromString(proto.SerializeToString())
        theirs = np.ravel(tf.make_ndarray(proto)).astype("float64")
        assert set(numbers_of(own)) == set(theirs)
        assert numbers_of(proto) == numbers_of(own)


def test_a_constant_of_texts_has_no_numbers():
    assert numbers_of(tf.make_tensor_proto("text")) is None


Pair = collections.namedtuple("Pair", "left right")


@pytest.mark.parametrize("nest", [1, [1, (2, 3)], {"b": 1, "a": [2, {"c": 3}]}, (Pair(1, [2]), 3), [], {}])
def test_nests_are_taken_apart_and_put_together_as_tensorflow_does(nest):
    leaves = specs.flatten(nest)
    assert leaves == tf.nest.flatten(nest)
    doubled = [2 * leaf for leaf in leaves]
    packed, theirs = specs.pack_like(nest, iter(doubled)), tf.nest.pack_sequence_as(nest, doubled)
    assert packed == theirs
    assert type(packed) is type(theirs)


def test_specs_and_tensors_of_each_kind_are_told_from_other_things():
    ragged, sparse = tf.ragged.constant([[1.0], []]), tf.sparse.from_dense([[1.0]])
    for kind, values in {
        "dense": [tf.TensorSpec((1,)), tf.ones(1), tf.Variable(1.0)],
        "ragged": [tf.RaggedTensorSpec((2, None)), ragged],
        "sparse": [tf.SparseTensorSpec((1, 1)), sparse],
        "": [None, 1.0, "float32", np.ones(1), tf.data.DatasetSpec(tf.TensorSpec(())), tf.float32, tf.Module()],
    }.items():
        assert [specs.kind_of(value) for value in values] == [kind] * len(values)
        assert [specs.is_spec(value) for value in values] == [bool(kind) and isinstance(v, tf.TypeSpec) for v in values]
