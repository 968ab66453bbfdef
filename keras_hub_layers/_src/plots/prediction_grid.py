"""Predictions and targets, as pictures and as text: images in a grid, texts and other inputs in lines."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from keras_hub_layers._src.plots.axes import new_axes
from keras_hub_layers._src.text import words

__all__ = ["Prediction", "draw_predictions", "lines", "rank"]


_COLOURS = {True: "tab:green", False: "tab:red", None: "black"}


@dataclass(frozen=True, eq=False)
class Prediction:
    """The prediction of a model for one example.

    Attributes:
        number: Its place in the data, from 0.
        value: The input, an array or a `str`. Of several inputs, the one that can be shown.
        said: The prediction.
        truth: The target.
        is_right: Whether both agree. `None` if they are numbers.
        loss: The loss of the example.
    """

    number: int
    value: Any
    said: str
    truth: str
    is_right: bool | None
    loss: float

    def __str__(self) -> str:
        return self.said if self.is_right else f"{self.said}, is {self.truth}"


def draw_predictions(parts: Mapping[str, Sequence[Prediction]]) -> list[Any]:
    """Draw examples, each part under its title.

    Returns:
        The axes: one for each image. If the inputs are not images, one for each part.
    """
    listed = [prediction for part in parts.values() for prediction in part]
    if all(_is_image(prediction.value) for prediction in listed):
        return _draw_images(parts)
    longest = max(len(part) for part in parts.values())
    axes = new_axes(len(parts), columns=1, size=(9, 0.3 * longest + 0.5))
    for ax, (title, part) in zip(axes, parts.items(), strict=True):
        for line, prediction in enumerate(part):
            style = {"va": "center", "fontsize": "small", "color": _COLOURS[prediction.is_right]}
            ax.text(0.0, -line, words.shorten(str(prediction), 36), **style)
            ax.text(0.3, -line, _shown(prediction.value, 90), **{**style, "color": "black"})
        ax.set(ylim=(0.5 - longest, 0.5))
        ax.set_title(title, loc="left", fontsize="medium")
        ax.set_axis_off()
    return axes


def _draw_images(parts: Mapping[str, Sequence[Prediction]]) -> list[Any]:
    columns = max(len(part) for part in parts.values())
    axes = new_axes(columns * len(parts), columns=columns, size=(1.5, 1.8))
    drawn = []
    for row, (title, part) in enumerate(parts.items()):
        for place, ax in enumerate(axes[row * columns : (row + 1) * columns]):
            ax.set(xticks=[], yticks=[])
            if place == 0:
                ax.set_ylabel(title, fontsize="small")
            if place >= len(part):
                ax.set_axis_off()
                continue
            image = _displayed(part[place].value)
            ax.imshow(image, cmap="gray", vmin=0.0, vmax=1.0)
            said = str(part[place]).replace(", is", "\nis")
            ax.set_title(said, fontsize="small", color=_COLOURS[part[place].is_right])
            drawn.append(ax)
    return drawn


def lines(parts: Mapping[str, Sequence[Prediction]]) -> list[str]:
    """The same as lines of text."""
    told = []
    for title, part in parts.items():
        told.append(title)
        for prediction in part:
            head = f"  #{prediction.number:<5} loss {prediction.loss:<8.3g}"
            told.append(f"{head} {prediction!s:<28} {_shown(prediction.value, 60)}")
    return [line.rstrip() for line in told]


def _is_image(value: Any) -> bool:
    return isinstance(value, np.ndarray) and value.ndim == 3 and value.shape[-1] in (1, 3, 4) and value.dtype != object


def _displayed(image: np.ndarray) -> np.ndarray:
    """An image with values from 0 to 1. Its own values may have any of the usual ranges."""
    values = image.astype("float32")
    low, high = float(np.nanmin(values)), float(np.nanmax(values))
    if low >= 0 and high > 1 and high <= 255:
        values = values / 255
    elif -1 <= low < 0 and high <= 1:
        values = (values + 1) / 2
    elif low < 0 or high > 255:
        values = (values - low) / ((high - low) or 1.0)
    return np.clip(values[..., 0] if values.shape[-1] == 1 else values, 0, 1)


def _shown(value: Any, limit: int) -> str:
    if isinstance(value, str):
        return repr(words.shorten(" ".join(value.split()), limit))
    if _is_image(value):
        return f"image {' × '.join(map(str, value.shape))}"
    array = np.asarray(value)
    numbers = (f"{number:.4g}" if isinstance(number, float) else str(number) for number in array.ravel()[:8].tolist())
    return f"{array.dtype} {array.shape}: {' '.join(numbers)}{' …' if array.size > 8 else ''}"


def rank(loss: float) -> float:
    """The sort key of examples, the worst first. A loss of NaN is the worst."""
    return -math.inf if math.isnan(loss) else -loss
