"""What of a loaded object a layer uses: which function it calls, and which variables it may train."""

import difflib
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from keras_hub_layers import interface, loaded, options, tensors, usage
from keras_hub_layers.errors import InterfaceError, TrainingError, explain
from keras_hub_layers.options import Settings, nearest


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
            raise _no_such("piece", str(settings.piece), loaded.pieces(obj), settings, where)
        obj = found
    if settings.signature is None:
        if settings.signature_outputs_as_dict:
            raise InterfaceError(
                explain(
                    "signature_outputs_as_dict is for signatures.",
                    expected="signature=NAME with signature_outputs_as_dict=True, or neither",
                    received="signature=None, signature_outputs_as_dict=True",
                    where=where,
                    fix=f"{settings.line(signature_outputs_as_dict=None)}   # a call returns a dict if it computes one",
                )
            )
        try:
            return obj, _callable(obj, settings, where)
        except AssertionError as err:
            if "variables which have been deleted" not in str(err):
                raise
            raise _gone(obj, where) from err
    return obj, _signature(obj, settings, where)


def _signature(obj: Any, settings: Settings, where: str) -> loaded.Function:
    signatures = loaded.signatures(obj)
    name = settings.signature
    if name not in signatures:
        raise _no_such("signature", str(name), list(signatures), settings, where, signatures)
    if not _takes_tensors(signatures[name]):
        raise InterfaceError(
            explain(
                "The signature takes no tensors.",
                expected="a signature with one input or more, each of them a tensor",
                received=f"signature={name!r} with the inputs {signatures[name].traces[0].inputs or 'none'}",
                where=where,
                fix=_instead(obj, settings, signatures),
            )
        )
    outputs = sorted(signatures[name].traces[0].outputs)
    if (settings.output_key is not None) == bool(settings.signature_outputs_as_dict):
        raise InterfaceError(
            explain(
                "A signature returns a dict; the layer must know what to make of it.",
                expected="either output_key or signature_outputs_as_dict=True",
                received=f"output_key={settings.output_key!r}, "
                f"signature_outputs_as_dict={settings.signature_outputs_as_dict!r}",
                where=f"{where}, signature {name!r} with the outputs {outputs}",
                fix=_signature_line(settings, name, outputs),
            )
        )
    if settings.output_key is not None and settings.output_key not in outputs:
        raise _no_such("output_key", settings.output_key, outputs, settings, where)
    return signatures[name]


def _callable(obj: Any, settings: Settings, where: str) -> loaded.Function:
    function = loaded.call_function(obj)
    if function is not None and function.is_usable(settings.arguments):
        return function
    signatures, pieces = loaded.signatures(obj), loaded.pieces(obj)
    if function is None:
        received = "an object that cannot be called"
    elif set(function.required) - set(settings.arguments):
        received = f"a function that needs several positional inputs, or some by name (also {function.required})"
    elif not function.traces:
        received = "a function that was saved without any trace, since its publisher never called it"
    else:
        received = "a function whose traces take no tensors"
    raise InterfaceError(
        explain(
            "The SavedModel cannot be called as the Reusable SavedModel interface defines it.",
            expected="__call__ with one tensor, or one list or dict of tensors",
            received=f"{received}; signatures: {list(signatures) or 'none'}; pieces: {pieces or 'none'}",
            where=where,
            fix=_instead(obj, settings, signatures),
        )
    )


def _instead(obj: Any, settings: Settings, signatures: Mapping[str, loaded.Function]) -> str:
    """The lines that use what can be used of an object."""
    usual = sorted(signatures, key=lambda name: name != "serving_default")
    fixes = [
        _signature_line(settings, name, sorted(signatures[name].traces[0].outputs))
        for name in usual
        if _takes_tensors(signatures[name])
    ]
    fixes += [settings.line(piece=name, signature=None, output_key=None) for name in loaded.pieces(obj)]
    return "\n".join(fixes) or "ask its publisher for a Reusable SavedModel; this one offers nothing to call"


def _takes_tensors(signature: loaded.Function) -> bool:
    return usage.takes_tensors(tensors.spec_of(signature.traces[0].inputs))


def not_tunable(obj: Any, settings: Settings, tf1: bool, line: Callable[..., str], where: str) -> TrainingError:
    """The error for fine-tuning through a signature: the line that tunes the model itself, if it can be tuned.

    Args:
        obj: The object whose signature it is.
        settings: What the user asked for.
        tf1: Whether it is a TF1 SavedModel.
        line: The line of code that makes the layer, with the given arguments changed.
        where: Layer and handle.
    """
    kind = "a TF1 SavedModel" if tf1 else f"the signature {settings.signature!r}"
    fix = f"{line(trainable=None, unfreeze=None)}   # frozen"
    if tf1:
        fix += "; of a TF1 model there may be a TF2 version that can be tuned"
    elif interface.inspect(obj).fine_tunable:
        function = loaded.call_function(obj)
        outputs = function.traces[0].outputs if function and function.traces else None
        key = settings.output_key if isinstance(outputs, Mapping) and settings.output_key in outputs else None
        fix = line(signature=None, signature_outputs_as_dict=None, output_key=key, trainable=True)
    return TrainingError(
        explain(
            f"The layer cannot be fine-tuned through {kind}.",
            expected="a Reusable SavedModel called by __call__",
            received=f"trainable=True with {kind}: it has no training mode and no regularization losses, "
            "so training it would compute something else than its publisher did",
            where=where,
            fix=fix,
        )
    )


