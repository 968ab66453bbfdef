"""summary(layer): a table of a layer's groups of variables, and what of them is trained."""

import sys
from collections.abc import Callable
from typing import Any

import keras

from keras_hub_layers._src.finetuning.arguments.targets import only_hub_layer
from keras_hub_layers._src.finetuning.groups import groups
from keras_hub_layers._src.public import public
from keras_hub_layers._src.text.notebooks import display, in_notebook

__all__ = ["summary"]


@public("finetuning")
def summary(layer: keras.layers.Layer, print_fn: Callable[[str], Any] | None = None) -> None:
    """Print a layer's groups: their variables, parameters, size in MB (10⁶ bytes), and what of them is trained.

    Args:
        layer: A `HubLayer`, or a model with one.
        print_fn: What is called with the table, one `str`. Defaults to `None`: it is written to the standard output, or
            shown in colours by a notebook.
    """
    layer = only_hub_layer(layer)
    parts, title = groups(layer), f"HubLayer {layer.name!r}"
    text = "\n".join([title, *parts.lines()])
    if print_fn is not None:
        print_fn(text)
    elif in_notebook():
        display({"text/plain": text, "text/html": parts.table(title).html()})
    else:
        sys.stdout.write(text + "\n")
