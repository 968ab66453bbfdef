"""Ops on each element: arithmetic, comparison, rounding, activations, casts.

Reference: https://www.tensorflow.org/api_docs/python/tf/raw_ops
"""

import importlib
from collections.abc import Callable
from typing import Any

import keras

from keras_hub_layers._src.executors.interpreter.ops.table import Table
from keras_hub_layers._src.executors.interpreter.values import dtype_of, precise, tensor

ops: Any = keras.ops  # the hints of some functions say that they may return nothing

OPS = Table()

_UNARY: dict[str, Callable[[Any], Any]] = {
    "Elu": ops.elu, "Erf": ops.erf, "Erfinv": ops.erfinv, "Exp": ops.exp,
    "Expm1": ops.expm1, "Inv": ops.reciprocal, "Invert": ops.bitwise_invert,
    "IsFinite": ops.isfinite, "IsInf": ops.isinf, "IsNan": ops.isnan, "Log": ops.log, "Log1p": ops.log1p,
    "LogicalNot": ops.logical_not, "Neg": ops.negative, "OnesLike": ops.ones_like, "Reciprocal": ops.reciprocal,
    "Relu": ops.relu, "Relu6": ops.relu6, "Rint": ops.round, "Round": ops.round, "Rsqrt": ops.rsqrt,
    "Sigmoid": ops.sigmoid, "Softsign": ops.softsign, "Sqrt": ops.sqrt, "Square": ops.square,
    "StopGradient": ops.stop_gradient, "ZerosLike": ops.zeros_like,
    "Softmax": lambda x: ops.softmax(x, axis=-1), "LogSoftmax": lambda x: ops.log_softmax(x, axis=-1),
    "L2Loss": lambda x: ops.sum(ops.square(x)) / 2,
}  # fmt: skip

_PRECISE = {
    "Acos": "arccos", "Acosh": "arccosh", "Asin": "arcsin", "Asinh": "arcsinh", "Atan": "arctan", "Atanh": "arctanh",
    "Ceil": "ceil", "Cos": "cos", "Cosh": "cosh", "Floor": "floor", "Sin": "sin", "Sinh": "sinh", "Tan": "tan",
    "Tanh": "tanh",
}  # fmt: skip

_BINARY: dict[str, Callable[[Any, Any], Any]] = {
    "BitwiseAnd": ops.bitwise_and, "BitwiseOr": ops.bitwise_or,
    "BitwiseXor": ops.bitwise_xor, "Equal": ops.equal, "FloorMod": ops.mod,
    "Greater": ops.greater, "GreaterEqual": ops.greater_equal, "LeftShift": ops.bitwise_left_shift,
    "Less": ops.less, "LessEqual": ops.less_equal, "LogicalAnd": ops.logical_and, "LogicalOr": ops.logical_or,
    "Mul": ops.multiply, "NotEqual": ops.not_equal, "Pow": ops.power,
    "RealDiv": ops.true_divide, "RightShift": ops.bitwise_right_shift, "Sub": ops.subtract,
    "SquaredDifference": lambda a, b: ops.square(ops.subtract(a, b)),
}  # fmt: skip


def _unary(function: Callable[[Any], Any]) -> Callable[..., Any]:
    return lambda node, x: function(x)


def _binary(function: Callable[[Any, Any], Any]) -> Callable[..., Any]:
    return lambda node, a, b: function(tensor(a), tensor(b))


def _precise(function: str) -> Callable[..., Any]:
    return lambda node, x: precise(function, x)(x)


OPS.update({name: _unary(function) for name, function in _UNARY.items()})
OPS.update({name: _precise(function) for name, function in _PRECISE.items()})
OPS.update({name: _binary(function) for name, function in _BINARY.items()})


@OPS("Abs")
def absolute(node: Any, x: Any) -> Any:
    """The gradient of zero is zero, but that of `keras.ops.abs` on JAX is 1 (JAX 0.10)."""
    return x * ops.sign(x) if keras.backend.backend() == "jax" and "float" in dtype_of(x) else ops.abs(x)


@OPS("Sign")
def sign(node: Any, x: Any) -> Any:
    """That of NaN is NaN, but zero on PyTorch."""
    if keras.backend.backend() == "torch" and "float" in dtype_of(x):
        return ops.where(ops.isnan(x), x, ops.sign(x))
    return ops.sign(x)


@OPS("Erfc")
def erfc(node: Any, x: Any) -> Any:
    """The small numbers far from zero, which 1 - erf(x) loses."""
    module = {"jax": "jax.scipy.special", "torch": "torch"}.get(keras.backend.backend(), "tensorflow.math")
    return importlib.import_module(module).erfc(x)


@OPS("Softplus")
def softplus(node: Any, x: Any) -> Any:
    """From 20 on, PyTorch takes it for x itself by default, which float64 tells apart."""
    if keras.backend.backend() == "torch":
        return importlib.import_module("torch").nn.functional.softplus(x, threshold=40)
    return ops.softplus(x)


@OPS("Selu")
def selu(node: Any, x: Any) -> Any:
    """The gradient of zero is that of positive numbers, but that of `keras.ops.selu` is the other one."""
    return ops.where(ops.less(x, 0), ops.selu(x), 1.0507009873554805 * x)