def _gone(obj: Any, where: str) -> InterfaceError:
    return InterfaceError(
        explain(
            "The variables of the function are gone, with the object that they belonged to.",
            expected="an object that holds its variables: what was loaded, not a function taken from it",
            received=f"{type(obj).__name__} whose variables were deleted",
            where=where,
            fix="obj = keras_hub_layers.load(handle)   # and keep it\n"
            "layer = HubLayer(obj)   # for a signature also signature=NAME, output_key=NAME",
        )
    )


def matcher(
    patterns: Sequence[str], names: Sequence[str], where: str, line: Callable[..., str] | None = None
) -> Callable[[str], bool]:
    """Whether a variable's name is matched by any of the patterns of `unfreeze`.

    Args:
        patterns: Regular expressions, searched in the names.
        names: Names in the SavedModel of the variables that may be trained.
        where: Layer and handle, for error texts.
        line: The line of code that makes the layer, for the error text. Defaults to `None`: an assignment to the layer.

    Raises:
        errors.TrainingError: A pattern matches none of the names, or is no regular expression.
    """
    for pattern in patterns:
        if isinstance(pattern, int):
            raise _no_pattern(pattern, where, line)
        try:
            if not isinstance(pattern, str):
                raise TypeError(f"a {type(pattern).__name__}")
            if any(re.search(pattern, name) for name in names):
                continue
            problem = "A pattern of unfreeze matches no variable that can be trained."
        except (re.error, TypeError) as err:
            problem = f"A pattern of unfreeze is not a regular expression: {err}."
        literal = re.sub(r"[\\^$.*+?()\[\]{}|]", "", str(pattern))
        groups = [name[: end.end()] for name in names for end in re.finditer("/", name)]  # "a/" and "a/b/" of "a/b/c"
        near = difflib.get_close_matches(literal, list(dict.fromkeys([*names, *groups])), 3, cutoff=0.0)
        found = [f"^{re.escape(near[0])}" if near[0] in groups else re.escape(near[0])] if near else None
        fixed = [one if one != pattern else found[0] for one in patterns] if found else None
        raise TrainingError(
            explain(
                problem,
                expected=f"a regular expression that is found in one of {len(names)} names; nearest: {near}",
                received=f"unfreeze pattern {pattern!r}",
                where=where,
                fix=line(unfreeze=fixed) if line is not None else f"layer.unfreeze = {fixed!r}",
            )
        )
    compiled = [re.compile(pattern) for pattern in patterns]
    return lambda name: any(pattern.search(name) for pattern in compiled)


def _no_pattern(given: int, where: str, line: Callable[..., str] | None) -> TrainingError:
    """The error for a number, which means groups of variables, or for a bool, which means `trainable`."""
    made = line or options.line
    fix = f"layer = {made(trainable=None, unfreeze=None)}\nfinetuning.unfreeze(layer, {given})"
    if isinstance(given, bool):
        fix = f"layer = {made(trainable=given or None, unfreeze=None)}"
    return TrainingError(
        explain(
            "A pattern of unfreeze is not a regular expression.",
            expected="a regular expression, or a list of them; a number of groups is for finetuning.unfreeze",
            received=f"unfreeze={given!r}",
            where=where,
            fix=fix,
        )
    )


def _signature_line(settings: Settings, name: str, outputs: list[str]) -> str:
    if len(outputs) == 1:
        return settings.line(signature=name, output_key=outputs[0], signature_outputs_as_dict=None)
    return settings.line(signature=name, output_key=None, signature_outputs_as_dict=True)


def _no_such(
    argument: str, name: str, names: list[str], settings: Settings, where: str, signatures: Any = None
) -> InterfaceError:
    """The error for a name that the SavedModel does not have, with the nearest one that it has."""
    near = nearest(name, names)
    fix = settings.line(**{argument: near})
    if signatures and near is not None:
        outputs = sorted(signatures[near].traces[0].outputs)
        is_whole = settings.signature_outputs_as_dict or settings.output_key in outputs
        fix = settings.line(signature=near) if is_whole else _signature_line(settings, near, outputs)
    elif argument == "signature":
        fix = settings.line(signature=None, output_key=None, signature_outputs_as_dict=None)
    return InterfaceError(
        explain(
            f"The SavedModel has no such {argument.replace('_', ' ')}.",
            expected=f"{argument} among {names}" if names else f"no {argument}: it has none",
            received=f"{argument}={name!r}",
            where=where,
            fix=fix,
        )
    )
