"""The model card beside an export: what a consumer asks, filled in from what is known.

Reference:

- [Creating Reusable SavedModels](https://www.tensorflow.org/hub/reusable_saved_models), advice to creators
"""

import hashlib
import os
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass

__all__ = ["NAME", "Facts", "is_untouched", "make_card", "write_card"]


NAME = "README.md"


_MARK = "<!-- Written by keras_hub_layers; edit it freely, an edited card is kept. {} -->"


@dataclass(frozen=True)
class Facts:
    """What is known of an export.

    Attributes:
        title: A name for it.
        origin: Handle, with its version, of the SavedModel that it was tuned from; `""` for a Keras model.
        inputs: Name of each input of the signature to its dtype and shape, in words.
        outputs: Likewise.
        traces: The ways to call it, in words.
        tuning: Whether it can be fine-tuned, and what of it, in words.
        losses: Number of regularization losses.
        pieces: Names of what can be called by itself.
        assets: File names.
        preprocessing: What the model does to its inputs first, in words.
        pixel_range: The values that it takes for pixels, in words; `""` if unknown.
        notes: What consumers should know besides.
    """

    title: str
    origin: str
    inputs: Mapping[str, str]
    outputs: Mapping[str, str]
    traces: tuple[str, ...]
    tuning: str
    losses: int
    pieces: tuple[str, ...] = ()
    assets: tuple[str, ...] = ()
    preprocessing: tuple[str, ...] = ()
    pixel_range: str = ""
    notes: tuple[str, ...] = ()


def make_card(facts: Facts, metrics: Mapping[str, float]) -> str:
    """The text of the card, Markdown.

    Args:
        facts: What is known of the export.
        metrics: Names and values from the logs of the training; may be empty.
    """
    loads = f"trainable={facts.tuning.startswith('yes')}"
    pixels = [f"pixels go in as {facts.pixel_range}"] if facts.pixel_range else []
    parts = [
        "---\nlibrary_name: tensorflow\ntags: [saved-model, keras-hub-layers]\n---",
        f"# {facts.title}",
        f"Fine-tuned from `{facts.origin}`." if facts.origin else "Exported from a Keras model.",
        "## Use\n\n```python\nfrom keras_hub_layers import layers\n\n"
        f'layer = layers.HubLayer("path/to/this/directory", {loads})\noutputs = layer(inputs)\n```',
        _section("Inputs", [f"`{name}`: {text}" for name, text in facts.inputs.items()]),
        _section("Preprocessing", [*pixels, *facts.preprocessing] or ["not known: feed it what it was trained with"]),
        _section("Outputs", [f"`{name}`: {text}" for name, text in facts.outputs.items()]),
        _section(
            "Fine-tuning", [facts.tuning, f"regularization losses: {facts.losses}", *(f"`{t}`" for t in facts.traces)]
        ),
        _section("Pieces", [f"`{name}`" for name in facts.pieces]),
        _section("Assets", [f"`{name}`" for name in facts.assets]),
        _section("Notes", facts.notes),
        _section("Training", [f"{name}: {value:.6g}" for name, value in metrics.items()]),
    ]
    text = "\n\n".join(section for section in parts if section) + "\n"
    return f"{text}\n{_MARK.format(_digest(text))}\n"


def is_untouched(text: str) -> bool:
    """Whether a card is as `make_card` wrote it: nobody edited it since."""
    match = re.fullmatch("(.*)\n" + re.escape(_MARK).replace(r"\{\}", r"(\w+)") + "\n", text, re.DOTALL)
    return match is not None and match[2] == _digest(match[1])


def write_card(path: str, destination: str, text: str) -> None:
    """Put a card into an export, unless its source or its destination has one that somebody wrote.

    Args:
        path: The export; it may have the card of its source.
        destination: What it will replace; `""` for nothing.
        text: The card.
    """
    card = os.path.join(path, NAME)
    earlier = os.path.join(destination, NAME)
    if destination and os.path.isfile(earlier) and not is_untouched(_read(earlier)):
        shutil.copyfile(earlier, card)
    elif not os.path.exists(card) or is_untouched(_read(card)):
        with open(card, "w", encoding="utf-8") as file:
            file.write(text)


def _read(path: str) -> str:
    with open(path, encoding="utf-8", errors="replace") as file:
        return file.read()


def _section(title: str, lines: object) -> str:
    lines = list(lines)  # type: ignore[call-overload]
    return "\n".join([f"## {title}", "", *(f"- {line}" for line in lines)]) if lines else ""


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]
