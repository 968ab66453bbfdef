"""How a SavedModel becomes a layer: the arguments of `HubLayer`, and the line to paste."""

import ast
from collections.abc import Mapping, Sequence
from typing import Any

from keras_hub_layers._src.inspect.fine_tunable import Runs
from keras_hub_layers._src.inspect.records import SignatureInfo
from keras_hub_layers._src.inspect.specs import flatten


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
