"""A trial of XLA: compile and run what a layer computes, forward and backward, with made-up inputs.

Run it in a process of its own: XLA ends the process for some graphs.
"""

from collections.abc import Callable, Iterator
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_hub_layers._src import sample_inputs
from keras_hub_layers._src.compat import tensorflow
from keras_hub_layers._src.inspect.specs import spec_of

# How far outputs may be from those without XLA, in parts of the largest: XLA sums in another order.
_TOLERANCE, _TOLERANCE_OF_HALF = 1e-3, 5e-2


def environment() -> list[str]:
    """What a verdict depends on besides the graph: the version of TensorFlow and the kinds of devices."""
    kinds = {device.device_type for device in tf.config.list_physical_devices()}
    return [tensorflow.installed_version(), *sorted(kinds)]


def has_replicas(executor: Any) -> bool:
    """Whether a distribution strategy has several copies of what an executor computes."""
    return executor._strategy.num_replicas_in_sync > 1


def try_out(layer: Any, executor: Any, say: Callable[[str], None]) -> None:
    """Take steps with XLA as a model in training does.

    Args:
        layer: The layer. While it is frozen, it runs in inference mode only.
        executor: The executor of the layer.
        say: Called with what is done next, in words.

    Raises:
        ValueError: The outputs in inference mode differ from those without XLA.
        Exception: Whatever TensorFlow raises because it cannot compile a step.
    """
    optimizer = keras.optimizers.Adam(1e-3)
    optimizer.build(layer.trainable_variables)
    for training in (False, True) if layer.trainable else (False,):
        mode = "training" if training else "inference"
        for inputs in _sample_inputs(executor, training):
            if not training:
                say(f"the forward pass in {mode} mode")
                compiled = tf.function(layer, jit_compile=True, autograph=False)
                _compare(layer(inputs, training=False), compiled(inputs, training=False))
            say(f"the gradients in {mode} mode")
            step = _gradient_step(layer, optimizer if training else None)
            compiled = tf.function(step, jit_compile=True, autograph=False)
            compiled(inputs)


def _gradient_step(layer: Any, optimizer: Any | None) -> Callable[[Any], Any]:
    """A function that computes the gradients for the inputs and, given an optimizer, trains the weights."""

    def step(inputs: Any) -> Any:
        leaves = [leaf for leaf in tf.nest.flatten(inputs) if leaf.dtype.is_floating]
        with tf.GradientTape() as tape:
            tape.watch(leaves)
            outputs = tf.nest.flatten(layer(inputs, training=optimizer is not None))
            losses = [*(output for output in outputs if output.dtype.is_floating), *layer.losses]
            total = sum((tf.reduce_sum(tf.cast(loss, tf.float32)) for loss in losses), tf.zeros(()))
        weights = layer.trainable_variables if optimizer is not None else []
        gradients = tape.gradient(total, [*leaves, *(weight.value for weight in weights)])
        pairs = zip(gradients[len(leaves) :], weights, strict=True)
        reached = [(gradient, weight) for gradient, weight in pairs if gradient is not None]
        if optimizer is not None and reached:
            optimizer.apply(*zip(*reached, strict=True))
        return [gradient for gradient in gradients[: len(leaves)] if gradient is not None]

    return step


def _sample_inputs(executor: Any, training: bool) -> Iterator[Any]:
    """Made-up inputs of each trace for a mode."""
    _, accepting = executor._mode(training)
    for number in accepting:
        yield sample_inputs.made_up(tf.nest.map_structure(spec_of, executor._traces[number].inputs))


def _compare(plain: Any, compiled: Any) -> None:
    for expected, received in zip(tf.nest.flatten(plain), tf.nest.flatten(compiled), strict=True):
        if not expected.dtype.is_floating:
            continue
        tolerance = _TOLERANCE if expected.dtype.size > 2 else _TOLERANCE_OF_HALF
        wanted, got = (tf.cast(tensor, tf.float64).numpy() for tensor in (expected, received))
        largest = np.max(np.abs(wanted), initial=0.0, where=np.isfinite(wanted))
        if not np.allclose(got, wanted, rtol=tolerance, atol=tolerance * largest, equal_nan=True):
            raise ValueError(f"with XLA an output differs by up to {np.nanmax(np.abs(got - wanted)):g}")
