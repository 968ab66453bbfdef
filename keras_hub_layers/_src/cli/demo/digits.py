"""1797 handwritten digits, shipped with the package (`data/README.md` says whose they are)."""

from dataclasses import dataclass
from importlib import resources

import numpy as np


@dataclass(frozen=True)
class Examples:
    """Images, float32 (n, 8, 8, 1) within 0 to 1, and their labels, int32 (n,)."""

    images: np.ndarray
    labels: np.ndarray

    def __len__(self) -> int:
        return len(self.labels)

    def at(self, chosen: np.ndarray) -> "Examples":
        """Those at some indices."""
        return Examples(self.images[chosen], self.labels[chosen])


def load(split: int) -> tuple[Examples, Examples]:
    """The digits below `split`, and the others, numbered from 0."""
    with resources.files("keras_hub_layers").joinpath("_src/cli/demo/data/digits.npz").open("rb") as file:
        stored = np.load(file)
        images, labels = stored["images"], stored["labels"].astype("int32")
    images = (images[..., np.newaxis] / 16).astype("float32")
    below = labels < split
    return Examples(images[below], labels[below]), Examples(images[~below], labels[~below] - split)


def split_off_few(examples: Examples, per_class: int, seed: int) -> tuple[Examples, Examples]:
    """A few examples of each class, and all others."""
    random = np.random.default_rng(seed)
    classes = [np.flatnonzero(examples.labels == label) for label in np.unique(examples.labels)]
    chosen = np.concatenate([random.permutation(of_class)[:per_class] for of_class in classes])
    is_chosen = np.isin(np.arange(len(examples)), chosen)
    return examples.at(is_chosen), examples.at(~is_chosen)


def shift(images: np.ndarray, seed: int) -> np.ndarray:
    """The same digits, up to one pixel away."""
    padded = np.pad(images, ((0, 0), (1, 1), (1, 1), (0, 0)))
    offsets = np.random.default_rng(seed).integers(0, 3, (len(images), 2))
    return np.stack([image[y : y + 8, x : x + 8] for image, (y, x) in zip(padded, offsets, strict=True)])
