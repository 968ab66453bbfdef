"""fine_tune(model, data, epochs): the head first, then the `HubLayer` too."""

from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np

from keras_hub_layers._src.compat import models
from keras_hub_layers._src.finetuning.arguments.fit_data import as_arrays, as_pair, as_validation
from keras_hub_layers._src.finetuning.arguments.targets import check_model
from keras_hub_layers._src.finetuning.data_loss import callbacks_with_data_loss
from keras_hub_layers._src.finetuning.optimizer_slots import check_compiled, learning_rate_of
from keras_hub_layers._src.finetuning.unfreeze_callback import Unfreeze
from keras_hub_layers._src.layers import access
from keras_hub_layers._src.public import public
from keras_hub_layers.errors import TrainingError, add_place

__all__ = ["fine_tune"]


@public("finetuning")
def fine_tune(
    model: keras.Model,
    data: Any,
    y: Any = None,
    epochs: Any = None,
    *,
    head_epochs: int = 1,
    which: Any = "all",
    learning_rate: float | None = None,
    rate_factor: float = 0.5,
    warmup: float = 0.1,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    **kwargs: Any,
) -> keras.callbacks.History:
    """Train a compiled model in two phases: the head alone first, then the `HubLayer` too.

    For the first `head_epochs` the HubLayers are frozen, so that a head with random weights cannot spoil them. Then
    they are unfrozen, and the training continues with half the learning rate (`rate_factor`). The rate first rises
    linearly from 0, because the optimizer knows nothing about the new variables yet. It is one `fit` with
    `callbacks.Unfreeze` and returns one history. The layers stay unfrozen.

    Args:
        model: A compiled model with at least one `HubLayer` and trainable layers after it. Its optimizer has a float
            learning rate.
        data: What `fit` takes as `x` (a dataset, or inputs), or a tuple `(x, y)` or `(x, y, sample_weight)`. Lists and
            NumPy arrays of texts, and data frames, work too.
        y: Targets, if the data are inputs alone. Defaults to `None`. An integer here is the number of epochs:
            `fine_tune(model, data, 5)`.
        epochs: Total number of epochs, with those for the head. Required.
        head_epochs: Number of epochs with frozen HubLayers. Defaults to 1, as `freeze_epochs` of fastai's `fine_tune`.
        which: What to unfreeze after them, as `finetuning.patterns` takes it. Defaults to `"all"`.
        learning_rate: Learning rate of the head's epochs. Defaults to `None`: the rate that the optimizer has now. (An
            earlier `fine_tune` has lowered it.)
        rate_factor: The learning rate is multiplied by this when the HubLayers are unfrozen. Defaults to 0.5, as
            fastai's `fine_tune` halves it. TensorFlow's tutorial on transfer learning takes a tenth. On 100 images we
            measured no difference between the two that was larger than the one between two seeds
            (`benchmarks/finetuning.md`). Pass 0.1 or less if the accuracy falls after the unfreezing.
        warmup: Share of the batches after unfreezing in which the learning rate rises. Defaults to 0.1, as in
            TensorFlow's tutorial on classifying text with BERT (`num_warmup_steps = 0.1 * num_train_steps`). Where the
            number of batches of a dataset is unknown, there is no warm-up.
        callbacks: Further callbacks. They run after the one that unfreezes. If a SavedModel publishes regularization
            losses, `data_loss` and `val_data_loss` are in the logs (`callbacks.DataLoss`). Monitor these, with
            `mode="min"`, because `loss` and `val_loss` rise when the SavedModel is unfrozen.
        **kwargs: Further arguments of `fit`, such as `batch_size` and `validation_data`.

    Returns:
        The `History` of all epochs. `finetuning.plot_history` draws it and marks the epoch of the unfreezing.

    Raises:
        errors.TrainingError: The model is not compiled, has no HubLayer or no head to train, or `head_epochs` leaves no
            epoch for the rest.

    Example:

    ```python
    import keras
    from keras_hub_layers import finetuning, layers

    model = keras.Sequential([layers.HubLayer("path/to/saved_model"), keras.layers.Dense(10)])
    model.compile(keras.optimizers.Adam(1e-3), keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    history = finetuning.fine_tune(model, (images, labels), epochs=5, validation_split=0.1)
    ```

    Reference:

    - [Fine-tuning can distort pretrained features, Kumar et al. 2022](https://arxiv.org/abs/2202.10054): why.
    - [fastai: `Learner.fine_tune`](https://docs.fast.ai/callback.schedule.html#learner.fine_tune).
    - [Transfer learning and fine-tuning](https://www.tensorflow.org/tutorials/images/transfer_learning).
    - [Classify text with BERT](https://www.tensorflow.org/text/tutorials/classify_text_with_bert).
    """
    check_model(model, "finetuning.fine_tune(model, data, epochs=5)")
    if epochs is None and _is_integer(y):
        y, epochs = None, y
    count: Any = epochs
    data = as_pair(data, y)
    with add_place(f"fine_tune, model {model.name!r}"):
        _check(model, data, count, head_epochs)
    rate = learning_rate_of(model) if learning_rate is None else learning_rate
    schedule: Mapping[int, Any] = {0: None, head_epochs: which} if head_epochs else {0: which}
    rates = {0: rate, head_epochs: rate * rate_factor} if head_epochs else {0: rate * rate_factor}
    x, *rest = map(as_arrays, data) if isinstance(data, tuple) else (data,)
    names = ("y", "sample_weight")[: len(rest)]
    batches = _batches_per_epoch(x, kwargs) * (count - head_epochs)
    schedule_callback = Unfreeze(
        schedule, learning_rates=rates, warmup=round(warmup * batches), verbose=int(kwargs.get("verbose", 1) != 0)
    )
    arguments = {**dict(zip(names, rest, strict=True)), **kwargs}
    arguments.update({name: as_validation(kwargs[name]) for name in ("validation_data",) if name in kwargs})
    return model.fit(
        x, epochs=count, callbacks=callbacks_with_data_loss(model, [schedule_callback, *callbacks]), **arguments
    )


