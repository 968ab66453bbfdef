"""plot_groups(layer): a SavedModel from its inputs to its outputs, with what of it is trained."""

import os
from typing import Any

from keras_hub_layers._src.finetuning.arguments.targets import only_hub_layer
from keras_hub_layers._src.inspect import inspect, interface, picture
from keras_hub_layers._src.layers.representation import picture_of
from keras_hub_layers._src.plots.axes import new_axes
from keras_hub_layers._src.plots.group_boxes import draw_boxes, height_of
from keras_hub_layers._src.public import public

__all__ = ["plot_groups"]


@public("finetuning")
def plot_groups(target: Any, *, ax: Any = None, as_text: bool = False) -> Any:
    """Draw what is inside a SavedModel: inputs, groups of variables, outputs, and how many losses it publishes.

    The width of each group is the number of values in its variables. Its colour says what of it is trained now; of a
    SavedModel that is no layer yet, what can be trained. `keras.utils.plot_model` shows a `HubLayer` as one box.

    Args:
        target: A `HubLayer`, or a model with one; or an `Interface`, or a handle.
        ax: Axes of matplotlib. Defaults to `None`: those of a new figure.
        as_text: Whether to return a table for reading instead, which needs no matplotlib. Defaults to `False`.

    Returns:
        The `matplotlib.axes.Axes`: `ax.figure.savefig("groups.png")`. With `as_text=True`, a `str`.

    Raises:
        errors.MissingPackageError: matplotlib is not installed.
        errors.TrainingError: It is neither, or a model with several HubLayers.

    Example:

    ```python
    from keras_hub_layers import finetuning, layers

    layer = layers.HubLayer("path/to/saved_model", trainable=True)
    finetuning.plot_groups(layer)
    ```
    """
    if isinstance(target, (str, os.PathLike)):
        target = inspect.inspect(target)
    if isinstance(target, interface.Interface):
        shown = picture.of_interface(target)
    else:
        shown = picture_of(only_hub_layer(target, "finetuning.plot_groups({})"))
    if as_text:
        return str(picture.text(shown))
    (drawn,) = new_axes(1, ax, size=(6.4, height_of(shown)))
    draw_boxes(drawn, shown)
    return drawn
