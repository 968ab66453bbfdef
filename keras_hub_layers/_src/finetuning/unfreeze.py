"""unfreeze(layer, which): make some of a layer's variables trainable, and freeze the others."""

from typing import Any

import keras

from keras_hub_layers._src.finetuning import patterns
from keras_hub_layers._src.finetuning.arguments.targets import only_hub_layer
from keras_hub_layers._src.layers import access
from keras_hub_layers._src.public import public

__all__ = ["unfreeze"]


@public("finetuning")
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
    layer = only_hub_layer(layer, f"finetuning.unfreeze({{}}, {which!r})")
    if which is None:
        access.freeze(layer)
        return
    selection = patterns.select(layer, which)
    access.train_only(layer, selection.names, selection.patterns)
    layer.trainable = True
