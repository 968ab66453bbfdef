"""The model card beside an export: what a consumer asks, filled in from what is known.

Reference:

- [Creating Reusable SavedModels](https://www.tensorflow.org/hub/reusable_saved_models), advice to creators
"""

import hashlib
import importlib.metadata
import math
import os
import re
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import keras
import tensorflow as tf

from keras_hub_layers._src.resolve import handles
from keras_hub_layers._src.text.words import readable
from keras_hub_layers.errors import HandleError

__all__ = ["NAME", "Facts", "Training", "is_untouched", "licence_of", "make_card", "write_card"]


NAME = "README.md"


_MARK = "<!-- Written by keras_hub_layers; edit it freely, an edited card is kept. {} -->"


@dataclass(frozen=True)
class Facts:
    """What is known of an export.

    Attributes:
        title: A name for it.
        origin: Handle, with its version, of the SavedModel that it was tuned from; `""` for a Keras model.
        parts: Handles of the SavedModels that a Keras model contains.
        inputs: Name of each input of the signature to its dtype and shape, in words.
        outputs: Likewise.
        traces: The ways to call it, in words.
        fine_tunable: Whether it can be fine-tuned.
        reason: What of it can be fine-tuned, or why not, in words.
        losses: Number of regularization losses.
        pieces: Names of what can be called by itself.
        assets: File names.
        preprocessing: What the model does to its inputs first, in words.
        pixel_range: The values that it takes for pixels, in words; `""` if unknown.
        licences: What the cards of the origin and of the parts give as licence.
        notes: What consumers should know besides.
    """

    title: str
    origin: str
    inputs: Mapping[str, str]
    outputs: Mapping[str, str]
    traces: tuple[str, ...]
    fine_tunable: bool
    reason: str
    losses: int
    parts: tuple[str, ...] = ()
    pieces: tuple[str, ...] = ()
    assets: tuple[str, ...] = ()
    preprocessing: tuple[str, ...] = ()
    pixel_range: str = ""
    licences: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Training:
    """What is known of the training before an export.

    Attributes:
        metrics: Name -> value, of the epoch that is exported.
        epochs: The same of each epoch, in their order.
        settings: Name -> value of what it was trained with, such as the optimizer, in words.
    """

    metrics: Mapping[str, float] = field(default_factory=dict)
    epochs: Sequence[Mapping[str, float]] = ()
    settings: Mapping[str, str] = field(default_factory=dict)


def make_card(facts: Facts, training: Training, size: int = 0) -> str:
    """The text of the card, Markdown, with the metadata that Hugging Face and Kaggle read from its head.

    Args:
        facts: What is known of the export.
        training: What is known of the training.
        size: Bytes of the files of the export. Defaults to 0: unknown.
    """
    loads = f"trainable={facts.fine_tunable}"
    pixels = [f"pixels go in as {facts.pixel_range}"] if facts.pixel_range else []
    traces = [f"`{trace}`" for trace in dict.fromkeys(facts.traces)]
    verdict = f"{'yes' if facts.fine_tunable else 'no'}: {facts.reason}"
    parts = [
        _head(facts),
        f"# {facts.title}",
        f"Fine-tuned from `{facts.origin}`." if facts.origin else "Exported from a Keras model.",
        _section("Contains", [f"`{handle}`" for handle in facts.parts]),
        "## Use\n\n```python\nfrom keras_hub_layers import layers\n\n"
        f'layer = layers.HubLayer("path/to/this/directory", {loads})\noutputs = layer(inputs)\n```',
        _section("Inputs", [f"`{name}`: {text}" for name, text in facts.inputs.items()]),
        _section("Preprocessing", [*pixels, *facts.preprocessing] or ["not known: feed it what it was trained with"]),
        _section("Outputs", [f"`{name}`: {text}" for name, text in facts.outputs.items()]),
        _section(
            "Fine-tuning",
            [verdict, f"regularization losses: {facts.losses}", *traces],
        ),
        _section("Pieces", [f"`{name}`" for name in facts.pieces]),
        _section("Assets", [f"`{name}`" for name in facts.assets]),
        _section("Notes", facts.notes),
        _section("Training", [f"{name}: {value:.6g}" for name, value in training.metrics.items()]),
        _section("Trained with", [f"{name}: {text}" for name, text in training.settings.items()]),
        _epochs(training.epochs),
        _section("Files", [f"{readable(size)}, written with {_versions()}"] if size else []),
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


def licence_of(directory: str) -> str:
    """The licence that the head of the card in a local directory names; `""` if none does."""
    path = os.path.join(directory, NAME)
    head = re.match(r"---\n(.*?)\n---", _read(path), re.DOTALL) if os.path.isfile(path) else None
    match = head and re.search(r"^license: *(\S.*?) *$", head[1], re.MULTILINE)
    return match[1] if match else ""


def _head(facts: Facts) -> str:
    """The metadata in YAML."""
    bases = list(dict.fromkeys(filter(None, map(_repository, (facts.origin, *facts.parts)))))
    licences = list(dict.fromkeys(filter(None, facts.licences)))
    lines = [
        "library_name: tensorflow",
        "tags: [saved-model, keras-hub-layers]",
        *(["base_model:", *(f"- {repo}" for repo in bases)] if bases else []),
        *([f"license: {licences[0]}"] if len(licences) == 1 else []),
    ]
    return "\n".join(["---", *lines, "---"])


def _repository(handle: str) -> str:
    """The repository of Hugging Face in a handle; `""` for another handle, and for what is none any more."""
    try:
        model = handles.parse(handle).hugging_face
    except HandleError:
        return ""
    return model.repo if model else ""


def _epochs(epochs: Sequence[Mapping[str, float]], limit: int = 20) -> str:
    """A table of the epochs, with a curve of each metric; of many epochs the first and the last."""
    if len(epochs) < 2:
        return ""
    names = list(dict.fromkeys(name for logs in epochs for name in logs))
    rows = [["epoch", *names], ["---"] * (len(names) + 1)]
    for number, logs in enumerate(epochs, 1):
        rows.append([f"{number}", *(f"{logs[name]:.6g}" if name in logs else "" for name in names)])
    if len(epochs) > limit:
        rows[2 + limit // 2 : -limit // 2] = [["…"] * (len(names) + 1)]
    rows.append(["", *(_curve([logs[name] for logs in epochs if name in logs]) for name in names)])
    return "\n".join(["## Epochs", "", *("| " + " | ".join(row) + " |" for row in rows)])


def _curve(values: Sequence[float], width: int = 20) -> str:
    """A line of blocks, the higher the larger the value; of many values every n-th."""
    finite = [value for value in values if math.isfinite(value)]
    low, span = min(finite, default=0.0), (max(finite, default=0.0) - min(finite, default=0.0)) or 1.0
    chosen = [values[number * len(values) // width] for number in range(width)] if len(values) > width else values
    return "".join("▁▂▃▄▅▆▇█"[int((v - low) / span * 7)] if math.isfinite(v) else "·" for v in chosen)


def _versions() -> str:
    version = importlib.metadata.version("keras-hub-layers")
    return f"keras_hub_layers {version}, TensorFlow {tf.__version__}, Keras {keras.__version__}"


def _read(path: str) -> str:
    with open(path, encoding="utf-8", errors="replace") as file:
        return file.read()


def _section(title: str, lines: Iterable[str]) -> str:
    lines = list(lines)
    return "\n".join([f"## {title}", "", *(f"- {line}" for line in lines)]) if lines else ""


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]
