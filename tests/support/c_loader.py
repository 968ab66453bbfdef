"""TensorFlow's own loader of SavedModels, without its Python: the loader in C++ that TF Serving is made of."""

import ctypes
import importlib.util
import sys
import types
from pathlib import Path

import numpy as np

ROOT = Path(importlib.util.find_spec("tensorflow").origin).parent
SUPPORT = Path(__file__).parent
LIBRARY = "libtensorflow_cc.so.2"
_STRING, _STRING_BYTES = 7, 24
_HANDLES = (
    "TF_NewStatus", "TF_NewGraph", "TF_NewSessionOptions", "TF_NewBuffer", "TF_LoadSessionFromSavedModel",
    "TF_GraphOperationByName", "TF_AllocateTensor", "TF_TensorData", "TF_StringGetDataPointer",
)  # fmt: skip
_SIZES = ("TF_TensorByteSize", "TF_StringGetSize", "TF_Dim")


def _import_protos():
    """The messages of a SavedModel. Nothing else of the package is imported, not even its own `__init__`."""
    if "tensorflow" not in sys.modules:
        package = types.ModuleType("tensorflow")
        package.__path__ = [str(ROOT)]
        sys.modules["tensorflow"] = package
    from tensorflow.core.protobuf import meta_graph_pb2

    return meta_graph_pb2


def _open_library():
    ctypes.CDLL(str(ROOT / "libtensorflow_framework.so.2"), ctypes.RTLD_GLOBAL)
    library = ctypes.CDLL(str(ROOT / LIBRARY), ctypes.RTLD_GLOBAL)
    for names, kind in ((_HANDLES, ctypes.c_void_p), (_SIZES, ctypes.c_int64)):
        for name in names:
            getattr(library, name).restype = kind
    library.TF_Message.restype = ctypes.c_char_p
    return library


class _Buffer(ctypes.Structure):
    _fields_ = [("data", ctypes.c_void_p), ("length", ctypes.c_size_t), ("deallocator", ctypes.c_void_p)]


class _Output(ctypes.Structure):
    _fields_ = [("operation", ctypes.c_void_p), ("index", ctypes.c_int)]


class LoadedModel:
    """A SavedModel in a session of TensorFlow.

    Attributes:
        signatures: Dict of name to two dicts: the inputs and the outputs by name, as messages `TensorInfo`.
    """

    def __init__(self, path):
        self.library = _open_library()
        self.graph = ctypes.c_void_p(self.library.TF_NewGraph())
        self.status = ctypes.c_void_p(self.library.TF_NewStatus())
        meta = self.library.TF_NewBuffer()
        session = self.library.TF_LoadSessionFromSavedModel(
            ctypes.c_void_p(self.library.TF_NewSessionOptions()), None, str(path).encode(),
            (ctypes.c_char_p * 1)(b"serve"), 1, self.graph, ctypes.c_void_p(meta), self.status,
        )  # fmt: skip
        self._check()
        self.session = ctypes.c_void_p(session)
        buffer = _Buffer.from_address(meta)
        graph = _import_protos().MetaGraphDef.FromString(ctypes.string_at(buffer.data, buffer.length))
        self.signatures = {
            name: (dict(signature.inputs), dict(signature.outputs)) for name, signature in graph.signature_def.items()
        }

    def run(self, inputs, signature="serving_default"):
        """The outputs of a signature, dict of arrays by name."""
        given, returned = self.signatures[signature]
        feeds = [self._output(given[name]) for name in inputs]
        fetches = [self._output(info) for info in returned.values()]
        tensors = [self._tensor(array, given[name].dtype) for name, array in inputs.items()]
        results = (ctypes.c_void_p * len(fetches))()
        self.library.TF_SessionRun(
            self.session, None, (_Output * len(feeds))(*feeds), (ctypes.c_void_p * len(feeds))(*tensors), len(feeds),
            (_Output * len(fetches))(*fetches), results, len(fetches), None, 0, None, self.status,
        )  # fmt: skip
        self._check()
        arrays = {name: self._array(ctypes.c_void_p(tensor)) for name, tensor in zip(returned, results, strict=True)}
        for tensor in (*tensors, *results):
            self.library.TF_DeleteTensor(ctypes.c_void_p(tensor))
        return arrays

    def _check(self):
        if self.library.TF_GetCode(self.status):
            raise RuntimeError(self.library.TF_Message(self.status).decode())

    def _output(self, info):
        operation, _, index = info.name.partition(":")
        return _Output(self.library.TF_GraphOperationByName(self.graph, operation.encode()), int(index))

    def _tensor(self, array, dtype):
        size = array.size * _STRING_BYTES if dtype == _STRING else array.nbytes
        sizes = (ctypes.c_int64 * array.ndim)(*array.shape)
        tensor = self.library.TF_AllocateTensor(dtype, sizes, array.ndim, ctypes.c_size_t(size))
        data = self.library.TF_TensorData(ctypes.c_void_p(tensor))
        if dtype != _STRING:
            ctypes.memmove(data, np.ascontiguousarray(array).ctypes.data, size)
            return tensor
        for number, text in enumerate(array.ravel()):
            place = ctypes.c_void_p(data + number * _STRING_BYTES)
            self.library.TF_StringInit(place)
            self.library.TF_StringCopy(place, bytes(text), ctypes.c_size_t(len(text)))
        return tensor

    def _array(self, tensor):
        shape = [self.library.TF_Dim(tensor, axis) for axis in range(self.library.TF_NumDims(tensor))]
        dtype, data = self.library.TF_TensorType(tensor), self.library.TF_TensorData(tensor)
        if dtype != _STRING:
            kind = {1: "float32", 2: "float64", 3: "int32", 9: "int64", 10: "bool"}[dtype]
            return np.frombuffer(ctypes.string_at(data, self.library.TF_TensorByteSize(tensor)), kind).reshape(shape)
        texts = []
        for number in range(int(np.prod(shape))):
            place = ctypes.c_void_p(data + number * _STRING_BYTES)
            pointer = self.library.TF_StringGetDataPointer(place)
            texts.append(ctypes.string_at(pointer, self.library.TF_StringGetSize(place)))
        return np.array(texts, object).reshape(shape)
