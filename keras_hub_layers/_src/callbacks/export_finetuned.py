"""ExportFinetuned: export the fine-tuned SavedModels at the end of `fit`."""

from collections.abc import Iterator, Sequence
from typing import Any, ClassVar

from keras_hub_layers._src.callbacks import trained_check
from keras_hub_layers._src.callbacks.export_at_end import ExportAtEnd
from keras_hub_layers._src.compat import models
from keras_hub_layers._src.export import plan as plan_lib
from keras_hub_layers._src.export import targets as targets_lib
from keras_hub_layers._src.layers import hub_layer
from keras_hub_layers._src.public import public
from keras_hub_layers._src.text.words import nearest
from keras_hub_layers.errors import ExportError

__all__ = ["ExportFinetuned"]


@public("callbacks")
class ExportFinetuned(ExportAtEnd):
    """Exports the fine-tuned SavedModel of each `HubLayer` at the end of `fit`.

    The export is a drop-in replacement of what the layer was made from: the same SavedModel, with the weights of now.
    It is written beside its destination, verified and swapped in, so that a crash leaves the previous export whole.
    The model keeps the weights that it has.

    Nothing is exported when `fit` is interrupted; call `export()` then. Callbacks that change the weights at the end
    (`EarlyStopping(restore_best_weights=True)`, `SwapEMAWeights`) come before this one, and `BackupAndRestore`
    after it.

    Args:
        directory: Where to export to. The only `HubLayer` of the model, nested models included, is exported to
            `directory` itself, several to `directory/<layer name>`. In a KerasTuner search it is
            `directory/<trial id>`, with several executions per trial `directory/<trial id>/<execution>`.
        layer: Name of the `HubLayer` to export, or a list of names. Defaults to `None`: all of them.
        monitor: Name of a value in the logs, such as `"val_loss"`: the weights of the epoch with the best value are
            exported. They are kept in memory; "best" starts anew with each `fit`; NaN is never best. Defaults to
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

    _of_one_fit: ClassVar[dict[str, Any]] = {**ExportAtEnd._of_one_fit, "_before": {}}

    def _targets(self) -> dict[str, hub_layer.HubLayer]:
        """Destination -> layer."""
        self._check_model()
        model: Any = self.model
        found = [part for part in models.flatten_layers(model) if isinstance(part, hub_layer.HubLayer)]
        if not found:
            raise ExportError(
                "The model has no HubLayer whose SavedModel could be exported.",
                expected="a model with a HubLayer",
                received=f"{type(model).__name__} {model.name!r} with layers {_names(model)}",
                where=self._where,
                fix=f"callbacks.ExportPiece({self.directory!r})   # exports the Keras model",
            )
        wanted = [self.layer] if isinstance(self.layer, str) else self.layer
        if wanted is not None:
            found = [self._named(name, found) for name in wanted]
        if len(found) == 1 and not isinstance(self.layer, list):
            return {self._folder: found[0]}
        twice = sorted({part.name for part in found if sum(other.name == part.name for other in found) > 1})
        if twice:
            raise ExportError(
                "Several HubLayers have the same name, so each export would replace the other.",
                expected=f"different names below {self._folder!r}",
                received=f"the name {twice[0]!r} more than once",
                where=self._where,
                fix=f"HubLayer(handle, name={twice[0] + '_2'!r})",
            )
        return {f"{self._folder}/{part.name}": part for part in sorted(found, key=lambda part: part.name)}

    def _named(self, name: str, found: Sequence[Any]) -> hub_layer.HubLayer:
        for part in found:
            if part.name == name:
                return part
        names = [part.name for part in found]
        raise ExportError(
            "The model has no HubLayer of that name.",
            expected=f"one of {names}",
            received=f"layer={name!r}",
            where=self._where,
            fix=f"ExportFinetuned({self.directory!r}, layer={nearest(name, names)!r})",
        )

    def _check_targets(self) -> None:
        targets = self._targets()
        for destination in targets:
            self._check_destination(destination)
        self._before = {destination: trained_check.fingerprint(part) for destination, part in targets.items()}

    def _exported_variables(self) -> list[Any]:
        return [variable for part in self._targets().values() for variable in part.variables]

    def _make_plans(self) -> Iterator[tuple[str, plan_lib.Plan]]:
        for destination, part in self._targets().items():
            yield destination, targets_lib.plan(part)

    def _write(self, plan: plan_lib.Plan, destination: str) -> str:
        before = self._before.get(destination, {}) if self._logs or self._epochs else {}  # without an epoch: nothing
        trained_check.check_trained(self._targets()[destination], before, self._where)
        return super()._write(plan, destination)


def _names(model: Any) -> list[str]:
    return [part.name for part in getattr(model, "layers", [])]
