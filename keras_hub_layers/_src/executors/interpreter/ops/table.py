"""Table: name of a TensorFlow op -> the function that computes it."""

from collections.abc import Callable
from typing import Any


class Table(dict[str, Callable[..., Any]]):
    """A family of ops. The decorator `@OPS("AddV2", "Add")` adds a function under these names.

    Each function takes the node and the values of its inputs. It returns a tensor, or the list of all outputs.
    """

    def __call__(self, *names: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
        def add(compute: Callable[..., Any]) -> Callable[..., Any]:
            self.update(dict.fromkeys(names, compute))
            return compute

        return add
