"""LearningRates: the losses at rising learning rates, and the rate that they suggest."""

from dataclasses import dataclass, field
from typing import Any

from keras_hub_layers._src.plots.axes import new_axes
from keras_hub_layers._src.public import public

__all__ = ["LearningRates"]


@public("finetuning")
@dataclass(frozen=True)
class LearningRates:
    """The measurements of `finetuning.lr_find`. `float(...)` of it is the suggested rate.

    Attributes:
        rates: The learning rates that were tried, `float`s, rising.
        losses: The smoothed loss of the batch at each rate, `float`s. The list ends where the loss diverges.
        suggestion: The rate in the middle of the longest fall of the loss, a `float`.
    """

    rates: tuple[float, ...] = field(repr=False)
    losses: tuple[float, ...] = field(repr=False)
    suggestion: float

    def __float__(self) -> float:
        return self.suggestion

    def plot(self, ax: Any = None) -> Any:
        """Draw the loss by the learning rate, with a mark at the suggested rate. This needs matplotlib.

        Args:
            ax: Axes of matplotlib. Defaults to `None`: those of a new figure.

        Returns:
            The `matplotlib.axes.Axes`.
        """
        (ax,) = new_axes(1, ax)
        ax.plot(self.rates, self.losses)
        ax.axvline(self.suggestion, color="gray", linestyle=":", label=f"suggestion: {self.suggestion:.2g}")
        ax.set(xscale="log", xlabel="learning rate", ylabel="loss of the batch, smoothed")
        ax.legend()
        return ax

    def __str__(self) -> str:
        """A table of about ten of the rates."""
        step = max(1, len(self.rates) // 10)
        chosen = list(zip(self.rates, self.losses, strict=True))[::step]
        rows = [f"{rate:8.1e}  {loss:.4g}" for rate, loss in chosen]
        return "\n".join(["    rate  loss", *rows, f"suggestion: {self.suggestion:.1e}"])
