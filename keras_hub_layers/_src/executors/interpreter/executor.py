"""The interpreting executor: it computes a SavedModel's functions in keras.ops, with Keras variables of any backend."""

from collections.abc import Callable, Mapping
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_hub_layers import errors
from keras_hub_layers._src.executors import inputs as inputs_lib
from keras_hub_layers._src.executors import symbolic
from keras_hub_layers._src.executors.base import Choice
from keras_hub_layers._src.executors.interpreter.interpreter import Interpreter, no_traces_error
from keras_hub_layers._src.executors.interpreter.values import UnsupportedOp, is_text, tensor
from keras_hub_layers._src.executors.matching import Fit, Form, Matcher, Mismatch, pack
from keras_hub_layers._src.executors.outputs import as_plain, pick_output, set_shapes
from keras_hub_layers._src.executors.trace_arguments import TraceArguments
from keras_hub_layers._src.executors.weights import Weights
from keras_hub_layers._src.inspect import specs as specs_lib
from keras_hub_layers._src.savedmodel import input_losses, live_object
from keras_hub_layers.errors import InputError

_STAGES = (
    "from keras_hub_layers import distribution\n"
    "host, device = distribution.host_stage(layer), distribution.device_stage(layer)   # host in tf.data"
)


class InterpretingExecutor:
    """Computes a `Choice` on any backend of Keras; see `executors/README.md` for the members."""

    supports_jit = True  # it computes in keras.ops alone
    _computation: Any = Interpreter
    _needs_variables = False  # whether TensorFlow's variables are used after the construction

    def __init__(self, choice: Choice, warn: Callable[..., None] = errors.warn) -> None:
        self._choice = choice
        self._warn = warn
        self._function = choice.function
        self._traces = choice.function.usable_traces_with(choice.arguments)
        if not self._traces:
            raise no_traces_error()
        forms = [inputs_lib.trace_form(trace) for trace in self._traces]
        self._matcher = Matcher([form.inputs for form in forms])
        self._arguments = TraceArguments(forms, choice.function.parameters, choice.function.is_open)
        self._arguments.check(choice.arguments)
        separator = "-" if keras.backend.backend() == "torch" else "."  # PyTorch forbids points in names
        self._weights = Weights(choice.target, choice.function, _copy_of_variable, separator, warn)
        self.weights, self.published = self._weights.all, self._weights.published
        self.candidates, self.has_lists = self._weights.candidates, self._weights.has_lists
        self._interpreter = self._computation(choice, self._weights)
        self._interpreter.try_traces(self._traces)
        self.seed_generator = self._interpreter.seed_generator
        self.input_dtype = symbolic.single_dtype(self._traces, self._function)
        self.input_names = symbolic.input_names(self._traces)
        verdict = live_object.input_losses_verdict(choice.target, self._function)
        self.loses_losses = verdict == "lost" and not self._function.is_signature
        self._with_losses: Any = None  # what returns the losses that depend on inputs too
        if verdict == "counted" and not self._function.is_signature:
            self._with_losses = live_object.input_losses_function(choice.target)
            self._interpreter.try_traces(list(map(self._twin, self._traces)))
        if choice.is_own and not self._needs_variables:
            self._weights.empty_variables()

    # -- the seam ------------------------------------------------------------------------------------------------

    def call(self, inputs: Any, training: bool) -> Any:
        fit, leaves, arguments = self._match(inputs, training, self._look, _act)
        outputs = self._interpreter.compute(self._traces[fit.trace], leaves, arguments)
        return pick_output(outputs, self._choice)

    def call_with_losses(self, inputs: Any, training: bool) -> tuple[Any, list[Any]]:
        if self._with_losses is None:
            return self.call(inputs, training), []
        fit, leaves, arguments = self._match(inputs, training, self._look, _act)
        outputs, losses = self._interpreter.compute(self._twin(self._traces[fit.trace]), leaves, arguments)
        losses = [keras.ops.cast(loss, keras.config.floatx()) for loss in keras.tree.flatten(losses)]
        missing = input_losses.count(self._with_losses) - len(losses)  # some layers have none in one of the modes
        return pick_output(outputs, self._choice), [*losses, *[keras.ops.zeros(())] * missing]

    def _twin(self, trace: Any) -> Any:
        return input_losses.twin(self._with_losses, trace, self._choice.arguments)

    def prepare(self, inputs: Any) -> Any:
        return inputs

    def call_natively(self, inputs: Any, training: bool) -> Any:
        fit, leaves, arguments = self._match(inputs, training, inputs_lib.look, inputs_lib.act_on_leaves)
        trace = self._traces[fit.trace]
        tensors, by_name = trace.split(pack(trace.inputs, iter(leaves)))
        given = {**inputs_lib.traced_arguments(arguments, trace), **by_name}
        function = self._function
        outputs = function.call(**tensors) if function.is_signature else function.call(tensors, **given)
        sizes = {leaf.shape[0] if leaf.shape.rank else None for leaf in leaves}
        batch = tf.TensorShape([sizes.pop() if len(sizes) == 1 else None])
        return set_shapes(pick_output(as_plain(outputs), self._choice), batch, self._choice)

    def output_spec(self, inputs: Any) -> Any:
        """TensorFlow infers the shapes, because the interpreter on symbolic tensors would infer fewer of them."""
        training = not self._arguments.infers(self._choice.arguments)
        specs = symbolic.specs_of(inputs, self._traces)
        traced = tf.function(lambda values: self.call_natively(values, training), autograph=False)
        outputs = traced.get_concrete_function(specs).structured_outputs
        return tf.nest.map_structure(symbolic.keras_tensor, as_plain(outputs))

    def symbolic_inputs(self, shapes: Any) -> Any:
        return symbolic.tensors_of_traced(shapes, self._traces, self._function)

    def regularization_losses(self) -> list[Any]:
        return self._interpreter.losses()

    def name_of(self, weight: Any) -> str:
        return self._weights.name_of(weight)

    def variable_of(self, weight: Any) -> Any:
        return self._weights.variable_of(weight)

    def check_training(self) -> None:
        self._interpreter.check_training()

    def write_back(self) -> None:
        self._weights.fill_variables()

    # -- at each call --------------------------------------------------------------------------------------------

    def _match(self, inputs: Any, training: bool, look: Any, act: Any) -> tuple[Fit, list[Any], dict[str, Any]]:
        """The trace that fits best, its input tensors in the order of the trace, and its arguments."""
        if self._function.is_signature and not isinstance(inputs, Mapping) and len(self._traces[0].inputs) == 1:
            inputs = {next(iter(self._traces[0].inputs)): inputs}
        arguments = self._arguments_of(training)
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
                fix=_STAGES if any("string" in text for text in wanted) else "print(layer.interface)",
            ) from err

    def _arguments_of(self, training: bool) -> dict[str, Any]:
        """The further arguments of a call."""
        arguments = dict(self._choice.arguments)
        if self._function.accepts_training:
            arguments["training"] = training and arguments.get("training", True)
        return arguments

    def _look(self, value: Any, wanted: Form) -> tuple[Any, Form]:
        """A tensor of the backend, or an array of numbers, and its form."""
        if wanted.kind != "dense" or wanted.dtype == "string":
            raise Mismatch(
                f"a {wanted.dtype} {wanted.kind} tensor is expected, which this backend of Keras does not have"
            )
        if not keras.ops.is_tensor(value):
            value = np.asarray(value)
            if value.dtype.kind not in "fiubc":
                raise Mismatch(f"no tensor can be made of {type(value).__name__}")
        return value, Form(tuple(value.shape), keras.backend.standardize_dtype(value.dtype))


def _copy_of_variable(variable: Any, trainable: bool, name: str) -> keras.Variable:
    """A Keras variable of the running backend with the value of a `tf.Variable`."""
    return keras.Variable(variable.numpy(), dtype=variable.dtype.name, trainable=trainable, autocast=False, name=name)


def _act(fit: Fit, inputs: Any) -> list[Any]:
    """The tensors that a trace takes, with the casts of the fit. JAX has no 64-bit integers; it uses 32-bit ones."""
    try:
        leaves = [leaf if is_text(leaf) else tensor(leaf) for leaf in fit.leaves]
    except UnsupportedOp as err:
        raise Mismatch(str(err)) from err
    return [
        leaf if step.dtype is None else keras.ops.cast(leaf, step.dtype)
        for leaf, step in zip(leaves, fit.steps, strict=True)
    ]


def _describe(value: Any) -> str:
    shape = getattr(value, "shape", None)
    return type(value).__name__ if shape is None else f"{str(value.dtype).removeprefix('torch.')} {tuple(shape)}"
