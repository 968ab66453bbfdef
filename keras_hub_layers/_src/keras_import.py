"""after_keras: do something as soon as Keras is imported, whoever imports it, without importing it oneself."""

import sys
from collections.abc import Callable
from typing import Any

__all__ = ["after_keras"]


def after_keras(action: Callable[[], Any]) -> None:
    """Call a function when Keras on TensorFlow is imported: now if it is already, else right after its import.

    Args:
        action: What to call, at least once. It is not called while a module of this package is being executed, which
            may be what imports Keras: such a module could not be imported by the function.
    """
    if {"keras", "tensorflow"} <= sys.modules.keys():
        action()
    else:
        sys.meta_path.insert(0, _KerasFinder(action))


class _KerasFinder:
    """Finds nothing itself; extends the import of `keras` that another finder has found."""

    def __init__(self, action: Callable[[], Any]) -> None:
        self._action = action

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> Any:
        if name != "keras":
            return None
        others = [finder for finder in sys.meta_path if finder is not self and hasattr(finder, "find_spec")]
        specs = (finder.find_spec(name, path, target) for finder in others)
        spec = next((spec for spec in specs if spec is not None), None)
        if spec is not None and spec.loader is not None:
            _extend(spec.loader, self._action)
        return spec


def _extend(loader: Any, action: Callable[[], Any]) -> None:
    """Have a loader call a function after it has executed its module."""
    execute = loader.exec_module

    def exec_module(module: Any) -> None:
        execute(module)
        if "tensorflow" in sys.modules and not _is_executing_a_module_of_ours():
            action()

    loader.exec_module = exec_module


def _is_executing_a_module_of_ours() -> bool:
    frame: Any = sys._getframe(1)
    while frame is not None:
        name = frame.f_globals.get("__name__", "")
        if frame.f_code.co_name == "<module>" and name.startswith("keras_hub_layers._src."):
            return True
        frame = frame.f_back
    return False