@OPS("Maximum")
def maximum(node: Any, a: Any, b: Any) -> Any:
    """The gradient of equal numbers is that of the first one. JAX and PyTorch give each a half."""
    a, b = tensor(a), tensor(b)
    return _first_if(ops.greater_equal, a, b) if _halves(a) else ops.maximum(a, b)


@OPS("Minimum")
def minimum(node: Any, a: Any, b: Any) -> Any:
    """As `maximum`."""
    a, b = tensor(a), tensor(b)
    return _first_if(ops.less_equal, a, b) if _halves(a) else ops.minimum(a, b)


def _halves(x: Any) -> bool:
    return keras.backend.backend() != "tensorflow" and "float" in dtype_of(x)


def _first_if(holds: Callable[[Any, Any], Any], a: Any, b: Any) -> Any:
    """The first number where it holds, else the second; NaN if one of them is."""
    return ops.where(ops.logical_or(holds(a, b), ops.isnan(a)), a, b)


@OPS("Atan2")
def atan2(node: Any, y: Any, x: Any) -> Any:
    y, x = tensor(y), tensor(x)
    return precise("arctan2", y)(y, x)


@OPS("DivNoNan")
def divide_no_nan(node: Any, a: Any, b: Any) -> Any:
    """The quotient. It is zero where the divisor is zero."""
    a, b = tensor(a), tensor(b)
    is_zero = ops.equal(b, 0)
    quotient = ops.true_divide(a, ops.where(is_zero, ops.ones_like(b), b))
    return ops.where(is_zero, ops.zeros_like(quotient), quotient)


@OPS("FloorDiv")
def floor_divide(node: Any, a: Any, b: Any) -> Any:
    """Of floats, by division and `floor`: PyTorch has no gradient of `floor_divide`, not even a zero one."""
    a, b = tensor(a), tensor(b)
    return ops.floor_divide(a, b) if "int" in dtype_of(a) else _floor(ops.true_divide(a, b))


def _floor(x: Any) -> Any:
    return precise("floor", x)(x)


@OPS("Div")
def divide(node: Any, a: Any, b: Any) -> Any:
    """The quotient. That of integers is rounded towards zero."""
    a, b = tensor(a), tensor(b)
    return truncate_divide(node, a, b) if "int" in dtype_of(a) else ops.true_divide(a, b)


@OPS("TruncateDiv")
def truncate_divide(node: Any, a: Any, b: Any) -> Any:
    a, b = tensor(a), tensor(b)
    return ops.cast(ops.sign(a) * ops.sign(b) * ops.floor_divide(ops.abs(a), ops.abs(b)), dtype_of(a))


@OPS("TruncateMod", "Mod")
def truncate_mod(node: Any, a: Any, b: Any) -> Any:
    a, b = tensor(a), tensor(b)
    return a - truncate_divide(node, a, b) * b


@OPS("MulNoNan")
def multiply_no_nan(node: Any, x: Any, y: Any) -> Any:
    """The product. It is zero where y is zero, also if x is infinite or NaN there. The gradient of y is x."""
    x, y = tensor(x), tensor(y)
    is_lost = ops.logical_and(ops.equal(y, 0), ops.logical_not(ops.isfinite(x)))
    return ops.where(is_lost, ops.zeros_like(x), x) * y


@OPS("Xlogy")
def x_log_y(node: Any, x: Any, y: Any) -> Any:
    x, y = tensor(x), tensor(y)
    is_zero = ops.equal(x, 0)
    return ops.where(is_zero, ops.zeros_like(x * y), x * ops.log(ops.where(is_zero, ops.ones_like(y), y)))


@OPS("Add", "AddV2", "AddN", "AccumulateNV2")
def add_all(node: Any, *terms: Any) -> Any:
    """The sum. `keras.ops.add` is not used, because on TensorFlow it may take a column for a row (Keras 3.15)."""
    total = tensor(terms[0])
    for term in terms[1:]:
        total = total + tensor(term)
    return total


@OPS("ClipByValue")
def clip(node: Any, x: Any, low: Any, high: Any) -> Any:
    return minimum(node, maximum(node, x, low), high)


@OPS("LeakyRelu")
def leaky_relu(node: Any, x: Any) -> Any:
    """The gradient of zero is that of negative numbers, but not that of `keras.ops.leaky_relu` on JAX."""
    if keras.backend.backend() == "jax":
        return ops.where(ops.greater(x, 0), x, x * node["alpha"])
    return ops.leaky_relu(x, negative_slope=node["alpha"])


@OPS("Cast")
def cast(node: Any, x: Any) -> Any:
    """A float is rounded towards zero when it becomes an integer. JAX and TensorFlow agree on that."""
    return ops.cast(x, keras.backend.standardize_dtype(node["DstT"]))


@OPS("Select", "SelectV2")
def select(node: Any, condition: Any, a: Any, b: Any) -> Any:
    """`Select` takes a vector of conditions for the rows too."""
    condition, a, b = tensor(condition), tensor(a), tensor(b)
    if node.op == "Select" and len(condition.shape) == 1 and len(a.shape) > 1:
        condition = ops.reshape(condition, (-1,) + (1,) * (len(a.shape) - 1))
    return ops.where(condition, a, b)
