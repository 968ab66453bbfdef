"""summary(layer): a table of a layer's groups of variables, and what of them is trained."""

import sys
from collections.abc import Callable
from typing import Any

import keras

from keras_hub_layers._src.finetuning.arguments.targets import only_hub_layer
from keras_hub_layers._src.finetuning.groups import Group, groups
from keras_hub_layers._src.public import public

__all__ = ["summary"]


@public("finetuning")
def summary(layer: keras.layers.Layer, print_fn: Callable[[str], Any] | None = None) -> None:
    """Print a layer's groups: their variables, parameters, size in MB (10⁶ bytes), and what of them is trained.

    Args:
        layer: A `HubLayer`, or a model with one.
        print_fn: What is called with the table, one `str`. Defaults to writing it to the standard output.
    """
    layer = only_hub_layer(layer)
    parts = groups(layer)
    total, trained = sum(info.parameters for info in parts), sum(info.trained for info in parts)
    rows = [("group", "variables", "parameters", "MB", "trained")]
    rows += [
        (info.name, f"{len(info.variables)}", f"{info.parameters:,}", _mb(info.size), _share(info)) for info in parts
    ]
    variables, size = sum(len(info.variables) for info in parts), sum(info.size for info in parts)
    rows.append(("total", f"{variables}", f"{total:,}", _mb(size), ""))
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


def _mb(size: int) -> str:
    return f"{size / 1e6:.2f}"


def _share(group: Group) -> str:
    return f"{group.trained:,}" if group.trained else "no"
