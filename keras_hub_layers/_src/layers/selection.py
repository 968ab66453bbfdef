"""Which function of a SavedModel a layer calls: `__call__`, a signature or a piece."""

from collections.abc import Callable, Mapping
from typing import Any

from keras_hub_layers._src.inspect import specs
from keras_hub_layers._src.layers.arguments import Settings
from keras_hub_layers._src.savedmodel import contents, live_functions, live_object
from keras_hub_layers._src.savedmodel.pruning import pruned_object
from keras_hub_layers._src.text.words import nearest
from keras_hub_layers.errors import InterfaceError, Line

Signatures = Mapping[str, contents.Function]

_FROZEN = {"trainable": None, "unfreeze": None}  # a signature cannot be tuned


def choose(obj: Any, settings: Settings) -> tuple[Any, contents.Function]:
    """The object whose variables and losses count, and the function to call.

    An error speaks of the whole object, also where only a part of it is loaded.

    Args:
        obj: The loaded object.
        settings: What the user asked for.

    Raises:
        errors.InterfaceError: It does not offer what was asked for, or nothing that can be called.
    """
    try:
        return _choose(obj, settings)
    except InterfaceError:
        whole = pruned_object.whole_object(obj)
        if whole is obj:
            raise
        return _choose(whole, settings)


def _choose(obj: Any, settings: Settings) -> tuple[Any, contents.Function]:
    if settings.piece is not None:
        name = str(settings.piece)
        piece = live_object.piece(obj, name)
        if piece is None:
            raise _no_such("piece", name, live_object.pieces(obj))
        obj = piece
    if settings.signature is not None:
        return obj, _signature(obj, settings)
    if settings.signature_outputs_as_dict:
        raise InterfaceError(
            "signature_outputs_as_dict is for signatures.",
            expected="signature=NAME with signature_outputs_as_dict=True, or neither",
            received="signature=None, signature_outputs_as_dict=True",
            fix=lambda line: f"{line(signature_outputs_as_dict=None)}   # a call returns a dict if it computes one",
        )
    try:
        return obj, _callable(obj, settings)
    except AssertionError as err:
        if "variables which have been deleted" not in str(err):
            raise
        raise _variables_are_gone(obj) from err


def _signature(obj: Any, settings: Settings) -> contents.Function:
    signatures = live_functions.signatures(obj)
    name = settings.signature
    if name not in signatures:
        raise _no_such_signature(str(name), signatures, settings)
    if not _takes_tensors(signatures[name]):
        raise InterfaceError(
            "The signature takes no tensors.",
            expected="a signature with one input or more, each of them a tensor",
            received=f"signature={name!r} with the inputs {signatures[name].traces[0].inputs or 'none'}",
            fix=lambda line: _usable_lines(obj, signatures, line),
        )
    outputs = sorted(signatures[name].traces[0].outputs)
    if (settings.output_key is not None) == bool(settings.signature_outputs_as_dict):
        raise InterfaceError(
            "A signature returns a dict; say which output the layer returns.",
            expected="either output_key or signature_outputs_as_dict=True",
            received=f"output_key={settings.output_key!r}, "
            f"signature_outputs_as_dict={settings.signature_outputs_as_dict!r}",
            where=f"signature {name!r} with the outputs {outputs}",
            fix=lambda line: _signature_line(name, outputs, line),
        )
    if settings.output_key is not None and settings.output_key not in outputs:
        raise _no_such("output_key", settings.output_key, outputs)
    return signatures[name]


def _callable(obj: Any, settings: Settings) -> contents.Function:
    function = live_functions.call_function(obj)
    if function is not None and function.is_usable(settings.arguments):
        return function
    raise _not_callable(obj, function, settings)


def _takes_tensors(signature: contents.Function) -> bool:
    return specs.takes_tensors(specs.spec_of(signature.traces[0].inputs))


# -- errors ------------------------------------------------------------------------------------------------------------


def _not_callable(obj: Any, function: contents.Function | None, settings: Settings) -> InterfaceError:
    signatures, pieces = live_functions.signatures(obj), live_object.pieces(obj)
    if function is None:
        received = "an object that cannot be called"
    elif set(function.required) - set(settings.arguments):
        received = f"a function that needs several positional inputs, or some by name (also {function.required})"
    elif not function.traces:
        received = "a function that was saved without any trace, since its publisher never called it"
    else:
        received = "a function whose traces take no tensors"
    return InterfaceError(
        "The SavedModel cannot be called as the Reusable SavedModel interface defines it.",
        expected="__call__ with one tensor, or one list or dict of tensors",
        received=f"{received}; signatures: {list(signatures) or 'none'}; pieces: {pieces or 'none'}",
        fix=lambda line: _usable_lines(obj, signatures, line),
    )


def _usable_lines(obj: Any, signatures: Signatures, line: Line) -> str:
    """The lines that use what can be used of an object."""
    usual = sorted(signatures, key=lambda name: name != "serving_default")
    lines = [
        _signature_line(name, sorted(signatures[name].traces[0].outputs), line)
        for name in usual
        if _takes_tensors(signatures[name])
    ]
    lines += [line(piece=name, signature=None, output_key=None, **_FROZEN) for name in live_object.pieces(obj)]
    return "\n".join(lines) or "ask its publisher for a Reusable SavedModel; this one offers nothing to call"


def _signature_line(name: str, outputs: list[str], line: Line) -> str:
    if len(outputs) == 1:
        return line(signature=name, output_key=outputs[0], signature_outputs_as_dict=None, **_FROZEN)
    return line(signature=name, output_key=None, signature_outputs_as_dict=True, **_FROZEN)


def _variables_are_gone(obj: Any) -> InterfaceError:
    return InterfaceError(
        "The variables of the function are gone: the object that held them was deleted.",
        expected="an object that holds its variables: what was loaded, not a function taken from it",
        received=f"{type(obj).__name__} whose variables were deleted",
        fix="obj = keras_hub_layers.load(handle)   # and keep it\n"
        "layer = HubLayer(obj)   # for a signature also signature=NAME, output_key=NAME",
    )


def _no_such(argument: str, name: str, names: list[str], fix: Callable[[Line], str] | None = None) -> InterfaceError:
    """The error for a name that the SavedModel does not have; the fix has the nearest one that it has."""
    near = nearest(name, names)
    return InterfaceError(
        f"The SavedModel has no such {argument.replace('_', ' ')}.",
        expected=f"{argument} among {names}" if names else f"no {argument}: it has none",
        received=f"{argument}={name!r}",
        fix=fix or (lambda line: line(**{argument: near})),
    )


def _no_such_signature(name: str, signatures: Signatures, settings: Settings) -> InterfaceError:
    near = nearest(name, list(signatures))

    def fix(line: Line) -> str:
        if near is None:
            return line(signature=None, output_key=None, signature_outputs_as_dict=None)
        outputs = sorted(signatures[near].traces[0].outputs)
        says_outputs = settings.signature_outputs_as_dict or settings.output_key in outputs
        return line(signature=near, **_FROZEN) if says_outputs else _signature_line(near, outputs, line)

    return _no_such("signature", name, list(signatures), fix)
