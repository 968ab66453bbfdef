"""Use, fine-tune and share SavedModels in Keras 3.

What is outside of `_src` is public; `_src` is the road: resolve -> savedmodel -> inspect -> layers -> finetuning,
tuners -> export, callbacks -> publish. `keras_hub_layers.VERB` is defined in `_src/*/VERB.py`.

The names below are resolved when they are first used, so that what needs neither TensorFlow nor
Keras (`resolve`, `cache`, `pack`, the command line's help) imports neither.
"""

import importlib
import sys
from typing import TYPE_CHECKING, Any

from keras_hub_layers._src.keras_import import after_keras

if TYPE_CHECKING:
    from keras_hub_layers import callbacks, distribution, errors, finetuning, interface, layers, tuners
    from keras_hub_layers._src.cut.cut import cut
    from keras_hub_layers._src.export.export import export
    from keras_hub_layers._src.export.save import save
    from keras_hub_layers._src.inspect.inspect import inspect
    from keras_hub_layers._src.publish.pack import pack
    from keras_hub_layers._src.publish.publish import publish
    from keras_hub_layers._src.resolve.resolve import resolve
    from keras_hub_layers._src.savedmodel.load import load

__version__ = "0.1.0"

__all__ = [
    "__version__", "callbacks", "cut", "distribution", "errors", "export", "finetuning", "inspect", "interface",
    "layers", "load", "pack", "publish", "resolve", "save", "tuners",
]  # fmt: skip

_NAMESPACES = ("callbacks", "distribution", "errors", "finetuning", "interface", "layers", "tuners")
_VERBS = {
    "resolve": "resolve.resolve",
    "load": "savedmodel.load",
    "inspect": "inspect.inspect",
    "cut": "cut.cut",
    "export": "export.export",
    "save": "export.save",
    "pack": "publish.pack",
    "publish": "publish.publish",
}


def __getattr__(name: str) -> Any:
    if name in _NAMESPACES:
        return importlib.import_module(f"{__name__}.{name}")
    if name in _VERBS:
        verb = getattr(importlib.import_module(f"{__name__}._src.{_VERBS[name]}"), name)
        if "keras" in sys.modules:
            _import_saved_classes()
        return verb
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}; it has {', '.join(__all__)}")


def __dir__() -> list[str]:
    return sorted(__all__)


def _import_saved_classes() -> None:
    """Have Keras find each of our classes that a saved file may name."""
    importlib.import_module(f"{__name__}._src.saved_classes")


after_keras(_import_saved_classes)
