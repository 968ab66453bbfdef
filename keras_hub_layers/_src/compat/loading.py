"""What makes loads faster. Uses private names of TensorFlow. Does not import Keras."""

import contextlib
import gc
import threading
from collections.abc import Callable, Iterator
from typing import Any

import tensorflow as tf
from tensorflow.python.util import deprecation

_NAME = "keras_hub_layers_variable"
_OPTION = "disable_meta_optimizer"
_lock = threading.Lock()
_optimizing: list[bool] = []  # what was set before the loads that run now, once for each of them
_checking: list[bool] = []
_collecting: list[bool] = []


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

    def check(is_on: bool) -> None:
        deprecation._PRINT_DEPRECATION_WARNINGS = is_on

    with _set_meanwhile(_checking, lambda: deprecation._PRINT_DEPRECATION_WARNINGS, False, check):
        yield


@contextlib.contextmanager
def without_optimizing() -> Iterator[None]:
    """Make TensorFlow run functions as they are, within this block.

    A load runs functions that read the checkpoint and fill tables. Each runs once, so its optimization takes longer
    than it saves: a fifth of the time in which a small SavedModel of TF1 loads. Loads may run in several threads.
    """

    def disable(is_off: bool) -> None:
        tf.config.optimizer.set_experimental_options({_OPTION: is_off})

    def is_disabled() -> bool:
        return tf.config.optimizer.get_experimental_options().get(_OPTION, False)

    with _set_meanwhile(_optimizing, is_disabled, True, disable):
        yield


@contextlib.contextmanager
def without_collecting() -> Iterator[None]:
    """Make Python not look for cycles of references, within this block.

    A load makes many objects, and nearly all of them stay. To look through them and all that was imported before takes
    0.2 seconds each time. Loads may run in several threads.
    """
    with _set_meanwhile(_collecting, gc.isenabled, False, lambda is_on: gc.enable() if is_on else gc.disable()):
        yield


@contextlib.contextmanager
def _set_meanwhile(
    running: list[bool], read: Callable[[], bool], value: bool, write: Callable[[bool], None]
) -> Iterator[None]:
    """Set something of the process until the last of the loads that run at the same time has ended."""
    with _lock:
        running.append(running[0] if running else read())
        write(value)
    try:
        yield
    finally:
        with _lock:
            before = running.pop()
            if not running:
                write(before)
