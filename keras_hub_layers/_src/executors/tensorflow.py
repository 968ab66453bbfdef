"""The native executor: adopt the loaded `tf.Variable`s and call the restored functions."""

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
import tensorflow as tf

from keras_hub_layers import errors
from keras_hub_layers._src.compat import adopted_variables, fit, tensorflow
from keras_hub_layers._src.executors import call_errors, symbolic
from keras_hub_layers._src.executors import inputs as inputs_lib
from keras_hub_layers._src.executors.base import Choice
from keras_hub_layers._src.executors.matching import Matcher, Mismatch, Step
from keras_hub_layers._src.executors.outputs import as_plain, pick_output, set_shapes
from keras_hub_layers._src.executors.pixels import PixelCheck
from keras_hub_layers._src.executors.trace_arguments import TraceArguments
from keras_hub_layers._src.executors.weights import Weights
from keras_hub_layers._src.savedmodel import contents, input_losses, live_object
from keras_hub_layers._src.savedmodel.folding.folded_functions import FoldedFunctions
from keras_hub_layers._src.savedmodel.graphs import assignments
from keras_hub_layers._src.savedmodel.graphs.pixel_range import wanted_range
from keras_hub_layers.errors import InputError, InterfaceError


class TensorFlowExecutor:
    """Computes a `Choice` on the TensorFlow backend; see `executors/README.md` for the members."""

    seed_generator = None  # the ops of TensorFlow have generators of their own
    supports_jit = False  # a string op under XLA aborts the process, and only a trial shows that there is none

    def __init__(self, choice: Choice, warn: Callable[..., None] = errors.warn) -> None:
        self._choice = choice
        self._warn = warn
        self._function = choice.function
        self._traces = choice.function.usable_traces_with(choice.arguments)
        forms = [inputs_lib.trace_form(trace) for trace in self._traces]
        self._matcher = Matcher([form.inputs for form in forms])
        self._arguments = TraceArguments(forms, choice.function.parameters, choice.function.is_open)
        self._arguments.check(choice.arguments)
        self._modes: dict[bool, tuple[dict[str, Any], tuple[int, ...]]] = {}
        self._declared: Any = None  # the symbolic inputs, while a model is being built
        self._losses = [] if choice.function.is_signature else live_object.losses(choice.target)
        self._check_losses()
        self._weights = Weights(choice.target, choice.function, adopt, ".", warn)
        self.weights, self.published = self._weights.all, self._weights.published
        self.candidates, self.has_lists = self._weights.candidates, self._weights.has_lists
        self._checked_rows = False
        self._folded = FoldedFunctions(choice.optimize)
        self._pixels = PixelCheck(choice.function, warn)
        self._strategy = tf.distribute.get_strategy()
        self.input_dtype = symbolic.single_dtype(self._traces, self._function)
        self.input_names = symbolic.input_names(self._traces)

    @functools.cached_property
    def _verdict_of_losses(self) -> str:
        if self._function.is_signature:
            return ""
        return live_object.input_losses_verdict(self._choice.target, self._function)

    @functools.cached_property
    def _with_losses(self) -> contents.Function | None:
        """What returns the outputs and the losses that depend on the inputs, if it is to be called."""
        is_counted = self._verdict_of_losses == "counted"
        return live_object.input_losses_function(self._choice.target) if is_counted else None

    @property
    def loses_losses(self) -> bool:
        return self._verdict_of_losses == "lost"

    # -- the seam ------------------------------------------------------------------------------------------------

    def call(self, inputs: Any, training: bool) -> Any:
        return self._compute(self._function, inputs, training)[0]

    def call_natively(self, inputs: Any, training: bool) -> Any:
        return self._compute(self._function, inputs, training)[0]

    def call_with_losses(self, inputs: Any, training: bool) -> tuple[Any, list[Any]]:
        if self._with_losses is None:
            return self.call(inputs, training), []
        outputs, losses = self._compute(self._with_losses, inputs, training)
        missing = input_losses.count(self._with_losses) - len(losses)  # some layers have none in one of the modes
        return outputs, [*losses, *[tf.zeros((), keras.config.floatx())] * missing]

    def _compute(self, function: contents.Function, inputs: Any, training: bool) -> tuple[Any, list[Any]]:
        """The outputs of a function, and the losses that it returns beside them if it is one of those that do."""
        trained = any(weight.trainable for weight in self.weights)
        if trained:
            call_errors.check_strategy(self._strategy)
        if self._function.is_signature:
            inputs = self._by_name(inputs)
        given = inputs
        inputs, arguments, trace = self._match(inputs, training)
        if self._declared is None:
            self._pixels.look(given, inputs)
        variables = [weight.value for weight in self.weights]
        flags = {id(weight.value): bool(weight.trainable) for weight in self.weights}
        if training and trained:
            call_errors.check_mode(self._strategy)
        watched = tensorflow.watch_variables(variables, lambda variable: flags.get(id(variable), trained))
        with watched, tensorflow.on_one_copy(self._strategy):
            outputs = self._invoke(function, trace, inputs, arguments, training)
        losses: list[Any] = []
        if function is not self._function:
            outputs, losses = outputs[0], [_as_default_float(loss) for loss in tf.nest.flatten(outputs[1])]
        outputs = pick_output(as_plain(outputs), self._choice)
        return set_shapes(outputs, _batch(inputs), self._choice), losses

    def prepare(self, inputs: Any) -> Any:
        parts = list(inputs.values()) if isinstance(inputs, Mapping) else inputs
        if not isinstance(parts, (list, tuple)) or not any(_is_symbolic(leaf) for leaf in keras.tree.flatten(inputs)):
            return inputs
        if not isinstance(inputs, Mapping):
            return type(inputs)(map(_as_tensor, inputs)) if type(inputs) in (list, tuple) else inputs
        wanted = [set(trace.inputs) for trace in self._traces if isinstance(trace.inputs, Mapping)]
        keys = set().union(*(some for some in wanted if some <= set(inputs)))  # else one may be misspelt
        return {key: _as_tensor(value) for key, value in inputs.items() if key in keys or not keys}

    def output_spec(self, inputs: Any) -> Any:
        specs = symbolic.specs_of(inputs, self._traces)
        training = not self._arguments.infers(self._choice.arguments)
        traced = tf.function(lambda x: self.call(x, training=training), autograph=False)
        self._declared = inputs
        try:
            outputs = as_plain(traced.get_concrete_function(specs).structured_outputs)
        finally:
            self._declared = None
        self._check_rows(specs, outputs)
        return tf.nest.map_structure(symbolic.keras_tensor, outputs)

    def symbolic_inputs(self, shapes: Any) -> Any:
        return symbolic.tensors_of_traced(shapes, self._traces, self._function)

    def regularization_losses(self) -> list[Any]:
        flags = {id(weight.value): bool(weight.trainable) for weight in self.weights}
        variables = [weight.value for weight in self.weights]
        watched = tensorflow.watch_variables(variables, lambda variable: flags.get(id(variable), False))
        with watched, tensorflow.on_one_copy(self._strategy):
            return list(map(_as_default_float, self._loss_values()))

    def _loss_values(self) -> list[Any]:
        return [_traced(loss)() for loss in self._losses]

    # -- at construction -----------------------------------------------------------------------------------------

    def name_of(self, weight: Any) -> str:
        return self._weights.name_of(weight)

    def variable_of(self, weight: Any) -> Any:
        return weight.value

    def check_training(self) -> None:
        """Nothing to say before a training step: TensorFlow knows its gradients."""

    def write_back(self) -> None:
        """Nothing to do: the weights are the variables."""

    def _check_losses(self) -> None:
        for loss in self._losses:
            if not callable(loss):
                raise call_errors.uncallable_loss_error(f"an entry of type {type(loss).__name__}: {loss!r}")

    def _check_rows(self, specs: Any, outputs: Any) -> None:
        """Warn, once, where the outputs of a model that is being built have other rows than its inputs."""
        if self._checked_rows:
            return
        self._checked_rows = True

        def run(inputs: Any) -> Any:
            return outputs if assignments.assigned_variables(self._function) else self.call(inputs, training=False)

        if symbolic.has_other_rows(specs, self._traces, outputs, run):
            self._warn(symbolic.rows_warning(specs))

    # -- at each call --------------------------------------------------------------------------------------------

    def _match(self, inputs: Any, training: bool) -> tuple[Any, dict[str, Any], contents.Trace | None]:
        """Inputs and arguments in the form of the trace that fits best, and this trace, `None` if there is none."""
        arguments, accepting = self._mode(training)
        if not self._traces:
            try:
                return inputs_lib.free(inputs), arguments, None
            except Mismatch as err:
                raise self._no_match_error(inputs, training, err) from err
        failure = None
        try:
            for candidate in self._matcher.fits(inputs, accepting, inputs_lib.look):
                trace = self._traces[candidate.trace]
                try:
                    tensors = inputs_lib.act(candidate, trace.inputs)
                except Mismatch as err:  # integers that do not fit
                    failure = failure or err
                    continue
                self._warn_of_fixed_lengths(candidate.steps, trace)
                tensors, by_name = trace.split(tensors)
                return tensors, {**inputs_lib.traced_arguments(arguments, trace), **by_name}, trace
        except Mismatch as err:
            failure = err
        raise self._no_match_error(inputs, training) from failure

    def _mode(self, training: bool) -> tuple[dict[str, Any], tuple[int, ...]]:
        """The further arguments of a call, and the numbers of the traces that accept them."""
        if training not in self._modes:
            arguments = dict(self._choice.arguments)
            if self._function.accepts_training:
                arguments["training"] = training and arguments.get("training", True)
            accepting = self._arguments.find_accepting(arguments)
            if self._traces and not accepting:
                raise self._arguments.error(arguments)
            self._modes[training] = arguments, accepting
        return self._modes[training]

    def _no_match_error(self, inputs: Any, training: bool, reason: object = None) -> InputError:
        arguments, accepting = self._mode(training)
        traces = [self._traces[number] for number in accepting]
        declared = None
        if self._declared is not None and not fit.is_in_loop():
            declared = self._by_name(self._declared) if self._function.is_signature else self._declared
        return call_errors.no_match_error(
            inputs, arguments, traces, reason, declared, lambda: wanted_range(self._function) == "bytes"
        )

    def _warn_of_fixed_lengths(self, steps: Sequence[Step], trace: contents.Trace) -> None:
        """Say, while a model is built, that it takes any batch and its SavedModel one: the graph checks it later.

        Other lengths, such as that of tokens, are checked in the graph too, and mostly fit.
        """
        if self._declared is None:
            return
        specs = [spec for spec, step in zip(inputs_lib.flatten(trace.inputs), steps, strict=True) if step.is_unsure]
        for spec in specs:
            if spec.shape[0] is not None:
                shape, dtype = tuple(spec.shape), spec.dtype.name
                self._warn(
                    f"the SavedModel takes {dtype} {shape} and nothing else, and the model that is being built does "
                    "not say that its inputs have these lengths. Others will fail when it runs. To say so:\n"
                    f"x = keras.Input(batch_shape={shape}, dtype={dtype!r})"
                    f"   # and batch_size={shape[0]} in fit, evaluate and predict"
                )
                return

    def _by_name(self, inputs: Any) -> Any:
        """The one input of a signature under its name; of several inputs the caller has to say which is which."""
        names = list(self._traces[0].inputs)
        return {names[0]: inputs} if len(names) == 1 and not isinstance(inputs, Mapping) else inputs

    def _invoke(
        self, function: contents.Function, trace: Any, inputs: Any, arguments: dict[str, Any], training: bool
    ) -> Any:
        """What a function returns.

        Args:
            function: The function of the choice, or what returns the losses that depend on the inputs too.
            trace: The trace that fits the inputs, or `None`.
            inputs: In the form of the trace.
            arguments: Its other arguments.
            training: Whether the model trains.
        """
        folded = None if training or function is not self._function else self._folded_function(trace)
        try:
            if folded is not None:
                return folded(inputs)
            return function.call(**inputs) if function.is_signature else function.call(inputs, **arguments)
        except (TypeError, ValueError) as err:
            if "matching concrete function" not in str(err):
                raise
            raise self._no_match_error(inputs, training, "TensorFlow refuses them") from err
        except (tf.errors.FailedPreconditionError, LookupError) as err:
            raise call_errors.explain(err, self._choice) from err

    def _folded_function(self, trace: Any) -> Callable[[Any], Any] | None:
        """What inference runs instead of a trace; `None` for most traces, and while a model is being built."""
        if trace is None or self._declared is not None:
            return None
        if self._function.is_signature and len(trace.inputs) > 1:  # whose graph has them in an order of its own
            return None
        return self._folded.function_of(trace)


