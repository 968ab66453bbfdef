"""plot_predictions(model, data): what a model predicts, beside the truth, and where it errs most."""

from collections.abc import Iterator, Sequence
from typing import Any

import keras
import numpy as np

from keras_hub_layers._src.finetuning.arguments.fit_data import as_arrays, as_pair, batches_of
from keras_hub_layers._src.finetuning.arguments.targets import check_model
from keras_hub_layers._src.finetuning.optimizer_slots import check_compiled
from keras_hub_layers._src.plots.prediction_grid import Prediction, draw_predictions, lines, rank
from keras_hub_layers._src.public import public
from keras_hub_layers._src.text.progress import progress
from keras_hub_layers.errors import TrainingError, add_place

__all__ = ["plot_predictions"]


_CALL = "finetuning.plot_predictions(model, {})"


@public("finetuning")
def plot_predictions(
    model: keras.Model,
    data: Any,
    y: Any = None,
    *,
    count: int = 6,
    class_names: Sequence[str] | None = None,
    batch_size: int = 32,
    as_text: bool = False,
) -> Any:
    """Show what a compiled model predicts for the first examples, and for those with the highest loss of all.

    Images are drawn in a grid, texts and other inputs one a line; green is right, red is wrong. Where the targets are
    classes, the prediction is the class with the highest output, and its probability stands beside it. The loss of an
    example is that of `compile`, without regularization and weights.

    Args:
        model: A compiled model with one output and one loss.
        data: Inputs and targets, a tuple `(x, y)`; or inputs alone, with `y`; or a dataset of batches that ends.
        y: Targets, where the data are inputs alone. Defaults to `None`.
        count: How many examples each part has. Defaults to 6.
        class_names: Names of the classes, in their order. Defaults to `None`: their numbers.
        batch_size: Examples that are predicted at once where the data are arrays. Defaults to 32.
        as_text: Whether to return a table for reading instead, which needs no matplotlib. Defaults to `False`.

    Returns:
        A `list` of `matplotlib.axes.Axes`: `axes[0].figure.savefig("predictions.png")`. With `as_text=True`, a `str`.

    Raises:
        errors.MissingPackageError: matplotlib is not installed.
        errors.TrainingError: The model is not compiled, has several outputs, or there are no targets.

    Example:

    ```python
    from keras_hub_layers import finetuning

    finetuning.plot_predictions(model, (images, labels))
    ```
    """
    check_model(model, _CALL.format("(x, y)"))
    with add_place(f"plot_predictions, model {model.name!r}"):
        check_compiled(model)
        loss = _loss_of(model)
        first: list[Prediction] = []
        worst: list[Prediction] = []
        seen, right = 0, 0
        with progress("predicting", "examples") as advance:
            for x, targets in _pairs(batches_of(as_pair(data, y), batch_size, _CALL)()):
                batch = _Batch(loss, x, targets, _predict(model, x), class_names)
                places = np.argsort([rank(value) for value in batch.losses], kind="stable")[:count]
                first += [batch.prediction(place, seen) for place in range(min(count - len(first), len(batch.losses)))]
                worst = sorted([*worst, *(batch.prediction(int(place), seen) for place in places)], key=_rank)[:count]
                seen, right = seen + len(batch.losses), right + batch.right
                advance(seen, None)
    if not seen:
        raise _no_examples()
    parts = {f"the first {len(first)} of {seen}": first, f"the worst {len(worst)} of {seen}": worst}
    if as_text:
        score = [f"right: {right} of {seen} = {right / seen:.1%}"] if first[0].is_right is not None else []
        return "\n".join([*lines(parts), *score])
    return draw_predictions(parts)


class _Batch:
    """A batch with its predictions.

    Attributes:
        losses: The loss of each example.
        right: How many are right; 0 where targets are numbers.
    """

    def __init__(self, loss: Any, x: Any, targets: Any, outputs: np.ndarray, names: Sequence[str] | None) -> None:
        targets = np.asarray(keras.ops.convert_to_numpy(targets))
        self.losses = _losses(loss, targets, outputs)
        self._x, self._names = x, names
        self._numbers = (outputs, targets)
        self._classes = _classes(loss, targets, outputs)
        self.right = 0 if self._classes is None else int(np.sum(self._classes[0] == self._classes[1]))

    def prediction(self, place: int, before: int) -> Prediction:
        """The prediction for one of its examples, where so many examples came before the batch."""
        value, loss = _value(self._x, place), float(self.losses[place])
        if self._classes is None:
            said, truth = (_number(array[place]) for array in self._numbers)
            return Prediction(before + place, value, said, truth, None, loss)
        predicted, true, probabilities = (array[place] for array in self._classes)
        share = f" ({probabilities:.0%})" if 0 <= probabilities <= 1 else ""
        names = [self._name(int(number)) for number in (predicted, true)]
        return Prediction(before + place, value, names[0] + share, names[1], bool(predicted == true), loss)

    def _name(self, number: int) -> str:
        names = self._names
        return str(names[number]) if names is not None and 0 <= number < len(names) else str(number)


