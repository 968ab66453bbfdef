"""public(path): the public path of a class or function, which its repr, its pickles and saved files name."""

from collections.abc import Callable
from typing import Any, TypeVar

T = TypeVar("T", bound=Callable[..., Any])


def public(namespace: str = "") -> Callable[[T], T]:
    """Set `__module__` of a class or function to the namespace that users import it from.

    Args:
        namespace: `"layers"`, `"callbacks"`, …; `""` for the package itself.
    """

    def set_module(value: T) -> T:
        value.__module__ = f"keras_hub_layers.{namespace}".rstrip(".")
        return value

    return set_module
