#!/usr/bin/env python3
"""Set up a virtual environment beside this file and run one thing in it.

    python3 dev.py demo     the main job: use, fine-tune, export, reload
    python3 dev.py test     lint, types, documentation and tests
    python3 dev.py floor    the core of the tests on the oldest Keras and TensorFlow that the package claims
                            (`python3 dev.py floor tests`: all of them)
    python3 dev.py test-matrix  the core of the tests on the oldest and on the newest versions; and what each of them
                            writes (exports, .keras and .weights.h5 files) is read by the other
                            (`python3 dev.py test-matrix files`: the files only)
    python3 dev.py backends the tests of what JAX and PyTorch compute, each in an environment of its own
                            (`python3 dev.py backends jax`: of one)
    python3 dev.py serving  exports in a real server, over REST and gRPC, in an environment of its own (Linux on x86-64)
    python3 dev.py check    lint, types and documentation only
    python3 dev.py docs     the documentation, into site/: open site/index.html
    python3 dev.py ops      write the list of TensorFlow's ops anew, by installing each supported version

Needs Python 3.11 or newer and nothing else; further arguments go on to the command
(`python3 dev.py test -k ragged`).
"""

import hashlib
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent
CORE = (
    "layers/test_*.py",
    "executors/test_executors.py",
    "inspect/test_inspect.py",
    "savedmodel/test_load.py",
    "savedmodel/test_op_registry.py",
    "savedmodel/test_protos.py",
    "compat/test_*.py",
    "export/test_export.py",
    "whole/test_zoo.py",
)
EXCHANGE = ROOT / "tests" / "support" / "exchanged_files.py"
BACKENDS = {"jax": ("jax>=0.10,<0.11",), "torch": ("torch==2.13.0",)}  # backend of Keras -> what it needs
BACKEND_TESTS = tuple(
    f"tests/executors/test_{name}.py"
    for name in ("backends", "backend_workflows", "bridge", "interpreter_ops", "op_properties")
)
# A server, and what its processes of Python and its client for gRPC import. They crash with NumPy 2.
SERVER = ("--no-deps", "nvidia-pytriton==0.7.0", "tritonclient==2.73.0", "python-rapidjson==1.25", "numpy==1.26.4")
TENSORFLOWS = ("2.18", "2.19", "2.20", "2.21")  # whose ops are listed
PARALLEL = ("-n", "auto", "--maxprocesses", "4", "--dist", "loadgroup")  # up to 1.6 GB of memory each


class Environment:
    """A virtual environment beside this file with the project in it.

    Args:
        name: Name of its folder.
        extra: Extra of the project to install, `"[dev]"` or `""`.
        versions: File of pinned versions in `requirements/`, or `None` for the newest that fit.
    """

    def __init__(self, name: str, extra: str, versions: str | None) -> None:
        self.folder = ROOT / name
        self.python = self.folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
        self.extra = extra
        self.versions = None if versions is None else ROOT / "requirements" / versions

    def install(self) -> None:
        """Create it, unless that was done already for these very versions."""
        pinned = b"" if self.versions is None else self.versions.read_bytes()
        wanted = hashlib.sha256((ROOT / "pyproject.toml").read_bytes() + pinned + sys.version.encode()).hexdigest()
        stamp = self.folder / f"installed{self.extra or '-plain'}"
        if self.python.exists() and stamp.exists() and stamp.read_text() == wanted:
            return
        if not self.python.exists():
            print(f"creating {self.folder}", flush=True)
            command(sys.executable, "-m", "venv", self.folder)
        print(f"installing into {self.folder} (TensorFlow is large: a few minutes)", flush=True)
        constraints = () if self.versions is None else ("-c", self.versions)
        pip = ("-m", "pip", "install", "--quiet", "--disable-pip-version-check")
        self.run(*pip, *constraints, "-e", f".{self.extra}")
        stamp.write_text(wanted)

    def run(self, *arguments: object) -> None:
        """Run its Python; leave with its exit code if that fails."""
        command(self.python, *arguments)


class UpperEnvironment:
    """A virtual environment with more packages, above another one whose packages it has too.

    Args:
        name: End of the name of its folder.
        packages: What to install, as arguments of pip. It comes before what the environment below has.
        base: The `Environment` below, installed.
    """

    def __init__(self, name: str, packages: tuple[str, ...], base: Environment) -> None:
        self.packages = packages
        self.base = base
        self.folder = ROOT / f".venv-{name}"
        self.python = self.folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")

    def install(self) -> None:
        """Create it, unless that was done already."""
        stamp, wanted = self.folder / "installed", " ".join(self.packages)
        if stamp.exists() and stamp.read_text() == wanted:
            return
        print(f"installing {wanted} into {self.folder}", flush=True)
        command(sys.executable, "-m", "venv", "--clear", self.folder)
        packages = "import sysconfig; print(sysconfig.get_path('purelib'))"
        below, own = (
            subprocess.check_output([env.python, "-c", packages], text=True).strip() for env in (self.base, self)
        )
        Path(own, "below.pth").write_text(f"import site; site.addsitedir({below!r})\n", "utf-8")
        command(self.python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *self.packages)
        stamp.write_text(wanted)

    def run(self, *arguments: object, **environment: str) -> None:
        """Run its Python; leave with its exit code if that fails."""
        command(self.python, *arguments, environment={**os.environ, **environment})


