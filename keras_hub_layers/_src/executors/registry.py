"""Which executor computes SavedModels on the running Keras backend."""

from typing import Any

import keras

from keras_hub_layers.errors import BackendError, InterfaceError

EXECUTIONS = ("auto", "interpreted")


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
        from keras_hub_layers._src.executors.interpreter.executor import InterpretingExecutor

        return InterpretingExecutor
    raise BackendError(
        "No executor computes SavedModels on this Keras backend.",
        expected="one of the backends 'tensorflow', 'jax', 'torch'",
        received=f"the backend {backend!r}",
        where="keras.config.backend()",
        fix='import os; os.environ["KERAS_BACKEND"] = "tensorflow"   # before the first import of keras',
    )


def check_execution(execution: Any) -> None:
    """Refuse an execution that there is not.

    Raises:
        errors.InterfaceError: It is none of `EXECUTIONS`.
    """
    if execution not in EXECUTIONS:
        raise InterfaceError(
            "There is no such execution.",
            expected=f"execution as one of {list(EXECUTIONS)}",
            received=f"execution={execution!r}",
            fix=lambda line: line(execution=None),
        )
