"""ExportPiece: export the Keras model, or a piece of it, at the end of `fit`."""

import os
from collections.abc import Iterator
from typing import Any

import keras

from keras_hub_layers._src.callbacks.export_at_end import ExportAtEnd
from keras_hub_layers._src.cut import cut
from keras_hub_layers._src.export import destinations, keras_export, save, verification
from keras_hub_layers._src.export import export as export_lib
from keras_hub_layers._src.layers.hub_layer import HubLayer
from keras_hub_layers._src.public import public
from keras_hub_layers._src.text import words
from keras_hub_layers.errors import ExportError

__all__ = ["ExportPiece"]


@public("callbacks")
class ExportPiece(ExportAtEnd):
    """Exports the Keras model, or a piece of it, at the end of `fit`, as a Reusable SavedModel or a Keras file.

    A piece is a nested model or layer, or the layers between some inputs and some outputs of a functional model. The
    optimizer is not exported. The export is written at the same time and in the same way as by `ExportFinetuned`.

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
        with self._add_place():
            self._check_settings()

    def _check_settings(self) -> None:
        if self.versioned and self._is_file:
            raise ExportError(
                "A Keras file has no versions.",
                expected="a directory for versioned=True",
                received=f"versioned=True, {self.directory!r}",
                fix=f"callbacks.ExportPiece({os.path.splitext(self.directory)[0]!r}, versioned=True)",
            )
        if self.include_optimizer and not self._is_file:
            raise ExportError(
                "A SavedModel never holds the optimizer.",
                expected="a path that ends in .keras or .h5",
                received=f"include_optimizer=True, {self.directory!r}",
                fix=f"callbacks.ExportPiece({self.directory + '.keras'!r}, include_optimizer=True)",
            )

    @property
    def _is_file(self) -> bool:
        return self.directory.endswith(save.SUFFIXES)

    def _find_targets(self) -> dict[str, Any]:
        piece: Any = self.model if self.layer is None else self._find_layer(self.layer)
        if self.inputs is not None or self.outputs is not None:
            piece = cut.cut(piece, self.inputs, self.outputs)
        if not self._is_file:
            return {self._folder: piece}
        folder, name = os.path.split(self.directory)
        return {os.path.join(folder, *self._state.trial, name): piece}

    def _find_layer(self, name: Any) -> Any:
        """The layer of a name or path."""
        if not isinstance(name, str):
            raise ExportError("layer names no layer.", expected="a name or path", received=name, fix='layer="encoder"')
        layers = {path: each for path, each in _paths(self.model) if f"/{path}".endswith(f"/{name}")}
        if len({id(each) for each in layers.values()}) == 1:
            return next(iter(layers.values()))
        paths = list(layers) or [path for path, _ in _paths(self.model)]
        raise ExportError(
            "Several layers have that name." if layers else "The model has no layer of that name.",
            expected=f"one of {paths}",
            received=f"layer={name!r}",
            fix=f"callbacks.ExportPiece({self.directory!r}, layer={words.nearest(name, paths)!r})",
        )

    def _check_target(self, destination: str, target: Any) -> None:
        if not self._is_file:
            super()._check_target(destination, target)
            if not isinstance(target, HubLayer):
                if keras.backend.backend() != "tensorflow":
                    export_lib.make_export(target)  # which refuses what another process cannot make again
                keras_export.check_names(target)
        elif not isinstance(target, keras.Model):
            raise ExportError(
                "Only a model can be saved to a Keras file.",
                expected="a keras.Model",
                received=f"{type(target).__name__} {target.name!r}",
                fix=f"callbacks.ExportPiece({os.path.splitext(self.directory)[0]!r}, layer={self.layer!r})",
            )
        else:
            destinations.check_scheme(destination, "khl.save(model, {})")
            if not destinations.is_remote(destination):
                self._by_chief(lambda: destinations.check_writable(os.path.dirname(destination) or ".", destination))

    def _write_here(self, destination: str, target: Any) -> str:
        if not self._is_file:
            return super()._write_here(destination, target)
        broken = [weight.path for weight in target.variables if not verification.is_finite(weight)]
        if broken:
            raise verification.refuse_values(broken)
        return save.write_here(target, destination, self.include_optimizer)


def _paths(layer: Any, above: str = "") -> Iterator[tuple[str, Any]]:
    """(path of names, layer) of every layer inside a model, at any depth; a shared one under each of its paths."""
    for inner in getattr(layer, "layers", ()):
        path = f"{above}/{inner.name}" if above else inner.name
        yield path, inner
        yield from _paths(inner, path)
