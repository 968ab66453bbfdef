"""How a SavedModel becomes a layer: the arguments of HubLayer, the line to paste, and whether it can be fine-tuned."""

from collections.abc import Mapping, Sequence
from typing import Any

from keras_hub_layers.records import SignatureInfo
from keras_hub_layers.tables import counted
from keras_hub_layers.tensors import flatten


def verdict(
    kind: str, variables: Any, accepts: bool, modes: tuple[bool, ...], traced: bool, blocking: str = ""
) -> tuple[bool, str]:
    """Whether `HubLayer(handle, trainable=True)` trains a SavedModel, and why or why not.

    Args:
        kind: Its format, as `Interface.format` names it.
        variables: Its `loaded.Variables`.
        accepts: Whether its function has a `training` argument.
        modes: The values of `training` that were traced.
        traced: Whether there are any traces.
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
    if not variables.trainable:
        return False, "it publishes no trainable variables"
    if accepts and traced and True not in modes:
        return False, (
            'it was saved for inference only; arguments={"training": False} tunes its weights in inference mode'
        )
    return True, counted(len(variables.trainable), "published trainable variable") + (
        ", traced for training and inference" if accepts else ", one mode for training and inference"
    )


def arguments(
    kind: str,
    fine_tunable: bool,
    signatures: Mapping[str, SignatureInfo],
    pieces: Sequence[str],
    tags: Sequence[str] | None = None,
) -> dict[str, Any] | str:
    """The arguments of `HubLayer` after the handle; a `str` says why there are none.

    Args:
        kind: Its format, as `Interface.format` names it.
        fine_tunable: Whether it can be fine-tuned.
        signatures: Its signatures.
        pieces: Names of its pieces.
        tags: Those of its graph, where they have to be given. Defaults to `None`.
    """
    found = _arguments(kind, fine_tunable, signatures, pieces)
    return found if isinstance(found, str) or tags is None else {**found, "tags": list(tags)}


def _arguments(
    kind: str, fine_tunable: bool, signatures: Mapping[str, SignatureInfo], pieces: Sequence[str]
) -> dict[str, Any] | str:
    if kind == "reusable":
        return {"trainable": fine_tunable}
    if kind == "tf1_hub" and "default" in signatures:
        return {}
    if any(spec.dtype.endswith("_ref") for info in signatures.values() for spec in flatten(info.outputs)):
        return "TensorFlow 2 cannot load it: a signature returns a TF1 reference"
    name = first_signature(signatures)
    if name is not None:
        outputs = signatures[name].outputs
        if len(outputs) == 1:
            return {"signature": name, "output_key": next(iter(outputs))}
        return {"signature": name, "signature_outputs_as_dict": True}
    return {"piece": pieces[0]} if pieces else "nothing can be called"


def code(handle: str, given: dict[str, Any] | str) -> str:
    """The line to paste, or the reason why there is none in brackets."""
    if isinstance(given, str):
        return f"({given})"
    return f"HubLayer({', '.join([repr(handle), *(f'{name}={value!r}' for name, value in given.items())])})"


def first_signature(signatures: Mapping[str, Any]) -> str | None:
    """The signature to use where none is asked for."""
    return "serving_default" if "serving_default" in signatures else next(iter(signatures), None)
