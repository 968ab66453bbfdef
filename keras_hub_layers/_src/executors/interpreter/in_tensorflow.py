"""The interpreting executor of the TensorFlow backend: the native one, but for what computes a trace."""

from collections.abc import Callable
from typing import Any

import tensorflow as tf

from keras_hub_layers import errors
from keras_hub_layers._src.executors import inputs as inputs_lib
from keras_hub_layers._src.executors.base import Choice
from keras_hub_layers._src.executors.interpreter.interpreter import Interpreter, no_traces_error
from keras_hub_layers._src.executors.tensorflow import TensorFlowExecutor
from keras_hub_layers._src.savedmodel import contents, input_losses
from keras_hub_layers.errors import BackendError


class InterpretingTensorFlowExecutor(TensorFlowExecutor):
    """Computes a `Choice` in `keras.ops` on TensorFlow. Matching, checks and weights are the native ones."""

    def __init__(self, choice: Choice, warn: Callable[..., None] = errors.warn) -> None:
        super().__init__(choice, warn)
        if not self._traces:
            raise no_traces_error()
        if tf.distribute.has_strategy():
            raise _strategy_error()
        self._is_native = False
        self._interpreter = Interpreter(choice, self._weights)
        self._interpreter.try_traces(self._traces)
        self.seed_generator = self._interpreter.seed_generator

    def call_natively(self, inputs: Any, training: bool) -> Any:
        self._is_native = True
        try:
            return super().call_natively(inputs, training)
        finally:
            self._is_native = False

    def check_training(self) -> None:
        self._interpreter.check_training()

    def _invoke(
        self, function: contents.Function, trace: Any, inputs: Any, arguments: dict[str, Any], training: bool
    ) -> Any:
        if self._is_native:
            return super()._invoke(function, trace, inputs, arguments, training)
        if function is not self._function:
            trace = input_losses.twin(function, trace, self._choice.arguments)
        named = {name: arguments[name] for name in trace.keywords}
        leaves = inputs_lib.flatten([inputs, *named.values()])
        return self._interpreter.compute(trace, leaves, arguments)

    def _loss_values(self) -> list[Any]:
        return self._interpreter.losses()


def _strategy_error() -> BackendError:
    return BackendError(
        "A layer with execution='interpreted' was made in the scope of a distribution strategy.",
        expected="no strategy, or the execution that uses TensorFlow's own functions",
        received=f"execution='interpreted' in the scope of {type(tf.distribute.get_strategy()).__name__}",
        fix=lambda line: line(execution=None),
    )
