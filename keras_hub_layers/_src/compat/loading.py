"""What makes `tf.saved_model.load` faster. Uses private names of TensorFlow. Does not import Keras."""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import tensorflow as tf
from tensorflow.python.util import deprecation

_NAME = "keras_hub_layers_variable"


@contextlib.contextmanager
def one_kernel_for_all() -> Iterator[None]:
    """Make TensorFlow create variables faster, within this block.

    TensorFlow 2.18 to 2.21: the op that makes a variable has its name as an attribute, for messages only. TensorFlow
    makes a kernel for each combination of attributes, which takes 30 times as long as the op. No public name sets the
    name of a variable later.
    """

    def create(next_creator: Callable[..., Any], **kwargs: Any) -> Any:
        name = kwargs.get("name")
        if not name or not tf.executing_eagerly():
            return next_creator(**kwargs)
        variable = next_creator(**{**kwargs, "name": _NAME})
        scope, found, end = getattr(variable, "_handle_name", "").rpartition(_NAME)
        if found:
            variable._handle_name = variable._handle._name = f"{scope}{name}{end}"
        return variable

    with tf.variable_creator_scope(create):
        yield


@contextlib.contextmanager
def without_checks_of_arguments() -> Iterator[None]:
    """Make TensorFlow not look for deprecated arguments in its own calls, within this block.

    TensorFlow 2.18 to 2.21: it looks at the signature of a function for each node that it copies, which takes a tenth
    of the time in which a SavedModel of TF1 loads. No public name stops it.
    """
    before = deprecation._PRINT_DEPRECATION_WARNINGS
    deprecation._PRINT_DEPRECATION_WARNINGS = False
    try:
        yield
    finally:
        deprecation._PRINT_DEPRECATION_WARNINGS = before
