"""plot_history(history): the curves of a `fit`, with a mark where the training of other weights began."""

from collections.abc import Mapping, Sequence
from typing import Any

from keras_hub_layers._src.plots.axes import new_axes
from keras_hub_layers._src.public import public
from keras_hub_layers._src.text.words import nearest
from keras_hub_layers.errors import TrainingError

__all__ = ["plot_history"]


@public("finetuning")
def plot_history(history: Any, metrics: Sequence[str] | None = None, *, axes: Any = None, as_text: bool = False) -> Any:
    """Draw the curves of a `fit`: for each metric, the training curve and the validation curve, by epoch.

    A vertical line shows where `finetuning.fine_tune` or `callbacks.Unfreeze` changed what is trained. Its label gives
    the trained part and the learning rate.

    Args:
        history: The history that `fit` and `finetuning.fine_tune` return, or a dict: name -> list of floats.
        metrics: Names of the metrics to draw, without `val_`. Each gets axes of its own. Defaults to `None`: all of
            them. If there is `data_loss`, `loss` is left out, because the parts of `loss` change with what is trained.
        axes: Axes of matplotlib, one for each metric. Defaults to `None`: those of a new figure.
        as_text: Whether to return a table as text instead, which does not need matplotlib. Defaults to `False`.

    Returns:
        A `list` of `matplotlib.axes.Axes`: `axes[0].figure.savefig("curves.png")`. With `as_text=True`, a `str`.

    Raises:
        errors.MissingPackageError: matplotlib is not installed.
        errors.TrainingError: There is nothing to draw, or no such metric.

    Example:

    ```python
    from keras_hub_layers import finetuning

    history = finetuning.fine_tune(model, (images, labels), epochs=5, validation_split=0.1)
    finetuning.plot_history(history)
    ```
    """
    logs = history if isinstance(history, Mapping) else getattr(history, "history", None)
    if not isinstance(logs, Mapping) or not logs:
        raise _nothing_to_draw(history)
    names = _metrics(logs, metrics)
    phases = getattr(history, "phases", [])
    if as_text:
        return _table(logs, names, phases)
    drawn = new_axes(len(names), axes)
    for name, ax in zip(names, drawn, strict=True):
        _draw(ax, name, logs, phases)
    return drawn


def _metrics(logs: Mapping[str, Any], wanted: Sequence[str] | None) -> list[str]:
    there = [name for name in logs if not name.startswith("val_")]
    if wanted is None:
        return [name for name in there if name not in ("loss", "learning_rate") or "data_loss" not in logs] or there
    for name in wanted:
        if name not in there:
            close = nearest(name, there) or there[0]
            raise TrainingError(
                "The history has no such metric.",
                expected=f"of {there}",
                received=repr(name),
                fix=f"finetuning.plot_history(history, metrics=[{close!r}])",
            )
    return list(wanted)


def _draw(ax: Any, name: str, logs: Mapping[str, Any], phases: Sequence[Mapping[str, Any]]) -> None:
    for label, key, style in (("training", name, "o-"), ("validation", f"val_{name}", "s--")):
        if key in logs:
            ax.plot(range(1, len(logs[key]) + 1), logs[key], style, label=label, markersize=4)
    for phase in phases:
        if phase["epoch"]:  # what begins with the first epoch needs no mark
            ax.axvline(phase["epoch"] + 0.5, color="gray", linestyle=":", linewidth=1)
            ax.annotate(
                _describe(phase),
                (phase["epoch"] + 0.5, 1.0),
                xycoords=("data", "axes fraction"),
                xytext=(3, -3),
                textcoords="offset points",
                rotation=90,
                verticalalignment="top",
                fontsize="x-small",
                color="gray",
            )
    ax.set(title=name, xlabel="epoch")
    ax.xaxis.get_major_locator().set_params(integer=True)
    ax.legend()


def _describe(phase: Mapping[str, Any]) -> str:
    trained = "frozen" if phase["which"] is None else f"trains {phase['which']!r}"
    return f"{trained}, rate {phase['learning_rate']:.2g}"


def _table(logs: Mapping[str, Any], names: Sequence[str], phases: Sequence[Mapping[str, Any]]) -> str:
    keys = [key for name in names for key in (name, f"val_{name}") if key in logs]
    texts = {phase["epoch"]: _describe(phase) for phase in phases}
    rows = [["epoch", *keys, "from here on" if texts else ""]]
    for epoch in range(max(len(logs[key]) for key in keys)):
        values = [f"{logs[key][epoch]:.4g}" if epoch < len(logs[key]) else "" for key in keys]
        rows.append([f"{epoch + 1}", *values, texts.get(epoch, "")])
    widths = [max(len(row[column]) for row in rows) for column in range(len(keys) + 1)]
    lines = [[cell.rjust(width) for cell, width in zip(row, widths, strict=False)] + row[-1:] for row in rows]
    return "\n".join("  ".join(line).rstrip() for line in lines)


def _nothing_to_draw(history: Any) -> TrainingError:
    return TrainingError(
        "There is nothing to draw.",
        expected="the History of a fit of at least one epoch, or a dict such as {'loss': [0.9, 0.5]}",
        received=f"{type(history).__name__}, without values",
        fix="history = model.fit(x, y, epochs=2)\nfinetuning.plot_history(history)",
    )
