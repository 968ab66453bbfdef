"""The functions of a loaded or in-process object: `__call__`, signatures and their traces."""

import functools
import inspect
from typing import Any

import tensorflow as tf

from keras_hub_layers._src.savedmodel.contents import Function, Trace
from keras_hub_layers._src.savedmodel.graphs.concrete import body_of_concrete
from keras_hub_layers._src.savedmodel.traces import as_plain, make_trace


def call_function(obj: Any) -> Function | None:
    """The function behind `obj(...)`; `None` if the object cannot be called."""
    call = getattr(obj, "__call__", None)  # noqa: B004 - an attribute of that name on the instance counts
    if call is None:
        return None
    if is_function(obj):
        call = obj
    parameters, is_open = _parameters(obj, call)
    names = [_input_name(call), *parameters]
    traces, is_restored = traces_of(call, names), hasattr(call, "concrete_functions")
    return Function(call, parameters, traces, is_open=is_open, is_restored=is_restored, input_name=names[0])


def signatures(obj: Any) -> dict[str, Function]:
    """The signatures of a loaded object by name, in their order."""
    functions = {}
    for name, function in dict(getattr(obj, "signatures", None) or {}).items():
        _, inputs = function.structured_input_signature
        trace = Trace(
            inputs=dict(inputs),
            outputs=function.structured_outputs,
            variables=_captured_variables(function),
            body=functools.partial(body_of_concrete, function),
        )
        functions[name] = Function(call=function, traces=(trace,), is_signature=True, is_restored=True)
    return functions


def _parameters(obj: Any, call: Any) -> tuple[dict[str, Any], bool]:
    """Names and defaults of the arguments after the first; and whether any other keyword may be tried."""
    try:
        parameters = list(inspect.signature(call).parameters.values())
        if all(p.kind in (p.VAR_POSITIONAL, p.VAR_KEYWORD) for p in parameters):
            # a Keras 2 layer in process says it in `call`; a Python function or method says it itself
            parameters = list(inspect.signature(getattr(obj, "call", obj)).parameters.values())
    except (TypeError, ValueError):
        return {}, False
    if parameters and parameters[0].name == "self":
        parameters = parameters[1:]
    is_open = any(p.kind is p.VAR_KEYWORD for p in parameters)
    named = [p for p in parameters if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]
    first = 0 if named and named[0].kind is inspect.Parameter.KEYWORD_ONLY else 1  # what comes by name only is no input
    return {p.name: p.default for p in named[first:]}, is_open


def _input_name(call: Any) -> str:
    try:
        parameters = inspect.signature(call).parameters.values()
        names = [p.name for p in parameters if p.name != "self" and p.kind is not p.KEYWORD_ONLY]
    except (TypeError, ValueError):
        names = []
    return names[0] if names else "inputs"


def traces_of(call: Any, names: list[str]) -> tuple[Trace, ...]:
    if hasattr(call, "concrete_functions"):
        return tuple(_trace(function, names) for function in call.concrete_functions)
    if isinstance(call, tf.types.experimental.ConcreteFunction):
        return (_trace(call, names),)
    specs = getattr(call, "input_signature", None)
    if specs:  # an in-process tf.function with a declared signature
        arguments = dict(zip(names[1:], specs[1:], strict=False))
        return (Trace(inputs=as_plain(specs[0]), arguments=arguments),)
    return ()


def _trace(function: Any, names: list[str]) -> Trace:
    args, kwargs = function.structured_input_signature
    body = functools.partial(body_of_concrete, function)
    return make_trace(args, kwargs, names, function.structured_outputs, _captured_variables(function), body)


def is_function(obj: Any) -> bool:
    """Whether an object is a TensorFlow function itself, not something that has one."""
    kinds = (tf.types.experimental.ConcreteFunction, tf.types.experimental.PolymorphicFunction)
    return isinstance(obj, kinds) or hasattr(obj, "concrete_functions")


def _captured_variables(function: Any) -> tuple[Any, ...]:
    return tuple(getattr(function, "variables", None) or ())
