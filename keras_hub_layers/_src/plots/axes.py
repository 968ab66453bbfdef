"""Axes of matplotlib. It is optional, so it is imported when the first picture is drawn."""

from collections.abc import Sequence
from typing import Any

from keras_hub_layers.errors import MissingPackageError, TrainingError

__all__ = ["new_axes"]


def new_axes(
    count: int, given: Any = None, *, columns: int | None = None, size: tuple[float, float] = (4.8, 3.6)
) -> list[Any]:
    """Axes to draw in.

    Args:
        count: How many are needed.
        given: Axes of the user, one or a sequence. Defaults to `None`: those of a new figure.
        columns: The number of columns. Defaults to `None`: all axes are in one row.
        size: Width and height of each in inches.
    """
    if given is None:
        try:
            from matplotlib import pyplot
        except ImportError as err:
            raise MissingPackageError(
                "A picture needs matplotlib.",
                expected="the package matplotlib, or as_text=True for a table without it",
                received=f"{type(err).__name__}: {err}",
                fix='pip install "keras-hub-layers[plots]"',
            ) from err
        columns = columns or count
        rows = -(-count // columns)
        shape = (size[0] * columns, size[1] * rows)
        _, grid = pyplot.subplots(rows, columns, figsize=shape, squeeze=False, layout="constrained")
        return list(grid.flat)[:count]
    axes = list(given) if isinstance(given, Sequence) or hasattr(given, "flat") else [given]
    if len(axes) != count:
        raise TrainingError(
            "There are more or fewer axes than there are curves to draw.",
            expected=f"{count} axes",
            received=f"{len(axes)}",
            fix=f"_, axes = matplotlib.pyplot.subplots(1, {count})",
        )
    return axes
