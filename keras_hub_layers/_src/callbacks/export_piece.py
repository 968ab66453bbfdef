"""ExportPiece: export the Keras model, or a piece of it, at the end of `fit`."""

import os
from collections.abc import Iterator
from typing import Any, ClassVar

import keras

from keras_hub_layers._src.callbacks.export_at_end import ExportAtEnd
from keras_hub_layers._src.cut import cut
from keras_hub_layers._src.export import destinations, export, save, targets
from keras_hub_layers._src.export import plan as plan_lib
from keras_hub_layers._src.public import public
from keras_hub_layers._src.text.words import nearest
from keras_hub_layers.errors import ExportError

__all__ = ["ExportPiece"]


@public("callbacks")
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
        return self.directory.endswith(save.SUFFIXES)

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
            piece = cut.cut(piece, self.inputs, self.outputs)
        if not self._is_file:
            self._check_destination(self._destination)
        elif not isinstance(piece, keras.Model):
            raise self._problem(
                "Only a model can be saved to a Keras file.", "a keras.Model", f"{type(piece).__name__} {piece.name!r}",
                f"ExportPiece({os.path.splitext(self.directory)[0]!r}, layer={self.layer!r})   # a SavedModel",
            )  # fmt: skip
        elif not destinations.is_remote(self._destination):
            destinations.check_writable(os.path.dirname(self._destination) or ".", self._destination)
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
            f"ExportPiece({self.directory!r}, layer={nearest(self.layer, names)!r})",
        )  # fmt: skip

    def _exported_variables(self) -> list[Any]:
        piece: Any = self._piece
        return list(piece.variables)

    def _make_plans(self) -> Iterator[tuple[str, plan_lib.Plan]]:
        if self._piece is None:
            self._check_targets()
        piece: Any = self._piece
        if self._is_file:
            yield (
                self._destination,
                plan_lib.Plan(
                    write=lambda path: None,
                    verify=lambda path: None,
                    variables=lambda: [variable.value for variable in self._exported_variables()],
                    facts=None,
                    where=f"{type(piece).__name__} {piece.name!r}",
                ),
            )
        else:
            yield self._destination, targets.plan(piece)

    def _write(self, plan: plan_lib.Plan, destination: str) -> str:
        if not self._is_file:
            return super()._write(plan, destination)
        if export.is_chief(plan.variables()):
            save.save(self._piece, destination, self.include_optimizer)
        return destination

    def _problem(self, text: str, expected: str, received: str, fix: str) -> ExportError:
        return ExportError(text, expected=expected, received=received, where=self._where, fix=fix)


def _paths(layer: Any, above: str = "") -> Iterator[tuple[str, Any]]:
    """(path of names, layer) of every layer inside a model, at any depth; a shared one under each of its paths."""
    for part in getattr(layer, "layers", ()):
        path = f"{above}/{part.name}" if above else part.name
        yield path, part
        yield from _paths(part, path)
