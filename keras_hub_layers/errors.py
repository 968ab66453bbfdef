"""What can go wrong: the exception tree, and the one way to word an error.

```
HubError
├── HandleError             (ValueError)       a handle that has no known form
├── SafeModeError           (ValueError)       loading a program while Keras' safe mode is on
├── MissingPackageError     (ImportError)      an optional package is not installed
├── BackendError            (RuntimeError)     the running Keras backend has no executor
├── ResolveError            (OSError)          a handle that does not become a local directory
│   ├── HandleNotFoundError (FileNotFoundError)
│   ├── OfflineError                           not in the cache, and the network is switched off
│   ├── DownloadError
│   ├── ChecksumError       (ValueError)
│   └── ArchiveError
├── LoadError               (OSError)          a directory that TensorFlow cannot load
│   └── MissingOpError                         ops that this TensorFlow does not have
├── InterfaceError          (ValueError)       a SavedModel that does not offer what was asked of it
├── InputError              (ValueError)       a call that matches no trace
├── TrainingError           (ValueError)       fine-tuning that the SavedModel or the set-up cannot do
├── ConfigError             (NotImplementedError)  a layer that cannot be described by a config
├── CutError                (ValueError)       a piece that cannot be cut out of a model
└── ExportError             (ValueError)       a target or destination that cannot be exported
    └── ExportWriteError    (OSError)          writing or verifying an export failed
```

Each error also derives from the built-in that a caller would catch, pickles, and can be built from one
message string, because Keras re-raises what `call` raises as `type(error)(message)`.
"""

import sys
import warnings

__all__ = [
    "ArchiveError",
    "BackendError",
    "ChecksumError",
    "ConfigError",
    "CutError",
    "DownloadError",
    "ExportError",
    "ExportWriteError",
    "HandleError",
    "HandleNotFoundError",
    "HubError",
    "HubWarning",
    "InputError",
    "InterfaceError",
    "LoadError",
    "MissingOpError",
    "MissingPackageError",
    "OfflineError",
    "ResolveError",
    "SafeModeError",
    "TrainingError",
]


_FRAMEWORKS = ("keras_hub_layers", "keras", "tensorflow", "keras_tuner", "contextlib", "functools", "wrapt")


class HubError(Exception):
    """Base of every error that keras_hub_layers raises on purpose."""


class HubWarning(UserWarning):
    """Category of every warning that keras_hub_layers gives."""


class HandleError(HubError, ValueError):
    """A handle that has none of the accepted forms."""


class SafeModeError(HubError, ValueError):
    """A SavedModel is a program; Keras' safe mode refuses to load it from a file."""


class MissingPackageError(HubError, ImportError):
    """An optional package is needed and not installed."""


class BackendError(HubError, RuntimeError):
    """No executor for the running Keras backend."""


class ResolveError(HubError, OSError):
    """A handle could not be turned into a directory that holds a SavedModel."""


class HandleNotFoundError(ResolveError, FileNotFoundError):
    """Nothing is stored where the handle points to."""


class OfflineError(ResolveError):
    """The model is not in the cache and the network is switched off."""


class DownloadError(ResolveError):
    """A transfer failed, was refused, or took too long."""


class ChecksumError(ResolveError, ValueError):
    """The bytes that arrived are not those that were asked for, or cannot be compared."""


class ArchiveError(ResolveError):
    """An archive is damaged, hostile, or holds no SavedModel."""


class LoadError(HubError, OSError):
    """TensorFlow cannot load the SavedModel."""


class MissingOpError(LoadError):
    """The graph uses ops that the running TensorFlow does not have."""


class InterfaceError(HubError, ValueError):
    """The loaded object does not offer the function, signature, output or piece asked for."""


class InputError(HubError, ValueError):
    """The inputs of a call match none of the traces."""


class TrainingError(HubError, ValueError):
    """The SavedModel, or the way it was loaded, does not allow this kind of training."""


class ConfigError(HubError, NotImplementedError):
    """The layer cannot be described by a config."""


class CutError(HubError, ValueError):
    """The piece asked for cannot be cut out of the model."""


class ExportError(HubError, ValueError):
    """The target or the destination of an export cannot be used."""


class ExportWriteError(ExportError, OSError):
    """An export could not be written or verified; what was there before is untouched."""


def explain(problem: str, *, expected: object, received: object, where: object, fix: str) -> str:
    """Word an error in four parts, after one line that names the problem.

    Args:
        problem: One sentence: what is not possible.
        expected: What would have been accepted.
        received: What came instead.
        where: The handle, path, layer or setting concerned.
        fix: What to do next, with a literal line to paste.

    Returns:
        The message, a `str` of several lines.
    """
    parts = {"Expected": expected, "Received": received, "Where": where, "What to do": fix}
    lines = [f"  {title}: {str(text).replace(chr(10), chr(10) + '    ')}" for title, text in parts.items()]
    return "\n".join([problem, *lines])


def warn(text: str) -> None:
    """Warn, as a `HubWarning`, at the line of the user that it is about: the nearest one outside of the frameworks."""
    frame, level = sys._getframe(1), 2
    while frame is not None and _is_of_framework(frame.f_globals.get("__name__", "")):
        frame, level = frame.f_back, level + 1
    warnings.warn(text, HubWarning, stacklevel=2 if frame is None else level)


def _is_of_framework(module: str) -> bool:
    # What AutoGraph makes of a user's function is a file that is gone, and no line of theirs.
    return module.partition(".")[0] in _FRAMEWORKS or module.startswith("__autograph_generated_file")
