"""draw_boxes(ax, picture): draw a SavedModel from its inputs to its outputs, with a box for each group of variables."""

from typing import Any

from keras_hub_layers._src.inspect.picture import Picture, folded
from keras_hub_layers._src.text import words

__all__ = ["draw_boxes", "height_of"]


_COLOURS = {True: "tab:orange", False: "lightsteelblue"}

_LINE = 0.28  # the height of a line in inches


def height_of(picture: Picture) -> float:
    """The height in inches that a picture needs."""
    lines = len(picture.inputs) + len(folded(picture.boxes)) + len(picture.outputs)
    return _LINE * (lines + 6)


def draw_boxes(ax: Any, picture: Picture) -> None:
    """Draw a picture. The width of a box shows the number of values in its group. The trained part has another colour.

    Args:
        ax: Axes of matplotlib.
        picture: The picture.
    """
    boxes = folded(picture.boxes)
    largest = max((box.parameters for box in boxes), default=0) or 1
    y = _write(ax, 0.0, picture.inputs or ("no inputs",))
    for box in boxes:
        y = _arrow(ax, y)
        width = max(1.6 * box.parameters / largest, 0.03)
        filled = width * box.trained / box.parameters if box.parameters else 0.0
        for left, part, is_trained in ((-width / 2, filled, True), (filled - width / 2, width - filled, False)):
            if part > 0:
                ax.barh(y - 0.4, part, 0.8, left=left, color=_COLOURS[is_trained])
        ax.text(-0.86, y - 0.4, box.name, ha="right", va="center", fontsize="small")
        of = f"{box.trained:,} of " if 0 < box.trained < box.parameters else ""
        ax.text(0.86, y - 0.4, f"{of}{box.parameters:,}", ha="left", va="center", fontsize="small")
        y -= 0.8
    y = _write(ax, _arrow(ax, y), picture.outputs or ("no outputs",))
    if picture.losses:
        y = _write(ax, y - 0.3, (f"+ {picture.losses} losses for regularization",), linestyle="--")
    other = "frozen" if picture.verb == "trained" else f"not {picture.verb}"
    for label, is_trained in ((picture.verb, True), (other, False)):
        ax.barh(0, 0, color=_COLOURS[is_trained], label=label)
    ax.legend(loc="upper center", bbox_to_anchor=(0.5, 0.0), ncols=2, frameon=False, fontsize="small")
    ax.set(title=words.shorten(picture.title, 60), xlim=(-1.6, 1.6), ylim=(y - 0.1, 0.1))
    ax.title.set(fontsize="medium", wrap=True)
    ax.set_axis_off()


def _write(ax: Any, y: float, lines: tuple[str, ...], linestyle: str = "-") -> float:
    """Draw lines of text in a frame below a place. Return the place below the frame."""
    height = 0.75 * len(lines) + 0.3
    frame = {"boxstyle": "round", "facecolor": "white", "edgecolor": "gray", "linestyle": linestyle}
    style = {"fontsize": "small", "family": "monospace"}
    ax.text(0, y - height / 2, "\n".join(lines), ha="center", va="center", bbox=frame, **style)
    return y - height


def _arrow(ax: Any, y: float) -> float:
    """Draw an arrow downwards from a place. Return the place that it points to."""
    ax.annotate("", (0, y - 0.5), (0, y), arrowprops={"arrowstyle": "-|>", "color": "gray", "shrinkA": 0, "shrinkB": 0})
    return y - 0.5
