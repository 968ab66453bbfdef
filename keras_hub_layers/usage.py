"""How a SavedModel becomes a layer: the arguments of HubLayer, the line to paste, and whether it can be fine-tuned."""

import ast
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from keras_hub_layers.records import SignatureInfo
from keras_hub_layers.tables import counted
from keras_hub_layers.tensors import flatten


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


def arguments(
    kind: str,
    tunable: bool,
    signatures: Mapping[str, SignatureInfo],
    runs: Runs,
    piece: str | None = None,
    tags: Sequence[str] | None = None,
) -> dict[str, Any] | str:
    """The arguments of `HubLayer` after the handle; a `str` says why there are none.

    Args:
        kind: Its format, as `Interface.format` names it.
        tunable: Whether it, or its piece, can be fine-tuned.
        signatures: Its signatures.
        runs: The modes of what is called.
        piece: Name of the piece that is used. Defaults to `None`: the whole.
        tags: Those of its graph, where they have to be given. Defaults to `None`.
    """
    found = _arguments(kind, tunable, signatures, runs, piece)
    return found if isinstance(found, str) or tags is None else {**found, "tags": list(tags)}


def _arguments(
    kind: str, tunable: bool, signatures: Mapping[str, SignatureInfo], runs: Runs, piece: str | None
) -> dict[str, Any] | str:
    is_callable = kind == "reusable" or piece is not None
    if is_callable and (tunable or not runs.only_trains):
        return {"trainable": tunable} if piece is None else {"piece": piece, "trainable": tunable}
    if kind == "tf1_hub" and "default" in signatures:
        return {}
    if any(spec.dtype.endswith("_ref") for info in signatures.values() for spec in flatten(info.outputs)):
        return "TensorFlow 2 cannot load it: a signature returns a TF1 reference"
    name = first_signature(signatures)
    if name is None and signatures:
        return "its signatures take no tensors: no inputs at all, or datasets and optionals"
    if name is not None:
        outputs = signatures[name].outputs
        if len(outputs) == 1:
            return {"signature": name, "output_key": next(iter(outputs))}
        return {"signature": name, "signature_outputs_as_dict": True}
    if is_callable:
        return "it has a training mode only, and nothing published to train: unfreeze=PATTERN trains those that match"
    return "nothing can be called"


def note(tunable: bool, runs: Runs) -> str:
    """What the line to paste does not say, as a comment; `""` for nothing."""
    return "   # call it with training=True: it has no other mode" if tunable and runs.only_trains else ""


def code(handle: str, given: dict[str, Any] | str, note: str = "") -> str:
    """The line to paste, with a note behind it, or the reason why there is none in brackets."""
    if isinstance(given, str):
        return f"({given})"
    return f"HubLayer({', '.join([repr(handle), *(f'{name}={value!r}' for name, value in given.items())])}){note}"


def arguments_in(code: str) -> dict[str, Any] | str:
    """The arguments after the handle in a line to paste; a `str` says why there is none."""
    if code.startswith("("):
        return code[1:-1]
    call: Any = ast.parse(code, mode="eval").body
    return {keyword.arg: ast.literal_eval(keyword.value) for keyword in call.keywords}


def first_signature(signatures: Mapping[str, Any]) -> str | None:
    """The signature to use where none is asked for: one that takes tensors."""
    names = [name for name, info in signatures.items() if takes_tensors(info.inputs)]
    return "serving_default" if "serving_default" in names else next(iter(names), None)


def takes_tensors(inputs: Mapping[str, Any]) -> bool:
    """Whether the inputs of a signature, name to `Spec`, are some and all tensors."""
    return bool(inputs) and not any(spec.dtype in ("variant", "resource") for spec in flatten(inputs))
