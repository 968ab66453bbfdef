"""Which ops TensorFlow registers, and which of them have a gradient: from a list, so that it need not be imported.

`tensorflow_ops.txt` has the ops of each minor version of TensorFlow that is supported; `python3 dev.py ops` writes it.
"""

import functools
import os
import sys
from collections.abc import Mapping

from keras_hub_layers._src.compat import tensorflow as tensorflow_compat


def is_of_tensorflow(op: str) -> bool:
    """Whether TensorFlow itself, without further packages, has an op."""
    listed = _installed_ops()
    return tensorflow_compat.is_of_tensorflow(op) if listed is None else op in listed


def is_registered(op: str) -> bool:
    """Whether this process has an op: TensorFlow's, or one of a package that was imported."""
    listed = _installed_ops()
    if listed is not None and (op in listed or not _is_running()):
        return op in listed
    return tensorflow_compat.is_registered(op)


def gradient_kind(op: str) -> str:
    """What `compat.tensorflow.gradient_kind` says of an op; by the list, unless TensorFlow runs in this process.

    Where it runs, the user, or a package, may have registered a gradient.
    """
    listed = _installed_ops()
    if listed is None or _is_running():
        return tensorflow_compat.gradient_kind(op)
    return listed.get(op, "undefined")


def _is_running() -> bool:
    return "tensorflow" in sys.modules


def _installed_ops() -> Mapping[str, str] | None:
    """The ops of the installed TensorFlow, name -> `gradient_kind`; `None` if its version is not in the list."""
    version = tensorflow_compat.installed_version()
    return listed_ops(".".join(version.split(".")[:2]))


@functools.cache
def listed_ops(version: str) -> Mapping[str, str] | None:
    """The ops of a minor version of TensorFlow, name -> `gradient_kind`; `None` if it is not in the list."""
    versions, lines = _read_list()
    if version not in versions:
        return None
    place = versions.index(version)
    ops: dict[str, str] = {}
    for line in lines:
        name, kind, *span = line.split()
        first, _, last = (span or [f"{versions[0]}-{versions[-1]}"])[0].partition("-")
        if versions.index(first) <= place <= versions.index(last):
            ops[name] = kind
    return ops


def _read_list() -> tuple[list[str], list[str]]:
    """The versions, and a line for each op: name, kind of gradient, first and last version unless all have it."""
    with open(os.path.join(os.path.dirname(__file__), "tensorflow_ops.txt"), encoding="utf-8") as file:
        first, *lines = [line for line in file if not line.startswith("#")]
    return first.split(), lines


def format_list(ops: Mapping[str, Mapping[str, str]]) -> str:
    """The text of the list.

    Args:
        ops: Each version of TensorFlow, in their order -> name of each of its ops -> `gradient_kind`.
    """
    versions = list(ops)
    lines = [
        "# The ops that TensorFlow registers: name, gradient, versions if not all. Written by `python3 dev.py ops`."
    ]
    lines.append(" ".join(versions))
    for name in sorted(set().union(*ops.values())):
        for kind in sorted({known[name] for known in ops.values() if name in known}):
            present = [version for version in versions if ops[version].get(name) == kind]
            for first, last in _spans(present, versions):
                span = "" if (first, last) == (versions[0], versions[-1]) else f" {first}-{last}"
                lines.append(f"{name} {kind}{span}")
    return "\n".join(lines) + "\n"


def _spans(present: list[str], versions: list[str]) -> list[tuple[str, str]]:
    """First and last of each run of neighbouring versions."""
    spans: list[tuple[str, str]] = []
    for version in present:
        place = versions.index(version)
        if spans and place and spans[-1][1] == versions[place - 1]:
            spans[-1] = (spans[-1][0], version)
        else:
            spans.append((version, version))
    return spans
