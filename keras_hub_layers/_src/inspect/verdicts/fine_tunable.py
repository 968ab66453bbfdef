"""Whether a SavedModel, or a piece of one, can be fine-tuned, and why or why not."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from keras_hub_layers._src.inspect.records import TraceInfo
from keras_hub_layers._src.inspect.verdicts.gradients import GradientCheck
from keras_hub_layers._src.savedmodel.contents import Contents, Function, Variables, blocking_dtypes, name_of
from keras_hub_layers._src.text.words import format_count, join_names

_FLAG = r"(is_)?(train|training)(_mode)?|trainable"


@dataclass(frozen=True)
class Modes:
    """The modes in which a function can be run.

    Attributes:
        accepts: Whether it has a `training` argument.
        traced: Its value in each trace, as `TraceInfo.training` has it.
        flag: Name of another argument that seems to mean the same. Defaults to `""`.
    """

    accepts: bool = False
    traced: tuple[Any, ...] = ()
    flag: str = ""

    @property
    def only_trains(self) -> bool:
        """Whether there is no inference mode."""
        return self.accepts and bool(self.traced) and all(mode is True for mode in self.traced)

    @property
    def only_infers(self) -> bool:
        """Whether there is no training mode, and there ought to be one."""
        return self.accepts and bool(self.traced) and not any(mode in (True, "tensor") for mode in self.traced)


def modes_of(function: Function | None, traces: Sequence[TraceInfo]) -> Modes:
    """The modes of a function whose usable traces these are."""
    if function is None:
        return Modes()
    names = () if function.accepts_training else function.parameters
    flag = next((name for name in names if re.fullmatch(_FLAG, name)), "")
    return Modes(function.accepts_training, tuple(trace.training for trace in traces), flag)


@dataclass(frozen=True)
class Verdict:
    """Whether something can be fine-tuned.

    Attributes:
        fine_tunable: Whether `HubLayer(handle, trainable=True)` trains it.
        reason: Why, or why not.
        arguments: Those of `HubLayer` with which it can be fine-tuned all the same; `None` if it cannot.
    """

    fine_tunable: bool
    reason: str
    arguments: dict[str, Any] | None = None


_NOT_SAVED = "their custom gradients were not saved, or none is defined"


_PINNED = {"trainable": True, "arguments": {"training": False}}


def judge(kind: str, contents: Contents, modes: Modes, check: Callable[..., GradientCheck]) -> Verdict:
    """Whether `HubLayer(handle, trainable=True)` trains a SavedModel, and why or why not.

    Args:
        kind: Its format, as `Interface.format` names it.
        contents: What it holds.
        modes: The modes of its function.
        check: Says what gradients of its function do in training mode or not, with `training=`.
    """
    if kind in ("tf1", "tf1_hub"):
        return Verdict(
            False, "TF1 SavedModels keep neither regularization losses nor a training mode that can be called"
        )
    if kind == "signatures":
        return Verdict(False, "signatures are inference only: they have no training mode and no regularization losses")
    if kind == "empty":
        return Verdict(False, "it has nothing that can be called")
    variables = contents.variables
    dtypes = blocking_dtypes(contents.function)
    if dtypes and variables.candidates:
        return Verdict(False, f"its output is {dtypes}, which no gradient passes: whatever is trainable stays as it is")
    if not variables.has_lists:
        return _without_lists(variables, check(training=not modes.only_infers))
    trained = [v for v in variables.trainable if v.shape.is_fully_defined()]
    if not trained:
        fixed = " of a fixed shape" if variables.trainable else ""
        return Verdict(False, f"it publishes no trainable variables{fixed}")
    return _of_published(trained, modes, check, contents.input_losses == "lost")


def _without_lists(variables: Variables, gradients: GradientCheck) -> Verdict:
    candidates = [v for v in variables.candidates if gradients.reaches(v)]
    if candidates:
        pattern = re.escape(name_of(gradients.nearest_to_outputs(candidates)))
        return Verdict(
            False,
            "it publishes no variables; unfreeze=PATTERN trains those that match, without regularization losses",
            {"trainable": True, "unfreeze": pattern},
        )
    if variables.captured:
        return Verdict(False, "it publishes no variables, and none of those that it uses can be trained")
    return Verdict(False, "it has no variables")


def _of_published(trained: list[Any], modes: Modes, check: Callable[..., GradientCheck], loses_losses: bool) -> Verdict:
    gradients = check(training=not modes.only_infers)
    number = format_count(len(trained), "published trainable variable")
    reached = [v for v in trained if gradients.reaches(v)]
    if not reached:
        return Verdict(False, f"no gradient passes from its outputs to any of its {number}")
    if gradients.lost:
        return _with_lost_gradients(modes, gradients, check)
    if modes.only_infers:
        return Verdict(
            False,
            'it was saved for inference only; arguments={"training": False} tunes its weights in inference mode',
            _PINNED,
        )
    if modes.only_trains:
        mode = ", traced for training only: there is no inference mode for evaluate, predict and export"
    else:
        mode = ", traced for training and inference" if modes.accepts else ", one mode for training and inference"
    if modes.flag:
        mode += f"; {modes.flag!r} is no `training`: arguments={{{modes.flag!r}: True}} sets it for good"
    if len(reached) < len(trained):
        number = f"{len(reached)} of {number}{_why_not(trained, gradients)}"
    if loses_losses:
        mode += "; its layers have losses that depend on inputs, which nothing in it returns: they are not counted"
    return Verdict(True, number + mode, {"trainable": True})


def _why_not(trained: list[Any], gradients: GradientCheck) -> str:
    """Which variables no gradient reaches, in brackets."""
    left_out = [v for v in trained if not gradients.reaches(v)]
    used = [name_of(v) for v in left_out if gradients.uses(v)]
    unused = [name_of(v) for v in left_out if not gradients.uses(v)]
    parts = [f"used, but no gradient passes: {join_names(used)}"] if used else []
    parts += [f"not used by what is called: {join_names(unused)}"] if unused else []
    return f" ({'; '.join(parts)})"


def _with_lost_gradients(modes: Modes, gradients: GradientCheck, check: Callable[..., GradientCheck]) -> Verdict:
    reason = f"TensorFlow has no gradient for its ops {', '.join(gradients.lost)}: {_NOT_SAVED}"
    if modes.accepts and not modes.only_trains and not modes.only_infers and not check(training=False).lost:
        way_out = 'arguments={"training": False} tunes its weights in inference mode, which does without them'
        return Verdict(False, f"{reason}; {way_out}", _PINNED)
    return Verdict(
        False,
        f"{reason}; its publisher has to save it with tf.saved_model.SaveOptions(experimental_custom_gradients=True)",
    )
