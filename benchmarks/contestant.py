"""A process of `measure.py` that measures when it is told to."""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any


class FailedError(Exception):
    """A contestant did not come to an end."""


class Contestant:
    """A process of `measure.py`. It stands still until it is told to go on.

    Attributes:
        row: The row that it waits to measure, or `None` if it has ended.
        result: What it has printed at its end.
    """

    def __init__(self, *arguments: str) -> None:
        # Python compiles each file once, as it does where the package is installed.
        environment = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
        command = [sys.executable, str(Path(__file__).with_name("measure.py")), *arguments]
        self._arguments = arguments
        self._errors = tempfile.TemporaryFile("w+")  # noqa: SIM115 - closed with the process
        self._process: Any = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._errors, text=True, env=environment
        )
        self.row: str | None = None
        self.result: dict[str, float] = {}
        self.turns = 0

    def __enter__(self) -> "Contestant":
        return self

    def __exit__(self, *error: object) -> None:
        self._process.kill()
        self._process.wait()
        for file in (self._process.stdin, self._process.stdout, self._errors):
            file.close()

    def go_on(self) -> None:
        """Have it measure until it waits for its next turn, or ends."""
        if self.row is not None:
            print(file=self._process.stdin, flush=True)
        self.turns, self.row, line = self.turns + 1, None, ""
        for line in self._process.stdout:
            if line.startswith("turn "):
                self.row = line.removeprefix("turn ").strip()
                return
        if self._process.wait():
            self._errors.seek(0)
            raise FailedError(f"{' '.join(self._arguments)} failed:\n{self._errors.read()[-3000:]}")
        self.result = json.loads(line)
