"""What of a loaded object a layer uses: which function it calls, and which variables it may train."""

import difflib
import re
from collections.abc import Callable, Sequence
from typing import Any

from keras_hub_layers import loaded
from keras_hub_layers.errors import InterfaceError, TrainingError, explain
from keras_hub_layers.options import Settings, shown


def choose(obj: Any, settings: Settings, where: str) -> tuple[Any, loaded.Function]:
    """The object whose variables and losses count, and the function to call.

    Args:
        obj: The loaded object.
        settings: What the user asked for.
        where: Layer and handle, for error texts.

    Raises:
        errors.InterfaceError: It does not offer what was asked for, or nothing that can be called.
    """
    if settings.piece is not None:
        found = loaded.piece(obj, str(settings.piece))
        if found is None:
            raise _no_such("piece", str(settings.piece), loaded.pieces(obj), where)
        obj = found
    if settings.signature is None:
        if settings.signature_outputs_as_dict:
            raise InterfaceError(
                explain(
                    "signature_outputs_as_dict is for signatures.",
                    expected="signature=NAME with signature_outputs_as_dict=True, or neither",
                    received="signature=None, signature_outputs_as_dict=True",
                    where=where,
                    fix="remove signature_outputs_as_dict: __call__ returns a dict by itself if it computes one",
                )
            )
        return obj, _callable(obj, settings, where)
    return obj, _signature(obj, settings, where)


def _signature(obj: Any, settings: Settings, where: str) -> loaded.Function:
    signatures = loaded.signatures(obj)
    name = settings.signature
    if name not in signatures:
        raise _no_such("signature", str(name), list(signatures), where)
    outputs = sorted(signatures[name].traces[0].outputs)
    if (settings.output_key is not None) == bool(settings.signature_outputs_as_dict):
        raise InterfaceError(
            explain(
                "A signature returns a dict; the layer must know what to make of it.",
                expected="either output_key or signature_outputs_as_dict=True",
                received=f"output_key={settings.output_key!r}, "
                f"signature_outputs_as_dict={settings.signature_outputs_as_dict!r}",
                where=f"{where}, signature {name!r} with the outputs {outputs}",
                fix=_signature_line(settings.handle, name, outputs),
            )
        )
    if settings.output_key is not None and settings.output_key not in outputs:
        raise _no_such("output_key", settings.output_key, outputs, where)
    return signatures[name]


def _callable(obj: Any, settings: Settings, where: str) -> loaded.Function:
    handle, function = settings.handle, loaded.call_function(obj)
    if function is not None and function.is_usable(settings.arguments):
        return function
    signatures, pieces = loaded.signatures(obj), loaded.pieces(obj)
    if function is None:
        received = "an object that cannot be called"
    elif set(function.required) - set(settings.arguments):
        received = f"a function that needs several positional inputs (also {function.required})"
    else:
        received = "a function whose traces take no tensors"
    fixes = [_signature_line(handle, name, sorted(f.traces[0].outputs)) for name, f in signatures.items()]
    fixes += [f"HubLayer({shown(handle)}, piece={name!r})" for name in pieces]
    raise InterfaceError(
        explain(
            "The SavedModel cannot be called as the Reusable SavedModel interface defines it.",
            expected="__call__ with one tensor, or one list or dict of tensors",
            received=f"{received}; signatures: {list(signatures) or 'none'}; pieces: {pieces or 'none'}",
            where=where,
            fix="\n".join(fixes) or "ask its publisher for a Reusable SavedModel; this one offers nothing to call",
        )
    )


def matcher(patterns: Sequence[str], names: Sequence[str], where: str) -> Callable[[str], bool]:
    """Whether a variable's name is matched by any of the patterns of `unfreeze`.

    Args:
        patterns: Regular expressions, searched in the names.
        names: Names in the SavedModel of the variables that may be trained.
        where: Layer and handle, for error texts.

    Raises:
        errors.TrainingError: A pattern matches none of the names, or is no regular expression.
    """
    for pattern in patterns:
        try:
            if not isinstance(pattern, str):
                raise TypeError(f"a {type(pattern).__name__}")
            if any(re.search(pattern, name) for name in names):
                continue
            problem = "A pattern of unfreeze matches no variable that can be trained."
        except (re.error, TypeError) as err:
            problem = f"A pattern of unfreeze is not a regular expression: {err}."
        literal = re.sub(r"[\\^$.*+?()\[\]{}|]", "", str(pattern))
        near = difflib.get_close_matches(literal, names, 3, cutoff=0.0)
        raise TrainingError(
            explain(
                problem,
                expected=f"a regular expression that is found in one of {len(names)} names; nearest: {near}",
                received=f"unfreeze pattern {pattern!r}",
                where=where,
                fix=f"unfreeze={re.escape(near[0])!r}" if near else "remove unfreeze: it has no such variables",
            )
        )
    compiled = [re.compile(pattern) for pattern in patterns]
    return lambda name: any(pattern.search(name) for pattern in compiled)


def _signature_line(handle: Any, name: str, outputs: list[str]) -> str:
    choice = f"output_key={outputs[0]!r}" if len(outputs) == 1 else "signature_outputs_as_dict=True"
    return f"HubLayer({shown(handle)}, signature={name!r}, {choice})"


def _no_such(argument: str, name: str, names: list[str], where: str) -> InterfaceError:
    near = difflib.get_close_matches(name, names, 1) or names[:1]
    return InterfaceError(
        explain(
            f"The SavedModel has no such {argument.replace('_', ' ')}.",
            expected=f"{argument} among {names}" if names else f"no {argument}: it has none",
            received=f"{argument}={name!r}",
            where=where,
            fix=f"{argument}={near[0]!r}" if near else f"remove {argument}",
        )
    )
