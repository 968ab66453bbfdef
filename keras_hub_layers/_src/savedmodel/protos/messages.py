"""The protobufs of a SavedModel as a schema of our own, so that reading one needs no TensorFlow.

Names and numbers of the fields are those of TensorFlow's `saved_model.proto` and of the files that it includes. Only
the fields that are read here are listed; what is not listed is kept as bytes and not parsed. Enumerations are numbers.
"""

import functools
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

# In a package and a pool of their own, the messages never meet those that TensorFlow registers under `tensorflow`.
_PACKAGE = "keras_hub_layers"


# message: number name type. `*` is a repeated field, `<` a map from texts; `|` comes before the name of a oneof.
_SCHEMA = """
SavedModel: 2 meta_graphs *MetaGraphDef
MetaGraphDef: 1 meta_info_def MetaInfoDef, 2 graph_def GraphDef, 3 saver_def SaverDef
  4 collection_def <CollectionDef, 5 signature_def <SignatureDef, 6 asset_file_def *AssetFileDef
  7 object_graph_def SavedObjectGraph
MetaInfoDef: 4 tags *string, 5 tensorflow_version string
SaverDef: 3 restore_op_name string
CollectionDef: 1 node_list NodeList|kind, 5 any_list AnyList|kind
NodeList: 1 value *string
AnyList: 1 value *Any
Any: 1 type_url string, 2 value bytes
AssetFileDef: 1 tensor_info TensorInfo, 2 filename string
SignatureDef: 1 inputs <TensorInfo, 2 outputs <TensorInfo
TensorInfo: 1 name string|encoding, 4 coo_sparse CooSparse|encoding, 2 dtype int32, 3 tensor_shape TensorShapeProto
CooSparse: 1 values_tensor_name string, 2 indices_tensor_name string, 3 dense_shape_tensor_name string
TensorShapeProto: 2 dim *Dim, 3 unknown_rank bool
Dim: 1 size int64

GraphDef: 1 node *NodeDef, 2 library FunctionDefLibrary
FunctionDefLibrary: 1 function *FunctionDef, 3 registered_gradients *RegisteredGradient
RegisteredGradient: 1 gradient_func string, 2 registered_op_type string
FunctionDef: 1 signature OpDef, 3 node_def *NodeDef, 4 ret <string
OpDef: 1 name string, 2 input_arg *ArgDef, 3 output_arg *ArgDef
ArgDef: 1 name string
NodeDef: 1 name string, 2 op string, 3 input *string, 5 attr <AttrValue
AttrValue: 1 list ListValue|value, 2 s bytes|value, 6 type int32|value, 7 shape TensorShapeProto|value
  8 tensor TensorProto|value, 10 func NameAttrList|value
ListValue: 9 func *NameAttrList
NameAttrList: 1 name string
TensorProto: 1 dtype int32, 2 tensor_shape TensorShapeProto, 4 tensor_content bytes, 5 float_val *float
  6 double_val *double, 7 int_val *int32, 10 int64_val *int64, 13 half_val *int32, 16 uint32_val *uint32
  17 uint64_val *uint64

SavedObjectGraph: 1 nodes *SavedObject, 2 concrete_functions <SavedConcreteFunction
SavedObject: 1 children *ObjectReference, 4 user_object SavedUserObject|kind, 5 asset SavedAsset|kind
  6 function SavedFunction|kind, 7 variable SavedVariable|kind, 8 bare_concrete_function SavedBareConcreteFunction|kind
  9 constant Empty|kind, 10 resource Empty|kind, 12 captured_tensor Empty|kind
ObjectReference: 1 node_id int32, 2 local_name string
Empty:
SavedUserObject: 1 identifier string
SavedAsset: 1 asset_file_def_index int32
SavedFunction: 1 concrete_functions *string, 2 function_spec FunctionSpec
SavedVariable: 1 dtype int32, 2 shape TensorShapeProto, 3 trainable bool, 6 name string
SavedBareConcreteFunction: 1 concrete_function_name string, 4 function_spec FunctionSpec
SavedConcreteFunction: 2 bound_inputs *int32, 3 canonicalized_input_signature StructuredValue
  4 output_signature StructuredValue
FunctionSpec: 1 fullargspec StructuredValue

StructuredValue: 1 none_value Empty|kind, 11 float64_value double|kind, 12 int64_value sint64|kind
  13 string_value string|kind, 14 bool_value bool|kind, 31 tensor_shape_value TensorShapeProto|kind
  32 tensor_dtype_value int32|kind, 33 tensor_spec_value TensorSpecProto|kind, 34 type_spec_value TypeSpecProto|kind
  35 bounded_tensor_spec_value TensorSpecProto|kind, 51 list_value ListOfValues|kind, 52 tuple_value ListOfValues|kind
  53 dict_value DictValue|kind, 54 named_tuple_value NamedTupleValue|kind
ListOfValues: 1 values *StructuredValue
DictValue: 1 fields <StructuredValue
NamedTupleValue: 2 values *PairValue
PairValue: 1 key string, 2 value StructuredValue
TensorSpecProto: 2 shape TensorShapeProto, 3 dtype int32
TypeSpecProto: 1 type_spec_class int32, 2 type_state StructuredValue, 3 type_spec_class_name string
"""


