"""What can go wrong: the exception tree. Each error says what was expected, what came, where, and what to do.

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
├── DistributionError       (RuntimeError)     workers or a strategy that cannot train together
└── ExportError             (ValueError)       a target or destination that cannot be exported
    └── ExportWriteError    (OSError)          writing or verifying an export failed
```

Each error also derives from the built-in that a caller would catch, pickles, and can be built from one
message string, because Keras re-raises what `call` raises as `type(error)(message)`.
"""

import contextlib
import sys
import warnings
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

Line = Callable[..., str]

__all__ = [
    "ArchiveError",
    "BackendError",
    "ChecksumError",
    "ConfigError",
    "CutError",
    "DistributionError",
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
    """Base of every error that keras_hub_layers raises on purpose.

    An error is made where it is known what was wrong. Where that was (layer, handle, path) is added by whoever knows
    it, with `add_place`.

    Args:
        problem: One sentence: what is not possible. The whole message if nothing else is given.
        expected: What would have been accepted. Defaults to `None`: not said, as for the others.
        received: What came instead.
        where: The handle, path, layer or setting concerned.
        fix: What to do next, with a literal line to paste; or a function that makes the text, given a function that
            writes the line of code of the layer concerned with some arguments changed (`line(trainable=True)`).

    Attributes: as the arguments; `fix` is a text.
    """

    def __init__(
        self,
        problem: object = "",
        *,
        expected: object = None,
        received: object = None,
        where: object = None,
        fix: str | Callable[[Line], str] | None = None,
    ) -> None:
        super().__init__(problem)
        self.problem = str(problem)
        self.expected = expected
        self.received = received
        self.where = where
        self._fix = fix
        self._is_located = False

    @property
    def fix(self) -> str | None:
        return self._fix(_line) if callable(self._fix) else self._fix

    def locate(self, where: object, line: Line | None = None) -> None:
        """Say where it happened, before what it says itself. Only the first call counts: that of the innermost place.

        Args:
            where: The layer and handle, the path, or the command.
            line: Writes the line of code of the layer, with some arguments changed. Defaults to `None`.
        """
        if not self._is_located:
            self.where = where if self.where in (None, where) else f"{where}, {self.where}"
            self._is_located = True
        if line is not None and callable(self._fix):
            self._fix = self._fix(line)

    def __str__(self) -> str:
        parts = {"Expected": self.expected, "Received": self.received, "Where": self.where, "What to do": self.fix}
        lines = [
            f"  {title}: {str(text).replace(chr(10), chr(10) + '    ')}"
            for title, text in parts.items()
            if text is not None
        ]
        return "\n".join([self.problem, *lines])

    def __reduce__(self) -> tuple[Any, ...]:
        parts = {"expected": self.expected, "received": self.received, "where": self.where, "fix": self.fix}
        return _rebuild, (type(self), self.problem, {k: None if v is None else str(v) for k, v in parts.items()})


def _rebuild(kind: type[HubError], problem: str, parts: dict[str, Any]) -> HubError:
    return kind(problem, **parts)


def _line(**changes: Any) -> str:
    """The line of code of a layer of which nothing is known."""
    return f"HubLayer({', '.join(['handle', *(f'{k}={v!r}' for k, v in changes.items() if v is not None)])})"


@contextlib.contextmanager
def add_place(where: object, line: Line | None = None) -> Iterator[None]:
    """Say of each `HubError` that leaves this block where it happened; the arguments are those of `HubError.locate`."""
    try:
        yield
    except HubError as error:
        error.locate(where() if callable(where) else where, line)
        raise


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


class DistributionError(HubError, RuntimeError):
    """The workers, or the strategy, cannot train a model together."""


class ExportError(HubError, ValueError):
    """The target or the destination of an export cannot be used."""


class ExportWriteError(ExportError, OSError):
    """An export could not be written or verified; what was there before is untouched."""


UserLine = tuple[str, int]


def warn(text: str, at: UserLine | None = None) -> None:
    """Warn, as a `HubWarning`, at the line of the user that it is about: the nearest one outside of the frameworks.

    Args:
        text: The warning.
        at: What `user_line` returned, where that line does not run any more. Defaults to `None`: the one that runs.
    """
    if at is not None:
        warnings.warn_explicit(text, HubWarning, *at)
        return
    frame, level = _user_frame()
    warnings.warn(text, HubWarning, stacklevel=2 if frame is None else level)


def user_line() -> UserLine | None:
    """File and number of the line of the user that runs now; `None` if there is none."""
    frame, _ = _user_frame()
    return None if frame is None else (frame.f_code.co_filename, frame.f_lineno)


def _user_frame() -> tuple[FrameType | None, int]:
    """The nearest frame outside of the frameworks, and its number as the caller counts `stacklevel`."""
    frame, level = sys._getframe(2), 2
    while frame is not None and _is_of_framework(frame.f_globals.get("__name__", "")):
        frame, level = frame.f_back, level + 1
    return frame, level


def _is_of_framework(module: str) -> bool:
    # What AutoGraph makes of a user's function is a file that is gone, and no line of theirs.
    return module.partition(".")[0] in _FRAMEWORKS or module.startswith("__autograph_generated_file")
