"""The numbers of a constant in a graph, without TensorFlow."""

import struct
from typing import Any

from keras_hub_layers._src.savedmodel.protos.specs import dtype_of

# Name of a dtype -> format of a value in `struct`.
_FORMATS = {
    "float16": "e", "float32": "f", "float64": "d", "int8": "b", "int16": "h", "int32": "i", "int64": "q", "uint8": "B",
    "uint16": "H", "uint32": "I", "uint64": "Q",
}  # fmt: skip


_FIELDS = ("float_val", "double_val", "int_val", "int64_val", "uint32_val", "uint64_val")


def numbers_of(tensor: Any) -> list[float] | None:
    """The numbers in a protobuf of type `TensorProto`; `None` for one of another dtype, such as strings.

    What is repeated up to the end is written once in a file, and given once.
    """
    name = dtype_of(tensor.dtype).name
    if name != "bfloat16" and name not in _FORMATS:
        return None
    if any(dim.size == 0 for dim in tensor.tensor_shape.dim):
        return []
    if tensor.tensor_content:
        return _unpack(tensor.tensor_content, name)
    if tensor.half_val:  # 16 bits each, of a float16 or bfloat16
        return _unpack(struct.pack(f"<{len(tensor.half_val)}H", *tensor.half_val), name)
    return [float(value) for field in _FIELDS for value in getattr(tensor, field)] or [0.0]


def _unpack(content: bytes, name: str) -> list[float]:
    if name == "bfloat16":  # the upper half of a float32
        content = b"".join(b"\0\0" + content[place : place + 2] for place in range(0, len(content), 2))
        name = "float32"
    return [float(value) for (value,) in struct.iter_unpack(f"<{_FORMATS[name]}", content)]
