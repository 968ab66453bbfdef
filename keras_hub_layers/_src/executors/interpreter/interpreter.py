"""Interpreter: computes the traces of a function, and the published losses, for an executor of any backend."""

import functools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_hub_layers._src.compat import loading
from keras_hub_layers._src.executors import call_errors
from keras_hub_layers._src.executors import inputs as inputs_lib
from keras_hub_layers._src.executors.base import Choice
from keras_hub_layers._src.executors.interpreter import trial
from keras_hub_layers._src.executors.interpreter.custom_gradients import gradient_error
from keras_hub_layers._src.executors.interpreter.ops.random_numbers import RANDOM
from keras_hub_layers._src.executors.interpreter.program import Program, State
from keras_hub_layers._src.executors.interpreter.values import UnsupportedOp, tensor
from keras_hub_layers._src.executors.outputs import as_plain
from keras_hub_layers._src.executors.weights import Weights
from keras_hub_layers._src.savedmodel import contents, live_object
from keras_hub_layers._src.savedmodel.graphs import library
from keras_hub_layers._src.savedmodel.graphs.concrete import names_in_order
from keras_hub_layers.errors import BackendError, Line


class Interpreter:
    """What an executor computes in `keras.ops`.

    Args:
        choice: What of the SavedModel is called.
        weights: Its weights.

    Attributes:
        seed_generator: Where random ops draw from; `None` if there are none.

    Raises:
        errors.BackendError: Something cannot be computed.
    """

    def __init__(self, choice: Choice, weights: Weights) -> None:
        self._choice = choice
        self._weights = weights
        self.seed_generator: Any = None
        self._programs: dict[Any, Program] = {}  # by what reads the body of a trace
        self._losses = [self._read(trace) for trace in self._loss_traces()]

    @loading.without_collecting()
    def try_traces(self, traces: Sequence[contents.Trace]) -> None:
        """Run traces with made-up inputs. So an op that cannot be computed is an error now, and not later in `fit`."""
        for trace in traces:
            program, state = self._program(trace), State(self._weights.all, self.seed_generator)
            if "string" in trial.input_dtypes(trace):
                continue  # strings are refused at a call, because another signature or piece may take numbers
            try:
                trial.run(lambda *values: program(list(values), state), trace)  # noqa: B023
            except UnsupportedOp as err:
                raise _unsupported_error(err) from err

    def compute(self, trace: contents.Trace, leaves: Sequence[Any], named: Mapping[str, Any]) -> Any:
        """The outputs of a trace. What it assigns to variables becomes the values of the weights.

        Args:
            trace: The trace.
            leaves: The tensors of its inputs, in its order.
            named: Its other arguments. Those that it takes as tensors are used.
        """
        specs = {name: spec for name, spec in trace.arguments.items() if isinstance(spec, tf.TensorSpec)}
        by_name = {name: _as_traced(named[name], spec) for name, spec in specs.items()}
        program, state = self._program(trace), State(self._weights.all, self.seed_generator)
        flat = self._run(program, self._in_order_of_graph(program, trace, leaves, by_name), state)
        for number, value in state.assigned.items():
            self._weights.all[number].assign(value)
        return as_plain(_pack_outputs(trace.outputs, flat))

    def losses(self) -> list[Any]:
        """The values of the published losses."""
        results = [self._run(program, [], State(self._weights.all))[0] for program in self._losses]
        return [keras.ops.cast(loss, keras.config.floatx()) for loss in results]

    def check_training(self) -> None:
        """Raise an `errors.TrainingError` if a custom gradient cannot be computed."""
        programs = [*self._programs.values(), *self._losses]
        refused = {name: why for program in programs for name, why in program.refused.items()}
        if refused:
            name, why = next(iter(refused.items()))
            more = f", and {len(refused) - 1} more nodes" if len(refused) > 1 else ""
            raise gradient_error(
                f"a custom gradient that {why}", f"node {name!r}{more}",
                lambda line: f"# frozen:\n{line(trainable=None, unfreeze=None)}",
            )  # fmt: skip

    def _loss_traces(self) -> Iterator[contents.Trace]:
        if self._choice.function.is_signature:
            return
        for trace in live_object.loss_traces(self._choice.target):
            if trace is None:
                raise call_errors.uncallable_loss_error("an entry without a trace")
            yield trace

    def _program(self, trace: contents.Trace) -> Program:
        if trace.body not in self._programs:
            self._programs[trace.body] = self._read(trace)
        return self._programs[trace.body]

    def _read(self, trace: contents.Trace) -> Program:
        if trace.body is None:
            raise no_traces_error()
        try:
            body = library.with_unsaved(trace.body(), self._choice.unsaved_gradients)
            if self.seed_generator is None and body.ops & RANDOM:
                self.seed_generator = keras.random.SeedGenerator()
            return Program(body, self._weights.numbers)
        except UnsupportedOp as err:
            raise _unsupported_error(err) from err

    def _run(self, program: Program, values: list[Any], state: State) -> list[Any]:
        try:
            return program(values, state)
        except UnsupportedOp as err:
            raise _unsupported_error(err) from err

    @functools.cached_property
    def _signature_names(self) -> list[str]:
        return names_in_order(self._choice.function.call)

    def _in_order_of_graph(
        self, program: Program, trace: contents.Trace, leaves: Sequence[Any], named: Mapping[str, Any]
    ) -> list[Any]:
        """The values of a call in the order of the graph's inputs, which have the names of the arguments."""
        if self._choice.function.is_signature:
            given = dict(zip(trace.inputs, leaves, strict=True))
            return [given[name] for name in self._signature_names]
        waiting, first, by_name = iter(leaves), [], dict(named)
        entries = trace.inputs.items() if trace.keywords else [("", trace.inputs)]
        for name, entry in entries:
            values = [next(waiting) for _ in inputs_lib.flatten(entry)]
            if name in trace.keywords and len(values) == 1:
                by_name[name] = values[0]
            else:
                first += [component for value in values for component in _components(value)]
        if not set(by_name) <= set(program.inputs) or len(first) + len(by_name) != len(program.inputs):
            raise _unsupported_error(
                UnsupportedOp(f"arguments by name, {sorted(by_name)}, that the graph names otherwise")
            )
        remaining = iter(first)
        return [by_name[name] if name in by_name else next(remaining) for name in program.inputs]


