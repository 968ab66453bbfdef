"""The decision which trace answers a call, and with which casts: made on shapes, dtypes, kinds and structure alone.

No backend is called here. A backend describes each tensor as a `Form`, has `Matcher.fits` decide, and acts on what it
says; what depends on values, such as integers that do not fit, it finds out then.
"""

import functools
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from keras_hub_layers._src.inspect import specs

_SPARSE_FROM_DENSE = 1000
_FLOAT_FROM_INTEGER = 100
_REMEMBERED = 256  # forms of inputs, per structure; lengths that differ from batch to batch are no reason to keep all


class Mismatch(Exception):
    """The inputs do not fit a trace, for the reason given."""


@dataclass(frozen=True)
class Form(specs.Spec):
    """A tensor, or what a trace takes, as the decision sees it.

    Attributes:
        ragged_rank: Number of ragged dimensions of a ragged tensor. Defaults to 0.
    """

    ragged_rank: int = 0


@dataclass(frozen=True, eq=False)
class TraceForm:
    """A trace as the decision sees it.

    Attributes:
        inputs: A `Form`, or a list, tuple or dict of them.
        arguments: Argument name to Python value, or to a `Form` for arguments that are tensors.
    """

    inputs: Any
    arguments: Mapping[str, Any]


class Step(NamedTuple):
    """What is to be done with one tensor of the inputs.

    Attributes:
        dtype: The dtype to cast it to; `None` to leave it.
        is_unsure: Whether a length that the trace fixes is not known yet, so that it is to be checked in the graph.
    """

    dtype: str | None
    is_unsure: bool


class Fit(NamedTuple):
    """A trace that inputs can be made to match.

    Attributes:
        cost: 0 for an exact match, more for each cast.
        trace: Its number.
        leaves: The tensors that it takes, in its order.
        steps: What is to be done with each of them.
    """

    cost: int
    trace: int
    leaves: list[Any]
    steps: tuple[Step, ...]


Look = Callable[[Any, Form], tuple[Any, Form]]


class Matcher:
    """Finds the traces that inputs can be made to match.

    Values are cast within and from integers to floats, and never otherwise; extra keys are dropped; tuples and lists
    stand for each other.

    Args:
        inputs: What each trace takes: a `Form`, or a list, tuple or dict of them.
    """

    def __init__(self, inputs: Sequence[Any]) -> None:
        self._structures: dict[Any, _Structure] = {}
        self._keys = []
        for number, nest in enumerate(inputs):
            key = _key(nest)
            self._structures.setdefault(key, _Structure(nest)).takes[number] = tuple(_leaves(nest))
            self._keys.append(key)

    def fits(self, inputs: Any, traces: Sequence[int], look: Look) -> list[Fit]:
        """The traces that inputs can be made to match, the one that loses the least first.

        Args:
            inputs: What the user passes.
            traces: Numbers of the traces that come into question.
            look: Makes a tensor, or an array, of a value and says which form it has, given the form that is wanted.

        Raises:
            Mismatch: There are none.
        """
        fits: list[Fit] = []
        failure = Mismatch("there is no trace")
        for key in dict.fromkeys(self._keys[number] for number in traces):
            structure = self._structures[key]
            try:
                leaves, forms = structure.look(inputs, look)
            except Mismatch as err:
                failure = err
                continue
            for number, result in structure.results(forms):
                if number in traces and isinstance(result, Mismatch):
                    failure = result
                elif number in traces:
                    fits.append(Fit(result[0], number, leaves, result[1]))
        if not fits:
            raise failure
        return fits if len(fits) == 1 else sorted(fits, key=lambda fit: fit[:2])


class _Structure:
    """How the inputs of some traces are nested, and what was decided for the forms that came so far."""

    def __init__(self, nest: Any) -> None:
        self._nest = nest
        self._wanted = tuple(_leaves(nest))  # of one of the traces; the kinds are those of all
        self._paths = tuple(_paths(nest))
        self.takes: dict[int, tuple[Form, ...]] = {}
        self._results: dict[tuple[Form, ...], list[tuple[int, Any]]] = {}

    def look(self, inputs: Any, look: Look) -> tuple[list[Any], tuple[Form, ...]]:
        """The tensors of inputs in the order of the traces, and their forms."""
        leaves, forms = [], []
        for value, wanted, path in zip(arrange(inputs, self._nest), self._wanted, self._paths, strict=True):
            try:
                leaf, form = look(value, wanted)
            except Mismatch as err:
                raise Mismatch(f"{path}{err}") from err
            leaves.append(leaf)
            forms.append(form)
        return leaves, tuple(forms)

    def results(self, forms: tuple[Form, ...]) -> list[tuple[int, Any]]:
        """For each trace, by its number: cost and steps, or the `Mismatch`."""
        if forms not in self._results:
            if len(self._results) >= _REMEMBERED:
                self._results.clear()
            self._results[forms] = [(number, self._compare(forms, wanted)) for number, wanted in self.takes.items()]
        return self._results[forms]

    def _compare(self, forms: tuple[Form, ...], wanted: tuple[Form, ...]) -> Any:
        total, steps = 0, []
        for given, take, path in zip(forms, wanted, self._paths, strict=True):
            try:
                total += compare(given, take)
            except Mismatch as err:
                return Mismatch(f"{path}{err}")
            steps.append(Step(None if given.dtype == take.dtype else take.dtype, _is_unsure(given, take)))
        return total, tuple(steps)


# -- structure ---------------------------------------------------------------------------------------------------------


