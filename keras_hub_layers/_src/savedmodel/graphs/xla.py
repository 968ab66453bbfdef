"""Which ops of a SavedModel XLA cannot compile."""

import functools
import re
from collections.abc import Callable
from typing import Any

from keras_hub_layers._src.savedmodel.contents import Function, Trace
from keras_hub_layers._src.savedmodel.graphs import op_packages
from keras_hub_layers._src.savedmodel.graphs.library import Body
from keras_hub_layers._src.savedmodel.protos.specs import flatten

_STRING = 7  # `DT_STRING` of TensorFlow's types.proto


# Families of ops for which XLA has no kernel: text, tables, files, Python, parsing, data sets, ragged and sparse.
_NOT_COMPILED = (
    r".*(String|Regex|Lookup|HashTable|DenseHash|UTF8|Base64|Dataset|Iterator|PyFunc|Parse|Decode|File)\w*"
    r"|Substr|AsString|Unicode\w+|InitializeTable\w*|Print(V2)?|\w*Summary(V2)?|Encode\w+|ReduceJoin|Ragged\w+"
    r"|Sparse(Reorder|Reshape|Slice|Concat|Split|Cross|FillEmptyRows|TensorDenseMatMul)\w*"
)


# Strings may stand in these without hindering XLA: messages of checks, and what only hands them on or counts them.
_HARMLESS = frozenset(("Const", "Assert", "Identity", "IdentityN", "NoOp", "Placeholder", "Rank", "Shape", "Size"))


def hindrances(function: Function, read_body: Callable[[Trace], Body | None]) -> tuple[str, ...]:
    """What hinders XLA in a function.

    Args:
        function: The function.
        read_body: Reads the body of a trace.

    Returns:
        Sorted names of ops without an XLA kernel that it uses, and `"string inputs"`. An empty tuple does not say that
        XLA can compile the rest.
    """
    bodies = [body for body in map(read_body, function.usable_traces) if body is not None]
    names = {node.op for body in bodies for node in body.library.nodes(body.nodes) if _hinders(node, body)}
    specs = [spec for trace in function.usable_traces for spec in flatten(trace.inputs)]
    return tuple(sorted(names | ({"string inputs"} if any(spec.dtype.name == "string" for spec in specs) else set())))


@functools.cache
def _is_not_compiled(op: str) -> bool:
    return re.fullmatch(_NOT_COMPILED, op) is not None or op_packages.package_of(op) is not None


def _hinders(node: Any, body: Body) -> bool:
    if node.op in body.library.functions:
        return False
    if _is_not_compiled(node.op):
        return True
    types = [value.type for value in node.attr.values() if value.WhichOneof("value") == "type"]
    return _STRING in types and node.op not in _HARMLESS
