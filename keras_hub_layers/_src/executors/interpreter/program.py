"""Program: interprets one function of a SavedModel. Values that are known early are static."""

import functools
from collections.abc import Mapping, Sequence
from typing import Any

import keras
import tensorflow as tf

from keras_hub_layers._src.executors.interpreter import host
from keras_hub_layers._src.executors.interpreter.custom_gradients import CustomGradient, refuse, with_gradient
from keras_hub_layers._src.executors.interpreter.graph import SILENT, Graph, Node, make_graph
from keras_hub_layers._src.executors.interpreter.ops import (
    array,
    control,
    fused,
    image,
    linear,
    math,
    nn,
    normalization,
    random_numbers,
    reduction,
)
from keras_hub_layers._src.executors.interpreter.values import (
    HostObject,
    TensorList,
    UnsupportedOp,
    VariableRef,
    is_static,
)
from keras_hub_layers._src.savedmodel.graphs.library import Body

SPECIAL = {**control.SPECIAL, **fused.SPECIAL, **random_numbers.SPECIAL}
TABLE = {**math.OPS, **array.OPS, **reduction.OPS, **linear.OPS, **nn.OPS, **normalization.OPS, **image.OPS}


class State:
    """The values of the variables while a program runs. Assigned values are kept here until the program has ended.

    Args:
        weights: The Keras variables.
        seed: A `keras.random.SeedGenerator` for random ops, or `None`.
    """

    def __init__(self, weights: Sequence[Any], seed: Any = None) -> None:
        self._weights = weights
        self._seed = seed
        self._is_fork = False
        self.assigned: dict[int, Any] = {}

    @property
    def seed(self) -> Any:
        """What random ops draw from."""
        if self._is_fork:  # what a branch or a loop adds to the seed would be lost, so it would draw the same again
            raise UnsupportedOp("random numbers in a branch or a loop that depends on the inputs' values")
        return self._seed

    def read(self, number: int) -> Any:
        if number in self.assigned:
            return self.assigned[number]
        value = self._weights[number].value
        return tf.convert_to_tensor(value) if isinstance(value, tf.Variable) else value

    def assign(self, number: int, value: Any) -> None:
        self.assigned[number] = keras.ops.cast(value, self._weights[number].dtype)

    def fork(self) -> "State":
        """A copy, for a branch that possibly does not run, or for the steps of a loop."""
        copy = State(self._weights, self._seed)
        copy._is_fork = True
        copy.assigned = dict(self.assigned)
        return copy


