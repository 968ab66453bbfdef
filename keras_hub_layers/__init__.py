"""Use, fine-tune and share SavedModels in Keras 3.

The names below are resolved when they are first used, so that what needs neither TensorFlow nor
Keras (`resolve`, `cache`, `pack`, the command line's help) imports neither.
"""

import importlib
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from keras_hub_layers import callbacks, errors, finetuning, layers, tuners
    from keras_hub_layers.exporters import export
    from keras_hub_layers.interface import inspect
    from keras_hub_layers.loader import load
    from keras_hub_layers.pieces import cut
    from keras_hub_layers.publishers import pack, publish
    from keras_hub_layers.resolvers import resolve
    from keras_hub_layers.saving import save

__version__ = "0.1.0"

__all__ = [
    "__version__",
    "callbacks",
    "cut",
    "errors",
    "export",
    "finetuning",
    "inspect",
    "layers",
    "load",
    "pack",
    "publish",
    "resolve",
    "save",
    "tuners",
]

_NAMESPACES = ("callbacks", "errors", "finetuning", "layers", "tuners")
_VERBS = {
    "cut": "pieces",
    "export": "exporters",
    "inspect": "interface",
    "load": "loader",
    "pack": "publishers",
    "publish": "publishers",
    "resolve": "resolvers",
    "save": "saving",
}


def __getattr__(name: str) -> Any:
    if name in _NAMESPACES:
        return importlib.import_module(f"{__name__}.{name}")
    if name in _VERBS:
        return getattr(importlib.import_module(f"{__name__}.{_VERBS[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}; it has {', '.join(__all__)}")


def __dir__() -> list[str]:
    return sorted(__all__)


if {"keras", "tensorflow"} <= sys.modules.keys():
    importlib.import_module(f"{__name__}.layers")  # both are here already; so files with a HubLayer find its class
