"""The variables of a SavedModel in named groups, from the input to the output."""

import math
import re
import sys
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import keras

from keras_hub_layers import _compat, layers, naming, selection
from keras_hub_layers.errors import HubWarning, TrainingError, explain

__all__ = ["Group", "groups", "moving_state", "patterns", "summary", "unfreeze"]

_PRESETS = {  # names of Keras, Flax, Sonnet and PyTorch; LayerScale's gamma and T5's relative biases are neither
    "norms": r"(?i)^(?!.*layer_?scale)(.*[/.])?(gamma|beta)$"
    r"|(^|[/.])([^/.]*norm(alization)?|([^/.]*_)?(bn|ln))_?\d*[/.](scale|offset|bias|weight)$",
    "biases": r"(?i)^(?!.*relative)(.*[/.])?(([^/.]*_)?bias(es)?|beta|offset|b)$",
}
_MOVING = re.compile(r"moving_?(mean|var|avg|average|std)|running_?(mean|var)|ema", re.I)


@dataclass(frozen=True)
class Group:
    """A part of a SavedModel: variables that are frozen and tuned together.

    Attributes:
        name: `"stem"`, `"block_3"`, `"layer_11"`, `"head"`, …; unique in its SavedModel.
        variables: Names of its variables in the SavedModel, in the order in which they are first used.
        tunable: Those of them that may be trained: the published trainable ones.
        parameters: Number of values in all its variables.
        size: The same in bytes.
        trained: Number of values that are trained as the layer is set now.
    """

    name: str
    variables: tuple[str, ...]
    tunable: tuple[str, ...]
    parameters: int
    size: int
    trained: int


def groups(layer: keras.layers.Layer) -> list[Group]:
    """The variables of a layer's SavedModel in named groups, from the input to the output.

    Numbered blocks in the names (`block_1` … `block_16`, `encoder/layer_0` … `layer_11`, `conv2_block1`) are a group
    each; what is used before the first is `"stem"`, or `"embeddings"` where the names say so; what is used after the
    last is `"head"`, or `"pooler"`; what is used between two belongs to the earlier. Where fewer than two blocks are
    numbered, each layer (the name up to its last slash) is a group. The order is that in which the graph uses the
    variables first, and numbers count upwards.

    Args:
        layer: A `HubLayer`, frozen or not, or a model with one.

    Returns:
        A list of `Group`.

    Example:

    ```python
    from keras_hub_layers import finetuning, layers

    layer = layers.HubLayer("https://example.org/models/mobilenet_v2/1")
    [group.name for group in finetuning.groups(layer)]   # ["stem", "block_1", …, "block_16", "head"]
    ```
    """
    layer = _only(layer)
    names = layers.weight_names(layer)
    candidates = {id(weight) for weight in layers.executor_of(layer).candidates}
    found = []
    for label, members in _members(layer).items():
        found.append(
            Group(
                name=label,
                variables=tuple(names[weight.path] for weight in members),
                tunable=tuple(names[weight.path] for weight in members if id(weight) in candidates),
                parameters=sum(math.prod(weight.shape) for weight in members),
                size=sum(_bytes(weight) for weight in members),
                trained=sum(math.prod(weight.shape) for weight in members if layer.trainable and weight.trainable),
            )
        )
    return found


def _members(layer: layers.HubLayer) -> dict[str, list[Any]]:
    """Name of each group -> its weights."""
    names = layers.weight_names(layer)
    function = layers.choice_of(layer).function
    weights = naming.in_order_of_use(layer.weights, function.traces, key=lambda weight: id(weight.value))
    found = naming.partition([names[weight.path] for weight in weights])
    return {label: [weights[place] for place in places] for label, places in found.items()}


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
            explain(
                "It is not said in a known way what to train.",
                expected="a number of groups, a group's name, 'all', 'norms', 'biases', a pattern, or a list of these",
                received=repr(which),
                where=layers.choice_of(layer).where,
                fix="finetuning.unfreeze(layer, 3)",
            )
        )
    if isinstance(which, (list, tuple)):
        return list(dict.fromkeys(pattern for part in which for pattern in patterns(layer, part)))
    found = [group for group in groups(layer) if group.tunable]
    tunable = [name for group in found for name in group.tunable]
    if not found:
        raise TrainingError(
            explain(
                "The SavedModel has no variables that can be trained.",
                expected="a SavedModel with trainable variables",
                received=layer.interface.reason,
                where=layers.choice_of(layer).where,
                fix="finetuning.unfreeze(layer, None)   # it stays frozen",
            )
        )
    if isinstance(which, int):
        if not 1 <= which <= len(found):
            raise TrainingError(
                explain(
                    "There is no such number of groups to unfreeze.",
                    expected=f"1 to {len(found)}: {[group.name for group in found]}",
                    received=f"{which!r}",
                    where=layers.choice_of(layer).where,
                    fix=f"finetuning.unfreeze(layer, {max(1, len(found) // 2)})",
                )
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
                explain(
                    f"The SavedModel has no variables that are {which}.",
                    expected=f"names that match {_PRESETS[which]}",
                    received=f"{tunable[:5]}{'…' if len(tunable) > 5 else ''}",
                    where=layers.choice_of(layer).where,
                    fix=f"finetuning.unfreeze(layer, {found[-1].name if found else 'all'!r})",
                )
            )
        return [_literal(name) for name in chosen]
    selection.matcher(
        [which],
        [*tunable, *(group.name for group in found)],
        layers.choice_of(layer).where,
        lambda unfreeze: f"finetuning.unfreeze(layer, {unfreeze[0]!r})",
    )
    if not any(re.search(which, name) for name in tunable):  # a pattern of groups' names
        return _literals(layer, [group for group in found if re.search(which, group.name)], found)
    return [which]


