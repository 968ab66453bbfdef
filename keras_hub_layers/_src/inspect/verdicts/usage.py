"""How a SavedModel becomes a layer: the arguments of `HubLayer`, and the line to paste."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from keras_hub_layers._src.inspect import code as code_lib
from keras_hub_layers._src.inspect.records import SignatureInfo
from keras_hub_layers._src.inspect.specs import takes_tensors
from keras_hub_layers._src.inspect.verdicts.fine_tunable import Modes


def choose_arguments(
    kind: str,
    fine_tunable: bool,
    modes: Modes,
    signatures: Mapping[str, SignatureInfo],
    python_ops: Mapping[str, tuple[str, ...]],
    piece: str | None = None,
) -> dict[str, Any] | str:
    """The arguments of `HubLayer` after the handle; a `str` says why there are none.

    Args:
        kind: Its format, as `Interface.format` names it.
        fine_tunable: Whether it, or its piece, can be fine-tuned.
        modes: The modes of what is called.
        signatures: Its signatures.
        python_ops: Name of a signature, and `""` for what is called -> the ops in it that run Python code.
        piece: Name of the piece that is used. Defaults to `None`: the whole.
    """
    is_callable = kind == "reusable" or piece is not None
    if is_callable and (fine_tunable or not modes.only_trains) and not python_ops.get(""):
        return {"trainable": fine_tunable} if piece is None else {"piece": piece, "trainable": fine_tunable}
    if kind == "tf1_hub" and "default" in signatures and not python_ops.get("default"):
        return {}
    usable = {name: info for name, info in signatures.items() if not python_ops.get(name)}
    name = first_signature(usable)
    if name is not None:
        outputs = usable[name].outputs
        if len(outputs) == 1:
            return {"signature": name, "output_key": next(iter(outputs))}
        return {"signature": name, "signature_outputs_as_dict": True}
    if any(python_ops.values()):
        return python_reason(op for names in python_ops.values() for op in names)
    if signatures:
        return "its signatures take no tensors: no inputs at all, or datasets and optionals"
    if is_callable:
        return "it has a training mode only, and nothing published to train: unfreeze=PATTERN trains those that match"
    return "nothing can be called"


def python_reason(names: Iterable[str]) -> str:
    """Why what runs Python code cannot be used."""
    return f"it runs Python code ({', '.join(sorted(set(names)))}) that only the process which saved it has"


def write_code(
    handle: str, arguments: Mapping[str, Any], modes: Modes | None = None, keyword_inputs: Sequence[str] = ()
) -> str:
    """The line to paste.

    Args:
        handle: The handle; `""` for an object.
        arguments: Those of `HubLayer` after the handle.
        modes: The modes of what is called, which a comment may have to mention. Defaults to `None`: none.
        keyword_inputs: Keys of the dict that has to be given, where tensors are taken by name. Defaults to none.
    """
    line = code_lib.line(handle or object(), **arguments)
    needs_training = modes is not None and modes.only_trains and arguments.get("trainable")
    notes = ["training=True: it has no other mode"] if needs_training else []
    if keyword_inputs and "signature" not in arguments:
        notes.insert(0, "{" + ", ".join(f"{name!r}: {name}" for name in keyword_inputs) + "}")
    return line + (f"   # call it with {' and '.join(notes)}" if notes else "")


def first_signature(signatures: Mapping[str, Any]) -> str | None:
    """The signature to use where none is asked for: one that takes tensors."""
    names = [name for name, info in signatures.items() if takes_tensors(info.inputs)]
    return "serving_default" if "serving_default" in names else next(iter(names), None)
