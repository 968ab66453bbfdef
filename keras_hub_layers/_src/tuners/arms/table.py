"""The table of a search's arms: how often each was tried, and its best score."""

import sys
from typing import Any

from keras_hub_layers._src.text import tables
from keras_hub_layers._src.text.notebooks import in_notebook
from keras_hub_layers._src.tuners.arms.coverage import arms_of, holds

__all__ = ["describe_arm", "print_table"]


def print_table(tuner: Any, verbose: Any = "auto") -> None:
    """Print a row for each arm, the best first; nothing with `verbose=0`, or by default where nobody looks on.

    Args:
        tuner: A tuner that has searched.
        verbose: As `fit` takes it. Defaults to `"auto"`: on terminals and in notebooks.
    """
    is_watched = verbose not in ("auto", None) or sys.stdout.isatty() or in_notebook()
    lines = _lines(tuner) if verbose != 0 and is_watched else []
    if lines:
        sys.stdout.write("\n".join(lines) + "\n")


def _lines(tuner: Any) -> list[str]:
    arms = arms_of(tuner)
    objective = tuner.oracle.objective
    if len(arms) < 2 or not hasattr(objective, "direction"):
        return []
    rows = []
    for arm in arms:
        trials = [trial for trial in tuner.oracle.trials.values() if holds(trial.hyperparameters.values, arm)]
        scores = [trial.score for trial in trials if trial.status == "COMPLETED" and trial.score is not None]
        best = (max if objective.direction == "max" else min)(scores) if scores else None
        rows.append((best, describe_arm(arm, arms), len(trials)))
    sign = -1 if objective.direction == "max" else 1
    rows.sort(key=lambda row: (row[0] is None, sign * (row[0] or 0.0)))
    cells = [(words, str(count), _score(best, count)) for best, words, count in rows]
    return list(tables.align_columns([("arm", "trials", f"best {objective.name}"), *cells]))


def describe_arm(arm: dict[str, Any], arms: list[dict[str, Any]]) -> str:
    """An arm by what tells it from the others."""
    same = {name for name in arm if len({str(other[name]) for other in arms if name in other}) == 1}
    return ", ".join(f"{name}={value}" for name, value in arm.items() if name not in same)


def _score(best: float | None, count: int) -> str:
    return f"{best:.6g}" if best is not None else "failed" if count else "not tried"