def adopt(variable: Any, trainable: bool, name: str) -> keras.Variable:
    """A Keras variable that is the `tf.Variable`, without a copy."""
    weight = adopted_variables.adopt(variable, trainable, name)
    if weight.value is not variable:
        raise InterfaceError(
            "Keras copied a variable instead of adopting it; training would not reach the SavedModel.",
            expected="keras.Variable(v).value is v",
            received=f"a copy of {variable.name!r} ({variable.dtype.name})",
            fix="report this together with keras.__version__ and tf.__version__",
        )
    return weight


def _traced(loss: Any) -> Any:
    """The one trace of a loss, for a graph: TensorFlow would put a function around it, with a gradient of its own."""
    traces = getattr(loss, "concrete_functions", ())
    is_direct = not tf.executing_eagerly() and not tf.distribute.has_strategy() and not tensorflow.is_jit_compiled(loss)
    return traces[0] if len(traces) == 1 and is_direct else loss


def _batch(inputs: Any) -> tf.TensorShape:
    """The batch axis, as a shape of rank 1: unknown unless all inputs agree."""
    sizes = {leaf.shape[0] if leaf.shape.rank else None for leaf in tf.nest.flatten(inputs)}
    return tf.TensorShape([sizes.pop() if len(sizes) == 1 else None])


def _is_symbolic(value: Any) -> bool:
    return tf.is_tensor(value) or isinstance(value, (keras.KerasTensor, keras.Variable))


def _as_tensor(value: Any) -> Any:
    """A tensor of an array or of Python values; what holds tensors stays."""
    if any(_is_symbolic(leaf) for leaf in keras.tree.flatten(value)):
        return value
    try:
        return inputs_lib.to_tensor(value)
    except Mismatch:
        return value


def _as_default_float(loss: Any) -> Any:
    """A loss in the dtype that Keras sums losses in."""
    loss = tf.convert_to_tensor(loss)
    return tf.cast(loss, keras.config.floatx()) if loss.dtype.is_floating else loss
