"""Whether a SavedModel can be fine-tuned, and why or why not."""

from dataclasses import dataclass
from typing import Any

from keras_hub_layers._src.text.words import counted


@dataclass(frozen=True)
class Runs:
    """The modes in which a function can be run.

    Attributes:
        accepts: Whether it has a `training` argument.
        traced: Its value in each trace, as `TraceInfo.training` has it.
        flag: Name of another argument that seems to mean the same. Defaults to `""`.
    """

    accepts: bool
    traced: tuple[Any, ...]
    flag: str = ""

    @property
    def only_trains(self) -> bool:
        """Whether there is no inference mode."""
        return self.accepts and bool(self.traced) and all(mode is True for mode in self.traced)

    @property
    def only_infers(self) -> bool:
        """Whether there is no training mode, and there ought to be one."""
        return self.accepts and bool(self.traced) and not any(mode in (True, "tensor") for mode in self.traced)


def verdict(kind: str, variables: Any, runs: Runs, blocking: str = "") -> tuple[bool, str]:
    """Whether `HubLayer(handle, trainable=True)` trains a SavedModel, and why or why not.

    Args:
        kind: Its format, as `Interface.format` names it.
        variables: Its `loaded.Variables`.
        runs: The modes of its function.
        blocking: The dtypes of its outputs if no gradient passes them, as `loaded.blocking` says it. Defaults to `""`.
    """
    if kind in ("tf1", "tf1_hub"):
        return False, "TF1 SavedModels keep neither regularization losses nor a training mode that can be called"
    if kind == "signatures":
        return False, "signatures are inference only: they have no training mode and no regularization losses"
    if kind == "empty":
        return False, "it has nothing that can be called"
    if blocking and variables.candidates:
        return False, f"its output is {blocking}, which no gradient passes: whatever is trainable stays as it is"
    if not variables.has_lists:
        return False, (
            "it publishes no variables; unfreeze=PATTERN trains those that match, without regularization losses"
            if variables.candidates
            else "it publishes no variables, and none of those that it uses can be trained"
            if variables.captured
            else "it has no variables"
        )
    trained = [v for v in variables.trainable if v.shape.is_fully_defined()]
    if not trained:
        return False, "it publishes no trainable variables" + (" of a fixed shape" if variables.trainable else "")
    if runs.only_infers:
        return False, (
            'it was saved for inference only; arguments={"training": False} tunes its weights in inference mode'
        )
    if runs.only_trains:
        modes = ", traced for training only: there is no inference mode for evaluate, predict and export"
    else:
        modes = ", traced for training and inference" if runs.accepts else ", one mode for training and inference"
    if runs.flag:
        modes += f"; {runs.flag!r} is no `training`: arguments={{{runs.flag!r}: True}} sets it for good"
    return True, counted(len(trained), "published trainable variable") + modes