_FIELD = descriptor_pb2.FieldDescriptorProto


_SCALARS = {
    name: getattr(_FIELD, f"TYPE_{name.upper()}")
    for name in ("string", "bytes", "bool", "int32", "int64", "uint32", "uint64", "sint64", "float", "double")
}


@functools.cache
def message(name: str) -> Any:
    """The class of a message, such as `message("SavedModel")`."""
    return message_factory.GetMessageClass(_pool().FindMessageTypeByName(f"{_PACKAGE}.{name}"))


def schema() -> dict[str, list[list[str]]]:
    """Name of each message -> number, name and type of each of its fields, as they are written above."""
    messages: dict[str, list[list[str]]] = {}
    name = ""
    for line in filter(None, _SCHEMA.splitlines()):
        if not line.startswith(" "):
            name, _, line = line.partition(":")
        fields = messages.setdefault(name, [])
        fields += [field.split() for field in line.split(",") if field.strip()]
    return messages


@functools.cache
def _pool() -> descriptor_pool.DescriptorPool:
    file = descriptor_pb2.FileDescriptorProto(name=f"{_PACKAGE}.proto", package=_PACKAGE, syntax="proto3")
    for name, fields in schema().items():
        described = file.message_type.add(name=name)
        for number, field, kind in fields:
            _add_field(described, int(number), field, kind)
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(file.SerializeToString())
    return pool


def _add_field(described: Any, number: int, name: str, kind: str) -> None:
    kind, _, oneof = kind.partition("|")
    field = described.field.add(name=name, number=number, label=_FIELD.LABEL_OPTIONAL)
    if kind[0] in "*<":
        field.label = _FIELD.LABEL_REPEATED
    if kind[0] == "<":  # on the wire a map is a repeated message of keys and values
        entry = described.nested_type.add(name="".join(word.capitalize() for word in name.split("_")) + "Entry")
        entry.options.map_entry = True
        _add_field(entry, 1, "key", "string")
        _add_field(entry, 2, "value", kind[1:])
        kind = f"{described.name}.{entry.name}"
    kind = kind.removeprefix("*")
    if kind in _SCALARS:
        field.type = _SCALARS[kind]
    else:
        field.type, field.type_name = _FIELD.TYPE_MESSAGE, f".{_PACKAGE}.{kind}"
    if oneof:
        names = [known.name for known in described.oneof_decl]
        if oneof not in names:
            described.oneof_decl.add(name=oneof)
            names.append(oneof)
        field.oneof_index = names.index(oneof)
