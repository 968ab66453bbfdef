"""Private names of Keras around layers inside models, each with its versions, its reason and a test."""

import contextlib
import re
from collections.abc import Iterator
from typing import Any

import keras
from keras.src.random import seed_generator
from keras.src.utils import naming

from keras_hub_layers._src.compat import tensorflow

# -- exporting -------------------------------------------------------------------------------------------------------


def flatten_layers(layer: keras.layers.Layer) -> list[keras.layers.Layer]:
    """A layer and every layer inside it, at any depth, each once.

    Keras 3.8 to 3.15: `_flatten_layers`. `Model.layers` is public, and neither goes deeper nor exists on layers.
    """
    return list(layer._flatten_layers())


def added_losses(layer: keras.layers.Layer) -> list[Any]:
    """The losses that depend on inputs: those of `add_loss` and of activity regularizers in the last call.

    Keras 3.8 to 3.15: `Layer.losses` mixes them with the regularizers of the weights.
    """
    return [loss for sublayer in flatten_layers(layer) for loss in keras.layers.Layer._get_own_losses(sublayer)]


def clear_losses(layer: keras.layers.Layer) -> None:
    """Forget the losses that a trace left in a layer: tensors of a graph that has ended.

    Keras 3.8 to 3.15: only `Layer.__call__` in eager mode and the trainer clear them, by this name.
    """
    layer._clear_losses()


def make_global_seed_generator() -> None:
    """Create the variable behind `keras.random` without `seed=`, which cannot be created inside a trace.

    Keras 3.8 to 3.15: it is made by the first draw. Drawing a number would make it too, and would change the
    numbers that training draws next.
    """
    seed_generator.global_seed_generator()


def graph_of(model: Any) -> Any:
    """The functional graph of a model, itself a model: of a `Sequential` the one inside it; `None` if there is none.

    Keras 3.8 to 3.15: `Sequential._functional` and `Functional._nodes_by_depth`. No public name tells the layers'
    applications in this model from those in others: `Layer.output` is the first one anywhere.
    """
    functional = getattr(model, "_functional", None) if isinstance(model, keras.Sequential) else model
    return functional if hasattr(functional, "_nodes_by_depth") else None


def graph_nodes(model: Any) -> list[Any]:
    """The applications of layers and operations in a functional graph (`graph_of`), from the inputs to the outputs.

    Keras 3.8 to 3.15: each has `operation`, `arguments` (`args`, `kwargs`), `output_tensors` and `is_input`.
    """
    return [node for depth in sorted(model._nodes_by_depth, reverse=True) for node in model._nodes_by_depth[depth]]


def has_counted_name(operation: Any) -> bool:
    """Whether a layer or operation has a name that Keras made: that of its class with a number, such as `dense_17`.

    Keras 3.8 to 3.15: `naming.auto_name` counts through the process, so the next build has another number. Nothing
    marks such a name, so one that a user chose in the same form is taken for it.
    """
    name = naming.to_snake_case(type(operation).__name__)
    return re.fullmatch(rf"{re.escape(name)}(_\d+)?", operation.name) is not None or is_counted_input(operation.name)


def is_counted_input(name: str) -> bool:
    """Whether a symbolic input has a name that Keras made.

    Keras 3.8 to 3.15: `KerasTensor` and `InputLayer` count theirs, and `clone_model` adds a word.
    """
    return re.fullmatch(r"(keras_tensor|input_layer)(_\d+)?(CLONE)?", name) is not None


def weights_made_trainable(layer: keras.layers.Layer) -> list[keras.Variable]:
    """The weights of a layer itself, not of those inside it, that were made to be trained, whether or not they are now.

    Keras 3.8 to 3.15: `Layer._trainable_variables` keeps them apart from state such as moving averages. LoRA freezes
    a kernel by the kernel's own flag, and `layer.trainable = True` does nothing where it is true already.
    """
    return list(layer._trainable_variables)


@contextlib.contextmanager
def names_for_scopes(layer: keras.layers.Layer) -> Iterator[None]:
    """Have layers whose names TensorFlow refuses in a graph, such as `a b`, under other names, within this block.

    Keras 3.8 to 3.15: `Layer.__call__` opens a scope of the layer's name, so such a model can be called and not traced.
    """
    renamed = []
    try:
        for inner in flatten_layers(layer):
            name = tensorflow.name_for_graph(inner.name)
            if name != inner.name:
                renamed.append((inner, inner.name))
                inner.name = name
        yield
    finally:
        for inner, name in renamed:
            inner.name = name


def strategy_scope(model: Any) -> contextlib.AbstractContextManager[Any]:
    """The scope of a model's distribution strategy, in which what belongs to its variables must be created.

    Keras 3.8 to 3.15: `distribute_strategy` is public, and there on the TensorFlow backend only.
    """
    strategy = getattr(model, "distribute_strategy", None)
    return contextlib.nullcontext() if strategy is None else strategy.scope()
