"""Which trace answers a call: its inputs in the traced form, its arguments among the traced values."""

import inspect
from collections.abc import Callable, Mapping
from typing import Any, NoReturn

import keras
import numpy as np
import tensorflow as tf

from keras_hub_layers._src.executors import input_wording
from keras_hub_layers._src.executors.input_repairs import example, repair
from keras_hub_layers._src.executors.inputs import Mismatch, conform, guarded, to_tensor
from keras_hub_layers._src.savedmodel import contents
from keras_hub_layers._src.savedmodel.graphs.pixel_range import wanted_range
from keras_hub_layers._src.text.words import flag_meant, nearest
from keras_hub_layers.errors import InputError, InterfaceError, TrainingError


class Matcher:
    """Finds the trace of a function that fits a call best, or says why none does.

    Args:
        function: The function that is called.
        warn: What is called with the text of a warning.
    """

    def __init__(self, function: contents.Function, warn: Callable[[str], None]) -> None:
        self._function = function
        self._traces = function.usable_traces
        self._warn = warn
        self.is_building = False  # whether a model is being built, rather than run or exported

    def check_arguments(self, given: Mapping[str, Any]) -> None:
        """Refuse, early, arguments that no trace has."""
        known = self._function.parameters
        unknown = sorted(set(given) - set(known))
        if unknown and not self._function.is_open:
            raise InterfaceError(
                "The function of the SavedModel has no such argument.",
                expected=f"arguments among {sorted(known)}" if known else "no arguments: the function has none",
                received=f"arguments={dict(given)!r}",
                fix=lambda line: line(arguments=self._renamed(given)),
            )
        if self._traces and not any(self._accepts(trace, given, only_given=True) for trace in self._traces):
            raise InterfaceError(
                "No trace of the SavedModel has these values of its arguments.",
                expected="one of\n" + input_wording.listed(self._traces),
                received=f"arguments={dict(given)!r}",
                fix=lambda line: line(arguments=self._traced_instead_of(given)),
            )

    def _renamed(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """Arguments under the nearest names that the function has; those that are near none left out."""
        known = self._function.parameters
        names = {name: name if name in known else nearest(name, list(known), 0.6) for name in given}
        return {new: given[name] for name, new in names.items() if new is not None}

    def _traced_instead_of(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """Values of the arguments that there is a trace for: those that were meant, if they were given as texts."""
        traces = [trace.arguments for trace in self._traces if set(given) <= set(trace.arguments)]

        def likeness(values: Mapping[str, Any]) -> int:
            return sum(_reads_like(one, values[name]) for name, one in given.items())

        values = max(traces, key=likeness, default={})
        return {n: given[n] if isinstance(v, tf.TypeSpec) else v for n, v in values.items() if n in given}

    def match(self, inputs: Any, arguments: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        """Inputs and arguments in the form of the trace that fits best."""
        if not self._traces:
            try:
                return _free(inputs), arguments
            except Mismatch as err:
                raise self.no_match(inputs, arguments, err) from err
        traces = [trace for trace in self._traces if self._accepts(trace, arguments)]
        if not traces:
            self._raise_untraced(arguments)
        best, failure = None, None
        for trace in traces:
            try:
                value, cost = conform(inputs, trace.inputs)
            except Mismatch as err:
                failure = err
                continue
            if best is None or cost < best[0]:
                best = (cost, value, trace)
            if cost == 0:
                break
        if best is None:
            raise self.no_match(inputs, arguments) from failure
        _, value, trace = best
        value, checked = guarded(value, trace.inputs)
        self._warn_of(checked)
        return trace.formed(value), {name: _as_traced(one, trace.arguments[name]) for name, one in arguments.items()}

    def infers(self, arguments: Mapping[str, Any]) -> bool:
        """Whether there is a trace for inference with these arguments; true where there are no traces at all."""
        wanted = {**arguments, "training": False} if self._function.accepts_training else arguments
        return not self._traces or any(self._accepts(trace, wanted) for trace in self._traces)

    def _accepts(self, trace: contents.Trace, wanted: Mapping[str, Any], only_given: bool = False) -> bool:
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
                f"The SavedModel was saved for {kind} only.",
                expected=f"a trace with training={wanted}",
                received="only\n" + input_wording.listed(self._traces),
                fix=lambda line: (
                    line(trainable=True, arguments={**others, "training": False})
                    + "   # tunes the weights in inference mode\n"
                    + line(trainable=None, unfreeze=None)
                    + "   # keeps them frozen"
                    if wanted
                    else line(trainable=True) + "(x, training=True)   # it has no other mode"
                ),
            )
        raise InputError(
            "No trace of the SavedModel has these values of its arguments.",
            expected="one of\n" + input_wording.listed(self._traces),
            received=f"arguments {arguments!r}",
            fix=lambda line: line(arguments=self._traced_instead_of(others)),
        )

    def no_match(self, inputs: Any, arguments: dict[str, Any], reason: object = None) -> InputError:
        """The error that shows the input, the nearest trace, and the lines that make the one match the other."""
        traces = [trace for trace in self._traces if self._accepts(trace, arguments)]
        fixes = [repair(inputs, trace.inputs, is_for_bytes=self._is_for_bytes) for trace in traces]
        order = sorted(range(len(traces)), key=lambda i: (not fixes[i].is_complete, len(fixes[i].lines)))
        lines: tuple[str, ...] = ("x = keras.ops.convert_to_tensor(x)",)
        if order:
            lines = fixes[order[0]].lines or (example(traces[order[0]].inputs),)
            reason = reason or _reason(inputs, traces[order[0]])
        if any(tf.is_tensor(leaf) and not hasattr(leaf, "numpy") for leaf in tf.nest.flatten(inputs)):
            lines = (*lines, "# then make a Sequential model anew: it keeps the shape that it was given first")
        if len(lines) > 12:
            lines = (*lines[:11], f"# … and {len(lines) - 11} more such lines")
        shown = "".join(f", {name}={value!r}" for name, value in arguments.items())
        return InputError(
            f"The inputs match no trace of the SavedModel: {str(reason).rstrip('.')}.",
            expected="one of\n" + input_wording.listed([traces[i] for i in order], "   <- the nearest"),
            received=f"({input_wording.shown(inputs)}{shown})",
            fix="\n".join(lines),
        )

    def _warn_of(self, fixed: list[Any]) -> None:
        """Say, once, while a model is built, that it takes any batch and its SavedModel one: the graph checks it later.

        Other lengths, such as that of tokens, are checked in the graph too, and mostly fit.
        """
        fixed = [spec for spec in fixed if spec.shape[0] is not None]
        if not fixed or not self.is_building:
            return
        shape, dtype = tuple(fixed[0].shape), fixed[0].dtype.name
        line = f"x = keras.Input(batch_shape={shape}, dtype={dtype!r})"
        if shape[0] is not None:
            line += f"   # and batch_size={shape[0]} in fit, evaluate and predict"
        self._warn(
            f"the SavedModel takes {dtype} {shape} and nothing else, and the model that is being built "
            f"does not say that its inputs have these lengths. Others will fail when it runs. To say so:\n{line}"
        )

    def _is_for_bytes(self) -> bool:
        return wanted_range(self._function) == "bytes"


def _reason(inputs: Any, trace: contents.Trace) -> str:
    """Why inputs do not match a trace."""
    try:
        conform(inputs, trace.inputs)
    except Mismatch as err:
        return str(err)
    return "TensorFlow refuses them"


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


def _reads_like(given: Any, traced: Any) -> bool:
    """Whether an argument is a traced one, or its text: `"False"` for `False`, `"2"` for 2."""
    if isinstance(traced, bool) and isinstance(given, str):
        return flag_meant(given) == traced
    return _same(given, traced) or str(given) == str(traced)


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
