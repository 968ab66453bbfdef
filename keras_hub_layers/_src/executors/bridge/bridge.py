"""Bridge: has TensorFlow compute the traces of a function, and the published losses, on the host."""

import importlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
import tensorflow as tf

from keras_hub_layers._src.compat import tensorflow
from keras_hub_layers._src.executors import call_errors
from keras_hub_layers._src.executors import inputs as inputs_lib
from keras_hub_layers._src.executors.base import Choice
from keras_hub_layers._src.executors.bridge.host_function import HostFunction
from keras_hub_layers._src.executors.interpreter.interpreter import no_traces_error
from keras_hub_layers._src.executors.interpreter.values import UnsupportedOp, is_text
from keras_hub_layers._src.executors.matching import pack
from keras_hub_layers._src.executors.outputs import as_plain
from keras_hub_layers._src.executors.weights import Weights
from keras_hub_layers._src.savedmodel import contents, live_object
from keras_hub_layers._src.savedmodel.graphs.assignments import assigned_in
from keras_hub_layers._src.savedmodel.graphs.library import Body
from keras_hub_layers.errors import BackendError, Line, TrainingError

# The stateful ops of TensorFlow whose only effects are new values of variables. A function with another one, such as
# random numbers, would compute something else when its gradient is taken.
_REPEATABLE = frozenset({
    "Variable", "VariableV2", "VarHandleOp", "VarIsInitializedOp", "VariableShape", "ReadVariableOp",
    "ResourceGather", "ResourceGatherNd", "AssignVariableOp", "AssignAddVariableOp", "AssignSubVariableOp",
    "PartitionedCall", "StatefulPartitionedCall", "If", "While", "Case", "Assert", "Print", "PrintV2", "HashTable",
    "HashTableV2", "LookupTableFind", "LookupTableFindV2", "LookupTableSize", "LookupTableSizeV2",
    "LookupTableExportV2",
})  # fmt: skip


class Bridge:
    """What an executor has TensorFlow compute on the host; the members are those of `interpreter.Interpreter`.

    Args:
        choice: What of the SavedModel is called.
        weights: Its weights. Their values are handed on in each call.
    """

    seed_generator = None

    def __init__(self, choice: Choice, weights: Weights) -> None:
        self._choice = choice
        self._weights = weights
        self._functions = {trace.body: choice.function for trace in choice.function.traces}
        self._host_functions: dict[Any, HostFunction] = {}
        self._losses = [] if choice.function.is_signature else list(map(self._loss, *self._published_losses()))

    def add_function(self, function: contents.Function) -> None:
        """Take a further function whose traces are computed: what returns the losses that depend on inputs too."""
        self._functions |= {trace.body: function for trace in function.traces}

    def try_traces(self, traces: Sequence[contents.Trace]) -> None:
        """Refuse traces without a graph. What TensorFlow has loaded, it can compute."""
        for trace in traces:
            _body_of(trace)

    def check(self, traces: Sequence[contents.Trace], training: bool) -> None:
        """Refuse traces that would compute something else when they are computed again.

        Raises:
            errors.TrainingError: They do, and are for training.
            errors.BackendError: They do, and are for inference.
        """
        for trace in traces:
            ops = _unrepeatable_ops(_body_of(trace))
            if ops:
                raise _training_error(ops) if training else _inference_error(ops)

    def check_training(self) -> None:
        """Nothing to say: `check` does, and TensorFlow knows its gradients."""

    def compute(self, trace: contents.Trace, leaves: Sequence[Any], named: Mapping[str, Any]) -> Any:
        """The outputs of a trace. What it assigns to variables becomes the values of the weights.

        Args:
            trace: The trace.
            leaves: Its inputs in its order: tensors of the backend, or arrays of strings.
            named: Its other arguments.
        """
        tensors = [leaf for leaf in leaves if not is_text(leaf)]
        key = trace.body, named.get("training")
        if len(tensors) < len(leaves):
            host = self._host_function(trace, leaves, named)
        else:
            if key not in self._host_functions:
                self._host_functions[key] = self._host_function(trace, [None] * len(leaves), named)
            host = self._host_functions[key]
        return self._run(host, tensors)

    def losses(self) -> list[Any]:
        """The values of the published losses."""
        return [keras.ops.cast(self._run(loss, []), keras.config.floatx()) for loss in self._losses]

    def _host_function(self, trace: contents.Trace, leaves: Sequence[Any], named: Mapping[str, Any]) -> HostFunction:
        """A function of the inputs that are no strings; these are in the function."""
        function = self._functions[trace.body]
        specs = inputs_lib.flatten(trace.inputs)
        arguments = inputs_lib.traced_arguments(named, trace)

        def call(tensors: list[Any]) -> Any:
            waiting = iter(tensors)
            given = [next(waiting) if text is None else tf.convert_to_tensor(text) for text in texts]
            inputs, by_name = trace.split(pack(trace.inputs, iter(given)))
            is_signature = function.is_signature
            outputs = function.call(**inputs) if is_signature else function.call(inputs, **arguments, **by_name)
            return self._chosen(as_plain(outputs), function)

        texts = [leaf if is_text(leaf) else None for leaf in leaves]
        dtypes = [spec.dtype for spec, text in zip(specs, texts, strict=True) if text is None]
        return self._with_weights(call, dtypes, trace)

    def _with_weights(
        self, call: Callable[[list[Any]], Any], dtypes: Sequence[tf.DType], trace: contents.Trace
    ) -> HostFunction:
        numbers = self._weights.numbers
        variables = [variable for variable in trace.variables if id(variable) in numbers]
        state = assigned_in(_body_of(trace))
        if any(id(variable) not in numbers for variable in state):
            raise _inference_error(["AssignVariableOp to a variable that is no weight"])
        return HostFunction(call, dtypes, variables, state)

    def _chosen(self, outputs: Any, function: contents.Function) -> Any:
        """Outputs without those that `output_key` leaves out, which may be strings."""
        key = self._choice.output_key
        if function is not self._choice.function:  # it returns losses too
            return outputs
        return {key: outputs[key]} if key is not None and isinstance(outputs, dict) and key in outputs else outputs

    def _run(self, host: HostFunction, tensors: Sequence[Any]) -> Any:
        """What a function of the host returns. The weights get their new state."""
        if keras.distribution.distribution() is not None:
            raise _distribution_error()
        weights = [self._weights.all[self._weights.numbers[id(variable)]] for variable in host.variables]
        is_trained = [*(True for _ in tensors), *(bool(weight.trainable) for weight in weights)]
        values = [*tensors, *(weight.value for weight in weights)]
        wanted = [place for place, value in enumerate(values) if is_trained[place] and _has_gradient(value)]
        try:
            results = _backend().call(host, values, wanted)
        except UnsupportedOp as err:
            raise _output_error(str(err)) from err
        count = len(results) - len(host.state)
        for variable, value in zip(host.state, results[count:], strict=True):
            self._weights.all[self._weights.numbers[id(variable)]].assign(value)
        return tf.nest.pack_sequence_as(host.structure, results[:count])

    def _published_losses(self) -> tuple[list[Any], tuple[Any, ...]]:
        return live_object.losses(self._choice.target), live_object.loss_traces(self._choice.target)

    def _loss(self, loss: Callable[[], Any], trace: contents.Trace | None) -> HostFunction:
        if trace is None or trace.body is None:
            raise call_errors.uncallable_loss_error("an entry without a trace")
        return self._with_weights(lambda _: loss(), [], trace)


