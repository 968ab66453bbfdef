"""Which executor computes SavedModels on the running Keras backend."""

import contextlib
from typing import Any

import keras

from keras_hub_layers.errors import BackendError, InterfaceError

EXECUTIONS = ("auto", "interpreted")  # on each backend
HOST = "host"  # on JAX and PyTorch


def executor_class(execution: str = "auto") -> Any:
    """The executor of the running Keras backend.

    Args:
        execution: As `layers.HubLayer` takes it. Defaults to `"auto"`.

    Raises:
        errors.BackendError: There is none for it.
    """
    backend = keras.config.backend()
    if backend == "tensorflow" and execution == "interpreted":
        from keras_hub_layers._src.executors.interpreter.in_tensorflow import InterpretingTensorFlowExecutor

        return InterpretingTensorFlowExecutor
    if backend == "tensorflow":
        from keras_hub_layers._src.executors.tensorflow import TensorFlowExecutor

        return TensorFlowExecutor
    if backend in ("jax", "torch"):
        _leave_gpus_to_the_backend()
    if backend in ("jax", "torch") and execution == HOST:
        from keras_hub_layers._src.executors.bridge.executor import HostExecutor

        return HostExecutor
    if backend in ("jax", "torch"):
        from keras_hub_layers._src.executors.interpreter.executor import InterpretingExecutor

        return InterpretingExecutor
    raise BackendError(
        "No executor computes SavedModels on this Keras backend.",
        expected="one of the backends 'tensorflow', 'jax', 'torch'",
        received=f"the backend {backend!r}",
        where="keras.config.backend()",
        fix='import os; os.environ["KERAS_BACKEND"] = "tensorflow"   # before the first import of keras',
    )


def _leave_gpus_to_the_backend() -> None:
    """Hide the GPUs from TensorFlow, which would take all of their memory at its first op. It only loads here."""
    import tensorflow as tf

    with contextlib.suppress(RuntimeError):  # TensorFlow has started already, and has what memory it has
        tf.config.set_visible_devices([], "GPU")


def check_execution(execution: Any, is_asked: bool = True) -> None:
    """Refuse an execution that there is not.

    Args:
        execution: As `layers.HubLayer` takes it.
        is_asked: Whether the user asks for it now. A layer from the config of another backend keeps `"host"`, which is
            what TensorFlow does anyway. Defaults to `True`.

    Raises:
        errors.InterfaceError: There is none of this name on the running backend.
    """
    on_tensorflow = keras.config.backend() == "tensorflow"
    if execution == HOST and on_tensorflow and is_asked:
        raise InterfaceError(
            "On TensorFlow there is no other way to its own functions than the default.",
            expected=f"execution as one of {list(EXECUTIONS)}",
            received=f"execution={execution!r}, which is for JAX and PyTorch",
            fix=lambda line: line(execution=None),
        )
    if execution not in (*EXECUTIONS, HOST):
        raise InterfaceError(
            "There is no such execution.",
            expected=f"execution as one of {list(EXECUTIONS if on_tensorflow else (*EXECUTIONS, HOST))}",
            received=f"execution={execution!r}",
            fix=lambda line: line(execution=None),
        )
