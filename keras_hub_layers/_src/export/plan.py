"""How a target is written, verified and described: decided once, used as often as it is exported."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from keras_hub_layers._src.export import model_card

__all__ = ["Plan"]


@dataclass(frozen=True, eq=False)
class Plan:
    """How a target is written; decided once, used as often as it is exported.

    Attributes:
        write: Writes the SavedModel to a path that is an empty directory.
        verify: Raises unless the SavedModel at a path computes what the live target does.
        variables: The `tf.Variable`s whose values are exported.
        facts: What the model card says; `None` for no card.
        where: The target in words, for error texts.
    """

    write: Callable[[str], None]
    verify: Callable[[str], None]
    variables: Callable[[], list[Any]]
    facts: Callable[[], model_card.Facts] | None
    where: str