def _components(value: Any) -> list[Any]:
    """The tensors that a value is in a graph: several, if it is ragged or sparse."""
    if isinstance(value, (tf.RaggedTensor, tf.SparseTensor)):
        return tf.nest.flatten(value, expand_composites=True)
    return [value]


def _as_traced(value: Any, spec: Any) -> Any:
    return value if tf.is_tensor(value) else np.asarray(value, spec.dtype.as_numpy_dtype)


def _pack_outputs(structure: Any, flat: list[Any]) -> Any:
    is_native = keras.backend.backend() == "tensorflow"
    waiting = iter(tf.convert_to_tensor(value) if is_native else tensor(value) for value in flat)
    leaves = tf.nest.flatten(structure, expand_composites=True)
    values = [None if leaf is None else next(waiting) for leaf in leaves]
    return tf.nest.pack_sequence_as(structure, values, expand_composites=is_native)


def _unsupported_error(err: UnsupportedOp) -> BackendError:
    what, *place = err.args
    is_native = keras.backend.backend() == "tensorflow"
    where = f"op {place[0]}, node {place[1]!r}" if len(place) > 1 else None
    return BackendError(
        f"The SavedModel cannot be computed on the Keras backend {keras.backend.backend()!r}.",
        expected="ops that this package can compute in keras.ops",
        received=what,
        where=where,
        fix=(lambda line: line(execution=None)) if is_native else _host_fix,
    )


def _host_fix(line: Line) -> str:
    return (
        "# before the first import of keras:\n"
        '# import os; os.environ["KERAS_BACKEND"] = "tensorflow"\n'
        "# or TensorFlow's own functions, on the processor of the host:\n"
        f"{line(execution='host')}"
    )


def no_traces_error() -> BackendError:
    """The error for a function that has no graphs to interpret."""
    return BackendError(
        f"On the Keras backend {keras.backend.backend()!r}, a SavedModel is computed from the graphs of its traces.",
        expected="a function with traces, such as a function of a SavedModel",
        received="a function without traces",
        fix='import os; os.environ["KERAS_BACKEND"] = "tensorflow"   # before the first import of keras',
    )
