"""Picture: a SavedModel as inputs, groups of variables, outputs and losses; and the same as a table."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from keras_hub_layers._src.inspect.table import entries
from keras_hub_layers._src.text import tables
from keras_hub_layers._src.text.tables import Row

__all__ = ["Box", "Picture", "of_interface", "text"]


_BAR = 20  # characters of the largest group's bar


@dataclass(frozen=True)
class Box:
    """A group of variables: its name, the number of values in it, and of those that are trained, or can be."""

    name: str
    parameters: int
    trained: int


@dataclass(frozen=True)
class Picture:
    """What is drawn.

    Attributes:
        title: What it is a picture of.
        inputs: The inputs, one a line.
        boxes: The groups, from the input to the output.
        outputs: The outputs, one a line.
        losses: Number of published losses.
        verb: What `Box.trained` counts: `"trained"` or `"trainable"`.
    """

    title: str
    inputs: tuple[str, ...]
    boxes: tuple[Box, ...]
    outputs: tuple[str, ...]
    losses: int
    verb: str = "trained"


def of_interface(interface: Any, signature: str | None = None) -> Picture:
    """The picture of an `Interface`, with what can be trained.

    Args:
        interface: The `Interface`.
        signature: The signature that is called. Defaults to `None`: the object itself, where it can be called.
    """
    calls = [interface.signatures[signature]] if signature else interface.traces or [*interface.signatures.values()]
    inputs, outputs = (calls[0].inputs, calls[0].outputs) if calls else ({}, {})
    return Picture(
        title=interface.handle or "an object in this process",
        inputs=tuple(entries(inputs)),
        boxes=tuple(Box(group.name, group.parameters, group.trainable) for group in interface.groups),
        outputs=tuple(entries(outputs)),
        losses=interface.regularization_losses,
        verb="trainable",
    )


def folded(boxes: tuple[Box, ...], limit: int = 30) -> tuple[Box, ...]:
    """Boxes of which those in the middle are one, where there are more than a limit."""
    if len(boxes) <= limit:
        return boxes
    head, tail = limit * 2 // 3, limit - 1 - limit * 2 // 3
    middle = boxes[head : len(boxes) - tail]
    box = Box(f"… {len(middle)} groups", sum(b.parameters for b in middle), sum(b.trained for b in middle))
    return (*boxes[:head], box, *boxes[len(boxes) - tail :])


def describe(box: Box, verb: str) -> str:
    """How much of a group is trained, in words."""
    if not box.trained:
        return "frozen" if verb == "trained" else f"not {verb}"
    return verb if box.trained == box.parameters else f"{box.trained:,} {verb}"


def text(picture: Picture) -> tables.Table:
    """The picture as a table: a bar for each group, filled where it is trained."""
    return tables.Table(rows(picture))


def rows(picture: Picture) -> Iterator[Row]:
    """The rows of the table, for a larger one."""
    boxes = folded(picture.boxes)
    yield Row("inputs", picture.inputs or ("none",))
    largest = max((box.parameters for box in boxes), default=0) or 1
    room = len(f"{largest:,}")
    for box in boxes:
        line = f"{_bar(box, largest):<{_BAR}}  {box.parameters:>{room},}  {describe(box, picture.verb)}"
        yield Row(box.name, (line,), "good" if box.trained else "quiet")
    yield Row("outputs", picture.outputs or ("none",))
    yield Row("losses", (f"{picture.losses} for regularization" if picture.losses else "none",))


def _bar(box: Box, largest: int) -> str:
    length = max(round(_BAR * box.parameters / largest), 1)
    filled = round(length * box.trained / box.parameters) if box.parameters else 0
    return "█" * filled + "░" * (length - filled)
