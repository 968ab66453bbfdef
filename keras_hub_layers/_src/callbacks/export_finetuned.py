"""ExportFinetuned: export the fine-tuned SavedModels at the end of `fit`."""

import collections
from collections.abc import Sequence
from typing import Any

from keras_hub_layers._src.callbacks import trained_check
from keras_hub_layers._src.callbacks.export_at_end import ExportAtEnd
from keras_hub_layers._src.layers import hub_layer
from keras_hub_layers._src.layers.access import hub_layers
from keras_hub_layers._src.public import public
from keras_hub_layers._src.text import words
from keras_hub_layers.errors import ExportError, warn

__all__ = ["ExportFinetuned"]


@public("callbacks")
class ExportFinetuned(ExportAtEnd):
    """Exports the fine-tuned SavedModel of each `HubLayer` at the end of `fit`.

    The export is a drop-in replacement of the layer's SavedModel, with the current weights. It is written beside its
    destination, verified, and then exchanged, so a crash leaves the previous export complete. The model keeps its
    weights.

    Nothing is exported when `fit` is interrupted; call `export()` then. Callbacks that change the weights at the end
    (`EarlyStopping(restore_best_weights=True)`, `SwapEMAWeights`) come before this one, and `BackupAndRestore`
    after it.

    Args:
        directory: Where to export to. The only `HubLayer` of the model, nested models included, is exported to
            `directory` itself, several to `directory/<layer name>`. In a KerasTuner search it is
            `directory/<trial id>`, with several executions per trial `directory/<trial id>/<execution>`.
        layer: Name of the `HubLayer` to export, or a list of names. Defaults to `None`: all of them.
        monitor: Name of a value in the logs, such as `"val_loss"`: the weights of the epoch with the best value are
            exported. They are kept in memory; "best" starts again with each `fit`; NaN is never best. Defaults to
            `None`: the weights at the end.
        mode: `"min"`, `"max"` or `"auto"`: whether less or more of it is better. Defaults to `"auto"`: by its metric.
        versioned: Whether to export to `directory/<n>` with n the largest number there plus one, as TensorFlow
            Serving watches it, rather than to replace the previous export. Defaults to `False`.
        on_nan: What to do about weights that are NaN or infinite: `"raise"`, or `"skip"` to warn and keep the
            previous export. Defaults to `"raise"`.
        verbose: Whether to print each best epoch and each export, 0 or 1. Defaults to 1.

    Example:

    ```python
    import keras
    from keras_hub_layers import callbacks, layers

    model = keras.Sequential([layers.HubLayer("path/to/saved_model", trainable=True), keras.layers.Dense(10)])
    model.compile("adam", "mse")
    model.fit(
        x, y, validation_split=0.1, epochs=10,
        callbacks=[
            keras.callbacks.EarlyStopping(patience=2, restore_best_weights=True),
            callbacks.ExportFinetuned("path/to/fine_tuned"),
        ],
    )
    tuned = layers.HubLayer("path/to/fine_tuned")
    ```
    """

    def _find_targets(self) -> dict[str, hub_layer.HubLayer]:
        model: Any = self.model
        layers = hub_layers(model)
        if not layers:
            names = [each.name for each in getattr(model, "layers", [])]
            raise ExportError(
                "The model has no HubLayer whose SavedModel could be exported.",
                expected="a model with a HubLayer",
                received=f"{type(model).__name__} {model.name!r} with layers {names}",
                fix=f"callbacks.ExportPiece({self.directory!r})   # exports the Keras model",
            )
        wanted = [self.layer] if isinstance(self.layer, str) else self.layer
        if wanted is not None:
            layers = [self._layer_of_name(name, layers) for name in wanted]
        if len(layers) == 1 and not isinstance(self.layer, list):
            return {self._folder: layers[0]}
        twice = [name for name, count in collections.Counter(each.name for each in layers).items() if count > 1]
        if twice:
            raise ExportError(
                "Several HubLayers have the same name, so each export would replace the other.",
                expected=f"different names below {self._folder!r}",
                received=f"the name {twice[0]!r} more than once",
                fix=f"HubLayer(handle, name={twice[0] + '_2'!r})",
            )
        return {f"{self._folder}/{each.name}": each for each in sorted(layers, key=lambda each: each.name)}

    def _layer_of_name(self, name: str, layers: Sequence[hub_layer.HubLayer]) -> hub_layer.HubLayer:
        names = [each.name for each in layers]
        if name not in names:
            raise ExportError(
                "The model has no HubLayer of that name.",
                expected=f"one of {names}",
                received=f"layer={name!r}",
                fix=f"callbacks.ExportFinetuned({self.directory!r}, layer={words.nearest(name, names)!r})",
            )
        return layers[names.index(name)]

    def _check_target(self, destination: str, target: Any) -> None:
        super()._check_target(destination, target)
        self._state.before[destination] = trained_check.hash_weights(target)

    def _check_training(self, destination: str, target: Any) -> None:
        has_run = bool(self._state.logs or self._state.epochs)  # without an epoch nothing is expected
        before = self._state.before.get(destination, {}) if has_run else {}
        for text in trained_check.describe_training(target, before):
            warn(f"{self._where}: {text}")