def unfreeze(layer: keras.layers.Layer, which: Any) -> None:
    """Make some of a layer's variables trainable and freeze the others. Compile the model afterwards.

    While any variable is trained, the whole SavedModel runs in training mode: batch normalization uses the
    statistics of the batch and moves its averages in frozen groups too. `HubLayer(arguments={"training": False})`
    keeps inference mode while weights are tuned.

    Args:
        layer: A `HubLayer`, or a model with one.
        which: What to train, as `patterns` takes it, such as `3` for the last three groups; `None` for nothing.

    Raises:
        errors.TrainingError: Nothing is selected, or the SavedModel cannot be fine-tuned.

    Example:

    ```python
    finetuning.unfreeze(layer, 3)
    model.compile("adam", "mse")
    ```
    """
    layer = _only(layer)
    if which is None:
        layer.trainable = False
        return
    layer.unfreeze = patterns(layer, which)
    layer.trainable = True


def summary(layer: keras.layers.Layer, print_fn: Callable[[str], Any] | None = None) -> None:
    """Print a layer's groups: their variables, parameters, size in MB (10⁶ bytes), and what of them is trained.

    Args:
        layer: A `HubLayer`, or a model with one.
        print_fn: What is called with the table, one `str`. Defaults to writing it to the standard output.
    """
    layer = _only(layer)
    found = groups(layer)
    rows = [("group", "variables", "parameters", "MB", "trained")]
    rows += [(g.name, f"{len(g.variables)}", f"{g.parameters:,}", _mb(g.size), _share(g)) for g in found]
    total, trained = sum(g.parameters for g in found), sum(g.trained for g in found)
    rows.append(("total", f"{sum(len(g.variables) for g in found)}", f"{total:,}", _mb(sum(g.size for g in found)), ""))
    widths = [max(len(row[column]) for row in rows) for column in range(5)]
    lines = [
        "  ".join(
            [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))]
        )
        for row in rows
    ]
    lines.append(f"trained: {trained:,} of {total:,} parameters = {100 * trained / max(total, 1):.2f} %")
    text = "\n".join([f"HubLayer {layer.name!r}", *(line.rstrip() for line in lines)])
    (print_fn or (lambda line: sys.stdout.write(line + "\n")))(text)


def moving_state(layer: layers.HubLayer, group: Group) -> list[str]:
    """Names of a group's averages that training mode moves: those of batch normalization."""
    return [name for name in group.variables if name not in group.tunable and _MOVING.search(name.rsplit("/", 1)[-1])]


def selected(group: Group, chosen: Sequence[str]) -> bool:
    """Whether patterns select anything of a group."""
    return any(re.search(pattern, name) for pattern in chosen for name in group.tunable)


def hub_layers(model: keras.Model) -> list[layers.HubLayer]:
    """Each `HubLayer` in a model, those in nested models too."""
    return [part for part in _compat.flatten_layers(model) if isinstance(part, layers.HubLayer)]


def _only(target: keras.layers.Layer) -> layers.HubLayer:
    """A `HubLayer` as it is, or the only one in a model."""
    if isinstance(target, layers.HubLayer):
        return target
    found = hub_layers(target) if isinstance(target, keras.layers.Layer) else []
    if len(found) == 1:
        return found[0]
    names = [part.name for part in found]
    raise TrainingError(
        explain(
            "It is not said which HubLayer is meant.",
            expected="a HubLayer, or a model with exactly one",
            received=f"a {type(target).__name__} with the HubLayers {names}",
            where="keras_hub_layers.finetuning",
            fix=f"finetuning.summary(model.get_layer({names[0]!r}))" if names else "finetuning.summary(hub_layer)",
        )
    )


def depths(layer: layers.HubLayer) -> dict[str, int]:
    """Path of each weight -> how many groups with something to train stand between it and the output."""
    candidates = {id(weight) for weight in layers.executor_of(layer).candidates}
    found = [members for members in _members(layer).values() if any(id(weight) in candidates for weight in members)]
    return {weight.path: number for number, members in enumerate(reversed(found)) for weight in members}


def _literals(layer: layers.HubLayer, chosen: Sequence[Group], every: Sequence[Group]) -> list[str]:
    """Patterns of groups; with a warning where variables of other groups have the very same names."""
    names = [name for group in chosen for name in group.tunable]
    twins = [group.name for group in every if group not in chosen and set(group.tunable) & set(names)]
    if twins:
        warnings.warn(
            f"{layers.choice_of(layer).where}: variables in the groups {twins} have the same names as those in "
            f"{[group.name for group in chosen]}, so they are trained too.",
            HubWarning,
            stacklevel=3,
        )
    return [_literal(name) for name in names]


def _literal(name: str) -> str:
    return f"^{re.escape(name)}$"


def _bytes(weight: Any) -> int:
    bits = re.search(r"\d+", keras.backend.standardize_dtype(weight.dtype))
    return math.prod(weight.shape) * (1 if bits is None else int(bits.group()) // 8)


def _mb(size: int) -> str:
    return f"{size / 1e6:.2f}"


def _share(group: Group) -> str:
    return f"{group.trained:,}" if group.trained else "no"
