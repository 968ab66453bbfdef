"""The interpreting executor: it computes a SavedModel's functions in keras.ops, with Keras variables of any backend."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_hub_layers import errors
from keras_hub_layers._src.executors import call_errors, symbolic
from keras_hub_layers._src.executors import inputs as inputs_lib
from keras_hub_layers._src.executors.base import Choice
from keras_hub_layers._src.executors.interpreter import trial
from keras_hub_layers._src.executors.interpreter.custom_gradients import gradient_error
from keras_hub_layers._src.executors.interpreter.ops.control import RANDOM
from keras_hub_layers._src.executors.interpreter.program import Program, State
from keras_hub_layers._src.executors.interpreter.values import UnsupportedOp, is_static, tensor
from keras_hub_layers._src.executors.matching import Fit, Form, Matcher, Mismatch, pack
from keras_hub_layers._src.executors.outputs import as_plain, pick_output, set_shapes
from keras_hub_layers._src.executors.trace_arguments import TraceArguments
from keras_hub_layers._src.executors.weights import Weights
from keras_hub_layers._src.inspect import specs as specs_lib
from keras_hub_layers._src.savedmodel import contents, live_object
from keras_hub_layers._src.savedmodel.graphs import library
from keras_hub_layers.errors import BackendError, InputError


class InterpretingExecutor:
    """Computes a `Choice` on any backend of Keras; see `executors/README.md` for the members."""

    supports_jit = True  # it computes in keras.ops alone

    def __init__(self, choice: Choice, warn: Callable[..., None] = errors.warn) -> None:
        self._choice = choice
        self._warn = warn
        self._function = choice.function
        self._traces = choice.function.usable_traces_with(choice.arguments)
        if not self._traces:
            raise _no_traces_error()
        forms = [inputs_lib.trace_form(trace) for trace in self._traces]
        self._matcher = Matcher([form.inputs for form in forms])
        self._arguments = TraceArguments(forms, choice.function.parameters, choice.function.is_open)
        self._arguments.check(choice.arguments)
        separator = "-" if keras.backend.backend() == "torch" else "."  # PyTorch forbids points in names
        self._weights = Weights(choice.target, choice.function, _copy_of_variable, separator, warn)
        self.weights, self.published = self._weights.all, self._weights.published
        self.candidates, self.has_lists = self._weights.candidates, self._weights.has_lists
        self.seed_generator: Any = None
        self._programs: dict[int, Program] = {}
        self._loss_programs = [self._program(trace) for trace in self._loss_traces()]
        for number in range(len(self._traces)):
            self._try(number)
        self.input_dtype = symbolic.single_dtype(self._traces, self._function)
        self.input_names = symbolic.input_names(self._traces)
        self.loses_losses = bool(live_object.input_losses_verdict(choice.target, choice.function))

    # -- the seam ------------------------------------------------------------------------------------------------

    def call(self, inputs: Any, training: bool) -> Any:
        fit, leaves, arguments = self._match(inputs, training, _look, _act)
        trace = self._traces[fit.trace]
        specs = {name: spec for name, spec in trace.arguments.items() if isinstance(spec, tf.TensorSpec)}
        by_name = {name: np.asarray(arguments[name], spec.dtype.as_numpy_dtype) for name, spec in specs.items()}
        program, state = self._program_of(fit.trace), State(self.weights, self.seed_generator)
        values = self._in_order_of_graph(program, trace, leaves, by_name)
        flat = self._run(program, values, state)
        for number, value in state.assigned.items():
            self.weights[number].assign(value)
        return pick_output(as_plain(_pack_outputs(trace.outputs, flat)), self._choice)

    def call_with_losses(self, inputs: Any, training: bool) -> tuple[Any, list[Any]]:
        return self.call(inputs, training), []

    def prepare(self, inputs: Any) -> Any:
        return inputs

    def output_spec(self, inputs: Any) -> Any:
        """TensorFlow infers the shapes, because the interpreter on symbolic tensors would infer fewer of them."""
        training = not self._arguments.infers(self._choice.arguments)

        def compute(values: Any) -> Any:
            fit, leaves, arguments = self._match(values, training, inputs_lib.look, inputs_lib.act_on_leaves)
            trace = self._traces[fit.trace]
            tensors, by_name = trace.split(pack(trace.inputs, iter(leaves)))
            given = {**inputs_lib.traced_arguments(arguments, trace), **by_name}
            outputs = (
                self._function.call(**tensors) if self._function.is_signature else self._function.call(tensors, **given)
            )
            sizes = {leaf.shape[0] if leaf.shape.rank else None for leaf in leaves}
            batch = tf.TensorShape([sizes.pop() if len(sizes) == 1 else None])
            return set_shapes(pick_output(as_plain(outputs), self._choice), batch, self._choice)

        specs = symbolic.specs_of(inputs, self._traces)
        traced = tf.function(compute, autograph=False).get_concrete_function(specs)
        return tf.nest.map_structure(symbolic.keras_tensor, as_plain(traced.structured_outputs))

    def symbolic_inputs(self, shapes: Any) -> Any:
        return symbolic.tensors_of_traced(shapes, self._traces, self._function)

    def regularization_losses(self) -> list[Any]:
        results = [self._run(program, [], State(self.weights))[0] for program in self._loss_programs]
        return [keras.ops.cast(loss, keras.config.floatx()) for loss in results]

    def name_of(self, weight: Any) -> str:
        return self._weights.name_of(weight)

    def variable_of(self, weight: Any) -> Any:
        return self._weights.variable_of(weight)

    def check_training(self) -> None:
        programs = [*self._programs.values(), *self._loss_programs]
        refused = {name: why for program in programs for name, why in program.refused.items()}
        if refused:
            name, why = next(iter(refused.items()))
            more = f", and {len(refused) - 1} more nodes" if len(refused) > 1 else ""
            raise gradient_error(
                f"a custom gradient that {why}", f"node {name!r}{more}",
                lambda line: f"# frozen:\n{line(trainable=None, unfreeze=None)}",
            )  # fmt: skip

    def write_back(self) -> None:
        for variable, weight in zip(self._weights.variables, self.weights, strict=True):
            variable.assign(keras.ops.convert_to_numpy(weight.value))

    # -- at construction -----------------------------------------------------------------------------------------

    def _loss_traces(self) -> Iterator[contents.Trace]:
        if self._function.is_signature:
            return
        for trace in live_object.loss_traces(self._choice.target):
            if trace is None:
                raise call_errors.uncallable_loss_error("an entry without a trace")
            yield trace

    def _program_of(self, number: int) -> Program:
        if number not in self._programs:
            self._programs[number] = self._program(self._traces[number])
        return self._programs[number]

    def _program(self, trace: contents.Trace) -> Program:
        if trace.body is None:
            raise _no_traces_error()
        try:
            body = trace.body()
            if self.seed_generator is None and body.ops & RANDOM:
                self.seed_generator = keras.random.SeedGenerator()
            return Program(library.with_unsaved(body, self._choice.unsaved_gradients), self._weights.numbers)
        except UnsupportedOp as err:
            raise _unsupported_error(err) from err

    def _try(self, number: int) -> None:
        """Run a trace with made-up inputs. So an op that cannot be computed is an error now, and not later in `fit`."""
        program, trace = self._program_of(number), self._traces[number]
        dtypes = trial.input_dtypes(trace)
        if "string" in dtypes:
            return  # strings are refused at a call, because another signature or piece may take numbers
        state = State(self.weights, self.seed_generator)
        try:
            trial.run(lambda *values: program(list(values), state), trace)
        except UnsupportedOp as err:
            raise _unsupported_error(err) from err

    def _run(self, program: Program, values: list[Any], state: State) -> list[Any]:
        try:
            return program(values, state)
        except UnsupportedOp as err:
            raise _unsupported_error(err) from err

    def _in_order_of_graph(
        self, program: Program, trace: contents.Trace, leaves: list[Any], named: Mapping[str, Any]
    ) -> list[Any]:
        """The values of a call in the order of the graph's inputs, which have the names of the arguments.

        Args:
            program: The function.
            trace: Its trace.
            leaves: The tensors of the trace's inputs, in its order.
            named: Further arguments that are tensors.
        """
        if self._function.is_signature:  # its graph has the inputs in the order of their names
            return [leaf for _, leaf in sorted(zip(trace.inputs, leaves, strict=True), key=lambda pair: pair[0])]
        waiting, first, by_name = iter(leaves), [], dict(named)
        entries = trace.inputs.items() if trace.keywords else [("", trace.inputs)]
        for name, entry in entries:
            values = [next(waiting) for _ in inputs_lib.flatten(entry)]
            if name in trace.keywords and len(values) == 1:
                by_name[name] = values[0]
            else:
                first += values
        if not set(by_name) <= set(program.inputs) or len(first) + len(by_name) != len(program.inputs):
            raise _unsupported_error(
                UnsupportedOp(f"arguments by name, {sorted(by_name)}, that the graph names otherwise")
            )
        remaining = iter(first)
        return [by_name[name] if name in by_name else next(remaining) for name in program.inputs]

    # -- at each call --------------------------------------------------------------------------------------------

    def _match(self, inputs: Any, training: bool, look: Any, act: Any) -> tuple[Fit, list[Any], dict[str, Any]]:
        """The trace that fits best, its input tensors in the order of the trace, and its arguments."""
        if self._function.is_signature and not isinstance(inputs, Mapping) and len(self._traces[0].inputs) == 1:
            inputs = {next(iter(self._traces[0].inputs)): inputs}
        arguments = dict(self._choice.arguments)
        if self._function.accepts_training:
            arguments["training"] = training and arguments.get("training", True)
        accepting = self._arguments.find_accepting(arguments)
        if not accepting:
            raise self._arguments.error(arguments)
        try:
            fit = self._matcher.fits(inputs, accepting, look)[0]
            return fit, act(fit, self._traces[fit.trace].inputs), arguments
        except Mismatch as err:
            wanted = [specs_lib.describe(specs_lib.spec_of(self._traces[number].inputs)) for number in accepting]
            raise InputError(
                f"The inputs match no trace of the SavedModel: {err}.",
                expected=", or ".join(dict.fromkeys(wanted)),
                received=keras.tree.map_structure(_describe, inputs),
                fix="print(layer.interface)",
            ) from err


def _copy_of_variable(variable: Any, trainable: bool, name: str) -> keras.Variable:
    """A Keras variable of the running backend with the value of a `tf.Variable`."""
    return keras.Variable(variable.numpy(), dtype=variable.dtype.name, trainable=trainable, autocast=False, name=name)


def _look(value: Any, wanted: Form) -> tuple[Any, Form]:
    """A tensor of the backend, or an array of numbers, and its form."""
    if wanted.kind != "dense" or wanted.dtype == "string":
        raise Mismatch(f"a {wanted.dtype} {wanted.kind} tensor is expected, which this backend of Keras does not have")
    if not keras.ops.is_tensor(value):
        value = np.asarray(value)
        if value.dtype.kind not in "fiubc":
            raise Mismatch(f"no tensor can be made of {type(value).__name__}")
    return value, Form(tuple(value.shape), keras.backend.standardize_dtype(value.dtype))


def _act(fit: Fit, inputs: Any) -> list[Any]:
    """The tensors that a trace takes, with the casts of the fit. JAX has no 64-bit integers; it uses 32-bit ones."""
    leaves = map(tensor, fit.leaves)
    return [
        leaf if step.dtype is None else keras.ops.cast(leaf, step.dtype)
        for leaf, step in zip(leaves, fit.steps, strict=True)
    ]


def _describe(value: Any) -> str:
    shape = getattr(value, "shape", None)
    return type(value).__name__ if shape is None else f"{keras.backend.standardize_dtype(value.dtype)} {tuple(shape)}"


def _pack_outputs(structure: Any, flat: list[Any]) -> Any:
    waiting = iter(tensor(value) if is_static(value) else value for value in flat)
    leaves = [None if leaf is None else next(waiting) for leaf in tf.nest.flatten(structure)]
    return tf.nest.pack_sequence_as(structure, leaves)


def _unsupported_error(err: UnsupportedOp) -> BackendError:
    what, *place = err.args
    where = f"op {place[0]}, node {place[1]!r}" if len(place) > 1 else None
    return BackendError(
        f"The SavedModel cannot be computed on the Keras backend {keras.backend.backend()!r}.",
        expected="ops that this package can compute in keras.ops",
        received=what,
        where=where,
        fix='import os; os.environ["KERAS_BACKEND"] = "tensorflow"   # before the first import of keras',
    )


def _no_traces_error() -> BackendError:
    return BackendError(
        f"On the Keras backend {keras.backend.backend()!r}, a SavedModel is computed from the graphs of its traces.",
        expected="a function with traces, such as a function of a SavedModel",
        received="a function without traces",
        fix='import os; os.environ["KERAS_BACKEND"] = "tensorflow"   # before the first import of keras',
    )
