"""progress(title): a line of progress for long work, on terminals and in notebooks.

The line is on the standard error, and each state overwrites the one before. `TFHUB_DOWNLOAD_PROGRESS=0` hides it
everywhere.
"""

import contextlib
import contextvars
import html
import math
import os
import shutil
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, TextIO

from keras_hub_layers._src.text.notebooks import display, in_notebook

__all__ = ["Advance", "asked", "progress", "silence", "write_to"]

Advance = Callable[[int, int | None], None]

AFTER = 2.0  # seconds: work that ends earlier shows no line

_EVERY = 0.25  # seconds between two states of a line

_ASCII = str.maketrans({"━": "=", "─": "-", "…": "~"})  # for streams that can write only ASCII

_clock = time.monotonic
_lines: "list[_Line]" = []  # lines that were shown and have not ended; the last one is on the terminal
_lock = threading.RLock()
_stream: TextIO | None = None
_is_silent = contextvars.ContextVar("_is_silent", default=False)


@contextlib.contextmanager
def progress(title: str, unit: str = "", *, after: float | None = None, keep: bool = False) -> Iterator[Advance]:
    """Show a line while a block runs.

    Args:
        title: The name of the work, such as `"loading mobilenet_v2"`. A long title is shortened in the middle.
        unit: What is counted: `"B"` for bytes, or a word such as `"examples"`. Defaults to `""`: the seconds only.
        after: Seconds until the line is shown. Defaults to `None`: `AFTER`.
        keep: Whether the last state stays on a terminal, if the line was shown. It also goes into a log if the
            environment asks for it. In notebooks it always stays. Defaults to `False`.

    Yields:
        A function to call with how much is done, and how much there is in all (`None` if that is not known).
    """
    place = None if _is_silent.get() or asked() is False else _place(keep and asked() is True)
    if place is None:
        yield lambda done, total: None
        return
    line = _Line(title, unit, place, AFTER if after is None else after)
    line.start()
    try:
        yield line.advance
    except BaseException:
        line.stop(keep=False)
        raise
    line.stop(keep=keep)


@contextlib.contextmanager
def silence(is_wanted: bool = True) -> Iterator[None]:
    """Show no lines within a block, if `is_wanted`."""
    before = _is_silent.set(is_wanted or _is_silent.get())
    try:
        yield
    finally:
        _is_silent.reset(before)


@contextlib.contextmanager
def write_to(stream: TextIO) -> Iterator[Any]:
    """Write lines to a stream within a block, while the standard error is captured."""
    global _stream
    before, _stream = _stream, stream
    try:
        yield stream
    finally:
        _stream = before


def asked() -> bool | None:
    """What `TFHUB_DOWNLOAD_PROGRESS` asks for: `None` if it is not set, `False` for `0` and the like, else `True`."""
    value = os.environ.get("TFHUB_DOWNLOAD_PROGRESS")
    return None if not value else value.strip().lower() not in ("0", "false", "no", "off")


# -- where a line is shown ---------------------------------------------------------------------------------------------


def _place(in_logs: bool) -> "_Terminal | _Notebook | None":
    if in_notebook():
        return _Notebook()
    stream = sys.stderr if _stream is None else _stream
    with contextlib.suppress(AttributeError, ValueError):  # there is no standard error, or it is closed
        if stream.isatty() or in_logs:
            return _Terminal(stream)
    return None


