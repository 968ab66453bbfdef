"""The arguments of a layer, in the form that its config has."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from keras_hub_layers._src.inspect import code
from keras_hub_layers._src.savedmodel import load_options
from keras_hub_layers.errors import InterfaceError


@dataclass(frozen=True, eq=False)
class Settings:
    """The arguments of a layer, as they go into its config.

    Attributes: as the arguments of `layers.HubLayer`.
    """

    handle: Any
    arguments: Mapping[str, Any]
    tags: Any
    signature: str | None
    signature_outputs_as_dict: bool | None
    output_key: str | None
    output_shape: Any
    piece: str | None
    load_options: Any
    sha256: str | None
    optimize: bool | str
    jit: bool
    execution: str | None = None

    def line(self, **changes: Any) -> str:
        """The line of code that makes the layer, with some arguments changed; `None` leaves one out."""
        return code.line(**{"handle": self.handle, "trainable": None, "unfreeze": None, **self._values(), **changes})

    def config(self) -> dict[str, Any]:
        """The arguments after the handle that were given, as JSON values."""
        values = self._values()
        if values["tags"] is not None and not isinstance(values["tags"], str):
            values["tags"] = list(values["tags"])
        return {name: value for name, value in values.items() if value is not None}

    def _values(self) -> dict[str, Any]:
        values = {field.name: getattr(self, field.name) for field in fields(self) if field.name != "handle"}
        values["arguments"], values["jit"] = dict(self.arguments) or None, self.jit or None
        values["optimize"] = None if self.optimize == "auto" else self.optimize
        values["load_options"] = load_options.options_config(self.load_options)
        return values


def check_optimize(optimize: Any) -> bool | str:
    """The `optimize` of a layer.

    Raises:
        errors.InterfaceError: It is none of the three values.
    """
    if optimize == "auto" or isinstance(optimize, bool):
        return optimize
    raise InterfaceError(
        "optimize has an unknown value.",
        expected='"auto", True or False',
        received=f"optimize={optimize!r}",
        fix='optimize="auto"',
    )


def plain_arguments(arguments: Any) -> dict[str, Any]:
    """The `arguments` of a layer as a dict of JSON values.

    Raises:
        errors.InterfaceError: They are no dict.
    """
    if arguments is None or isinstance(arguments, Mapping):
        return {str(name): _plain(value) for name, value in (arguments or {}).items()}
    raise InterfaceError(
        "arguments is not a dict.",
        expected="a dict of keyword arguments of the SavedModel's function",
        received=f"arguments={arguments!r}",
        fix='arguments={"training": False}',
    )


def _plain(value: Any) -> Any:
    """NumPy's scalars as Python's, for JSON."""
    return value.item() if type(value).__module__ == "numpy" and hasattr(value, "item") and value.ndim == 0 else value


def patterns_of(patterns: Any) -> tuple[str, ...] | None:
    """The `unfreeze` of a layer as a tuple of texts; one pattern, text or compiled, stands for a list of it."""
    if patterns is None:
        return None
    several = patterns if isinstance(patterns, (list, tuple)) else [patterns]
    return tuple(getattr(pattern, "pattern", pattern) for pattern in several)


def plain_shapes(shapes: Any) -> Any:
    """Shapes as lists, dicts, ints and `None`, for JSON.

    Raises:
        errors.InterfaceError: They are no shapes.
    """
    if shapes is None or (hasattr(shapes, "__index__") and not getattr(shapes, "ndim", 0)):
        return None if shapes is None else int(shapes)
    if isinstance(shapes, Mapping):
        return {key: plain_shapes(shape) for key, shape in shapes.items()}
    try:
        if isinstance(shapes, (str, bytes)):
            raise TypeError("text")
        return [plain_shapes(shape) for shape in shapes]
    except (TypeError, ValueError) as err:
        raise InterfaceError(
            "output_shape is no shape.",
            expected="a shape without the batch axis, or a list or dict of shapes as the outputs are structured",
            received=f"output_shape={shapes!r}",
            fix="output_shape=(128,)",
        ) from err