def _check(model: keras.Model, data: Any, epochs: int, head_epochs: int) -> None:
    is_pair = isinstance(data, list) and len(data) == 2 and len(getattr(model, "inputs", None) or [0]) == 1
    if not _is_integer(epochs) or is_pair:
        raise _other_arguments(data, epochs)
    check_compiled(model)
    layers = access.hub_layers(model)
    inside = {id(weight) for layer in layers for weight in layer.weights}
    head = [weight for weight in model.trainable_variables if id(weight) not in inside]
    is_bare = all(sublayer in layers or isinstance(sublayer, keras.Model) for sublayer in models.flatten_layers(model))
    if not layers or (head_epochs and not head and (model.built or is_bare)):
        raise _no_head([layer.name for layer in layers], len(head))
    if not 0 <= head_epochs < epochs:
        raise TrainingError(
            "The epochs for the head leave none for the rest.",
            expected=f"head_epochs from 0 to {epochs - 1}, less than epochs={epochs}",
            received=f"head_epochs={head_epochs!r}",
            fix=f"finetuning.fine_tune(model, data, epochs={head_epochs + 1})",
        )


def _is_integer(value: Any) -> bool:
    return isinstance(value, (int, np.integer)) and not isinstance(value, bool)


def _other_arguments(data: Any, epochs: Any) -> TrainingError:
    return TrainingError(
        "The data, or the number of epochs, have the wrong type.",
        expected="a dataset, (x, y) or x and y, and an integer: epochs=5",
        received=f"data: {type(data).__name__}, epochs: {type(epochs).__name__}",
        fix="finetuning.fine_tune(model, (x, y), epochs=5)",
    )


def _no_head(names: list[str], count: int) -> TrainingError:
    return TrainingError(
        "The model has no head to train before its HubLayer." if names else "The model has no HubLayer.",
        expected="a model with a HubLayer, and with trainable layers besides",
        received=f"HubLayers: {names}, other trainable weights: {count}",
        fix="finetuning.fine_tune(model, data, epochs, head_epochs=0)" if names else "model.fit(x, y)",
    )


def _batches_per_epoch(x: Any, arguments: Mapping[str, Any]) -> int:
    """Batches in an epoch of `fit`; 0 if it cannot be told beforehand."""
    steps = arguments.get("steps_per_epoch")
    if steps:
        return int(steps)
    leaf = keras.tree.flatten(x)[0] if isinstance(x, (list, tuple, dict)) else x
    if hasattr(leaf, "shape") and leaf.shape:
        examples = int(leaf.shape[0] * (1 - arguments.get("validation_split", 0.0)))
        return -(-examples // (arguments.get("batch_size") or 32))
    try:
        return len(x)
    except TypeError:  # a dataset or generator of unknown length
        return 0
