"""The patterns of `HubLayer(unfreeze=...)`: which variables they select."""

import re
from collections.abc import Callable, Sequence

from keras_hub_layers._src.inspect import code
from keras_hub_layers._src.text import words
from keras_hub_layers.errors import TrainingError


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
        near = words.nearest_names(literal, dict.fromkeys([*names, *groups]), 3)
        found = [f"^{re.escape(near[0])}" if near[0] in groups else re.escape(near[0])] if near else None
        fixed = [one if one != pattern else found[0] for one in patterns] if found else None
        raise TrainingError(
            problem,
            expected=f"a regular expression that is found in one of {len(names)} names; nearest: {near}",
            received=f"unfreeze pattern {pattern!r}",
            where=where,
            fix=line(unfreeze=fixed) if line is not None else f"layer.unfreeze = {fixed!r}",
        )
    compiled = [re.compile(pattern) for pattern in patterns]
    return lambda name: any(pattern.search(name) for pattern in compiled)


def _no_pattern(given: int, where: str, line: Callable[..., str] | None) -> TrainingError:
    """The error for a number, which means groups of variables, or for a bool, which means `trainable`."""
    made = line or code.line
    fix = f"layer = {made(trainable=None, unfreeze=None)}\nfinetuning.unfreeze(layer, {given})"
    if isinstance(given, bool):
        fix = f"layer = {made(trainable=given or None, unfreeze=None)}"
    return TrainingError(
        "A pattern of unfreeze is not a regular expression.",
        expected="a regular expression, or a list of them; a number of groups is for finetuning.unfreeze",
        received=f"unfreeze={given!r}",
        where=where,
        fix=fix,
    )
