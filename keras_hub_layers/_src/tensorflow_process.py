"""A Python process of its own on TensorFlow: it reads a request as JSON from its input, and writes answers as JSON."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Reply:
    """What a process left when it ended.

    Attributes:
        status: Its exit status; negative, if a signal ended it.
        output: What it wrote to its standard output.
        errors: What it wrote to its standard error.
    """

    status: int
    output: str
    errors: str

    @property
    def answers(self) -> list[dict[str, Any]]:
        """The lines of the output that are JSON objects, in order. TensorFlow and its plugins may write others."""
        parsed = map(_parsed, self.output.splitlines())
        return [answer for answer in parsed if isinstance(answer, dict)]

    @property
    def last_error(self) -> str:
        """The last line of what it wrote to its standard error."""
        return (self.errors.strip().splitlines() or [""])[-1]


def run(code: str, request: Mapping[str, Any], seconds: float) -> Reply:
    """Run code in a new process, which can import what this one can, and wait for its end.

    Args:
        code: Python code. It reads the request from `sys.stdin`.
        request: What JSON can hold.
        seconds: How long the process may take. Then it is killed.

    Raises:
        subprocess.TimeoutExpired: The process was killed.
        OSError: It could not be started.
    """
    settings = {"PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "KERAS_BACKEND": "tensorflow"}
    settings["TF_FORCE_GPU_ALLOW_GROWTH"] = "true"  # else it would ask for all the memory that this process has
    done = subprocess.run(
        [sys.executable, "-c", code],
        input=json.dumps(request),
        capture_output=True,
        text=True,
        errors="replace",
        timeout=seconds,
        env={**os.environ, **settings},
        check=False,
    )
    return Reply(done.returncode, done.stdout, done.stderr)


def _parsed(line: str) -> Any:
    try:
        return json.loads(line)
    except ValueError:
        return None
