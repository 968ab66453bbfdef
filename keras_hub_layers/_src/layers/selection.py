"""Which function of a SavedModel a layer calls: `__call__`, a signature or a piece."""

from collections.abc import Mapping
from typing import Any

from keras_hub_layers._src.inspect import specs, usage
from keras_hub_layers._src.layers.arguments import Settings
from keras_hub_layers._src.savedmodel import contents, live_object
from keras_hub_layers._src.text.words import nearest
from keras_hub_layers.errors import InterfaceError


def choose(obj: Any, settings: Settings, where: str) -> tuple[Any, contents.Function]:
    """The object whose variables and losses count, and the function to call.

    Args:
        obj: The loaded object.
        settings: What the user asked for.
        where: Layer and handle, for error texts.

    Raises:
        errors.InterfaceError: It does not offer what was asked for, or nothing that can be called.
    """
    if settings.piece is not None:
        found = live_object.piece(obj, str(settings.piece))
        if found is None:
            raise _no_such("piece", str(settings.piece), live_object.pieces(obj), settings, where)
        obj = found
    if settings.signature is None:
        if settings.signature_outputs_as_dict:
            raise InterfaceError(
                "signature_outputs_as_dict is for signatures.",
                expected="signature=NAME with signature_outputs_as_dict=True, or neither",
                received="signature=None, signature_outputs_as_dict=True",
                where=where,
                fix=f"{settings.line(signature_outputs_as_dict=None)}   # a call returns a dict if it computes one",
            )
        try:
            return obj, _callable(obj, settings, where)
        except AssertionError as err:
            if "variables which have been deleted" not in str(err):
                raise
            raise _gone(obj, where) from err
    return obj, _signature(obj, settings, where)


def _signature(obj: Any, settings: Settings, where: str) -> contents.Function:
    signatures = live_object.signatures(obj)
    name = settings.signature
    if name not in signatures:
        raise _no_such("signature", str(name), list(signatures), settings, where, signatures)
    if not _takes_tensors(signatures[name]):
        raise InterfaceError(
            "The signature takes no tensors.",
            expected="a signature with one input or more, each of them a tensor",
            received=f"signature={name!r} with the inputs {signatures[name].traces[0].inputs or 'none'}",
            where=where,
            fix=_instead(obj, settings, signatures),
        )
    outputs = sorted(signatures[name].traces[0].outputs)
    if (settings.output_key is not None) == bool(settings.signature_outputs_as_dict):
        raise InterfaceError(
            "A signature returns a dict; the layer must know what to make of it.",
            expected="either output_key or signature_outputs_as_dict=True",
            received=f"output_key={settings.output_key!r}, "
            f"signature_outputs_as_dict={settings.signature_outputs_as_dict!r}",
            where=f"{where}, signature {name!r} with the outputs {outputs}",
            fix=_signature_line(settings, name, outputs),
        )
    if settings.output_key is not None and settings.output_key not in outputs:
        raise _no_such("output_key", settings.output_key, outputs, settings, where)
    return signatures[name]


def _callable(obj: Any, settings: Settings, where: str) -> contents.Function:
    function = live_object.call_function(obj)
    if function is not None and function.is_usable(settings.arguments):
        return function
    signatures, pieces = live_object.signatures(obj), live_object.pieces(obj)
    if function is None:
        received = "an object that cannot be called"
    elif set(function.required) - set(settings.arguments):
        received = f"a function that needs several positional inputs, or some by name (also {function.required})"
    elif not function.traces:
        received = "a function that was saved without any trace, since its publisher never called it"
    else:
        received = "a function whose traces take no tensors"
    raise InterfaceError(
        "The SavedModel cannot be called as the Reusable SavedModel interface defines it.",
        expected="__call__ with one tensor, or one list or dict of tensors",
        received=f"{received}; signatures: {list(signatures) or 'none'}; pieces: {pieces or 'none'}",
        where=where,
        fix=_instead(obj, settings, signatures),
    )


def _instead(obj: Any, settings: Settings, signatures: Mapping[str, contents.Function]) -> str:
    """The lines that use what can be used of an object."""
    usual = sorted(signatures, key=lambda name: name != "serving_default")
    fixes = [
        _signature_line(settings, name, sorted(signatures[name].traces[0].outputs))
        for name in usual
        if _takes_tensors(signatures[name])
    ]
    fixes += [settings.line(piece=name, signature=None, output_key=None) for name in live_object.pieces(obj)]
    return "\n".join(fixes) or "ask its publisher for a Reusable SavedModel; this one offers nothing to call"


def _takes_tensors(signature: contents.Function) -> bool:
    return usage.takes_tensors(specs.spec_of(signature.traces[0].inputs))


def _gone(obj: Any, where: str) -> InterfaceError:
    return InterfaceError(
        "The variables of the function are gone, with the object that they belonged to.",
        expected="an object that holds its variables: what was loaded, not a function taken from it",
        received=f"{type(obj).__name__} whose variables were deleted",
        where=where,
        fix="obj = keras_hub_layers.load(handle)   # and keep it\n"
        "layer = HubLayer(obj)   # for a signature also signature=NAME, output_key=NAME",
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
        f"The SavedModel has no such {argument.replace('_', ' ')}.",
        expected=f"{argument} among {names}" if names else f"no {argument}: it has none",
        received=f"{argument}={name!r}",
        where=where,
        fix=fix,
    )
