"""patterns(layer, which): the regular expressions that select groups of variables."""

import re
from collections.abc import Sequence
from typing import Any

import keras

from keras_hub_layers import errors
from keras_hub_layers._src.finetuning.groups import Group, _only, groups
from keras_hub_layers._src.layers import access, hub_layer, unfreeze_patterns
from keras_hub_layers._src.public import public
from keras_hub_layers.errors import TrainingError, warn

__all__ = ["patterns"]


_PRESETS = {  # names of Keras, Flax, Sonnet and PyTorch; LayerScale's gamma and T5's relative biases are neither
    "norms": r"(?i)^(?!.*layer_?scale)(.*[/.])?(gamma|beta)$"
    r"|(^|[/.])([^/.]*norm(alization)?|([^/.]*_)?(bn|ln))_?\d*[/.](scale|offset|bias|weight)$",
    "biases": r"(?i)^(?!.*relative)(.*[/.])?(([^/.]*_)?bias(es)?|beta|offset|b)$",
}


@public("finetuning")
def patterns(layer: keras.layers.Layer, which: Any) -> list[str]:
    """The patterns for `unfreeze` that select some of a layer's variables.

    Args:
        layer: A `HubLayer`, or a model with one.
        which: An `int` n for the last n groups that have anything to train; the name of a group; `"all"`; `"norms"`
            for the scales and offsets of normalisation layers only, `"biases"` for biases only; a regular expression,
            searched in the variables' names; or a list of any of these.

    Returns:
        Regular expressions, a list of `str`, for `HubLayer(unfreeze=...)` or `layer.unfreeze = ...`.

    Raises:
        errors.TrainingError: There are fewer groups, or nothing is selected.

    Example:

    ```python
    layer.unfreeze = finetuning.patterns(layer, ["block_16", "head"])
    ```

    Reference:

    - [BitFit, Ben Zaken et al. 2021](https://arxiv.org/abs/2106.10199): to tune the biases only.
    - [Training BatchNorm and only BatchNorm, Frankle et al. 2020](https://arxiv.org/abs/2003.00152).
    """
    layer = _only(layer)
    if isinstance(which, bool) or not isinstance(which, (int, str, list, tuple)):
        raise TrainingError(
            "It is not said in a known way what to train.",
            expected="a number of groups, a group's name, 'all', 'norms', 'biases', a pattern, or a list of these",
            received=repr(which),
            where=access.place(layer),
            fix="finetuning.unfreeze(layer, 3)",
        )
    if isinstance(which, (list, tuple)):
        return list(dict.fromkeys(pattern for part in which for pattern in patterns(layer, part)))
    found = [group for group in groups(layer) if group.tunable]
    tunable = [name for group in found for name in group.tunable]
    if not found:
        raise TrainingError(
            "The SavedModel has no variables that can be trained.",
            expected="a SavedModel with trainable variables",
            received=layer.interface.reason,
            where=access.place(layer),
            fix="finetuning.unfreeze(layer, None)   # it stays frozen",
        )
    if isinstance(which, int):
        if not 1 <= which <= len(found):
            raise TrainingError(
                "There is no such number of groups to unfreeze.",
                expected=f"1 to {len(found)}: {[group.name for group in found]}",
                received=f"{which!r}",
                where=access.place(layer),
                fix=f"finetuning.unfreeze(layer, {max(1, len(found) // 2)})",
            )
        return _literals(layer, found[-which:], found)
    if which == "all":
        return [_literal(name) for name in tunable]
    named = next((group for group in found if group.name == which), None)
    if named is not None:
        return _literals(layer, [named], found)
    if which in _PRESETS:
        chosen = [name for name in tunable if re.search(_PRESETS[which], name)]
        if not chosen:
            raise TrainingError(
                f"The SavedModel has no variables that are {which}.",
                expected=f"names that match {_PRESETS[which]}",
                received=f"{tunable[:5]}{'…' if len(tunable) > 5 else ''}",
                where=access.place(layer),
                fix=f"finetuning.unfreeze(layer, {found[-1].name if found else 'all'!r})",
            )
        return [_literal(name) for name in chosen]
    with errors.located(access.place(layer), lambda unfreeze: f"finetuning.unfreeze(layer, {unfreeze[0]!r})"):
        unfreeze_patterns.matcher([which], [*tunable, *(group.name for group in found)])
    if not any(re.search(which, name) for name in tunable):  # a pattern of groups' names
        return _literals(layer, [group for group in found if re.search(which, group.name)], found)
    return [which]


def selected(group: Group, chosen: Sequence[str]) -> bool:
    """Whether patterns select anything of a group."""
    return any(re.search(pattern, name) for pattern in chosen for name in group.tunable)


def _literals(layer: hub_layer.HubLayer, chosen: Sequence[Group], every: Sequence[Group]) -> list[str]:
    """Patterns of groups; with a warning where variables of other groups have the very same names."""
    names = [name for group in chosen for name in group.tunable]
    twins = [group.name for group in every if group not in chosen and set(group.tunable) & set(names)]
    if twins:
        warn(
            f"{access.place(layer)}: variables in the groups {twins} have the same names as those in "
            f"{[group.name for group in chosen]}, so they are trained too."
        )
    return [_literal(name) for name in names]


def _literal(name: str) -> str:
    return f"^{re.escape(name)}$"
