"""plot_search(tuner): the score of each trial of a search, by arm."""

from typing import Any

from keras_hub_layers._src.plots.axes import new_axes
from keras_hub_layers._src.public import public
from keras_hub_layers._src.text import tables
from keras_hub_layers._src.tuners.arms.coverage import arms_of, holds
from keras_hub_layers._src.tuners.arms.table import describe_arm
from keras_hub_layers._src.tuners.preflight import brief
from keras_hub_layers.errors import TrainingError

__all__ = ["plot_search"]


@public("tuners")
def plot_search(tuner: Any, *, ax: Any = None, as_text: bool = False) -> Any:
    """Draw the score of each trial of a search in their order, a colour for each arm, and the best score so far.

    An arm is a SavedModel, frozen or tuned, at a depth. Trials that failed are marked at the lower edge.

    Args:
        tuner: A tuner of KerasTuner that has searched, also one that has loaded an earlier search.
        ax: Axes of matplotlib. Defaults to `None`: those of a new figure.
        as_text: Whether to return a table for reading instead, which needs no matplotlib. Defaults to `False`.

    Returns:
        The `matplotlib.axes.Axes`: `ax.figure.savefig("search.png")`. With `as_text=True`, a `str`.

    Raises:
        errors.MissingPackageError: matplotlib is not installed.
        errors.TrainingError: There are no trials yet.
    """
    trials, objective = list(tuner.oracle.trials.values()), tuner.oracle.objective
    if not trials:
        raise _nothing_to_draw()
    arms = arms_of(tuner)
    rows = [(_score(trial), _arm(trial, arms), trial) for trial in trials]
    best = _best_so_far([score for score, _, _ in rows], objective.direction)
    if as_text:
        return "\n".join(_lines(rows, best, objective.name))
    (drawn,) = new_axes(1, ax, size=(8.0, 3.6))
    _draw(drawn, rows, best, objective.name)
    return drawn


def _score(trial: Any) -> float | None:
    return trial.score if trial.status == "COMPLETED" else None


def _arm(trial: Any, arms: list[dict[str, Any]]) -> str:
    """The arm of a trial, in words; `""` where the search has none."""
    return next((describe_arm(arm, arms) for arm in arms if holds(trial.hyperparameters.values, arm)), "")


def _best_so_far(scores: list[float | None], direction: str) -> list[float | None]:
    choose = max if direction == "max" else min
    known = [[score for score in scores[: number + 1] if score is not None] for number in range(len(scores))]
    return [choose(before) if before else None for before in known]


def _draw(ax: Any, rows: list[Any], best: list[float | None], name: str) -> None:
    for arm in dict.fromkeys(arm for _, arm, _ in rows):
        points = [(n, score) for n, (score, other, _) in enumerate(rows, 1) if other == arm and score is not None]
        if points:
            ax.plot(*zip(*points, strict=True), "o", label=arm or "trials")
    failed = [number for number, (score, _, _) in enumerate(rows, 1) if score is None]
    if failed:
        ax.plot(failed, [0.02] * len(failed), "x", color="tab:red", transform=ax.get_xaxis_transform(), label="failed")
    steps = [(number, score) for number, score in enumerate(best, 1) if score is not None]
    if steps:
        ax.step(*zip(*steps, strict=True), where="post", color="gray", linewidth=1, label="best so far")
    ax.set(xlabel="trial", ylabel=name)
    ax.xaxis.get_major_locator().set_params(integer=True)
    ax.legend(fontsize="small", loc="upper left", bbox_to_anchor=(1.0, 1.0))  # many arms would cover the points


def _lines(rows: list[Any], best: list[float | None], name: str) -> list[str]:
    cells = [("trial", name, "best so far", "arm")]
    for (score, arm, trial), so_far in zip(rows, best, strict=True):
        said = _number(score) if score is not None else trial.status.lower()
        reason = f"  {brief(trial.message).splitlines()[0]}" if score is None and trial.message else ""
        cells.append((trial.trial_id, said, _number(so_far), arm + reason))
    lines = tables.align_columns([cell[:3] for cell in cells])
    return [f"{line}  {cell[3]}".rstrip() for line, cell in zip(lines, cells, strict=True)]


def _number(score: float | None) -> str:
    return "" if score is None else f"{score:.6g}"


def _nothing_to_draw() -> TrainingError:
    return TrainingError(
        "There is nothing to draw: the search has no trials yet.",
        expected="a tuner that has searched",
        received="0 trials",
        fix="tuners.search(tuner, x, y, epochs=5, validation_split=0.2)\ntuners.plot_search(tuner)",
    )