def _classes(loss: Any, targets: np.ndarray, outputs: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
    """Predicted classes, true ones and the probabilities of the predicted; `None` where the targets are no classes."""
    count, name = len(outputs), getattr(loss, "name", None) or getattr(loss, "__name__", "")
    is_logits = bool(getattr(loss, "from_logits", False))
    if outputs.ndim == 2 and outputs.shape[1] > 1:
        if targets.size == count and (targets.dtype.kind in "iub" or "sparse" in name):
            true = targets.reshape(count).astype(int)
        elif targets.shape == outputs.shape and np.all(np.sort(targets, -1) == np.eye(targets.shape[1])[-1]):
            true = targets.argmax(-1)
        else:
            return None
        predicted = outputs.argmax(-1)
        shares = np.array(keras.ops.convert_to_numpy(keras.ops.softmax(outputs))) if is_logits else outputs
        return predicted, true, shares[np.arange(count), predicted]
    if outputs.size == count == targets.size and "binary" in name:
        flat = outputs.reshape(count)
        shares = np.array(keras.ops.convert_to_numpy(keras.ops.sigmoid(flat))) if is_logits else flat
        predicted = (shares > 0.5).astype(int)
        return predicted, np.rint(targets.reshape(count)).astype(int), np.where(predicted == 1, shares, 1 - shares)
    return None


def _losses(loss: Any, targets: np.ndarray, outputs: np.ndarray) -> np.ndarray:
    """The loss of each example."""
    if outputs.shape[1:] in ((), (1,)) and targets.size == outputs.size:  # losses average over the last axis
        outputs, targets = outputs.reshape(-1, 1), targets.reshape(-1, 1)
    compute = loss.call if isinstance(loss, keras.losses.Loss) else loss
    dtype = getattr(loss, "dtype", None) or keras.config.floatx()  # as `fit` converts both
    values = compute(*(keras.ops.convert_to_tensor(array, dtype) for array in (targets, outputs)))
    values = np.array(keras.ops.convert_to_numpy(values), "float64")
    if values.shape[:1] != (len(outputs),):
        raise TrainingError(
            "The loss is no value for each example.",
            expected=f"{len(outputs)} values for a batch of {len(outputs)}",
            received=f"shape {values.shape}",
            fix='model.compile("adam", "mse")   # a loss that keeps the batch axis\n' + _CALL.format("(x, y)"),
        )
    return values.reshape(len(outputs), -1).mean(-1)


def _loss_of(model: Any) -> Any:
    loss = model.loss
    if isinstance(loss, (str, keras.losses.Loss)) or callable(loss):
        return keras.losses.get(loss)
    raise _not_one("The model is not compiled with one loss.", loss)


def _predict(model: Any, x: Any) -> np.ndarray:
    outputs = model.predict_on_batch(keras.tree.map_structure(as_arrays, x))
    if not isinstance(outputs, np.ndarray):
        raise _not_one("The model has several outputs.", keras.tree.map_structure(lambda leaf: leaf.shape, outputs))
    return outputs


def _pairs(batches: Iterator[Any]) -> Iterator[tuple[Any, Any]]:
    for batch in batches:
        if not isinstance(batch, tuple) or len(batch) < 2 or batch[1] is None:
            raise TrainingError(
                "The data have no targets, so nothing can be said about errors.",
                expected="a tuple (x, y), or a dataset of such",
                received=type(batch).__name__,
                fix=_CALL.format("(x, y)"),
            )
        yield batch[0], batch[1]


def _value(x: Any, place: int) -> Any:
    """One example of a batch: of several inputs that which can be looked at."""
    leaves: list[Any] = [keras.ops.convert_to_numpy(leaf) for leaf in keras.tree.flatten(x)]
    texts = [leaf for leaf in leaves if leaf.dtype.kind in "OSU"]
    images = [leaf for leaf in leaves if leaf.ndim == 4]
    value = np.array([*images, *texts, *leaves][0][place])
    if value.dtype.kind in "OSU" and value.size == 1:
        text = value.reshape(()).item()
        return text.decode("utf-8", "replace") if isinstance(text, bytes) else str(text)
    return value


def _number(value: np.ndarray) -> str:
    numbers = np.asarray(value).ravel()[:4].tolist()
    return " ".join(f"{number:.4g}" for number in numbers)


def _rank(prediction: Prediction) -> float:
    return rank(prediction.loss)


def _not_one(problem: str, received: Any) -> TrainingError:
    return TrainingError(
        problem,
        expected="a model with one output, compiled with one loss",
        received=str(received)[:200],
        fix="model = keras.Model(model.inputs, model.outputs[0])\n"
        'model.compile("adam", loss)   # the loss of this output\n' + _CALL.format("(x, y)"),
    )


def _no_examples() -> TrainingError:
    return TrainingError(
        "There are no examples.", expected="at least one", received="none", fix=_CALL.format("(x, y)   # with examples")
    )
