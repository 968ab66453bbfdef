"""Traces and lists of variables in the form of the records: what a live object and a file have in common."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any

from keras_hub_layers._src.savedmodel.contents import Function, Trace, Variables
from keras_hub_layers._src.savedmodel.graphs.library import Body
from keras_hub_layers._src.savedmodel.protos.specs import is_sequence


def make_trace(
    args: Any, kwargs: Any, names: list[str], outputs: Any, variables: tuple[Any, ...], body: Callable[[], Body]
) -> Trace:
    """A trace from a canonical input signature; `names` are those of all arguments, the input first."""
    bound = {**dict(zip(names, args, strict=False)), **kwargs}
    inputs = bound.pop(names[0], None)
    form = inputs if _holds_named_tuple(inputs) else None
    return Trace(as_plain(inputs), bound, outputs, variables, form, body)


def as_plain(inputs: Any) -> Any:
    """Wrapped containers as the dict or list that they wrap."""
    if isinstance(inputs, Mapping):
        return {key: as_plain(inputs[key]) for key in sorted(inputs, key=str)}
    if is_sequence(inputs):
        return type(inputs)(as_plain(value) for value in inputs) if type(inputs) in (list, tuple) else list(inputs)
    return inputs


def _holds_named_tuple(inputs: Any) -> bool:
    if isinstance(inputs, Mapping):
        inputs = list(inputs.values())
    return is_sequence(inputs) and (hasattr(inputs, "_fields") or any(map(_holds_named_tuple, inputs)))


def gather_variables(
    trainable: Iterable[Any],
    published: Iterable[Any],
    functions: Iterable[Function],
    container: Mapping[int, Any] = MappingProxyType({}),
) -> Variables:
    """Variables without repetitions and `None`, the published trainable ones first.

    Args:
        trainable: The published `trainable_variables`.
        published: The published `variables`.
        functions: Those whose captured variables count.
        container: id of a captured per-replica component to the variable that it belongs to.
    """
    first = _unique(trainable)
    both = _unique([*first, *published])
    known = {id(v) for v in both}
    used = [container.get(id(v), v) for function in functions for trace in function.traces for v in trace.variables]
    captured = _unique(v for v in used if id(v) not in known)
    return Variables(published=both, trainable=first, captured=captured, has_lists=bool(both))


def merge_variables(parts: Iterable[Variables]) -> Variables:
    """The variables of several pieces, each once."""
    several = list(parts)
    trainable, published = [v for p in several for v in p.trainable], [v for p in several for v in p.published]
    merged = gather_variables(trainable, published, ())
    known = {id(v) for v in merged.published}
    return replace(merged, captured=_unique(v for p in several for v in p.captured if id(v) not in known))


def _unique(candidates: Iterable[Any]) -> tuple[Any, ...]:
    return tuple({id(v): v for v in candidates if v is not None}.values())
