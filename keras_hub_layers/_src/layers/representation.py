"""How a `HubLayer` shows itself: its `repr`, its table in a notebook, and the groups of its weights."""

import math
from typing import Any

import keras

from keras_hub_layers._src.inspect import code, picture, variable_groups
from keras_hub_layers._src.inspect.specs import spec_of
from keras_hub_layers._src.inspect.table import entries
from keras_hub_layers._src.text import tables
from keras_hub_layers._src.text.tables import Row

__all__ = ["Representation", "picture_of", "weights_of_groups"]


class Representation(keras.layers.Layer):
    """What of a `HubLayer` is for readers."""

    def __repr__(self) -> str:
        if "_executor" not in self.__dict__:  # it is still being made
            return super().__repr__()
        trained = f"trained {len(self.trainable_weights)} of {len(self.weights)} weights"
        return f"<{type(self).__name__} name={self.name}, handle={_handle(self)}, {trained}>"

    def _repr_html_(self) -> str:
        shown = picture_of(self)
        trained, parameters = (sum(getattr(box, name) for box in shown.boxes) for name in ("trained", "parameters"))
        weights = f"{len(self.trainable_weights)} of {len(self.weights)} weights"
        head = (
            Row(type(self).__name__, (self.name,), "label"),
            Row("handle", (_handle(self),), "code"),
            Row("trained", (f"{weights}, {trained:,} of {parameters:,} parameters",)),
        )
        return tables.Table([*head, Row(""), *picture.rows(shown)]).html()


def picture_of(layer: Any) -> picture.Picture:
    """The picture of a `HubLayer`, with what is trained of it now."""
    trained = {id(weight) for weight in layer.trainable_weights}
    boxes = []
    for name, weights in weights_of_groups(layer).items():
        sizes = {id(weight): math.prod(weight.shape) for weight in weights}
        boxes.append(picture.Box(name, sum(sizes.values()), sum(sizes[key] for key in sizes.keys() & trained)))
    traces = layer._choice.function.traces
    return picture.Picture(
        title=f"{layer.name}: {_handle(layer)}",
        inputs=tuple(entries(spec_of(traces[0].inputs))) if traces else (),
        boxes=tuple(boxes),
        outputs=tuple(entries(spec_of(traces[0].outputs))) if traces else (),
        losses=layer.interface.regularization_losses,
    )


def weights_of_groups(layer: Any) -> dict[str, list[Any]]:
    """Name of each group of a `HubLayer`'s weights, from the input to the output -> its weights."""
    traces, name_of = layer._choice.function.traces, layer._executor.name_of
    weights = variable_groups.in_order_of_use(
        layer.weights, traces, key=lambda weight: id(layer._executor.variable_of(weight))
    )
    groups = variable_groups.partition([name_of(weight) for weight in weights])
    return {name: [weights[place] for place in places] for name, places in groups.items()}


def _handle(layer: Any) -> str:
    return code.format_handle(layer.handle)
