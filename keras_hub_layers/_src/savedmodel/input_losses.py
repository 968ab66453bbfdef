"""Losses that depend on inputs (activity regularizers, `add_loss`): what of a Keras 2 SavedModel computes them."""

from collections.abc import Collection, Mapping
from typing import Any

from keras_hub_layers._src.savedmodel import contents
from keras_hub_layers._src.savedmodel.protos.specs import flatten, is_sequence, is_spec, kind_of, lengths_of

# Children of `keras_api` that return the outputs and the losses; the first counts, with the object's own regularizer.
NAMES = ("call_and_return_all_conditional_losses", "call_and_return_conditional_losses")


REGULARIZER = "activity_regularizer_fn"  # also there where the functions above have no trace


def count(function: contents.Function | None) -> int:
    """Number of losses that one of the functions in `NAMES` returns; of several traces the largest."""
    outputs = [trace.outputs for trace in function.traces] if function else []
    pairs = [pair for pair in outputs if isinstance(pair, (list, tuple)) and len(pair) == 2]
    return max((len(flatten(losses)) for _, losses in pairs), default=0)


def covers(function: contents.Function | None, call: contents.Function | None) -> bool:
    """Whether one of the functions in `NAMES` computes all that `__call__` does: the same inputs in the same modes."""
    if function is None or call is None:
        return False
    known = [(_form(trace.inputs), trace.arguments) for trace in function.usable_traces]
    return all((_form(trace.inputs), trace.arguments) in known for trace in call.usable_traces)


def twin(function: contents.Function, trace: contents.Trace, arguments: Collection[str]) -> contents.Trace:
    """The trace of a function that covers what is called, for the inputs and the mode of a trace of what is called.

    Args:
        function: One of the functions in `NAMES`.
        trace: A trace of what is called, usable with the `arguments`.
        arguments: Names of further arguments that are given for good.
    """
    form = _form(trace.inputs), trace.arguments
    others = function.usable_traces_with(arguments)
    return next(other for other in others if (_form(other.inputs), other.arguments) == form)


def verdict(call: contents.Function | None, own: contents.Function | None) -> str:
    """What becomes of the losses of a Keras object: `"counted"`, `"lost"`, or `""` where there are none.

    Args:
        call: What `__call__` is.
        own: The function among `NAMES`, or `None`.
    """
    return "" if not count(own) else "counted" if covers(own, call) else "lost"


def _form(inputs: Any) -> Any:
    """Inputs without the names of their specs, to compare."""
    if isinstance(inputs, Mapping):
        return {key: _form(value) for key, value in inputs.items()}
    if is_sequence(inputs):
        return [_form(value) for value in inputs]
    is_dense = is_spec(inputs) and kind_of(inputs) == "dense"
    return (lengths_of(inputs.shape), inputs.dtype.name) if is_dense else inputs
