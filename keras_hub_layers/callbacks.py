"""Callbacks that export at the end of `fit` what was trained: loaded SavedModels, or pieces of the Keras model."""

import os
from collections.abc import Iterator, Sequence
from typing import Any, ClassVar

import keras

from keras_hub_layers import _compat, exporters, guards, layers, pieces, plans, saving
from keras_hub_layers.errors import ExportError, explain
from keras_hub_layers.moments import ExportAtEnd, closest
from keras_hub_layers.unfreezing import Unfreeze

__all__ = ["ExportFinetuned", "ExportPiece", "Unfreeze"]


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

    def _targets(self) -> dict[str, layers.HubLayer]:
        """Destination -> layer."""
        self._check_model()
        model: Any = self.model
        found = [part for part in _compat.flatten_layers(model) if isinstance(part, layers.HubLayer)]
        if not found:
            raise ExportError(
                explain(
                    "The model has no HubLayer whose SavedModel could be exported.",
                    expected="a model with a HubLayer",
                    received=f"{type(model).__name__} {model.name!r} with layers {_names(model)}",
                    where=self._where,
                    fix=f"callbacks.ExportPiece({self.directory!r})   # exports the Keras model",
                )
            )
        wanted = [self.layer] if isinstance(self.layer, str) else self.layer
        if wanted is not None:
            found = [self._named(name, found) for name in wanted]
        if len(found) == 1 and not isinstance(self.layer, list):
            return {self._folder: found[0]}
        twice = sorted({part.name for part in found if sum(other.name == part.name for other in found) > 1})
        if twice:
            raise ExportError(
                explain(
                    "Several HubLayers have the same name, so each export would replace the other.",
                    expected=f"different names below {self._folder!r}",
                    received=f"the name {twice[0]!r} more than once",
                    where=self._where,
                    fix=f"HubLayer(handle, name={twice[0] + '_2'!r})",
                )
            )
        return {f"{self._folder}/{part.name}": part for part in sorted(found, key=lambda part: part.name)}

    def _named(self, name: str, found: Sequence[Any]) -> layers.HubLayer:
        for part in found:
            if part.name == name:
                return part
        names = [part.name for part in found]
        raise ExportError(
            explain(
                "The model has no HubLayer of that name.",
                expected=f"one of {names}",
                received=f"layer={name!r}",
                where=self._where,
                fix=f"ExportFinetuned({self.directory!r}, layer={closest(name, names)!r})",
            )
        )

    def _check_targets(self) -> None:
        targets = self._targets()
        for destination in targets:
            self._check_destination(destination)
        self._before = {destination: guards.fingerprint(part) for destination, part in targets.items()}

    def _exported_variables(self) -> list[Any]:
        return [variable for part in self._targets().values() for variable in part.variables]

    def _make_plans(self) -> Iterator[tuple[str, plans.Plan]]:
        for destination, part in self._targets().items():
            yield destination, plans.plan(part)

    def _write(self, plan: plans.Plan, destination: str) -> str:
        before = self._before.get(destination, {}) if self._logs or self._epochs else {}  # without an epoch: nothing
        guards.check_trained(self._targets()[destination], before, self._where)
        return super()._write(plan, destination)


