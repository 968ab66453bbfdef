"""The executor of `execution="host"` on JAX and PyTorch: TensorFlow's own functions compute on the host."""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from keras_hub_layers import errors
from keras_hub_layers._src.executors.base import Choice
from keras_hub_layers._src.executors.bridge.bridge import Bridge
from keras_hub_layers._src.executors.interpreter.executor import InterpretingExecutor
from keras_hub_layers._src.executors.matching import Form


class HostExecutor(InterpretingExecutor):
    """Computes a `Choice` by TensorFlow on the host. Matching and weights are those of the interpreter."""

    _computation: Any = Bridge
    _needs_variables = True

    def __init__(self, choice: Choice, warn: Callable[..., None] = errors.warn) -> None:
        super().__init__(choice, warn)
        if self._with_losses is not None:
            self._interpreter.add_function(self._with_losses)
        self._check_mode(training=False)

    def check_training(self) -> None:
        self._check_mode(training=True)

    def _check_mode(self, training: bool) -> None:
        accepting = self._arguments.find_accepting(self._arguments_of(training))
        traces = [self._traces[number] for number in accepting]
        if self._with_losses is not None:
            traces = [*traces, *map(self._twin, traces)]
        self._interpreter.check(traces, training)

    def _look(self, value: Any, wanted: Form) -> tuple[Any, Form]:
        """As the interpreter, and an array of strings, which is known when the layer is called."""
        if wanted.kind == "dense" and wanted.dtype == "string" and not keras.ops.is_tensor(value):
            array = np.asarray(value)
            if array.dtype.kind in "OSU":
                return array.astype(object), Form(array.shape, "string")
        return super()._look(value, wanted)
