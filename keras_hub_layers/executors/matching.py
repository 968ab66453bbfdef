"""Which trace answers a call: its inputs in the traced form, its arguments among the traced values."""

import inspect
from collections.abc import Mapping
from typing import Any, NoReturn

import keras
import numpy as np
import tensorflow as tf

from keras_hub_layers import loaded, tensors
from keras_hub_layers.errors import InputError, InterfaceError, TrainingError, explain
from keras_hub_layers.executors.inputs import Mismatch, conform, to_tensor


class Matcher:
    """Finds the trace of a function that fits a call best, or says why none does.

    Args:
        function: The function that is called.
        where: Layer and handle, for error texts.
    """

    def __init__(self, function: loaded.Function, where: str) -> None:
        self._function = function
        self._traces = function.usable_traces
        self._where = where

    def check_arguments(self, given: Mapping[str, Any]) -> None:
        """Refuse, early, arguments that no trace has."""
        known = self._function.parameters
        unknown = sorted(set(given) - set(known))
        if unknown and not self._function.is_open:
            raise InterfaceError(
                explain(
                    "The function of the SavedModel has no such argument.",
                    expected=f"arguments among {sorted(known)}" if known else "no arguments: the function has none",
                    received=f"arguments={dict(given)!r}",
                    where=self._where,
                    fix=f"remove {unknown[0]!r} from arguments",
                )
            )
        if self._traces and not any(self._accepts(trace, given, only_given=True) for trace in self._traces):
            raise InterfaceError(
                explain(
                    "No trace of the SavedModel has these values of its arguments.",
                    expected="one of\n" + self._listed(),
                    received=f"arguments={dict(given)!r}",
                    where=self._where,
                    fix="choose values that were traced, from the list above",
                )
            )

    def match(self, inputs: Any, arguments: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        """Inputs and arguments in the form of the trace that fits best."""
        if not self._traces:
            try:
                return _free(inputs), arguments
            except Mismatch as err:
                raise self.no_match(inputs, arguments, [err]) from err
        traces = [trace for trace in self._traces if self._accepts(trace, arguments)]
        if not traces:
            self._raise_untraced(arguments)
        best, failures = None, []
        for trace in traces:
            try:
                value, cost = conform(inputs, trace.inputs)
            except Mismatch as err:
                failures.append(err)
                continue
            if best is None or cost < best[0]:
                best = (cost, value, trace)
            if cost == 0:
                break
        if best is None:
            raise self.no_match(inputs, arguments, failures) from failures[0]
        _, value, trace = best
        return value, {name: _as_traced(one, trace.arguments[name]) for name, one in arguments.items()}

    def infers(self, arguments: Mapping[str, Any]) -> bool:
        """Whether there is a trace for inference with these arguments; true where there are no traces at all."""
        wanted = {**arguments, "training": False} if self._function.accepts_training else arguments
        return not self._traces or any(self._accepts(trace, wanted) for trace in self._traces)

    def _accepts(self, trace: loaded.Trace, wanted: Mapping[str, Any], only_given: bool = False) -> bool:
        """Whether a trace was made for these arguments, and for the defaults of all others."""
        for name, value in trace.arguments.items():
            if isinstance(value, tf.TypeSpec):
                continue
            if name in wanted:
                unset = name == "training" and value is None  # traced by a call without it: inference
                if not _same(wanted[name], False if unset else value):
                    return False
            elif not only_given:
                default = self._function.parameters.get(name, inspect.Parameter.empty)
                if default is not inspect.Parameter.empty and not _same(default, value):
                    return False
        return all(name in trace.arguments for name in wanted)

    def _raise_untraced(self, arguments: dict[str, Any]) -> NoReturn:
        wanted = arguments.get("training")
        others = {name: value for name, value in arguments.items() if name != "training"}
        if any(self._accepts(trace, others, only_given=True) for trace in self._traces) and wanted is not None:
            kind = "inference" if wanted else "training"
            raise TrainingError(
                explain(
                    f"The SavedModel was saved for {kind} only.",
                    expected=f"a trace with training={wanted}",
                    received="only\n" + self._listed(),
                    where=self._where,
                    fix='HubLayer(handle, trainable=True, arguments={"training": False})   '
                    "# tunes the weights in inference mode\n"
                    "HubLayer(handle)   # keeps them frozen"
                    if wanted
                    else "HubLayer(handle, trainable=True)(x, training=True)   # it has no other mode",
                )
            )
        raise InputError(
            explain(
                "No trace of the SavedModel has these values of its arguments.",
                expected="one of\n" + self._listed(),
                received=f"arguments {arguments!r}",
                where=self._where,
                fix="HubLayer(handle, arguments={...}) with values from the list above",
            )
        )

    def no_match(self, inputs: Any, arguments: dict[str, Any], failures: list[Mismatch]) -> InputError:
        """The error that shows the input, each trace, and the fix."""
        reasons = list(dict.fromkeys(str(failure) for failure in failures))
        fixes = list(dict.fromkeys(failure.fix for failure in failures if failure.fix))
        given = keras.tree.map_structure(_described, inputs)
        shown = "".join(f", {name}={value!r}" for name, value in arguments.items())
        return InputError(
            explain(
                "The inputs match no trace of the SavedModel: " + "; ".join(reasons) + ".",
                expected="one of\n" + self._listed(),
                received=f"({tensors.describe(given)}{shown})",
                where=self._where,
                fix="\n".join(fixes) or "convert the inputs to one of the forms above before the layer",
            )
        )

    def _listed(self) -> str:
        """The traces, one a line, without repetitions."""
        lines = {}
        for trace in self._traces:
            fixed = {n: v for n, v in trace.arguments.items() if v is not None}
            shown = "".join(f", {n}={tensors.describe(tensors.spec_of(v))}" for n, v in fixed.items())
            lines[f"({tensors.describe(tensors.spec_of(trace.inputs))}{shown})"] = None
        return "\n".join(lines) or "a tensor, or a list or dict of tensors"


def _free(inputs: Any) -> Any:
    """Inputs of a callable without traces: arrays and Python values become tensors, whatever else stays.

    Nothing says which dtype is wanted, so floats become Keras' default float, as in any other layer.
    """
    if isinstance(inputs, Mapping):
        return {key: _free(value) for key, value in inputs.items()}
    if isinstance(inputs, (list, tuple)) and any(
        tf.is_tensor(leaf) or isinstance(leaf, np.ndarray) for leaf in tf.nest.flatten(inputs)
    ):
        return [_free(value) for value in inputs]
    if tf.is_tensor(inputs) or isinstance(inputs, tf.Variable):
        return inputs
    tensor = to_tensor(inputs)
    is_array = isinstance(tensor, tf.Tensor) and tensor.dtype.is_floating
    return tf.cast(tensor, keras.config.floatx()) if is_array else tensor


def _as_traced(value: Any, traced: Any) -> Any:
    """An argument in the very form that the trace has."""
    if isinstance(traced, tf.TensorSpec):
        return tf.cast(value, traced.dtype) if tf.is_tensor(value) else tf.constant(value, traced.dtype)
    return traced


def _same(given: Any, traced: Any) -> bool:
    """Whether a Python argument equals a traced one; JSON's lists stand for tuples."""
    if isinstance(given, (list, tuple)) and isinstance(traced, (list, tuple)):
        return len(given) == len(traced) and all(map(_same, given, traced))
    if isinstance(given, Mapping) and isinstance(traced, Mapping):
        return set(given) == set(traced) and all(_same(given[key], traced[key]) for key in given)
    try:
        return bool(given == traced)
    except (TypeError, ValueError):
        return False


def _described(value: Any) -> Any:
    """A `Spec` for what has a shape and a dtype; the value itself otherwise."""
    if tf.is_tensor(value) or isinstance(value, (tf.RaggedTensor, tf.SparseTensor)):
        return tensors.spec_of(value)
    if isinstance(value, (np.ndarray, np.generic)):
        return tensors.Spec(tuple(value.shape), f"numpy {value.dtype}")
    return value
