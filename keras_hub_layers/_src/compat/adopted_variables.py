"""Keras variables that are the `tf.Variable`s of a SavedModel, and whose gradients have each row once."""

import functools
import weakref
from typing import Any

import keras
import tensorflow as tf

# id of each `tf.Variable` that was adopted -> the variable, as long as it lives
_adopted: "weakref.WeakValueDictionary[int, Any]" = weakref.WeakValueDictionary()


class _Adopted(keras.Variable):
    def _initialize(self, value: Any) -> None:
        self._value = value

    @property
    def handle(self) -> Any:
        return _Handle(self.value.handle)


def adopt(variable: Any, trainable: bool, name: str) -> keras.Variable:
    """A Keras variable that is the given `tf.Variable`, not a copy of it. Its gradients have each row once.

    Keras 3.15: `keras.Variable(tf_variable)` shares it, as long as the dtype is the same. Keras 3.8 copies, so the one
    method that makes the copy, `_initialize`, is overridden.

    Keras 3.8 to 3.15: optimizers square and clip `tf.IndexedSlices` row by row as they come, so that with Adam a row
    that was gathered n times moves √n times the learning rate (`keras.layers.Embedding` too). Keras 2 summed them.
    """
    options = {"dtype": variable.dtype.name, "trainable": trainable, "autocast": False, "name": name}
    weight = _Adopted(variable, **options)
    _adopted[id(variable)] = variable
    if tf.distribute.get_strategy().num_replicas_in_sync > 1:
        _sum_rows_of_replicas()
    return weight


def unique_rows(gradient: Any) -> Any:
    """The same gradient with each row once; one that is dense, or `None`, as it is."""
    if not isinstance(gradient, tf.IndexedSlices):
        return gradient
    rows, places = tf.unique(gradient.indices)
    values = tf.math.unsorted_segment_sum(gradient.values, places, tf.size(rows))
    return tf.IndexedSlices(values, rows, gradient.dense_shape)


class _UniqueRows:
    """What a tape differentiates a variable by, and what it makes of the gradient in the end."""

    def get_gradient_components(self, value: Any) -> Any:
        return value.tensor

    def replace_gradient_components(self, value: Any, component_grads: Any) -> Any:
        return unique_rows(component_grads)


class _Handle(tf.__internal__.CompositeTensor):
    """The handle of a variable, which has `tf.GradientTape` hand out gradients with each row once.

    TensorFlow 2.18 to 2.21: a tape, like `tf.gradients`, replaces a variable by its `handle`. Of a composite tensor it
    asks `__composite_gradient__` what to differentiate, and what to make of the gradient once the rows from all uses
    of the variable are together. No optimizer has seen them there.
    """

    __composite_gradient__ = _UniqueRows()

    def __init__(self, tensor: Any) -> None:
        self.tensor = tensor

    @property
    def _type_spec(self) -> Any:
        return tf.type_spec_from_value(self.tensor)

    def __tf_tensor__(self, dtype: Any = None, name: str | None = None) -> Any:
        return self.tensor

    def __getattr__(self, name: str) -> Any:
        return getattr(self.__dict__["tensor"], name)


@functools.cache
def _sum_rows_of_replicas() -> None:
    """Have Keras' optimizers sum the rows of adopted variables that several replicas have in common.

    Keras 3.8 to 3.15: `_all_reduce_sum_gradients` puts the rows of all replicas one after the other, behind the
    clipping, and the update squares them as they come. Nothing public lies between. Gradients of other variables stay
    as they are, and Keras is left alone in processes without replicas.
    """
    optimizer = next(base for base in keras.optimizers.Optimizer.__mro__ if "_all_reduce_sum_gradients" in vars(base))
    reduce = optimizer._all_reduce_sum_gradients  # type: ignore[attr-defined]

    @functools.wraps(reduce)
    def reduce_and_sum(self: Any, grads_and_vars: Any) -> Any:
        reduced = reduce(self, grads_and_vars)
        return [(unique_rows(grad) if _adopted.get(id(v)) is v else grad, v) for grad, v in reduced]

    optimizer._all_reduce_sum_gradients = reduce_and_sum  # type: ignore[attr-defined]
