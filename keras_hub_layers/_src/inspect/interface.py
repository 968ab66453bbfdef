"""`Interface`: what a SavedModel offers, as pure data."""

import dataclasses
from dataclasses import dataclass
from typing import Any

from keras_hub_layers._src.inspect import table
from keras_hub_layers._src.inspect.records import Extent, GroupInfo, Requirement, SignatureInfo, TraceInfo, VariableInfo
from keras_hub_layers._src.public import public

__all__ = ["Interface"]


@public("interface")
@dataclass(frozen=True)
class Interface:
    """What a SavedModel offers. Comparable and picklable; `str()` gives a table, `to_dict()` JSON.

    Attributes:
        handle: The handle as given, without passwords; `""` for an object that was not loaded from one.
        format: `"reusable"`, `"signatures"`, `"tf1"`, `"tf1_hub"` or `"empty"`.
        producer: The program that wrote it, `"keras2"`, `"keras2_layers"` (TensorFlow code with Keras 2 layers inside),
            `"keras3"`, `"keras3_export"`, `"keras_hub_layers"`, `"tensorflow"`, `"tf1"`, `"tf1_hub"`; `""` if unknown.
        tf_version: The TensorFlow that wrote it; `""` if unknown.
        tags: The tags of its graph; empty for an object that was not loaded from a handle.
        callable: Whether the object itself can be called with one input.
        accepts_training: Whether its function has a `training` argument.
        training_modes: The values of `training` that were traced, a tuple of `bool`.
        traces: Tuple of `TraceInfo`.
        signatures: Name to `SignatureInfo`.
        variables: Tuple of `VariableInfo`.
        groups: Tuple of `GroupInfo`, from the input to the output.
        sizes: `"all"`, `"published"` and `"trainable"`, each to an `Extent`. Of the trainable ones those count that a
            gradient reaches.
        regularization_losses: Number of published losses.
        pieces: Names of the named callables.
        piece_traces: Where the object itself cannot be called: name of each piece to a tuple of `TraceInfo`.
        assets: File names of the assets.
        string_inputs: Whether any input takes strings; where the object itself cannot be called, of its pieces too.
        missing_ops: Names of ops that the running TensorFlow does not have.
        missing_files: Names of files that the graph needs and that are not there.
        python_ops: Names of ops that run Python code (`tf.numpy_function`, `tf.py_function`), which works only in the
            process that saved the SavedModel.
        requires: Tuple of `Requirement`: packages to import before loading, whether or not they are installed.
        pixel_range: The values that it takes for pixels, as far as its graph says it: `"0 to 255"` where it divides by
            such numbers itself, `"0 to 1, or -1 to 1"` where its first weights meet the pixels as they are; else `""`.
        jit: Whether XLA can compile what the object computes: `"no: "` and what hinders it, or `"unknown"`: only a
            trial shows that it can, which `HubLayer(handle, jit=True)` makes.
        fine_tunable: Whether `HubLayer(handle, trainable=True)` trains it.
        reason: Why, or why not.
        code: A line to paste, or in brackets why there is none.
        arguments: The arguments of `HubLayer` after the handle in `code`; `None` where there is no line.
        fine_tuning_code: A line that fine-tunes it, or a piece of it, or some of its variables; `""` where none does.
    """

    handle: str
    format: str
    producer: str
    tf_version: str
    tags: tuple[str, ...]
    callable: bool
    accepts_training: bool
    training_modes: tuple[bool, ...]
    traces: tuple[TraceInfo, ...]
    signatures: dict[str, SignatureInfo]
    variables: tuple[VariableInfo, ...]
    groups: tuple[GroupInfo, ...]
    sizes: dict[str, Extent]
    regularization_losses: int
    pieces: tuple[str, ...]
    piece_traces: dict[str, tuple[TraceInfo, ...]]
    assets: tuple[str, ...]
    string_inputs: bool
    missing_ops: tuple[str, ...]
    missing_files: tuple[str, ...]
    python_ops: tuple[str, ...]
    requires: tuple[Requirement, ...]
    pixel_range: str
    jit: str
    fine_tunable: bool
    reason: str
    code: str
    arguments: dict[str, Any] | None
    fine_tuning_code: str

    def to_dict(self) -> dict[str, Any]:
        """The same as plain dicts, lists and scalars, for JSON."""
        return _plain(dataclasses.asdict(self))

    def __str__(self) -> str:
        return str(table.table(self))

    def __rich__(self) -> Any:
        return table.table(self).rich()

    def _repr_html_(self) -> str:
        return table.table(self).html()


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _plain(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(entry) for entry in value]
    return value if isinstance(value, (int, float, type(None))) else str(value)
