"""Which executor computes SavedModels on the running Keras backend."""

from typing import Any

import keras

from keras_hub_layers.errors import BackendError


def executor_class() -> Any:
    """The executor of the running Keras backend.

    Raises:
        errors.BackendError: There is none for it.
    """
    backend = keras.config.backend()
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