class Program:
    """A function that computes tensors of the running backend.

    Args:
        body: The function, of a loaded object.
        numbers: id of a `tf.Variable` -> its place among the weights.

    Attributes:
        inputs: Names of its inputs, without those that are known.
        refused: Name of each node whose custom gradient cannot be computed, as far as it has run -> why.

    Raises:
        UnsupportedOp: The function may run an op that is in no table.
    """

    def __init__(self, body: Body, numbers: Mapping[int, int]) -> None:
        self._library = body.library
        self._numbers = numbers
        self._graphs: dict[str, Graph] = {}
        self._gradients: dict[CustomGradient, Program] = {}
        self._tried: dict[CustomGradient, str] = {}
        self.refused: dict[str, str] = {}
        self._graph = make_graph(body.nodes, body.inputs, body.outputs, self._library, body.others)
        self._captured: dict[str, Any] = {name: host.as_value(value) for name, value in body.captures.items()}
        for name, variable in body.variables.items():
            if id(variable) not in numbers:
                self._captured[name] = HostObject(variable.handle)
                continue
            ref = VariableRef(numbers[id(variable)], tuple(variable.shape), variable.dtype.name)
            self._captured[name] = ref
        self.inputs = [name for name in body.inputs if name not in self._captured]

    @property
    def variables(self) -> list[int]:
        """Places of the weights that it uses."""
        return sorted({value.number for value in self._captured.values() if isinstance(value, VariableRef)})

    def __call__(self, inputs: Sequence[Any], state: State) -> list[Any]:
        """The flat list of outputs for the flat list of inputs, both in the order of the function."""
        return self._run(self._graph, {**dict(zip(self.inputs, inputs, strict=True)), **self._captured}, state)

    def call(self, function: str, inputs: Sequence[Any], state: State) -> list[Any]:
        """The outputs of a function of the library."""
        graph = self.graph_of(function)
        return self._run(graph, dict(zip(graph.inputs, inputs, strict=True)), state)

    def graph_of(self, function: str) -> Graph:
        """A function of the library."""
        if function not in self._graphs:
            saved = self._library.functions[function]
            outputs = [saved.ret[argument.name] for argument in saved.signature.output_arg]
            inputs = [argument.name for argument in saved.signature.input_arg]
            self._graphs[function] = make_graph(saved.node_def, inputs, outputs, self._library)
        return self._graphs[function]

    def _run(self, graph: Graph, fed: Mapping[str, Any], state: State) -> list[Any]:
        values: dict[str, tuple[Any, ...]] = {name: (value,) for name, value in fed.items()}
        for node in graph.nodes:
            inputs = [values[name][number] for name, number in node.inputs]
            try:
                outputs = self._compute(node, inputs, state)
                if node.gradient is not None and not all(map(is_static, inputs)):
                    needed = [values[name][number] for name, number in node.captured]
                    outputs = self._attach(node, inputs, outputs, needed, state)
                values[node.name] = outputs
            except UnsupportedOp as err:
                if not err.args[1:]:
                    raise UnsupportedOp(str(err), node.op, node.name) from err
                raise
        return [values[name][number] for name, number in graph.outputs]

    def _compute(self, node: Node, inputs: list[Any], state: State) -> tuple[Any, ...]:
        if node.op in SILENT:
            return ()
        if node.op in self._library.functions:
            return tuple(self.call(node.op, inputs, state))
        special = SPECIAL.get(node.op)
        if special is not None:
            compute = functools.partial(special, control.Context(self, state, node), inputs)
        elif all(map(is_static, inputs)):
            return host.compute(node, inputs)
        else:
            compute = functools.partial(_from_table, node, inputs)
        if not host.computes_tensors() or any(isinstance(value, (VariableRef, TensorList)) for value in inputs):
            return compute()
        if any(tf.is_tensor(value) and value.dtype in host.NO_NUMBERS for value in inputs):
            return host.compute(node, inputs, in_graph=True)
        try:
            return compute()
        except UnsupportedOp:  # mostly for lengths that are known once the graph runs
            if special is not None and node.op not in control.OF_SHAPES:
                raise
            return host.compute(node, inputs, in_graph=True)

    # -- custom gradients ----------------------------------------------------------------------------------------------

    def _attach(self, node: Node, values: list[Any], outputs: Any, needed: list[Any], state: State) -> tuple[Any, ...]:
        """The outputs of a node, with its custom gradient. One that cannot be computed fails when it is asked for."""
        gradient: Any = node.gradient
        compute, extra, refusal = None, [], gradient.refusal
        if not refusal:
            if gradient not in self._gradients:
                self._gradients[gradient] = Program(gradient.body, self._numbers)
            compute, extra = _gradients_by(self._gradients[gradient], gradient, needed, state)
            refusal = self._try_gradient(gradient, compute, outputs, extra)
        if refusal:
            self.refused[node.name] = refusal
            compute, extra = refuse(f"a custom gradient that {refusal}", node.op, node.name), []
        return tuple(with_gradient(values, outputs, extra, compute))

    def _try_gradient(self, gradient: CustomGradient, compute: Any, outputs: Any, extra: list[Any]) -> str:
        """Compute a custom gradient once, before it is needed. Returns why it cannot be computed, `""` if it can."""
        if gradient not in self._tried:
            try:
                if gradient.body is not None and gradient.body.ops & random_numbers.RANDOM:
                    raise UnsupportedOp("random numbers")
                compute([value if is_static(value) else keras.ops.zeros_like(value) for value in outputs], extra)
                self._tried[gradient] = ""
            except UnsupportedOp as err:
                self._tried[gradient] = f"needs {err.args[0]}"
        return self._tried[gradient]


def _from_table(node: Node, inputs: list[Any]) -> tuple[Any, ...]:
    if any(isinstance(value, HostObject) for value in inputs):
        raise UnsupportedOp(f"the op {node.op}, which only runs on the host, on tensors that depend on the inputs")
    compute = TABLE.get(node.op)
    if compute is None:
        raise UnsupportedOp(f"the op {node.op}")
    outputs = compute(node, *inputs)
    return tuple(outputs) if isinstance(outputs, (list, tuple)) else (outputs,)


def _gradients_by(program: Program, gradient: CustomGradient, needed: list[Any], state: State) -> tuple[Any, list[Any]]:
    """What computes the gradients of a node's inputs, and the tensors that it takes beside those of the outputs.

    These are handed on, because the values of the variables are others, or gone, when gradients are computed.
    """
    known = (VariableRef, TensorList)
    slots = [slot for slot, value in enumerate(needed) if not isinstance(value, known) and not is_static(value)]
    refs = [value.number for value in needed if isinstance(value, VariableRef)]
    numbers = sorted({*program.variables, *refs})

    def compute(upstream: Sequence[Any], extra: Sequence[Any]) -> list[Any]:
        if any(isinstance(value, TensorList) for value in needed):
            raise UnsupportedOp("a list of tensors")
        given = list(needed)
        for slot, value in zip(slots, extra, strict=False):
            given[slot] = value
        frozen = State(())
        frozen.assigned = dict(zip(numbers, extra[len(slots) :], strict=True))
        flat = program([*upstream, *given], frozen)
        return [None if place is None else flat[place] for place in gradient.places]

    return compute, [*(needed[slot] for slot in slots), *map(state.read, numbers)]
