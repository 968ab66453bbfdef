"""Finding: one thing that `doctor` looked at, what it saw, and the line that mends it."""

import re
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

from keras_hub_layers._src.text import tables, words
from keras_hub_layers.errors import HubError

OK, WARNING, PROBLEM = "ok", "warning", "problem"


_STYLES = {OK: "good", WARNING: "warn", PROBLEM: "bad"}


# What Keras and TensorFlow write around the reason of an error.
_NOISE = re.compile(
    r"\s*(File \"|Exception encountered|Graph execution error|Detected at node|Arguments received by|<stack traces"
    r"|• |\[\[\{\{|\[Op:|$)"
)


@dataclass(frozen=True)
class Finding:
    """What was seen.

    Attributes:
        topic: What was looked at, in one or two words.
        level: `"ok"`, `"warning"` (it may matter) or `"problem"` (it will not work).
        text: What was seen, one sentence or more.
        fix: Lines to paste; `""` where nothing needs to be done.
    """

    topic: str
    level: str
    text: str
    fix: str = ""


def of_error(error: BaseException, topic: str, level: str = PROBLEM) -> Finding:
    """A finding from an error.

    Args:
        error: One of this package, or any other.
        topic: What was looked at.
        level: Defaults to `"problem"`.
    """
    if isinstance(error, HubError):
        parts = {"Expected": error.expected, "Received": error.received, "Where": error.where}
        given = [f"{title}: {text}" for title, text in parts.items() if text is not None]
        return Finding(topic, level, "\n".join([error.problem, *given]), error.fix or "")
    plain = re.sub(r"\x1b\[[0-9;]*m", "", str(error))
    lines = [line.strip() for line in plain.splitlines() if not _NOISE.match(line)]
    return Finding(topic, level, words.shorten(f"{type(error).__name__}: " + "\n".join(lines), 1000))


def has_problem(findings: Iterable[Finding]) -> bool:
    """Whether anything will not work."""
    return any(finding.level == PROBLEM for finding in findings)


def to_dicts(findings: Iterable[Finding]) -> list[dict[str, Any]]:
    """The findings for JSON."""
    return [asdict(finding) for finding in findings]


def table(findings: Iterable[Finding], topics: Iterable[str] = (), width: int = tables.WIDTH) -> tables.Table:
    """The findings as a table: level and topic on the left, text and fix on the right.

    Args:
        findings: What was found, or a part of it.
        topics: Topics of other parts, which have their column at the same place. Defaults to none.
        width: Columns that the text may take; a fix keeps its lines. Defaults to 80.
    """
    listed = list(findings)
    room = max((len(topic) for topic in topics), default=0)
    labels = [f"{finding.level:<7}  {finding.topic:<{room}}" for finding in listed]
    width -= 2 + max((len(label) for label in labels), default=0)
    rows = []
    for label, finding in zip(labels, listed, strict=True):
        lines = [row for line in finding.text.splitlines() for row in tables.wrap(line, width)]
        rows.append(tables.Row(label, tuple(lines), _STYLES[finding.level]))
        if finding.fix:
            rows.append(tables.Row("", tuple(finding.fix.splitlines()), "code"))
    return tables.Table(rows)


def summary(findings: Iterable[Finding]) -> str:
    """How many problems and warnings there are."""
    levels = [finding.level for finding in findings]
    counts = [words.format_count(levels.count(level), level) for level in (PROBLEM, WARNING)]
    return ", ".join(re.sub("^0 ", "no ", count) for count in counts)
