"""Small pieces of English for messages: counts, sizes, lists that are cut short, the nearest of some names."""

import difflib
from collections.abc import Sequence
from typing import Any

__all__ = ["closest"]


def listed(names: list[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")


def closest(name: str, names: Sequence[str]) -> str:
    """The most similar of some names; `"loss"` if there is none."""
    return (difflib.get_close_matches(name, names, 1, 0.0) or ["loss"])[0]


def flag_meant(value: Any) -> bool:
    """The bool that a text or a number was meant for: `"False"`, `"no"`, `"0"` and zero are false."""
    return str(value).strip().lower() not in ("false", "no", "off", "0", "0.0", "none", "")


def nearest(name: str, names: Sequence[str], cutoff: float = 0.0) -> str | None:
    """The name that is spelt most like the one given; `None` if none is near enough."""
    return next(iter(difflib.get_close_matches(str(name), list(map(str, names)), 1, cutoff)), None)


def readable(size: float) -> str:
    """A size in bytes, in words."""
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} TB"


def counted(number: int, word: str) -> str:
    """`"1 variable"`, `"2 variables"`."""
    return f"{number:,} {word}{'' if number == 1 else 's'}"


def shortened(text: str, limit: int) -> str:
    """A text of at most so many characters; its middle may be left out."""
    return text if len(text) <= limit else f"{text[: limit * 2 // 3]} … {text[-limit // 3 :]}"
