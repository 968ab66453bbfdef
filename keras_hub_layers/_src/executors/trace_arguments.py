"""The decision which traces were made for the further arguments of a call; errors for arguments that none has."""

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

from keras_hub_layers._src.executors.input_wording import list_traces
from keras_hub_layers._src.executors.matching import TraceForm
from keras_hub_layers._src.inspect.specs import Spec
from keras_hub_layers._src.text.words import flag_meant, nearest
from keras_hub_layers.errors import HubError, InputError, InterfaceError, Line, TrainingError


class TraceArguments:
    """The further arguments of a function: their values in its traces.

    Args:
        traces: The traces of the function.
        parameters: Names of its further arguments, with their defaults (`inspect.Parameter.empty` for none).
        is_open: Whether any other keyword argument may be tried. Defaults to `False`.
    """

    def __init__(self, traces: Sequence[TraceForm], parameters: Mapping[str, Any], is_open: bool = False) -> None:
        self._traces = traces
        self._parameters = parameters
        self._is_open = is_open

    def find_accepting(self, wanted: Mapping[str, Any]) -> tuple[int, ...]:
        """Numbers of the traces that were made for these arguments, and for the defaults of all others."""
        return tuple(number for number, trace in enumerate(self._traces) if self._accepts(trace, wanted))

    def infers(self, fixed: Mapping[str, Any]) -> bool:
        """Whether there is a trace for inference with these arguments; true where there are no traces at all."""
        wanted = {**fixed, "training": False} if "training" in self._parameters else fixed
        return not self._traces or bool(self.find_accepting(wanted))

    def check(self, given: Mapping[str, Any]) -> None:
        """Refuse, early, arguments that no trace has.

        Raises:
            errors.InterfaceError: The function has no argument of a name, or no trace one of the values.
        """
        unknown = set(given) - set(self._parameters)
        if unknown and not self._is_open:
            raise self._unknown_error(given)
        if self._traces and not any(self._accepts(trace, given, only_given=True) for trace in self._traces):
            raise self._untraced_error(InterfaceError, given, given)

    def error(self, wanted: Mapping[str, Any]) -> HubError:
        """The error for a call with arguments that no trace accepts."""
        training = wanted.get("training")
        others = {name: value for name, value in wanted.items() if name != "training"}
        if training is not None and any(self._accepts(trace, others, only_given=True) for trace in self._traces):
            return self._mode_error(training, others)
        return self._untraced_error(InputError, others, wanted)

    def _accepts(self, trace: TraceForm, wanted: Mapping[str, Any], only_given: bool = False) -> bool:
        for name, value in trace.arguments.items():
            if isinstance(value, Spec):
                continue
            if name in wanted:
                is_unset = name == "training" and value is None  # traced by a call without it: inference
                if not _is_same(wanted[name], False if is_unset else value):
                    return False
            elif not only_given:
                default = self._parameters.get(name, inspect.Parameter.empty)
                if default is not inspect.Parameter.empty and not _is_same(default, value):
                    return False
        return all(name in trace.arguments for name in wanted)

    # -- errors ------------------------------------------------------------------------------------------------------

    def _unknown_error(self, given: Mapping[str, Any]) -> InterfaceError:
        known = list(self._parameters)
        near = {name: name if name in known else nearest(name, known, 0.6) for name in given}
        renamed = {new: given[name] for name, new in near.items() if new is not None}
        return InterfaceError(
            "The function of the SavedModel has no such argument.",
            expected=f"arguments among {sorted(known)}" if known else "no arguments: the function has none",
            received=f"arguments={dict(given)!r}",
            fix=lambda line: line(arguments=renamed),
        )

    def _untraced_error(self, kind: type[HubError], given: Mapping[str, Any], received: Mapping[str, Any]) -> HubError:
        traced = self._nearest_values(given)
        return kind(
            "No trace of the SavedModel has these values of its arguments.",
            expected="one of\n" + list_traces(self._traces, names=given),
            received=f"arguments={dict(received)!r}",
            fix=lambda line: line(arguments=traced),
        )

    def _mode_error(self, training: Any, others: Mapping[str, Any]) -> TrainingError:
        def fix(line: Line) -> str:
            if not training:
                return f"{line(trainable=True)}(x, training=True)   # it has no other mode"
            tuned = line(trainable=True, arguments={**others, "training": False})
            frozen = line(trainable=None, unfreeze=None)
            return f"{tuned}   # tunes the weights in inference mode\n{frozen}   # keeps them frozen"

        return TrainingError(
            f"The SavedModel was saved for {'inference' if training else 'training'} only.",
            expected=f"a trace with training={training}",
            received="only\n" + list_traces(self._traces),
            fix=fix,
        )

    def _nearest_values(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """Values of the arguments that there is a trace for: those that were meant, if they were given as texts."""
        traces = [trace.arguments for trace in self._traces if set(given) <= set(trace.arguments)]

        def likeness(values: Mapping[str, Any]) -> int:
            return sum(_reads_like(value, values[name]) for name, value in given.items())

        values = max(traces, key=likeness, default={})
        return {name: given[name] if isinstance(v, Spec) else v for name, v in values.items() if name in given}


def _reads_like(given: Any, traced: Any) -> bool:
    """Whether an argument is a traced one, or its text: `"False"` for `False`, `"2"` for 2."""
    if isinstance(traced, bool) and isinstance(given, str):
        return flag_meant(given) == traced
    return _is_same(given, traced) or str(given) == str(traced)


def _is_same(given: Any, traced: Any) -> bool:
    """Whether a Python argument equals a traced one; JSON's lists stand for tuples."""
    if isinstance(given, (list, tuple)) and isinstance(traced, (list, tuple)):
        return len(given) == len(traced) and all(map(_is_same, given, traced))
    if isinstance(given, Mapping) and isinstance(traced, Mapping):
        return set(given) == set(traced) and all(_is_same(given[key], traced[key]) for key in given)
    try:
        return bool(given == traced)
    except (TypeError, ValueError):
        return False
