"""A readable table: the same characters on paper, on a terminal and in a notebook; colours only where they help."""

import html
import textwrap
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

WIDTH = 80


_RICH = {"label": "bold", "good": "green", "bad": "bold red", "warn": "yellow", "code": "cyan", "quiet": "dim"}


_CSS = {
    "label": "font-weight:bold",
    "good": "color:#188038",
    "bad": "color:#c5221f;font-weight:bold",
    "warn": "color:#b06000",
    "code": "color:#1967d2",
    "quiet": "opacity:0.6",
}


@dataclass(frozen=True)
class Row:
    """A label and the lines beside it.

    Attributes:
        label: What stands on the left; `""` for more of the row above.
        lines: What stands on the right; none for an empty line.
        style: `""`, `"good"`, `"bad"`, `"warn"`, `"code"`, `"quiet"` or `"label"`.
    """

    label: str
    lines: tuple[str, ...] = ()
    style: str = ""


class Table:
    """Rows with their labels in one column.

    Args:
        rows: Iterable of `Row`.
    """

    def __init__(self, rows: Iterable[Row]) -> None:
        self.rows = tuple(rows)

    def segments(self) -> list[tuple[str, str]]:
        """The text in pieces of one style each."""
        indent = max((len(row.label) for row in self.rows), default=0) + 2
        found: list[tuple[str, str]] = []
        for row in self.rows:
            label = row.label
            for line in row.lines or ("",):
                found.append((label.ljust(indent) if line else label, "label" if label else ""))
                found += [(line, row.style), ("\n", "")]
                label = ""
        return found[:-1]

    def __str__(self) -> str:
        return "\n".join(line.rstrip() for line in "".join(text for text, _ in self.segments()).split("\n"))

    def rich(self) -> Any:
        """The same as a `rich.text.Text`."""
        from rich.text import Text

        text = Text(no_wrap=True)
        for part, style in self.segments():
            text.append(part, _RICH.get(style, ""))
        return text

    def html(self) -> str:
        """The same as HTML, for notebooks."""
        parts = [
            f'<span style="{_CSS[style]}">{html.escape(text)}</span>' if style in _CSS else html.escape(text)
            for text, style in self.segments()
        ]
        return f'<pre style="line-height:1.3">{"".join(parts)}</pre>'


def wrap(text: str, width: int, indent: str = "") -> tuple[str, ...]:
    """A sentence in lines; words stay whole.

    Args:
        text: The sentence.
        width: Characters in a line.
        indent: What the second and further lines begin with. Defaults to `""`.
    """
    lines = textwrap.wrap(text, width, break_long_words=False, break_on_hyphens=False, subsequent_indent=indent)
    return tuple(lines) or ("",)


def wrap_line(line: str, width: int) -> tuple[str, ...]:
    """A line in lines of at most so many characters, each indented as it is; words stay whole, and so does a line
    that fits."""
    if len(line) <= width:
        return (line,)
    indent = line[: len(line) - len(line.lstrip())]
    return tuple(indent + part for part in wrap(line.strip(), width - len(indent)))


def align_columns(rows: Sequence[Sequence[str]], left: int = 1) -> tuple[str, ...]:
    """Cells in columns.

    Args:
        rows: Equally many `str` each.
        left: How many columns stand to the left; the others stand to the right. Defaults to 1.
    """
    widths = [max(len(row[place]) for row in rows) for place in range(len(rows[0]))]
    return tuple(
        "  ".join(
            cell.ljust(width) if place < left else cell.rjust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    )


def fold(lines: Sequence[str], limit: int, more: str) -> tuple[str, ...]:
    """The first and last of many lines, with a line between them that says how many are left out.

    Args:
        lines: The lines.
        limit: How many lines there may be.
        more: Words for what is left out, such as `"more groups"`.
    """
    if len(lines) <= limit:
        return tuple(lines)
    tail = (limit - 1) // 3
    head = limit - 1 - tail
    return (*lines[:head], f"… {len(lines) - head - tail} {more}", *lines[len(lines) - tail :])
