#!/usr/bin/env python3
"""Set up a virtual environment beside this file and run one thing in it.

    python3 dev.py demo     the main job: use, fine-tune, export, reload
    python3 dev.py test     lint, types and tests
    python3 dev.py check    lint and types only

Needs Python 3.11 or newer and nothing else; further arguments go on to the command
(`python3 dev.py test -k ragged`).
"""

import hashlib
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent
VENV = ROOT / ".venv"
PYTHON = VENV / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def run(*command: object) -> None:
    """Run a command of the virtual environment from the project's root; leave with its exit code if it fails."""
    done = subprocess.run([str(part) for part in command], cwd=ROOT, check=False)
    if done.returncode:
        sys.exit(done.returncode)


def install(extra: str) -> None:
    """Create the environment and install the project with an extra, unless that was done for this pyproject.toml."""
    wanted = hashlib.sha256((ROOT / "pyproject.toml").read_bytes() + sys.version.encode()).hexdigest()
    stamp = VENV / f"installed{extra or '-plain'}"
    if PYTHON.exists() and stamp.exists() and stamp.read_text() == wanted:
        return
    if not PYTHON.exists():
        print(f"creating {VENV}", flush=True)
        run(sys.executable, "-m", "venv", VENV)
    print(f"installing keras-hub-layers{extra} into {VENV} (TensorFlow is large: a few minutes)", flush=True)
    run(PYTHON, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-e", f".{extra}")
    stamp.write_text(wanted)


def check() -> None:
    """Lint, formatting and types."""
    run(PYTHON, "-m", "ruff", "check", ".")
    run(PYTHON, "-m", "ruff", "format", "--check", ".")
    run(PYTHON, "-m", "pyright")


def main() -> None:
    if sys.version_info < (3, 11):  # noqa: UP036 - the one file that an older Python may run
        sys.exit(f"keras-hub-layers needs Python 3.11 or newer; this is {sys.version.split()[0]} ({sys.executable})")
    command, *rest = sys.argv[1:] or ["--help"]
    if command == "demo":
        install("")
        run(PYTHON, "-m", "keras_hub_layers", "demo", *rest)
    elif command == "test":
        install("[dev]")
        if not rest:
            check()
        run(PYTHON, "-m", "pytest", *rest)
    elif command == "check":
        install("[dev]")
        check()
    else:
        print(__doc__)
        sys.exit(0 if command in ("-h", "--help") else 2)


if __name__ == "__main__":
    main()