def _backend() -> Any:
    name = {"jax": "in_jax", "torch": "in_pytorch"}[keras.backend.backend()]
    return importlib.import_module(f"keras_hub_layers._src.executors.bridge.{name}")


def _has_gradient(value: Any) -> bool:
    dtype = keras.backend.standardize_dtype(value.dtype)
    return keras.backend.is_float_dtype(dtype) or dtype.startswith("complex")


def _body_of(trace: contents.Trace) -> Body:
    if trace.body is None:
        raise no_traces_error()
    return trace.body()


def _unrepeatable_ops(body: Body) -> list[str]:
    """The stateful ops of TensorFlow in a body that do more than to set variables. Those of packages are trusted."""
    stateful = {op for op in body.ops if tensorflow.is_of_tensorflow(op) and tensorflow.is_stateful(op)}
    return sorted(stateful - _REPEATABLE)


def _training_error(ops: Sequence[str]) -> TrainingError:
    def fix(line: Line) -> str:
        tuned = line(arguments={"training": False})
        return f"# if the function takes `training`, inference mode while the weights are tuned:\n{tuned}"

    return TrainingError(
        "With execution='host' a function is computed once more for its gradient, and would differ then.",
        expected="a training mode without random numbers, and without state other than variables",
        received=f"the ops {', '.join(ops)}",
        fix=fix,
    )


def _inference_error(ops: Sequence[str]) -> BackendError:
    return BackendError(
        "With execution='host' a function may be computed more than once, and would differ then.",
        expected="an inference mode without random numbers, and without state other than the weights",
        received=f"the ops {', '.join(ops)}",
        fix=lambda line: line(execution=None),
    )


def _output_error(received: str) -> BackendError:
    return BackendError(
        f"The SavedModel's function cannot hand its results to the Keras backend {keras.backend.backend()!r}.",
        expected="dense tensors of numbers, whose shapes depend on those of the inputs alone",
        received=received,
        fix="print(layer.interface)   # which outputs there are, for output_key=",
    )


def _distribution_error() -> BackendError:
    return BackendError(
        "A layer with execution='host' computes on one device.",
        expected="no distribution of Keras",
        received=f"a {type(keras.distribution.distribution()).__name__}",
        fix="keras.distribution.set_distribution(None)",
    )
