"""device_stage(): the part of a layer that begins with its first variable, as a layer that trains."""

import inspect
from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from keras_hub_layers._src.distribution.host_stage import HostStage, Stages, stages_of
from keras_hub_layers._src.layers import access
from keras_hub_layers._src.layers.hub_layer import HubLayer
from keras_hub_layers._src.public import public
from keras_hub_layers._src.savedmodel.graphs.parts import run_graph
from keras_hub_layers.errors import DistributionError

__all__ = ["device_stage"]


@public("distribution")
def device_stage(layer: keras.layers.Layer) -> keras.layers.Layer:
    """The part of a `HubLayer` that begins with its first variable, as a layer after the host stage.

    It shares the weights of the layer. If you train one of them, you train the other too. Both have the same selection
    of variables, the same losses and the same modes. Use only one of the two in a model, and export the layer:
    `khl.export(layer, directory)`.

    Args:
        layer: A `HubLayer` with variables, frozen or trainable.

    Returns:
        A `HubLayer`. It is made from an object in this process, so it has no config.

    Raises:
        errors.InterfaceError: As `distribution.host_stage`.

    Example:

    ```python
    from keras_hub_layers import distribution, layers

    layer = layers.HubLayer("path/to/saved_model", trainable=True)
    host, device = distribution.host_stage(layer), distribution.device_stage(layer)
    outputs = device(host(x))   # those of layer(x)
    ```
    """
    root = _root(layer, stages_of(layer))
    name, unfreeze = f"{layer.name}_device", getattr(layer, "unfreeze", None)
    stage = HubLayer(root, trainable=layer.trainable, unfreeze=unfreeze if layer.trainable else None, name=name)
    if not layer.trainable and unfreeze is not None:
        stage.unfreeze = unfreeze
    return stage


def _root(layer: Any, stages: Stages) -> Any:
    """An object with the Reusable SavedModel interface that computes the second part of a layer."""
    root = tf.train.Checkpoint()
    root.variables = [access.variable_of(layer, weight) for weight in access.weights(layer)]
    root.trainable_variables = [access.variable_of(layer, weight) for weight in access.trainable_candidates(layer)]
    root.regularization_losses = access.loss_functions(layer)

    def run(inputs: Any, training: bool) -> Any:
        split = stages.splits[training]
        parts = [inputs[f"part_{number}"] for number in range(len(stages.passed))]
        if not stages.has_rows:
            sizes = tf.stack([tf.shape(part, tf.int64)[0] for part in parts])
            check = tf.debugging.assert_equal(sizes, inputs["sizes"], str(_split_error()))
            with tf.control_dependencies([check]):
                parts = [tf.identity(part) for part in parts]
        shaped = [
            tf.shape(part, spec.dtype)[0] if number in stages.lengths else _as_before(part, shape)
            for number, (part, shape, spec) in enumerate(zip(parts, stages.shapes, stages.specs, strict=True))
        ]
        given = dict(zip(stages.passed, shaped, strict=True))
        feeds: dict[str, Any] = {name: given[how] for name, how in split.passed.items()}
        for name, variable in split.variables.items():
            variable.read_value()  # so TensorFlow knows that the function uses it, and computes its gradient
            feeds[name] = variable.handle
        leaves = run_graph(split.device, {**feeds, **split.captures}, split.outputs)
        return tf.nest.pack_sequence_as(split.structure, leaves, expand_composites=True)

    traced = tf.function(run, autograph=False, reduce_retracing=True)

    def call(inputs: Any, training: bool = False) -> Any:
        named = inputs if isinstance(inputs, dict) else {"part_0": inputs}
        if "sizes" in named and named["sizes"].shape[0] not in (None, len(stages.passed)):
            raise _split_error()  # here, because a function for any shape cannot notice it
        return traced(named, bool(training) and True in stages.splits)

    root.__call__ = call if keras.backend.backend() == "tensorflow" else _Traced(layer, call, stages)
    return root


class _Traced:
    """The function of a device stage with a trace for each mode, for backends that compute the graphs of traces."""

    def __init__(self, layer: Any, call: Callable[..., Any], stages: Stages) -> None:
        self.shared_weights = {id(access.variable_of(layer, weight)): weight for weight in access.weights(layer)}
        has_modes = True in stages.splits
        self._traced = tf.function(call if has_modes else lambda inputs: call(inputs), autograph=False)
        self.__signature__ = inspect.signature(self._traced.python_function)
        spec, modes = HostStage(stages).specs, [(mode,) for mode in stages.splits] if has_modes else [()]
        self.concrete_functions = [self._traced.get_concrete_function(spec, *mode) for mode in modes]

    def __call__(self, inputs: Any, **mode: Any) -> Any:
        return self._traced(inputs, **mode)


def _as_before(part: Any, shape: tf.TensorShape) -> Any:
    """A tensor in the shape that it had on the host, where it may have been a scalar."""
    if shape.rank is None:
        return part
    return tf.reshape(part, []) if shape.rank == 0 else tf.ensure_shape(part, shape)


def _split_error() -> DistributionError:
    return DistributionError(
        "The batch was split after the host stage, but the host stage does not give a row for each example.",
        expected="batches that are made for each replica",
        received="a part of a batch",
        fix="dataset = strategy.distribute_datasets_from_function(lambda context: make_dataset())",
    )
