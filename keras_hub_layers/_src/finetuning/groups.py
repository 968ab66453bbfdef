"""groups(layer): the variables of a SavedModel in named groups, from the input to the output."""

import re
from dataclasses import dataclass

import keras

from keras_hub_layers._src.finetuning.arguments.targets import only_hub_layer
from keras_hub_layers._src.inspect.records import VariableInfo
from keras_hub_layers._src.inspect.variable_infos import group_fields
from keras_hub_layers._src.layers import access, hub_layer
from keras_hub_layers._src.layers.representation import weights_of_groups
from keras_hub_layers._src.public import public
from keras_hub_layers._src.text import tables
from keras_hub_layers._src.text.tables import Row

__all__ = ["Group", "groups", "moving_averages", "steps_from_output"]


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


class Groups(list[Group]):
    """A list of groups, which a notebook shows as a table."""

    def lines(self) -> list[str]:
        """The table: a line for each group, between a head and two lines with the sums."""
        total, trained = sum(group.parameters for group in self), sum(group.trained for group in self)
        rows = [("group", "variables", "parameters", "MB", "trained")]
        for group in self:
            share = f"{group.trained:,}" if group.trained else "no"
            rows.append((group.name, f"{len(group.variables)}", f"{group.parameters:,}", _megabytes(group.size), share))
        variables, size = sum(len(group.variables) for group in self), sum(group.size for group in self)
        rows.append(("total", f"{variables}", f"{total:,}", _megabytes(size), ""))
        share = 100 * trained / max(total, 1)
        return [*tables.align_columns(rows), f"trained: {trained:,} of {total:,} parameters = {share:.2f} %"]

    def table(self, *head: str) -> tables.Table:
        """The same with colours, below further lines."""
        first, *lines = self.lines()
        styles = ["good" if group.trained else "" for group in self]
        rows = [Row("", (line,), style) for line, style in zip(lines, [*styles, "", ""], strict=True)]
        return tables.Table([*(Row("", (line,), "label") for line in (*head, first)), *rows])

    def _repr_html_(self) -> str:
        return self.table().html()


@public("finetuning")
def groups(layer: keras.layers.Layer) -> "Groups":
    """The variables of a layer's SavedModel in named groups, from the input to the output.

    Each numbered block in the names is a group: `block_1` … `block_16`, `encoder/layer_0` … `layer_11`, `conv2_block1`.
    Variables that are used before the first block are the group `"stem"`, or `"embeddings"` if their names say so.
    Variables that are used after the last block are `"head"`, or `"pooler"`. Variables between two blocks belong to the
    earlier one. If fewer than two blocks are numbered, each layer (the name up to its last slash) is a group. The
    groups are in the order in which the graph first uses their variables, and numbers count upwards.

    Args:
        layer: A `HubLayer`, frozen or not, or a model with one.

    Returns:
        A list of `Group`, which a notebook shows as a table.

    Example:

    ```python
    from keras_hub_layers import finetuning, layers

    layer = layers.HubLayer("https://example.org/models/mobilenet_v2/1")
    [group.name for group in finetuning.groups(layer)]   # ["stem", "block_1", …, "block_16", "head"]
    ```
    """
    layer = only_hub_layer(layer, "finetuning.groups({})")
    names = access.weight_names(layer)
    candidates = {id(weight) for weight in access.trainable_candidates(layer)}
    trained = {id(weight) for weight in layer.trainable_weights}
    infos = {
        id(weight): VariableInfo(
            name=names[weight.path],
            shape=tuple(weight.shape),
            dtype=keras.backend.standardize_dtype(weight.dtype),
            trainable=id(weight) in candidates,
            published=True,
        )
        for weight in layer.weights
    }
    return Groups(
        Group(
            **group_fields(name, [infos[id(weight)] for weight in weights]),
            trained=sum(infos[id(weight)].parameters for weight in weights if id(weight) in trained),
        )
        for name, weights in weights_of_groups(layer).items()
    )


def _megabytes(size: int) -> str:
    return f"{size / 1e6:.2f}"


def moving_averages(layer: hub_layer.HubLayer, group: Group) -> list[str]:
    """Names of a group's averages that training mode moves: those of batch normalization."""
    return [name for name in group.variables if name not in group.tunable and _MOVING.search(name.rsplit("/", 1)[-1])]


def steps_from_output(layer: hub_layer.HubLayer) -> dict[str, int]:
    """Path of each weight -> how many groups with something to train stand between it and the output."""
    candidates = {id(weight) for weight in access.trainable_candidates(layer)}
    tunable = [
        weights for weights in weights_of_groups(layer).values() if any(id(weight) in candidates for weight in weights)
    ]
    return {weight.path: steps for steps, weights in enumerate(reversed(tunable)) for weight in weights}
