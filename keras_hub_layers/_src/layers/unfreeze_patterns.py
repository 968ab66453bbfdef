"""The patterns of `HubLayer(unfreeze=...)`: which variables they select."""

import re
from collections.abc import Callable, Sequence
from typing import Any

from keras_hub_layers._src.text import words
from keras_hub_layers.errors import Line, TrainingError


def pattern_of(name: str) -> str:
    """The pattern that selects the variables of just one name."""
    return f"^{re.escape(name)}$"


def matcher(patterns: Sequence[Any], names: Sequence[str]) -> Callable[[str], bool]:
    """A function that says whether a variable's name is matched by any of the patterns of `unfreeze`.

    Patterns of just one name, of which there may be as many as variables, are not searched but looked up.

    Args:
        patterns: Regular expressions, searched in the names; `"all"` for all of them.
        names: Names in the SavedModel of the variables that may be trained.

    Raises:
        errors.TrainingError: A pattern matches none of the names, or is no regular expression.
    """
    every, literal = set(names), set()
    expressions = []
    for pattern in patterns:
        if isinstance(pattern, int):
            raise _number_error(pattern)
        if pattern == "all":
            expressions.append(re.compile(""))
            continue
        name = _name_of(pattern) if isinstance(pattern, str) else None
        if name in every:
            literal.add(name)
            continue
        try:
            if not isinstance(pattern, str):
                raise TypeError(f"a {type(pattern).__name__}")
            expression = re.compile(pattern)
        except (re.error, TypeError) as err:
            raise _no_match_error(f"is not a regular expression: {err}", pattern, patterns, names) from err
        if not any(map(expression.search, every)):
            raise _no_match_error("matches no variable that can be trained", pattern, patterns, names)
        expressions.append(expression)
    return lambda name: name in literal or any(expression.search(name) for expression in expressions)


def _name_of(pattern: str) -> str | None:
    """The one name that a pattern as `pattern_of` makes it selects; `None` for any other pattern."""
    name = re.sub(r"\\(.)", r"\1", pattern[1:-1], flags=re.DOTALL)
    return name if pattern == pattern_of(name) else None


def _no_match_error(reason: str, pattern: Any, patterns: Sequence[Any], names: Sequence[str]) -> TrainingError:
    literal = re.sub(r"[\\^$.*+?()\[\]{}|]", "", str(pattern))
    groups = [name[: end.end()] for name in names for end in re.finditer("/", name)]  # "a/" and "a/b/" of "a/b/c"
    near = words.nearest_names(literal, dict.fromkeys([*names, *groups]), 3)
    mended = None
    if near:
        nearest = f"^{re.escape(near[0])}" if near[0] in groups else re.escape(near[0])
        mended = [nearest if other == pattern else other for other in patterns]
    return TrainingError(
        f"A pattern of unfreeze {reason}.",
        expected=f"a regular expression that is found in one of {len(names)} names; nearest: {near}",
        received=f"unfreeze pattern {pattern!r}",
        fix=lambda line: line(unfreeze=mended),
    )


def _number_error(given: int) -> TrainingError:
    """The error for a number, which means groups of variables, or for a bool, which means `trainable`."""

    def fix(line: Line) -> str:
        if isinstance(given, bool):
            return f"layer = {line(trainable=given or None, unfreeze=None)}"
        return f"layer = {line(trainable=None, unfreeze=None)}\nfinetuning.unfreeze(layer, {given})"

    return TrainingError(
        "A pattern of unfreeze is not a regular expression.",
        expected="a regular expression, or a list of them; a number of groups is for finetuning.unfreeze",
        received=f"unfreeze={given!r}",
        fix=fix,
    )
