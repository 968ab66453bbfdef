"""Which variables a gradient reaches from the outputs of a function, and which ops on the way have no gradient."""

from collections.abc import Iterable, Mapping
from typing import Any

from keras_hub_layers._src.savedmodel.graphs import op_registry
from keras_hub_layers._src.savedmodel.graphs.library import CALLS, Body, Library, custom_gradient, node_name
from keras_hub_layers._src.savedmodel.protos.specs import dtype_of

Flow = dict[str, frozenset[str]]  # name of an input that a gradient reaches -> ops on the way whose gradient is lost

_BRANCHES = ("If", "StatelessIf", "Case", "StatelessCase")
_LOOPS = ("While", "StatelessWhile")
# They have a gradient function, which gives nothing.
_STOPS = ("StopGradient", "Floor", "Ceil", "Round", "Rint", "ArgMax", "ArgMin")


def gradients(body: Body) -> dict[int, frozenset[str]]:
    """What a gradient of a function's outputs reaches.

    Args:
        body: The function.

    Returns:
        id of each variable that is reached -> names of the ops on the way to it that TensorFlow can take no gradient
        of, since their custom gradient was not saved, or none is defined. Training ends in an error there.
    """
    reached: dict[int, frozenset[str]] = {}
    for flow in _flows(body.nodes, body.inputs, body.outputs, body.library):
        for name, lost in flow.items():
            if name in body.variables:
                key = id(body.variables[name])
                reached[key] = reached.get(key, frozenset()) | lost
    return reached


def _flows(nodes: Iterable[Any], inputs: Iterable[str], outputs: Iterable[str], library: Library) -> list[Flow]:
    """For each output, the inputs that a gradient of it reaches."""
    known: dict[str, list[Flow]] = {name: [{name: frozenset()}] for name in inputs}
    changed = is_in_order = True
    while changed:  # nodes stand mostly in the order in which they run; loops of TF1 need another round
        changed = False
        for node in nodes:
            tensors = [text for text in node.input if text[0] != "^"]
            is_in_order = is_in_order and all(node_name(text) in known for text in tensors)
            flows = _node_flows(node, [_flow_of(text, known) for text in tensors], library)
            if flows != known.get(node.name):
                known[node.name] = flows
                changed = not is_in_order or changed
    return [_flow_of(text, known) for text in outputs]


def _flow_of(tensor: str, known: Mapping[str, list[Flow]]) -> Flow:
    flows = known.get(node_name(tensor))
    if not flows:
        return {}
    last = tensor.rpartition(":")[2]
    return flows[int(last)] if len(flows) > 1 and last.isdigit() else flows[0]


def _node_flows(node: Any, inputs: list[Flow], library: Library) -> list[Flow]:
    """The flow of each output of a node; of an op that is no call, one for all."""
    if node.op in library.functions:
        return _call(node.op, inputs, library)
    if node.op in CALLS:
        return _call(node.attr["f"].func.name, inputs, library)
    if node.op in _LOOPS:
        return _loop(node.attr["body"].func.name, inputs, library)
    if node.op in _BRANCHES:
        names = [node.attr[key].func.name for key in ("then_branch", "else_branch") if key in node.attr]
        names += [function.name for function in node.attr["branches"].list.func] if "branches" in node.attr else []
        branches = [_call(name, inputs[1:], library) for name in names]
        return [_merge(flows) for flows in zip(*branches, strict=True)]
    flow = _merge(inputs)
    if not flow or _stops(node):
        return [{}]
    lost = _lost(node, library)
    return [{name: before | lost for name, before in flow.items()} if lost else flow]


def _stops(node: Any) -> bool:
    """Whether no gradient passes a node, and none is wanted."""
    if node.op == "Cast":
        dtype = dtype_of(node.attr["DstT"].type)
        return not (dtype.is_floating or dtype.is_complex)
    return node.op in _STOPS or op_registry.gradient_kind(node.op) == "none"


def _lost(node: Any, library: Library) -> frozenset[str]:
    """The op itself, if TensorFlow has no gradient for it."""
    custom = custom_gradient(node)
    is_lost = custom in library.unsaved_gradients if custom else op_registry.gradient_kind(node.op) == "undefined"
    return frozenset([node.op]) if is_lost else frozenset()


def _call(name: str, inputs: list[Flow], library: Library) -> list[Flow]:
    function = library.functions.get(name)
    if function is None:
        return [_merge(inputs)]
    arguments = [argument.name for argument in function.signature.input_arg]
    if name not in library.flows:
        outputs = [function.ret[argument.name] for argument in function.signature.output_arg]
        library.flows[name] = _flows(function.node_def, arguments, outputs, library)
    given = dict(zip(arguments, inputs, strict=False))
    return [_through(flow, given) for flow in library.flows[name]]


def _loop(name: str, inputs: list[Flow], library: Library) -> list[Flow]:
    state = inputs
    while True:
        new = [_merge(pair) for pair in zip(state, _call(name, state, library), strict=False)]
        if new == state:
            return state
        state = new


def _through(flow: Flow, inputs: Mapping[str, Flow]) -> Flow:
    """A flow inside a function as one outside of it."""
    return _merge({name: before | lost for name, before in inputs.get(key, {}).items()} for key, lost in flow.items())


def _merge(flows: Iterable[Flow]) -> Flow:
    merged: Flow = {}
    for flow in flows:
        for name, lost in flow.items():
            before = merged.get(name)
            merged[name] = before | lost if before and lost else before or lost  # mostly none: no new sets
    return merged
