"""save(model, path): write a Keras file without the optimizer's state, whole or not at all."""

import contextlib
import os
from typing import Any

import keras

from keras_hub_layers._src.compat import saving
from keras_hub_layers._src.export import destinations
from keras_hub_layers._src.files.write_errors import UNTOUCHED
from keras_hub_layers._src.public import public
from keras_hub_layers.errors import ExportError

__all__ = ["SUFFIXES", "save", "write_here"]


SUFFIXES = (".weights.h5", ".h5", ".keras")


@public()
def save(model: keras.Model, path: str | os.PathLike[str], include_optimizer: bool = False) -> str:
    """Save a Keras model to one file, by default without the state of its optimizer.

    Keras itself ignores `include_optimizer=False` for `.keras` and `.weights.h5` files. With Adam such a file is three
    times as large as the weights. The model is not changed: it can continue its training with the same optimizer. The
    file is written beside its destination, and moved there when it is complete.

    Args:
        model: A built `keras.Model` of any class.
        path: A path that ends in `.keras` or `.h5` (architecture and weights) or `.weights.h5` (weights only). A file
            that is there is replaced.
        include_optimizer: Whether to save the optimizer's state and the losses and metrics of `compile` too.
            Defaults to `False`; the optimizers of compiled models inside the model are left out with it.

    Returns:
        The path, a `str`.

    Raises:
        errors.ExportError: It is no Keras model, it was never built, or the path ends in something else.
        errors.ExportWriteError: Writing failed; a file that was there is untouched.

    Example:

    ```python
    import keras
    import keras_hub_layers as khl

    model = keras.Sequential([keras.Input((8,)), keras.layers.Dense(2)])
    model.compile("adam", "mse")
    khl.save(model, "model.keras")
    again = keras.saving.load_model("model.keras")
    ```
    """
    if not isinstance(path, keras.Model):  # which is the wrong way round
        path = destinations.local_path(path)
    _check(model, path)
    target = str(path)
    parts = [*model.variables, *(model.optimizer.variables if include_optimizer and model.optimizer else ())]
    return destinations.by_chief(
        lambda: write_here(model, target, include_optimizer), [variable.value for variable in parts]
    )


def write_here(model: keras.Model, target: str, include_optimizer: bool) -> str:
    """Write a Keras file in this process.

    Args:
        model: A built model.
        target: The path.
        include_optimizer: As `save` takes it.

    Raises:
        errors.ExportWriteError: Writing failed; a file that was there is untouched.
    """
    hidden = contextlib.nullcontext() if include_optimizer else saving.without_optimizers(model)
    with destinations.replace_file(target, "khl.save(model, {})", UNTOUCHED) as local, hidden:
        _write(model, local)
    return target


def _write(model: keras.Model, path: str) -> None:
    if path.endswith(".weights.h5"):
        model.save_weights(path)
    else:
        model.save(path)


def _check(model: Any, path: str) -> None:
    problem = None
    if not isinstance(model, keras.Model):
        problem = f"an object of type {type(model).__name__}"
    elif not model.built:
        problem = f"{type(model).__name__} {model.name!r}, which was never built: call it on one batch first"
    elif not str(path).endswith(SUFFIXES):
        problem = f"the path {path!r}"
    if problem is not None:
        raise ExportError(
            "This cannot be saved to a Keras file.",
            expected="a built keras.Model, and a path that ends in .keras, .h5 or .weights.h5",
            received=problem,
            where="khl.save",
            fix=_example(model, path),
        )


def _example(model: Any, path: Any) -> str:
    if isinstance(model, (str, os.PathLike)) and isinstance(path, keras.Model):  # the wrong way round
        return f"khl.save(model, {os.fspath(model)!r})"
    if isinstance(model, keras.Model) and not model.built:
        return f"model(x[:1])   # builds it; then: khl.save(model, {path!r})"
    name = path if isinstance(path, str) and path.endswith(SUFFIXES) else "model.keras"
    return f'khl.save(model, {name!r})\n# for a SavedModel: khl.export(model, "directory")'
