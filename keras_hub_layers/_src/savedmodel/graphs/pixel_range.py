"""Which range of pixel values the graph of an image model takes: read off what it does to them first."""

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Literal

from keras_hub_layers._src.savedmodel import contents
from keras_hub_layers._src.savedmodel.graphs.library import CALLS, Body, node_name
from keras_hub_layers._src.savedmodel.protos.specs import is_spec, kind_of, lengths_of
from keras_hub_layers._src.savedmodel.protos.tensors import numbers_of

Range = Literal["unit", "bytes"]


IN_WORDS: Mapping[Range | None, str] = {"unit": "0 to 1, or -1 to 1", "bytes": "0 to 255", None: ""}


# What hands pixels on as they are: in other places, at another size, with another dtype.
_PASSES = (
    "Cast|ConcatV2|DepthToSpace|EnsureShape|ExpandDims|Identity|IdentityN|MirrorPad|Pad|PadV2|Placeholder|Reshape|ResizeArea"
    "|ResizeBicubic|ResizeBilinear|ResizeNearestNeighbor|ReverseV2|Slice|SpaceToBatchND|SpaceToDepth|Squeeze"
    "|StridedSlice|Transpose"
)


_IGNORED = ("Assert", "NoOp", "Rank", "Shape", "ShapeN", "Size")


_SCALES = ("Add", "AddV2", "Div", "Mul", "RealDiv", "Sub")


_WEIGHS = ("Conv2D", "DepthwiseConv2dNative", "MatMul")


def wanted_range(function: contents.Function) -> Range | None:
    """The range of the values that a function takes for pixels.

    Args:
        function: What is called.

    Returns:
        `"bytes"` for 0 to 255 if the graph divides by such numbers itself, `"unit"` for 0 to 1 or -1 to 1 if its first
        weights meet the pixels without, `None` if neither is plain to see, or if it takes no batch of float images.
    """
    for trace in function.usable_traces:
        return None if trace.body is None else range_of_body(trace.body, trace.inputs)
    return None


def range_of_body(read_body: Callable[[], Body], spec: Any) -> Range | None:
    """The same of what computes something of one input.

    Args:
        read_body: Reads the graph; called only where the input may be images.
        spec: What the input is.
    """
    if not _is_of_float_images(spec):
        return None
    body = read_body()
    ranges = set(_verdicts(_Nodes(body.nodes), [body.inputs[0]], body.library.functions)) - {"returned"}
    return ranges.pop() if len(ranges) == 1 else None


def _is_of_float_images(spec: Any) -> bool:
    """Whether a spec is one of (batch, height, width, channels) with 1, 3 or 4 channels."""
    if not is_spec(spec) or kind_of(spec) != "dense" or not spec.dtype.is_floating:
        return False
    lengths = lengths_of(spec.shape)
    return lengths is not None and len(lengths) == 4 and lengths[-1] in (1, 3, 4)


class _Nodes:
    """The nodes of a graph, or of a function in it."""

    def __init__(self, nodes: Any, returned: Any = ()) -> None:
        self.nodes = {node.name: node for node in nodes}
        self.returned = {node_name(source) for source in returned}

    def users(self, name: str) -> Iterator[tuple[Any, int]]:
        """The nodes that take a node's outputs, and as which of their inputs."""
        for node in self.nodes.values():
            for position, source in enumerate(node.input):
                if node_name(source) == name:
                    yield node, position

    def constant(self, source: str) -> list[float] | None:
        """The values of a constant, also behind a cast; `None` if it is none."""
        node = self.nodes.get(node_name(source))
        while node is not None and node.op in ("Cast", "Identity"):
            node = self.nodes.get(node_name(node.input[0]))
        return numbers_of(node.attr["value"].tensor) if node is not None and node.op == "Const" else None


def _verdicts(body: _Nodes, names: list[str], functions: Mapping[str, Any]) -> Iterator[Any]:
    """What each way of the pixels ends in: a `Range`, `None`, or `"returned"` for the end of this body."""
    seen = set(names)
    while names:
        name = names.pop()
        if name in body.returned:
            yield "returned"
        for node, position in body.users(name):
            passes = re.fullmatch(_PASSES, node.op) is not None
            if node.op in _IGNORED or node.name in seen:
                continue
            if node.op in CALLS:
                called = functions[node.attr["f"].func.name]
                inner = _Nodes(called.node_def, called.ret.values())
                ends = set(_verdicts(inner, [called.signature.input_arg[position].name], functions))
                passes = "returned" in ends
                yield from ends - {"returned"}
            elif node.op in _SCALES and _is_for_bytes(node.op, _other(body, node, position)):
                yield "bytes"
            elif node.op in _SCALES and _other(body, node, position) is not None:
                passes = True
            elif not passes:
                yield "unit" if node.op in _WEIGHS else None
            if passes:
                seen.add(node.name)
                names.append(node.name)


def _other(body: _Nodes, node: Any, position: int) -> list[float] | None:
    """The constant that pixels are added to or multiplied with, `None` if it is none."""
    return body.constant(node.input[1 - position])


def _is_for_bytes(op: str, constant: list[float] | None) -> bool:
    """Whether a factor or an offset is one for values up to 255: 1/255, 1/127.5, or a mean such as 123.7."""
    if not constant:
        return False
    sizes = [abs(value) for value in constant]
    return all(size < 0.02 for size in sizes) and any(sizes) if op == "Mul" else max(sizes) > 20
