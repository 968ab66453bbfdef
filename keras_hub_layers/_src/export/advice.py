"""What the makers of a Reusable SavedModel are told by the guide, checked on a Keras model before it is exported.

Reference:

- [Creating Reusable SavedModels](https://www.tensorflow.org/hub/reusable_saved_models)
"""

from collections.abc import Iterable, Iterator
from typing import Any

import keras
import tensorflow as tf

from keras_hub_layers._src.compat import models
from keras_hub_layers._src.text import words

__all__ = ["assets", "preprocessing", "warn_of_losses", "warnings_of"]


_L = keras.layers


_PREPROCESSING = (
    (_L.Rescaling, lambda layer: f"values are rescaled: x * {layer.scale} + {layer.offset}"),
    (_L.Normalization, lambda layer: "values are normalized with the mean and variance of the training data"),
    (_L.Resizing, lambda layer: f"images of any size are resized to {layer.height} x {layer.width}"),
    (_L.CenterCrop, lambda layer: f"images are cropped to {layer.height} x {layer.width}"),
    (_L.TextVectorization, lambda layer: "any text: it is split and looked up in a vocabulary inside"),
    (_L.StringLookup, lambda layer: "words are looked up in a vocabulary inside"),
    (_L.IntegerLookup, lambda layer: "integers are looked up in a vocabulary inside"),
    (_L.Hashing, lambda layer: f"values are hashed to {layer.num_bins} bins"),
)


def preprocessing(layer: Any) -> Iterator[str]:
    """What the model does to its inputs itself, in words; the value range that it expects follows from it."""
    for sublayer in reversed(models.flatten_layers(layer)):
        for kind, describe in _PREPROCESSING:
            if isinstance(sublayer, kind):
                yield describe(sublayer)


def warn_of_losses(count: int) -> str:
    """What is said of losses that stay behind."""
    return (
        f"{count} loss(es) depend on inputs (activity_regularizer or add_loss). A Reusable SavedModel publishes only "
        "losses without inputs: whoever fine-tunes the export trains without them."
    )


def warnings_of(layer: Any, trainable: bool | None, frozen: int, count: int) -> Iterator[str]:
    """What consumers of an export will miss or stumble over, in words.

    Args:
        layer: What is exported.
        trainable: As `keras_hub_layers.export` takes it.
        frozen: How many weights could be trained and are frozen.
        count: How many weights could be trained.
    """
    if trainable is None and frozen:
        yield from _warn_of_frozen_weights(layer, frozen, count)
    if trainable is not False:
        yield from _warn_of_quantized_weights(layer)
    decay = getattr(getattr(layer, "optimizer", None), "weight_decay", None)
    if decay:
        yield (
            f"the optimizer's weight_decay={float(decay):g} is no regularization loss and is not part of the export: "
            "others have to set it again when they fine-tune. A kernel_regularizer would be published."
        )
    for end in _ends(layer):
        if isinstance(end, _L.Dropout):
            yield (
                f"the output is that of {type(end).__name__} {end.name!r}: end the export before it. Others choose "
                "the dropout on features when they train."
            )
        elif isinstance(end, _L.Softmax) or getattr(getattr(end, "activation", None), "__name__", "") == "softmax":
            yield (
                f"the output of {end.name!r} is a softmax: logits are better to fine-tune, with "
                "from_logits=True in the loss."
            )


def _warn_of_frozen_weights(layer: Any, frozen: int, count: int) -> Iterator[str]:
    adapted = [sublayer.name for sublayer in models.flatten_layers(layer) if getattr(sublayer, "lora_enabled", False)]
    lora = (
        f" LoRA is on in {words.join_names(adapted)}: of these the export publishes the low-rank weights, and "
        "trainable=True the kernels below them too."
        if adapted
        else ""
    )
    yield (
        f"{frozen} of {count} weights are frozen, and stay frozen in the export: nobody who loads it can train them. "
        'khl.export(model, "directory", trainable=True) publishes all as trainable; trainable=False none, without this '
        f"warning.{lora}"
    )


def _warn_of_quantized_weights(layer: Any) -> Iterator[str]:
    quantized = [
        sublayer.name
        for sublayer in models.flatten_layers(layer)
        if sublayer.dtype_policy.quantization_mode is not None
    ]
    if quantized:
        yield (
            f"the kernels of {words.join_names(quantized)} are quantized, and nobody can train them: trainable=True "
            "does not publish them either. What can be trained are the biases, and LoRA weights. For an export whose "
            "kernels can be trained, export the model before model.quantize()."
        )


def assets(resources: Iterable[Any]) -> Iterator[str]:
    """File names of the assets among some resources."""
    for resource in resources:
        if isinstance(resource, tf.saved_model.Asset):
            yield resource.asset_path.numpy().decode().rpartition("/")[2]


def _ends(model: Any) -> Iterator[Any]:
    """The layers or operations whose outputs are those of a functional model; nested models are followed."""
    graph = models.graph_of(model) if isinstance(model, keras.Model) else None
    if graph is None:
        return
    outputs = {id(tensor) for tensor in graph.outputs}
    for node in models.graph_nodes(graph):
        if any(id(tensor) in outputs for tensor in node.output_tensors) and not node.is_input:
            if models.graph_of(node.operation) is not None:
                yield from _ends(node.operation)
            else:
                yield node.operation
