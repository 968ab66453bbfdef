"""What the demo says while it works, and which of its claims turned out to be wrong."""

import contextlib
from collections.abc import Callable, Iterator, Sequence

from rich import box
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn
from rich.table import Table


class Report:
    """Numbered steps, lines, checked claims, a table and a progress bar, on stdout.

    Attributes:
        failed: The claims that were checked and are not true.
    """

    def __init__(self) -> None:
        self.failed: list[str] = []
        self._console = Console(soft_wrap=True, highlight=False)
        self._steps = 0

    def step(self, text: str) -> None:
        """Begin a step."""
        self._steps += 1
        self.line(f"\n{self._steps}  {text}", "bold")

    def say(self, text: str) -> None:
        """One line within a step."""
        self.line(f"   {text}")

    def line(self, text: str, style: str | None = None) -> None:
        """One line, as it is."""
        self._console.print(text, style=style, markup=False)

    def check(self, claim: str, is_true: bool, figures: str) -> None:
        """One claim, whether it is true, and the figures that say so."""
        if not is_true:
            self.failed.append(claim)
        mark = "[green]ok    [/]" if is_true else "[bold red]FAILED[/]"
        self._console.print(f"   {mark}  {claim}: {figures}")

    def table(self, titles: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """Rows of text, numbers to the right."""
        table = Table(box=box.SIMPLE_HEAD, header_style="bold")
        for title in titles:
            table.add_column(title, justify="left" if title in titles[:2] else "right", no_wrap=True)
        for row in rows:
            table.add_row(*row)
        self._console.print(table)

    @contextlib.contextmanager
    def progress(self, title: str, total: int) -> Iterator[Callable[[], None]]:
        """A bar, on a terminal; gone when the block ends.

        Args:
            title: What goes on.
            total: Number of epochs.

        Yields:
            A function to be called after each epoch.
        """
        columns = (TextColumn(f"   {title}"), BarColumn(), TextColumn("epoch {task.completed} of {task.total}"))
        on_terminal = self._console.is_terminal
        with Progress(*columns, console=self._console, transient=True, disable=not on_terminal) as bar:
            task = bar.add_task(title, total=total)
            yield lambda: bar.advance(task)
