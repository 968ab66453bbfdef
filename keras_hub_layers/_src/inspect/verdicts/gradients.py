"""What gradients do in a SavedModel's function: the variables that they reach, and the ops that stop them."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from keras_hub_layers._src.inspect import variable_groups
from keras_hub_layers._src.savedmodel.contents import Function, Trace
from keras_hub_layers._src.savedmodel.graphs.gradients import gradients
from keras_hub_layers._src.savedmodel.graphs.library import Body
from keras_hub_layers._src.savedmodel.protos.specs import is_spec


@dataclass(frozen=True, eq=False)
class GradientCheck:
    """What gradients of a function and of the losses published with it do.

    Attributes:
        reached: ids of the variables that a gradient reaches; `None` if no graph says it.
        traces: The traces of the function and of the losses.
        lost: Names of ops on the way to a variable that TensorFlow has no gradient for.
    """

    reached: frozenset[int] | None = None
    traces: tuple[Trace, ...] = ()
    lost: tuple[str, ...] = ()

    def reaches(self, variable: Any) -> bool:
        return self.reached is None or id(variable) in self.reached

    def uses(self, variable: Any) -> bool:
        return any(variable is other for trace in self.traces for other in trace.variables)

    def nearest_to_outputs(self, variables: Sequence[Any]) -> Any:
        """The variable that stands nearest to the outputs."""
        return variable_groups.in_order_of_use(variables, self.traces)[-1]


def check_gradients(
    function: Function | None,
    losses: Iterable[Trace | None],
    wanted: Iterable[Any],
    read_body: Callable[[Trace], Body | None],
    training: bool = True,
) -> GradientCheck:
    """Follow gradients through the graphs of a function, without computing anything.

    Args:
        function: What is called; `None` for nothing.
        losses: The traces of the published regularization losses.
        wanted: The variables that may be trained.
        read_body: Reads the body of a trace.
        training: Whether it is called in training mode. Defaults to `True`.
    """
    if function is None or not function.usable_traces:  # of a callable of this process nothing is known
        return GradientCheck()
    known = tuple(loss for loss in losses if loss is not None)
    traces = (*function.usable_traces, *known)
    called = [trace for trace in function.usable_traces if _runs_in(function, trace, training)]
    bodies = [read_body(trace) for trace in (*(called or function.usable_traces), *known)]
    if any(body is None for body in bodies):
        return GradientCheck(traces=traces)
    reached, lost = _follow(bodies, {id(variable) for variable in wanted})
    return GradientCheck(frozenset(reached), traces, lost)


def _runs_in(function: Function, trace: Trace, training: bool) -> bool:
    """Whether a trace runs in a mode."""
    mode = trace.arguments.get("training")
    return not function.accepts_training or is_spec(mode) or bool(mode) == training


def _follow(bodies: Iterable[Any], wanted: set[int]) -> tuple[set[int], tuple[str, ...]]:
    """ids of the variables that gradients reach, and the ops on the way to the wanted ones that have none."""
    reached: set[int] = set()
    lost: set[str] = set()
    for body in bodies:
        for identity, without in gradients(body).items():
            reached.add(identity)
            if identity in wanted:
                lost |= without
    return reached, tuple(sorted(lost))