class _Terminal:
    """A line of a terminal, or of a log. A log gets the last state only."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._is_log = not stream.isatty()
        self._text = ""

    def show(self, line: "_Line") -> None:
        text = self._fit(line)
        if text != self._text and not self._is_log:
            self._write("\r" + text.ljust(len(self._text)))
            self._text = text

    def clear(self) -> None:
        if self._text:
            self._write("\r" + " " * len(self._text) + "\r")
            self._text = ""

    def close(self, line: "_Line", keep: bool) -> None:
        if keep and (self._text or self._is_log):
            self.clear()
            self._write(self._fit(line) + "\n")
        self.clear()

    def _fit(self, line: "_Line") -> str:
        text = line.text(_width(self._stream) - 1)
        if "utf" not in (getattr(self._stream, "encoding", None) or "").lower():
            text = text.translate(_ASCII)
        return text

    def _write(self, text: str) -> None:
        with contextlib.suppress(OSError, ValueError):  # the terminal is gone
            self._stream.write(text)
            self._stream.flush()


class _Notebook:
    """An output of the running cell, which IPython changes."""

    def __init__(self) -> None:
        self._handle: Any = None

    def show(self, line: "_Line") -> None:
        with contextlib.suppress(Exception):  # the work continues if its line cannot be shown
            self._handle = display({"text/plain": line.text(80), "text/html": line.html()}, self._handle)

    def clear(self) -> None:
        """Do nothing: each line has an output of its own."""

    def close(self, line: "_Line", keep: bool) -> None:
        if self._handle is not None:
            self.show(line)


def _width(stream: TextIO) -> int:
    """The number of columns of a terminal. The variable `COLUMNS` has priority."""
    with contextlib.suppress(OSError, ValueError, AttributeError):
        if not os.environ.get("COLUMNS", "").isdigit():
            return os.get_terminal_size(stream.fileno()).columns or 80
    return shutil.get_terminal_size().columns


# -- what it says ------------------------------------------------------------------------------------------------------


class _Line:
    """The state of the work as text, and the thread that shows it again and again."""

    def __init__(self, title: str, unit: str, place: Any, after: float) -> None:
        self._title, self._unit, self._place, self._after = title, unit, place, after
        self._done = 0
        self._total: int | None = None
        self._started = _clock()
        self._end: float | None = None
        self._stopped = threading.Event()
        run = contextvars.copy_context().run  # a cell's output belongs to the context that runs the cell
        self._thread = threading.Thread(target=run, args=(self._show_often,), daemon=True, name="progress")

    def start(self) -> None:
        if self._after <= 0:
            self._show()
        self._thread.start()

    def advance(self, done: int, total: int | None) -> None:
        self._done, self._total = done, total

    def stop(self, keep: bool) -> None:
        self._end = _clock()
        self._stopped.set()
        self._thread.join()
        with _lock:
            if self in _lines:
                _lines.remove(self)
            self._place.close(self, keep)

    def _show_often(self) -> None:
        wait = self._after
        while not self._stopped.wait(wait):
            wait = _EVERY
            self._show()

    def _show(self) -> None:
        """Show the line, unless work inside this work shows a line."""
        with _lock:
            if self not in _lines:
                for other in _lines[-1:]:
                    other._place.clear()
                _lines.append(self)
            if _lines[-1] is self:
                self._place.show(self)

    # -- texts -------------------------------------------------------------------------------------------------------

    def text(self, width: int) -> str:
        """Title, bar and figures in one line of this width. The figures are never shortened."""
        figures = self._figures()
        room = width - len(figures) - 2
        length = min(max(room - 2 - 24, 8), 30) if self._total else 0
        if room - 2 - length < 12:  # a narrow terminal: the title says more than the bar
            length = 0
        room -= length + 2 if length else 0
        filled = int(length * self._share())
        bar = "━" * filled + "─" * (length - filled)
        return "  ".join(filter(None, (_shorten(self._title, room), bar, figures)))

    def html(self) -> str:
        """The same for a notebook."""
        bar = f'<progress value="{self._share():.3f}" max="1"></progress> ' if self._total else ""
        return f"<div>{html.escape(_shorten(self._title, 100))} {bar}<code>{html.escape(self._figures())}</code></div>"

    def _share(self) -> float:
        return min(self._done / self._total, 1.0) if self._total else 0.0

    def _figures(self) -> str:
        seconds = (_clock() if self._end is None else self._end) - self._started
        figures = []
        if self._unit == "B":
            speed = f"{_sizes(round(self._done / seconds))}/s" if seconds > 0 else ""
            figures = [_sizes(self._done, self._total), speed]
        elif self._unit:
            of = f"/{self._total:,}" if self._total else ""
            figures = [f"{self._done:,}{of} {self._unit}"]
        is_under_way = self._total and 0 < self._done < self._total and self._end is None
        left = seconds * (self._total - self._done) / self._done if is_under_way and self._total else None
        figures.append(_duration(seconds) if left is None else f"{_duration(left)} left")
        return "  ".join(filter(None, figures))


def _sizes(done: int, total: int | None = None) -> str:
    """A number of bytes, or two in the same unit."""
    power = min(int(math.log(max(total or done, 1), 1000) + 1e-9), 4)
    numbers = [f"{size / 1000**power:.{min(power, 1)}f}" for size in (done, total) if size is not None]
    return f"{'/'.join(numbers)} {('B', 'kB', 'MB', 'GB', 'TB')[power]}"


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}:{rest:02d}"


def _shorten(text: str, limit: int) -> str:
    """A text, shortened in the middle if it is too long, because the ends of URLs and paths say most."""
    if len(text) <= limit:
        return text
    head = max((limit - 1) // 3, 0)
    return f"{text[:head]}…{text[len(text) - max(limit - 1 - head, 1) :]}"
