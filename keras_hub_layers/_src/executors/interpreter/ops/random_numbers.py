"""Random numbers, which come from the seed of the layer."""

from typing import Any

import keras
import numpy as np

from keras_hub_layers._src.executors.interpreter.ops.control import Context
from keras_hub_layers._src.executors.interpreter.ops.table import Table
from keras_hub_layers._src.executors.interpreter.values import UnsupportedOp, integers

# Ops that draw random numbers here, from the seed of the layer.
RANDOM = frozenset({
    "RandomStandardNormal", "RandomUniform", "StatefulStandardNormalV2", "StatefulUniform", "StatelessRandomNormal",
    "StatelessRandomNormalV2", "StatelessRandomUniform", "StatelessRandomUniformV2", "StatelessTruncatedNormalV2",
    "TruncatedNormal",
})  # fmt: skip

SPECIAL = Table()


@SPECIAL("RngReadAndSkip")
def read_generator(context: Context, inputs: list[Any]) -> tuple[Any, ...]:
    """The numbers come from the layer's own seed. So the state of TensorFlow's generator is not needed."""
    return (np.zeros([3], "int64"),)


@SPECIAL("StatelessRandomGetAlg")
def random_algorithm(context: Context, inputs: list[Any]) -> tuple[Any, ...]:
    return (np.array(1, "int32"),)


@SPECIAL("StatelessRandomGetKeyCounter")
def random_key(context: Context, inputs: list[Any]) -> tuple[Any, ...]:
    return (np.zeros([1], "uint64"), np.zeros([2], "uint64"))


@SPECIAL("RandomUniform", "StatelessRandomUniform", "StatelessRandomUniformV2")
def uniform(context: Context, inputs: list[Any]) -> tuple[Any, ...]:
    return (keras.random.uniform(integers(inputs[0]), dtype=context.node["dtype"], seed=context.state.seed),)


@SPECIAL("StatefulUniform")
def uniform_of_generator(context: Context, inputs: list[Any]) -> tuple[Any, ...]:
    return (keras.random.uniform(integers(inputs[2]), dtype=context.node["dtype"], seed=context.state.seed),)


@SPECIAL("RandomStandardNormal", "StatelessRandomNormal", "StatelessRandomNormalV2")
def normal(context: Context, inputs: list[Any]) -> tuple[Any, ...]:
    return (keras.random.normal(integers(inputs[0]), dtype=context.node["dtype"], seed=context.state.seed),)


@SPECIAL("StatefulStandardNormalV2")
def normal_of_generator(context: Context, inputs: list[Any]) -> tuple[Any, ...]:
    return (keras.random.normal(integers(inputs[2]), dtype=context.node["dtype"], seed=context.state.seed),)


@SPECIAL("TruncatedNormal", "StatelessTruncatedNormalV2")
def truncated_normal(context: Context, inputs: list[Any]) -> tuple[Any, ...]:
    return (keras.random.truncated_normal(integers(inputs[0]), dtype=context.node["dtype"], seed=context.state.seed),)


@SPECIAL(
    "Multinomial", "RandomGamma", "RandomShuffle", "RandomUniformInt", "StatefulUniformInt", "StatelessMultinomial",
    "StatelessRandomUniformIntV2",
)  # fmt: skip
def other_numbers(context: Context, inputs: list[Any]) -> tuple[Any, ...]:
    """Random ops are not computed on the host, because the host would draw the same numbers in each step."""
    raise UnsupportedOp(f"the op {context.node.op}")