def command(*parts: object, environment: dict[str, str] | None = None) -> None:
    """Run a command from the project's root; leave with its exit code if it fails."""
    done = subprocess.run([str(part) for part in parts], cwd=ROOT, check=False, env=environment)
    if done.returncode:
        sys.exit(done.returncode)


def check(environment: Environment) -> None:
    """Lint, formatting and types."""
    environment.run("-m", "ruff", "check", ".")
    environment.run("-m", "ruff", "format", "--check", ".")
    environment.run("-m", "pyright", "--pythonpath", environment.python)


def docs(environment: Environment) -> None:
    """Build the documentation; a broken link, anchor, name or included file is an error."""
    environment.run("-m", "zensical", "build", "--strict", "--clean")


def run_core(environment: Environment, *arguments: str) -> None:
    """The core of the tests."""
    core = sorted(path for pattern in CORE for path in ROOT.glob(f"tests/{pattern}"))
    environment.run("-m", "pytest", *arguments, *PARALLEL, *core)


def exchange(writer: Environment, reader: Environment) -> None:
    """Have one environment read what another has written."""
    with tempfile.TemporaryDirectory() as folder:
        writer.run(EXCHANGE, "write", folder)
        reader.run(EXCHANGE, "read", folder)


def write_ops() -> None:
    """Write the list of the ops of each TensorFlow that is supported, each installed for that alone."""
    sys.path.insert(0, str(ROOT))
    from keras_hub_layers._src.savedmodel.graphs import op_registry

    code = "import json\nfrom keras_hub_layers._src.compat.tensorflow import registered_ops\n"
    code += "print(json.dumps(registered_ops()))"
    ops = {}
    for version in TENSORFLOWS:
        with tempfile.TemporaryDirectory() as folder:
            print(f"installing TensorFlow {version} into {folder}", flush=True)
            command(sys.executable, "-m", "venv", folder)
            python = Path(folder, "Scripts/python.exe" if os.name == "nt" else "bin/python")
            command(python, "-m", "pip", "install", "--quiet", f"tensorflow=={version}.*")
            ops[version] = json.loads(subprocess.check_output([python, "-c", code], cwd=ROOT))
    path = ROOT / "keras_hub_layers" / "_src" / "savedmodel" / "graphs" / "tensorflow_ops.txt"
    path.write_text(op_registry.format_list(ops), "utf-8")
    print(f"{len(set().union(*ops.values()))} ops are in {path}")


def main() -> None:
    if sys.version_info < (3, 11):  # noqa: UP036 - the one file that an older Python may run
        sys.exit(f"keras-hub-layers needs Python 3.11 or newer; this is {sys.version.split()[0]} ({sys.executable})")
    task, *rest = sys.argv[1:] or ["--help"]
    if task == "demo":
        environment = Environment(".venv", "", "newest.txt")
        environment.install()
        environment.run("-m", "keras_hub_layers", "demo", *rest)
    elif task in ("test", "check"):
        environment = Environment(".venv", "[dev]", "newest.txt")
        environment.install()
        if task == "check" or not rest:
            check(environment)
            docs(environment)
        if task == "test":
            environment.run("-m", "pytest", *(rest or PARALLEL))
    elif task == "backends":
        environment = Environment(".venv", "[dev]", "newest.txt")
        environment.install()
        for name in rest or BACKENDS:
            backend = UpperEnvironment(name, BACKENDS[name], environment)
            backend.install()
            backend.run("-m", "pytest", "-W", "ignore", *BACKEND_TESTS, KERAS_BACKEND=name)
    elif task == "serving":
        environment = Environment(".venv", "[dev]", "newest.txt")
        environment.install()
        server = UpperEnvironment("serving", SERVER, environment)
        server.install()
        server.run("-m", "pytest", "tests/export/test_serving.py")
    elif task == "docs":
        environment = Environment(".venv", "[dev]", "newest.txt")
        environment.install()
        docs(environment)
    elif task == "ops":
        write_ops()
    elif task == "floor":
        environment = Environment(".venv-floor", "[dev]", "floor.txt")
        environment.install()
        # Warnings of those versions have been mended since; ours are errors in `test`.
        if rest:
            environment.run("-m", "pytest", "-W", "ignore", *rest)
        else:
            run_core(environment, "-W", "ignore")
    elif task == "test-matrix":
        newest, oldest = Environment(".venv", "[dev]", "newest.txt"), Environment(".venv-floor", "[dev]", "floor.txt")
        for environment in (newest, oldest):
            environment.install()
        exchange(newest, oldest)
        exchange(oldest, newest)
        if rest != ["files"]:
            run_core(newest)
            run_core(oldest, "-W", "ignore")
    else:
        print(__doc__)
        sys.exit(0 if task in ("-h", "--help") else 2)


if __name__ == "__main__":
    main()
