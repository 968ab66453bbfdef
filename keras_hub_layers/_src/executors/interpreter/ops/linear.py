"""Products of matrices, inverses, and systems of linear equations."""

from typing import Any

import keras

from keras_hub_layers._src.executors.interpreter.ops.table import Table
from keras_hub_layers._src.executors.interpreter.values import precise, tensor

ops: Any = keras.ops  # the hints of some functions say that they may return nothing

OPS = Table()


def _transposed(x: Any, is_transposed: bool) -> Any:
    return ops.swapaxes(tensor(x), -1, -2) if is_transposed else tensor(x)


def _product(a: Any, b: Any) -> Any:
    return precise("matmul", a)(a, b)


@OPS("MatMul")
def matmul(node: Any, a: Any, b: Any) -> Any:
    return _product(_transposed(a, node["transpose_a"]), _transposed(b, node["transpose_b"]))


@OPS("BatchMatMul", "BatchMatMulV2", "BatchMatMulV3")
def batch_matmul(node: Any, a: Any, b: Any) -> Any:
    return _product(_transposed(a, node["adj_x"]), _transposed(b, node["adj_y"]))


@OPS("Einsum")
def einsum(node: Any, *operands: Any) -> Any:
    return ops.einsum(node["equation"], *map(tensor, operands))


@OPS("Cholesky")
def cholesky(node: Any, x: Any) -> Any:
    return ops.cholesky(x)


@OPS("MatrixInverse")
def inverse(node: Any, x: Any) -> Any:
    return ops.inv(_transposed(x, node["adjoint"]))


@OPS("MatrixSolve")
def solve(node: Any, a: Any, b: Any) -> Any:
    return ops.solve(_transposed(a, node["adjoint"]), tensor(b))


@OPS("MatrixTriangularSolve")
def solve_triangular(node: Any, a: Any, b: Any) -> Any:
    is_lower = node["lower"] != node["adjoint"]
    return ops.solve_triangular(_transposed(a, node["adjoint"]), tensor(b), lower=is_lower)
