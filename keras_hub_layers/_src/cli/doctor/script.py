"""The handles that a Python script names, read from its text: the script is not run."""

import ast
import os
from collections.abc import Iterator
from dataclasses import dataclass

from keras_hub_layers._src.cli.doctor.finding import WARNING, Finding
from keras_hub_layers._src.resolve.handles import display
from keras_hub_layers.errors import HandleError

_MODULES = ("keras_hub_layers", "tensorflow_hub")


# Function -> the position of its argument that is a handle, or a list of handles.
_TAKES_HANDLE = {
    "HubLayer": 0,
    "KerasLayer": 0,
    "load": 0,
    "resolve": 0,
    "inspect": 0,
    "Candidate": 0,
    "HubHyperModel": 0,
    "hub_choice": 1,
}


@dataclass(frozen=True)
class Mention:
    """A handle in a script: its line, and the expression that uses it, without a password."""

    handle: str
    line: int
    code: str


@dataclass(frozen=True)
class Script:
    """What a script says: its handles, each once, and what is wrong with the lines that use them."""

    path: str
    mentions: tuple[Mention, ...]
    findings: tuple[Finding, ...]


def is_script(text: str) -> bool:
    """Whether a word of the command line is the path of a Python file."""
    return text.endswith(".py") and os.path.isfile(text)


def read(path: str) -> Script:
    """Read a script.

    Args:
        path: A Python file.

    Raises:
        errors.HandleError: It is no Python, or names no handle as a text.
    """
    with open(path, encoding="utf-8") as file:
        source = file.read()
    try:
        tree = ast.parse(source)
    except SyntaxError as error:
        raise HandleError(
            "The script is not Python that can be read.",
            expected="a file of Python",
            received=f"{error.msg}, line {error.lineno}",
            where=path,
            fix=f"python -m py_compile {path}",
        ) from error
    constants, modules = _constants(tree), _imports(tree)
    calls = [(node, name) for node in ast.walk(tree) if isinstance(node, ast.Call) and (name := _name(node, modules))]
    mentions: dict[str, Mention] = {}
    findings = []
    for call, name in sorted(calls, key=lambda pair: pair[0].lineno):
        code = " ".join((ast.get_source_segment(source, call) or name).split())
        for handle in _handles(call, name, constants):
            mentions.setdefault(handle, Mention(handle, call.lineno, code.replace(handle, display(handle))))
        if name == "KerasLayer":
            text = f"line {call.lineno}: hub.KerasLayer is a layer of Keras 2, which Keras 3 does not take"
            findings.append(Finding("script", WARNING, text, f"layers.HubLayer{code[code.index('(') :]}"))
    if not mentions:
        raise _no_handle(path, bool(calls))
    return Script(path, tuple(mentions.values()), tuple(findings))


def _no_handle(path: str, has_calls: bool) -> HandleError:
    return HandleError(
        "The script names no handle that can be read without running it.",
        expected="HubLayer('…') or khl.load('…'), with the handle itself or a name that the script sets to it",
        received="calls whose handle is computed" if has_calls else "no such call",
        where=path,
        fix="keras-hub-layers doctor HANDLE",
    )


def _constants(tree: ast.AST) -> dict[str, list[str]]:
    """Name -> texts, of the names that the script sets once, to a text or a list of texts."""
    values: dict[str, list[ast.expr]] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign):
            for target in node.targets:
                if isinstance(target, ast.Name):
                    values.setdefault(target.id, []).append(node.value)
    return {name: list(_texts(given[0], {})) for name, given in values.items() if len(given) == 1}


def _imports(tree: ast.AST) -> dict[str, str]:
    """Name in the script -> dotted name of what it was imported from."""
    names = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names.update({alias.asname or alias.name.split(".")[0]: alias.name for alias in node.names})
        elif isinstance(node, ast.ImportFrom):
            names.update({alias.asname or alias.name: f"{node.module}.{alias.name}" for alias in node.names})
    return names


def _name(call: ast.Call, modules: dict[str, str]) -> str:
    """The function of this package, or of tensorflow_hub, that is called; `""` for any other."""
    parts = []
    node = call.func
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    if not isinstance(node, ast.Name):
        return ""
    origin, *_ = dotted = [*modules.get(node.id, node.id).split("."), *parts[::-1]]
    name = dotted[-1]
    is_ours = origin in _MODULES or name in ("HubLayer", "KerasLayer")
    return name if is_ours and name in _TAKES_HANDLE else ""


def _handles(call: ast.Call, name: str, constants: dict[str, list[str]]) -> list[str]:
    place = _TAKES_HANDLE[name]
    keywords = ("handle", "handle_or_object", "candidates")
    given = [keyword.value for keyword in call.keywords if keyword.arg in keywords]
    given += call.args[place : place + 1]
    return [text for node in given for text in _texts(node, constants)]


def _texts(node: ast.expr, constants: dict[str, list[str]]) -> Iterator[str]:
    """The texts that an expression stands for: a text, a name of one, or a list of these."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield node.value
    elif isinstance(node, ast.Name) and node.id in constants:
        yield from constants[node.id]
    elif isinstance(node, (ast.List, ast.Tuple)):
        for element in node.elts:
            yield from _texts(element, constants)
