"""Table: name of a TensorFlow op -> what computes it."""

from collections.abc import Callable
from typing import Any


class Table(dict[str, Callable[..., Any]]):
    """The ops of a family; `@ops("AddV2", "Add")` puts a function in under these names.

    An entry takes the node and the values of its inputs, and returns a tensor, or the list of all outputs.
    """

    def __call__(self, *names: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
        def add(compute: Callable[..., Any]) -> Callable[..., Any]:
            self.update(dict.fromkeys(names, compute))
            return compute

        return add
