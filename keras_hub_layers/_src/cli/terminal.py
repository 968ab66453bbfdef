"""Output on terminals: JSON, tables, errors, and a standard error that holds TensorFlow's notes back."""

import contextlib
import importlib
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from typing import Any

from keras_hub_layers._src.text import tables
from keras_hub_layers._src.text.progress import progress, write_to
from keras_hub_layers.errors import HubError, MissingPackageError

_WIDTHS = (60, 200)  # narrower than that nothing is readable, and wider lines are not


def columns() -> int:
    """The width of the terminal, or of `COLUMNS`, from 60 to 200; 80 where there is neither."""
    width = shutil.get_terminal_size((tables.WIDTH, 24)).columns
    return min(max(width, _WIDTHS[0]), _WIDTHS[1])


def print_json(data: Any) -> None:
    print(json.dumps(data, indent=2))


def print_table(table: Any) -> None:
    """Print a `Table`; in colours on a terminal, unless `NO_COLOR` is set."""
    if not sys.stdout.isatty():  # rich need not be imported
        print(table)
        return
    from rich.console import Console

    Console().print(table.rich(), soft_wrap=True)


def print_error(error: HubError) -> None:
    """Print an error; on a terminal its sentences are wrapped between words, and its fix keeps its lines."""
    text = f"keras-hub-layers: {error}"
    if sys.stderr.isatty():
        told, title, fix = text.rpartition("\n  What to do: ") if error.fix else (text, "", "")
        lines = [part for line in told.splitlines() for part in tables.wrap_line(line, columns())]
        text = "\n".join(lines) + title + fix
    print(text, file=sys.stderr)


def import_tensorflow() -> None:
    """Import TensorFlow without the notes that its libraries write before it can be told not to."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    if "tensorflow" not in sys.modules:
        try:
            with progress("loading TensorFlow", after=0), hold_stderr():
                importlib.import_module("tensorflow")
        except Exception as error:  # it imports Keras, which refuses an unknown backend by a ValueError
            raise MissingPackageError(
                "TensorFlow cannot be imported.",
                expected="TensorFlow, to read SavedModels",
                received=f"{type(error).__name__}: {error}",
                where=sys.executable,
                fix="keras-hub-layers doctor",
            ) from error


@contextlib.contextmanager
def hold_stderr() -> Iterator[None]:
    """Keep back what libraries write to the standard error, unless it ends in an error or is asked for.

    TensorFlow 2.21 writes there when it starts, whatever its log level is.
    """
    if os.environ.get("TF_CPP_MIN_LOG_LEVEL") in ("0", "1"):
        yield
        return
    try:
        before = os.dup(2)
    except OSError:  # there is no standard error
        yield
        return
    with tempfile.TemporaryFile() as held, contextlib.ExitStack() as stack:
        sys.stderr.flush()
        if sys.stderr.isatty():  # our own lines are still shown
            terminal = stack.enter_context(os.fdopen(os.dup(before), "w", encoding=sys.stderr.encoding))
            stack.enter_context(write_to(terminal))
        os.dup2(held.fileno(), 2)
        try:
            yield
        except BaseException:
            held.seek(0)
            os.write(before, held.read())
            raise
        finally:
            sys.stderr.flush()
            os.dup2(before, 2)
            os.close(before)