def arrange(value: Any, nest: Any) -> list[Any]:
    """The parts of a value that a trace takes, in its order: keys that it does not know are left out.

    Raises:
        Mismatch: The value is not structured as the nest is.
    """
    if isinstance(nest, Mapping):
        if not isinstance(value, Mapping):
            raise Mismatch(f"a dict with the keys {_some(nest)} is expected, a {type(value).__name__} given")
        missing = set(nest) - set(value)
        if missing:
            raise Mismatch(f"the keys {_some(missing)} are missing")
        return [leaf for key, inner in nest.items() for leaf in _arrange_at(key, value[key], inner)]
    if isinstance(nest, (list, tuple)):
        if not isinstance(value, (list, tuple)) or len(value) != len(nest):
            given = f"one of {len(value)}" if isinstance(value, (list, tuple)) else f"a {type(value).__name__}"
            raise Mismatch(f"a list of {len(nest)} tensors is expected, {given} given")
        pairs = enumerate(zip(value, nest, strict=True))
        return [leaf for place, (entry, inner) in pairs for leaf in _arrange_at(place, entry, inner)]
    return [value]


def _arrange_at(key: Any, value: Any, nest: Any) -> list[Any]:
    try:
        return arrange(value, nest)
    except Mismatch as err:
        raise Mismatch(f"at {key!r}: {err}") from err


def pack(nest: Any, leaves: Iterator[Any]) -> Any:
    """Tensors in the structure of a nest; the counterpart of `arrange`."""
    if isinstance(nest, Mapping):
        return {key: pack(inner, leaves) for key, inner in nest.items()}
    if isinstance(nest, (list, tuple)):
        return type(nest)(pack(inner, leaves) for inner in nest)
    return next(leaves)


def _leaves(nest: Any) -> Iterator[Form]:
    for _, inner in _entries(nest):
        if inner is nest:
            yield nest
        else:
            yield from _leaves(inner)


def _paths(nest: Any, path: str = "") -> Iterator[str]:
    for key, inner in _entries(nest):
        if inner is nest:
            yield path
        else:
            yield from _paths(inner, f"{path}at {key!r}: ")


def _entries(nest: Any) -> Any:
    """Keys and parts of a nest; of a leaf itself."""
    if isinstance(nest, Mapping):
        return nest.items()
    return enumerate(nest) if isinstance(nest, (list, tuple)) else [(None, nest)]


def _key(nest: Any) -> Any:
    """What the traces that are looked at together have in common."""
    if isinstance(nest, Form):
        return nest.kind, nest.ragged_rank
    return isinstance(nest, Mapping), tuple((key, _key(inner)) for key, inner in _entries(nest))


# -- single tensors ----------------------------------------------------------------------------------------------------


def compare(given: Form, wanted: Form) -> int:
    """What it costs to make a tensor match what a trace takes; 0 for an exact match.

    Raises:
        Mismatch: It cannot be made to match.
    """
    cost = 0
    if given.kind != wanted.kind:
        is_number = _number(given.dtype) is not None and not given.dtype.startswith("complex")
        if wanted.kind != "sparse" or given.kind != "dense" or not is_number:
            raise Mismatch(
                f"a {wanted.kind} tensor is expected"
                + (f", a {given.kind} one given" if wanted.kind == "dense" else "")
            )
        cost = _SPARSE_FROM_DENSE  # Keras hands sparse data on as dense where no `Input` says otherwise
    if given.ragged_rank != wanted.ragged_rank:
        raise Mismatch(f"{wanted.ragged_rank} ragged dimensions are expected, {given.ragged_rank} given")
    cost += cast_cost(given.dtype, wanted.dtype)
    if not is_compatible(given.shape, wanted.shape):
        raise Mismatch(f"the shape {_describe(wanted.shape)} is expected, {_describe(given.shape)} given")
    return cost


def cast_cost(given: str, wanted: str) -> int:
    """0 for the same dtype, 1 to a wider one, more the more bits a narrower one loses; from integers to floats 100.

    Raises:
        Mismatch: The cast would change values.
    """
    if given == wanted:
        return 0
    first, second = _number(given), _number(wanted)
    if first is not None and second is not None:
        if first.kind == second.kind:
            lost = first.bits - second.bits + (first.is_unsigned != second.is_unsigned)
            return 1 if lost < 0 or (lost == 0 and first.kind == "float") else 2 + lost
        if (first.kind, second.kind) == ("int", "float"):
            return _FLOAT_FROM_INTEGER
    raise Mismatch(f"{wanted} is expected, {given} given, and that cast would change values")


def is_compatible(given: tuple[int | None, ...] | None, wanted: tuple[int | None, ...] | None) -> bool:
    """Whether two shapes may be the same, as far as they are known."""
    if given is None or wanted is None:
        return True
    return len(given) == len(wanted) and all(
        None in (one, other) or one == other for one, other in zip(given, wanted, strict=True)
    )


def _is_unsure(given: Form, wanted: Form) -> bool:
    """Whether a trace fixes a length that is not known yet: TensorFlow goes on with shapes that are wrong."""
    if wanted.kind != "dense" or not given.shape or not wanted.shape:
        return False
    return any(one is None and other is not None for one, other in zip(given.shape, wanted.shape, strict=True))


class _Number(NamedTuple):
    kind: str
    bits: int
    is_unsigned: bool


@functools.cache
def _number(dtype: str) -> _Number | None:
    """What a dtype of numbers is; `None` for texts, bools and all others."""
    parts = re.match(r"(b?float|u?int|complex)(\d+)", dtype)
    if parts is None:
        return None
    return _Number(parts[1].lstrip("bu"), int(parts[2]), parts[1] == "uint")


def _describe(shape: tuple[int | None, ...] | None) -> str:
    return "(…)" if shape is None else str(shape)


def _some(names: Any) -> str:
    """Names as a list, of many only the first."""
    names = sorted(map(str, names))
    return str(names) if len(names) <= 8 else f"[{', '.join(map(repr, names[:5]))}, … {len(names) - 5} more]"
