"""patterns(layer, which): the regular expressions that select variables by group, by kind or by name."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import keras

from keras_hub_layers._src.finetuning.arguments.targets import only_hub_layer
from keras_hub_layers._src.finetuning.groups import Group, groups
from keras_hub_layers._src.layers import access, hub_layer, unfreeze_patterns
from keras_hub_layers._src.public import public
from keras_hub_layers.errors import TrainingError, add_place, warn

__all__ = ["Selection", "patterns", "select"]


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
    return select(layer, which).patterns


@dataclass(frozen=True)
class Selection:
    """Some of the variables of a SavedModel.

    Attributes:
        names: Their names.
        patterns: Regular expressions that are found in these names only.
    """

    names: list[str]
    patterns: list[str]


def select(layer: keras.layers.Layer, which: Any) -> Selection:
    """The variables that `which` stands for, as `patterns` takes it.

    Raises:
        errors.TrainingError: As `patterns`.
    """
    layer = only_hub_layer(layer, f"finetuning.patterns({{}}, {which!r})")
    with add_place(access.place(layer), lambda unfreeze: f"finetuning.unfreeze(layer, {unfreeze[0]!r})"):
        tunable = [group for group in groups(layer) if group.tunable]
        if not tunable:
            raise _nothing_to_train(layer)
        selections = [
            _select(layer, tunable, selector) for selector in (which if isinstance(which, (list, tuple)) else [which])
        ]
    names = dict.fromkeys(name for selection in selections for name in selection.names)
    expressions = dict.fromkeys(pattern for selection in selections for pattern in selection.patterns)
    return Selection(list(names), list(expressions))


def _select(layer: hub_layer.HubLayer, tunable: Sequence[Group], which: Any) -> Selection:
    if isinstance(which, bool) or not isinstance(which, (int, str)):
        raise _unknown_kind(which, len(tunable))
    names = [name for group in tunable for name in group.tunable]
    if isinstance(which, int):
        if not 1 <= which <= len(tunable):
            raise _no_such_number(which, tunable)
        return _select_groups(layer, tunable[-which:], tunable)
    if which == "all":
        return _select_names(names)
    named = [group for group in tunable if group.name == which]
    if named:
        return _select_groups(layer, named, tunable)
    if which in _PRESETS:
        chosen = [name for name in names if re.search(_PRESETS[which], name)]
        if not chosen:
            raise _none_of_that_kind(which, names, tunable)
        return _select_names(chosen)
    unfreeze_patterns.matcher([which], [*names, *(group.name for group in tunable)])
    chosen = [name for name in names if re.search(which, name)]
    if not chosen:  # a pattern of groups' names
        return _select_groups(layer, [group for group in tunable if re.search(which, group.name)], tunable)
    return Selection(chosen, [which])


def _select_groups(layer: hub_layer.HubLayer, chosen: Sequence[Group], every: Sequence[Group]) -> Selection:
    """The variables of groups; with a warning where variables of other groups have the very same names."""
    names = {name for group in chosen for name in group.tunable}
    labels = [group.name for group in chosen]
    twins = [group.name for group in every if group.name not in labels and not names.isdisjoint(group.tunable)]
    if twins:
        warn(
            f"{access.place(layer)}: variables in the groups {twins} have the same names as those in {labels}, so they "
            "are trained too."
        )
    return _select_names([name for group in chosen for name in group.tunable])


def _select_names(names: Sequence[str]) -> Selection:
    return Selection(list(names), [unfreeze_patterns.pattern_of(name) for name in names])


def _unknown_kind(which: Any, count: int) -> TrainingError:
    meant = repr("all" if which else None) if isinstance(which, bool) else min(3, count)
    return TrainingError(
        "This does not say which variables to train.",
        expected="a number of groups, a group's name, 'all', 'norms', 'biases', a pattern, or a list of these",
        received=repr(which),
        fix=f"finetuning.unfreeze(layer, {meant})",
    )


def _nothing_to_train(layer: hub_layer.HubLayer) -> TrainingError:
    return TrainingError(
        "The SavedModel has no variables that can be trained.",
        expected="a SavedModel with trainable variables",
        received=layer.interface.reason,
        fix="finetuning.unfreeze(layer, None)   # it stays frozen",
    )


def _no_such_number(which: int, tunable: Sequence[Group]) -> TrainingError:
    return TrainingError(
        "This number of groups cannot be unfrozen.",
        expected=f"1 to {len(tunable)}: {[group.name for group in tunable]}",
        received=f"{which!r}",
        fix=f"finetuning.unfreeze(layer, {max(1, len(tunable) // 2)})",
    )


def _none_of_that_kind(which: str, names: Sequence[str], tunable: Sequence[Group]) -> TrainingError:
    return TrainingError(
        f"The SavedModel has no variables that are {which}.",
        expected=f"names that match {_PRESETS[which]}",
        received=f"{list(names[:5])}{'…' if len(names) > 5 else ''}",
        fix=f"finetuning.unfreeze(layer, {tunable[-1].name!r})",
    )
