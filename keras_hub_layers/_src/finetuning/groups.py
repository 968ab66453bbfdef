"""The variables of a SavedModel in named groups, from the input to the output."""

import math
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import keras

from keras_hub_layers._src.inspect import variable_groups
from keras_hub_layers._src.layers import access, hub_layer
from keras_hub_layers._src.public import public
from keras_hub_layers.errors import TrainingError

__all__ = ["Group", "groups", "moving_state", "summary"]


_MOVING = re.compile(r"moving_?(mean|var|avg|average|std)|running_?(mean|var)|ema", re.I)


@public("finetuning")
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


@public("finetuning")
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
    names = access.weight_names(layer)
    candidates = {id(weight) for weight in access.trainable_candidates(layer)}
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


def _members(layer: hub_layer.HubLayer) -> dict[str, list[Any]]:
    """Name of each group -> its weights."""
    names = access.weight_names(layer)
    weights = variable_groups.in_order_of_use(
        layer.weights, access.function(layer).traces, key=lambda weight: id(weight.value)
    )
    found = variable_groups.partition([names[weight.path] for weight in weights])
    return {label: [weights[place] for place in places] for label, places in found.items()}


@public("finetuning")
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


def moving_state(layer: hub_layer.HubLayer, group: Group) -> list[str]:
    """Names of a group's averages that training mode moves: those of batch normalization."""
    return [name for name in group.variables if name not in group.tunable and _MOVING.search(name.rsplit("/", 1)[-1])]


def _only(target: keras.layers.Layer) -> hub_layer.HubLayer:
    """A `HubLayer` as it is, or the only one in a model."""
    if isinstance(target, hub_layer.HubLayer):
        return target
    found = access.hub_layers(target) if isinstance(target, keras.layers.Layer) else []
    if len(found) == 1:
        return found[0]
    names = [part.name for part in found]
    raise TrainingError(
        "It is not said which HubLayer is meant.",
        expected="a HubLayer, or a model with exactly one",
        received=f"a {type(target).__name__} with the HubLayers {names}",
        where="keras_hub_layers.finetuning",
        fix=f"finetuning.summary(model.get_layer({names[0]!r}))" if names else "finetuning.summary(hub_layer)",
    )


def depths(layer: hub_layer.HubLayer) -> dict[str, int]:
    """Path of each weight -> how many groups with something to train stand between it and the output."""
    candidates = {id(weight) for weight in access.trainable_candidates(layer)}
    found = [members for members in _members(layer).values() if any(id(weight) in candidates for weight in members)]
    return {weight.path: number for number, members in enumerate(reversed(found)) for weight in members}


def _bytes(weight: Any) -> int:
    bits = re.search(r"\d+", keras.backend.standardize_dtype(weight.dtype))
    return math.prod(weight.shape) * (1 if bits is None else int(bits.group()) // 8)


def _mb(size: int) -> str:
    return f"{size / 1e6:.2f}"


def _share(group: Group) -> str:
    return f"{group.trained:,}" if group.trained else "no"