class ExportPiece(ExportAtEnd):
    """Exports the Keras model, or a piece of it, at the end of `fit`, as a Reusable SavedModel or a Keras file.

    A piece is a nested model or layer (compose the model of pieces first), or what lies between some layers of a
    functional model (cut it out afterwards). The optimizer stays behind. When and how it is written is as for
    `ExportFinetuned`.

    Args:
        directory: Where to export to: a directory for a SavedModel, or a path that ends in `.keras`, `.h5` or
            `.weights.h5`. In a KerasTuner search a directory gets `/<trial id>` added, and a file goes into a folder
            of that name.
        layer: Name of the nested model or layer, such as `"encoder"`, or its path, `"encoder/pooler"`.
            Defaults to `None`: the model.
        inputs: Where the piece begins, as `keras_hub_layers.cut` takes it. Defaults to `None`: at its inputs.
        outputs: Where the piece ends, likewise. Defaults to `None`: at its outputs.
        include_optimizer: Whether a Keras file has the optimizer's state too. A SavedModel never has.
            Defaults to `False`.
        monitor: As for `ExportFinetuned`, like the following. Defaults to `None`: the weights at the end.
        mode: `"min"`, `"max"` or `"auto"`. Defaults to `"auto"`.
        versioned: Whether to export to `directory/<n>`; SavedModels only. Defaults to `False`.
        on_nan: `"raise"` or `"skip"`. Defaults to `"raise"`.
        verbose: 0 or 1. Defaults to 1.

    Example:

    ```python
    import keras
    from keras_hub_layers import callbacks

    encoder = keras.Sequential([keras.Input((8,)), keras.layers.Dense(4)], name="encoder")
    model = keras.Sequential([encoder, keras.layers.Dense(1)])
    model.compile("adam", "mse")
    model.fit(x, y, callbacks=[callbacks.ExportPiece("path/to/encoder", layer="encoder")])
    ```
    """

    _of_one_fit: ClassVar[dict[str, Any]] = {**ExportAtEnd._of_one_fit, "_piece": None}

    def __init__(
        self,
        directory: str | os.PathLike[str],
        layer: Any = None,
        *,
        inputs: Any = None,
        outputs: Any = None,
        include_optimizer: bool = False,
        monitor: str | None = None,
        mode: str = "auto",
        versioned: bool = False,
        on_nan: str = "raise",
        verbose: int = 1,
    ) -> None:
        super().__init__(
            directory, layer, monitor=monitor, mode=mode, versioned=versioned, on_nan=on_nan, verbose=verbose
        )
        self.inputs = inputs
        self.outputs = outputs
        self.include_optimizer = include_optimizer
        if versioned and self._is_file:
            raise self._problem(
                "A Keras file has no versions.", "a directory for versioned=True",
                f"versioned=True, {self.directory!r}",
                f'ExportPiece({os.path.splitext(self.directory)[0]!r}, versioned=True)',
            )  # fmt: skip
        if include_optimizer and not self._is_file:
            raise self._problem(
                "A SavedModel never holds the optimizer.", "a path that ends in .keras or .h5",
                f"include_optimizer=True, {self.directory!r}",
                f"ExportPiece({self.directory + '.keras'!r}, include_optimizer=True)",
            )  # fmt: skip

    @property
    def _is_file(self) -> bool:
        return self.directory.endswith(saving.SUFFIXES)

    @property
    def _destination(self) -> str:
        if not self._is_file or not self._trial:
            return self._folder
        folder, name = os.path.split(self.directory)
        return os.path.join(folder, *self._trial, name)

    def _check_targets(self) -> None:
        self._check_model()
        piece = self._target()
        if self.inputs is not None or self.outputs is not None:
            piece = pieces.cut(piece, self.inputs, self.outputs)
        if not self._is_file:
            self._check_destination(self._destination)
        elif not isinstance(piece, keras.Model):
            raise self._problem(
                "Only a model can be saved to a Keras file.", "a keras.Model", f"{type(piece).__name__} {piece.name!r}",
                f"ExportPiece({os.path.splitext(self.directory)[0]!r}, layer={self.layer!r})   # a SavedModel",
            )  # fmt: skip
        elif not exporters.is_remote(self._destination):
            exporters.check_writable(os.path.dirname(self._destination) or ".", self._destination)
        self._piece = piece

    def _target(self) -> Any:
        """The model, or the layer of the name or path that was given."""
        if self.layer is None:
            return self.model
        if not isinstance(self.layer, str):
            raise self._problem("layer names no layer.", "one name or path", repr(self.layer), 'layer="encoder"')
        found = [part for path, part in _paths(self.model) if f"/{path}".endswith(f"/{self.layer}")]
        found = list({id(part): part for part in found}.values())
        if len(found) == 1:
            return found[0]
        names = [path for path, _ in _paths(self.model)]
        if found:
            names = [path for path in names if f"/{path}".endswith(f"/{self.layer}")]
        raise self._problem(
            "Several layers have that name." if found else "The model has no layer of that name.",
            f"one of {names}", f"layer={self.layer!r}",
            f"ExportPiece({self.directory!r}, layer={closest(self.layer, names)!r})",
        )  # fmt: skip

    def _exported_variables(self) -> list[Any]:
        piece: Any = self._piece
        return list(piece.variables)

    def _make_plans(self) -> Iterator[tuple[str, plans.Plan]]:
        if self._piece is None:
            self._check_targets()
        piece: Any = self._piece
        if self._is_file:
            yield (
                self._destination,
                plans.Plan(
                    write=lambda path: None,
                    verify=lambda path: None,
                    variables=lambda: [variable.value for variable in self._exported_variables()],
                    facts=None,
                    where=f"{type(piece).__name__} {piece.name!r}",
                ),
            )
        else:
            yield self._destination, plans.plan(piece)

    def _write(self, plan: plans.Plan, destination: str) -> str:
        if not self._is_file:
            return super()._write(plan, destination)
        if exporters.is_chief(plan.variables()):
            saving.save(self._piece, destination, self.include_optimizer)
        return destination

    def _problem(self, text: str, expected: str, received: str, fix: str) -> ExportError:
        return ExportError(explain(text, expected=expected, received=received, where=self._where, fix=fix))


def _paths(layer: Any, above: str = "") -> Iterator[tuple[str, Any]]:
    """(path of names, layer) of every layer inside a model, at any depth; a shared one under each of its paths."""
    for part in getattr(layer, "layers", ()):
        path = f"{above}/{part.name}" if above else part.name
        yield path, part
        yield from _paths(part, path)


def _names(model: Any) -> list[str]:
    return [part.name for part in getattr(model, "layers", [])]
