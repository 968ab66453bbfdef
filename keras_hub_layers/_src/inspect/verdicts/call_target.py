"""Something of a SavedModel that can be called, itself or a piece: its traces, modes and verdict."""

from collections.abc import Callable
from functools import cached_property
from typing import Any

from keras_hub_layers._src.inspect.records import SignatureInfo, TraceInfo
from keras_hub_layers._src.inspect.specs import Spec, spec_of
from keras_hub_layers._src.inspect.verdicts.fine_tunable import Modes, Verdict, judge, modes_of
from keras_hub_layers._src.inspect.verdicts.gradients import GradientCheck, check_gradients
from keras_hub_layers._src.savedmodel.contents import Contents, Function, Trace
from keras_hub_layers._src.savedmodel.graphs import ops, pixel_range, xla
from keras_hub_layers._src.savedmodel.graphs.library import Body, with_unsaved
from keras_hub_layers._src.savedmodel.source import Source


class BodyReader:
    """Reads the body of each trace once.

    Args:
        source: Where the object comes from; it tells which custom gradients were not saved. Defaults to `None`.
    """

    def __init__(self, source: Source | None = None) -> None:
        self._unsaved = frozenset() if source is None else source.unsaved_gradients
        self._bodies: dict[Any, Body] = {}

    def __call__(self, trace: Trace) -> Body | None:
        if trace.body is None:
            return None
        if trace.body not in self._bodies:
            self._bodies[trace.body] = with_unsaved(trace.body(), self._unsaved)
        return self._bodies[trace.body]


class CallTarget:
    """Something that can be called, with its own variables and losses.

    Args:
        contents: Its contents.
        kind: Its format, as `Interface.format` names it. Defaults to `"reusable"`.
        read_body: Reads the body of a trace.
    """

    def __init__(self, contents: Contents, read_body: Callable[[Trace], Body | None], kind: str = "reusable") -> None:
        self.contents = contents
        self._kind = kind
        self._read_body = read_body
        function = contents.function
        self.is_usable = function is not None and function.is_usable()
        self.function = function if self.is_usable else None

    @cached_property
    def traces(self) -> tuple[TraceInfo, ...]:
        return tuple(map(trace_info, self.function.usable_traces)) if self.function else ()

    @cached_property
    def modes(self) -> Modes:
        return modes_of(self.contents.function, self.traces)

    @property
    def training_modes(self) -> tuple[bool, ...]:
        """The values of `training` that were traced."""
        if any(trace.training == "tensor" for trace in self.traces):
            return (False, True)
        return tuple(sorted({trace.training for trace in self.traces if isinstance(trace.training, bool)}))

    @cached_property
    def gradients(self) -> GradientCheck:
        """What gradients do in training mode."""
        return self.gradients_in(training=True)

    def gradients_in(self, *, training: bool) -> GradientCheck:
        """What gradients do in a mode."""
        contents = self.contents
        return check_gradients(self.function, contents.losses, contents.variables.candidates, self._read_body, training)

    @cached_property
    def verdict(self) -> Verdict:
        return judge(self._kind, self.contents, self.modes, self.gradients_in)

    @cached_property
    def python_ops(self) -> dict[str, tuple[str, ...]]:
        """Name of each signature, and `""` for the target itself -> the ops in it that run Python code."""
        functions = {"": self.function, **self.contents.signatures}
        return {name: self._python_ops_of(function) for name, function in functions.items()}

    def _python_ops_of(self, function: Function | None) -> tuple[str, ...]:
        if function is None or not function.is_restored:  # in the process that made it, it runs
            return ()
        bodies = [self._read_body(trace) for trace in function.usable_traces]
        return tuple(sorted({op for body in bodies if body is not None for op in body.ops} & ops.PYTHON))

    def pixel_range(self) -> str:
        """The values that the target takes for pixels, in words; `""` if unknown."""
        return pixel_range.IN_WORDS[pixel_range.wanted_range(self.function)] if self.function else ""

    def jit(self, signature: str | None) -> str:
        """What `Interface.jit` says of the target, or of one of its signatures."""
        function = self.function or self.contents.signatures.get(signature or "")
        names = xla.hindrances(function, self._read_body) if function is not None else ()
        return "no: " + ", ".join(names) if names else "unknown"


def trace_info(trace: Trace) -> TraceInfo:
    """The record of a trace."""
    arguments = {name: spec_of(value) for name, value in trace.arguments.items()}
    training = arguments.pop("training", None)
    return TraceInfo(
        inputs=_inputs_of(trace),
        outputs=spec_of(trace.outputs),
        training="tensor" if isinstance(training, Spec) else training,
        arguments={name: value for name, value in arguments.items() if value is not None},
    )


def _inputs_of(trace: Trace) -> Any:
    """The specs of the inputs: a dict in the order of its keys, or of the function's own arguments."""
    if trace.keywords:
        return {name: spec_of(value) for name, value in trace.inputs.items()}
    return spec_of(trace.inputs)


def signature_info(function: Function) -> SignatureInfo:
    """The record of a signature."""
    trace: Any = function.traces[0]
    return SignatureInfo(inputs=spec_of(trace.inputs), outputs=spec_of(trace.outputs))
