"""HostFunction: a function of TensorFlow and its gradient, computed on the host, from arrays to arrays."""

import threading
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from keras_hub_layers._src.compat import tensorflow
from keras_hub_layers._src.executors.interpreter.values import UnsupportedOp

# A call gives the variables their values and then reads them. The callbacks of one step may come from several threads.
_VARIABLES = threading.RLock()

_ZERO = tf.UnconnectedGradients.ZERO


class HostFunction:
    """A function of TensorFlow that takes the values of its variables as arguments.

    Nothing is kept from one call to the next, so nothing can be out of date: each call sets the variables, and the
    gradient computes the function once more.

    Args:
        call: Takes a list of tensors, and returns a nest of tensors.
        dtypes: The dtypes of these tensors.
        variables: The `tf.Variable`s that it uses.
        state: Those of them that it assigns to. Their new values are further outputs.

    Attributes:
        variables: As given.
        state: As given.
        structure: A nest as the outputs, known after a call.
    """

    def __init__(
        self,
        call: Callable[[list[Any]], Any],
        dtypes: Sequence[tf.DType],
        variables: Sequence[Any],
        state: Sequence[Any],
    ) -> None:
        self._call = call
        self._dtypes = [*dtypes, *(variable.dtype for variable in variables)]
        self.variables = variables
        self.state = state
        self._specs: dict[Any, list[tuple[tuple[int, ...], str]]] = {}
        self.structure: Any = None

    @property
    def state_places(self) -> set[int]:
        """Places of the state in the values that a call takes."""
        count, ids = len(self._dtypes) - len(self.variables), {id(variable) for variable in self.state}
        return {count + number for number, variable in enumerate(self.variables) if id(variable) in ids}

    def outputs(self, values: Sequence[Any]) -> list[np.ndarray]:
        """The outputs, flat, and the new state.

        Args:
            values: Arrays: the inputs, then the values of the variables.
        """
        with _VARIABLES, tf.device("CPU:0"):
            results = [*self._run(self._as_tensors(values)), *(variable.read_value() for variable in self.state)]
            return [np.array(result) for result in results]

    def gradients(self, values: Sequence[Any], wanted: Sequence[int], upstream: Sequence[Any]) -> list[np.ndarray]:
        """The gradients of the outputs.

        Args:
            values: As `outputs` takes them.
            wanted: Places in `values` of those that the gradients are for.
            upstream: The gradient of each output, flat; `None` for outputs that have none, such as integers.
        """
        with _VARIABLES, tf.device("CPU:0"):
            tensors = self._as_tensors(values)
            every = [*tensors, *self.variables]
            sources, trained = [every[place] for place in wanted], {id(every[place]) for place in wanted}
            watched = tensorflow.watch_variables(self.variables, lambda variable: id(variable) in trained)
            with tf.GradientTape() as tape, watched:
                tape.watch([tensor for tensor in tensors if tensor.dtype.is_floating or tensor.dtype.is_complex])
                outputs = self._run(tensors)
            pairs = [(output, given) for output, given in zip(outputs, upstream, strict=False) if given is not None]
            if any(tensor.dtype.is_complex for tensor in [*sources, *(output for output, _ in pairs)]):
                raise UnsupportedOp("gradients of complex numbers, which TensorFlow defines otherwise")
            known = [tf.cast(np.array(given), output.dtype) for output, given in pairs]
            results = tape.gradient([output for output, _ in pairs], sources, known, unconnected_gradients=_ZERO)
            return [np.array(tf.convert_to_tensor(result)) for result in results]

    def specs(self, shapes: Sequence[tuple[int, ...]]) -> list[tuple[tuple[int, ...], str]]:
        """Shape and dtype of each output and state for values of these shapes.

        A restored function does not infer all shapes, so it computes the outputs for zeros.
        """
        key = tuple(shapes)
        if key not in self._specs:
            count = len(shapes) - len(self.variables)
            zeros = [tf.zeros(*pair) for pair in zip(shapes[:count], self._dtypes[:count], strict=True)]
            with _VARIABLES, tf.device("CPU:0"):
                kept = [variable.read_value() for variable in self.state]
                try:
                    results = [*self._run(zeros), *kept]
                except tf.errors.OpError as err:
                    raise UnsupportedOp(f"shapes that zeros as inputs do not show: {err.message}") from err
                for variable, value in zip(self.state, kept, strict=True):
                    variable.assign(value)
            specs = [(tuple(result.shape), result.dtype.name) for result in results]
            if any(0 in shape for shape, _ in specs) and not any(0 in shape for shape in shapes):
                raise UnsupportedOp("an output whose length depends on the values of the inputs")
            self._specs[key] = specs
        return self._specs[key]

    def _as_tensors(self, values: Sequence[Any]) -> list[Any]:
        """The inputs as tensors; the variables get their values. Arrays are copied: TensorFlow would share them."""
        tensors = [tf.cast(np.array(value), dtype) for value, dtype in zip(values, self._dtypes, strict=True)]
        count = len(tensors) - len(self.variables)
        for variable, value in zip(self.variables, tensors[count:], strict=True):
            variable.assign(value)
        return tensors[:count]

    def _run(self, tensors: list[Any]) -> list[Any]:
        outputs = self._call(tensors)
        leaves = tf.nest.flatten(outputs)
        for leaf in leaves:
            if not isinstance(leaf, tf.Tensor) or leaf.dtype in (tf.string, tf.variant, tf.resource):
                raise UnsupportedOp(f"an output that is {_describe(leaf)}, which the backend does not have")
        self.structure = tf.nest.map_structure(lambda _: None, outputs)
        return leaves


def _describe(output: Any) -> str:
    return "a tensor of strings" if isinstance(output, tf.Tensor) else f"a {type(output).__name__}"
