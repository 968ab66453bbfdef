"""Small pieces of English for messages: counts, sizes, lists that are cut short, the nearest of some names."""

import difflib
from collections.abc import Iterable, Sequence
from typing import Any


def join_names(names: Sequence[str], limit: int = 5) -> str:
    """Names with commas between them; of many only the first, and how many more there are."""
    return ", ".join(names[:limit]) + (f" and {len(names) - limit} more" if len(names) > limit else "")


def nearest_names(name: object, names: Iterable[str], limit: int = 1, cutoff: float = 0.0) -> list[str]:
    """The names that are spelt most like the one given, the nearest first.

    Args:
        name: The name that was given.
        names: The names that there are.
        limit: How many are wanted at most. Defaults to 1.
        cutoff: How alike they must be, from 0 to 1. Defaults to 0: any will do.
    """
    return difflib.get_close_matches(str(name), list(map(str, names)), limit, cutoff)


def nearest(name: object, names: Iterable[str], cutoff: float = 0.0) -> str | None:
    """The name that is spelt most like the one given; `None` if none is near enough."""
    return next(iter(nearest_names(name, names, 1, cutoff)), None)


def flag_meant(value: Any) -> bool:
    """The bool that a text or a number was meant for: `"False"`, `"no"`, `"0"` and zero are false."""
    return str(value).strip().lower() not in ("false", "no", "off", "0", "0.0", "none", "")


def ending(path: str) -> str:
    """The last two names in a path or URL: enough to tell one model from another."""
    return "/".join(path.rstrip("/").replace("\\", "/").split("/")[-2:])


def readable(size: float) -> str:
    """A size in bytes, in words."""
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} TB"


def format_count(number: int, word: str) -> str:
    """`"1 variable"`, `"2 variables"`."""
    return f"{number:,} {word}{'' if number == 1 else 's'}"


def shorten(text: str, limit: int) -> str:
    """A text of at most so many characters; its middle may be left out."""
    return text if len(text) <= limit else f"{text[: limit * 2 // 3]} … {text[-limit // 3 :]}"
