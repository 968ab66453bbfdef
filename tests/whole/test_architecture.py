"""The packages are a straight road: each imports only what stands before it, and only the frameworks of its kind."""

import ast
import statistics
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[2] / "keras_hub_layers"
PLAIN, SAVED_MODEL, KERAS, BOTH = {"tensorflow", "keras"}, {"keras"}, {"tensorflow"}, set()
# package -> the frameworks that it must not import, in the order of the road
ROAD = {
    "errors": PLAIN,
    "public": PLAIN,
    "text": PLAIN,
    "files": PLAIN,
    "resolve": PLAIN,
    "publish": PLAIN,
    "compat": BOTH,
    "savedmodel": SAVED_MODEL,
    "inspect": SAVED_MODEL,
    "executors": BOTH,
    "cut": KERAS,
    "layers": KERAS,
    "finetuning": KERAS,
    "export": BOTH,
    "callbacks": KERAS,
    "tuners": KERAS,
    "saved_classes": BOTH,
    "cli": BOTH,
}
ORDER = list(ROAD)
FILES = sorted([PACKAGE / "errors.py", *(PACKAGE / "_src").glob("*.py"), *(PACKAGE / "_src").glob("*/**/*.py")])
FILES.remove(PACKAGE / "_src" / "__init__.py")


def package_of(name):
    """`keras_hub_layers._src.resolve.http` -> `resolve`; a public namespace -> its own name."""
    return name.removeprefix("keras_hub_layers.").removeprefix("_src.").split(".")[0]


def dotted(path):
    return ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(".__init__")


def imports_of(path):
    """(module, name or `None`) of each import in a file, also inside functions, but not under TYPE_CHECKING."""
    tree = ast.parse(path.read_text("utf-8"))
    guards = [node for node in ast.walk(tree) if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)]
    skipped = {id(node) for guard in guards for node in ast.walk(guard)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import) and id(node) not in skipped:
            yield from ((alias.name, None) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and id(node) not in skipped:
            assert not node.level, f"{path}: relative import"
            yield from ((node.module, alias.name) for alias in node.names)


@pytest.mark.parametrize("path", FILES, ids=dotted)
def test_a_package_imports_only_what_stands_before_it(path):
    own = package_of(dotted(path))
    for module, name in imports_of(path):
        if module.split(".")[0] != "keras_hub_layers" or (module == "keras_hub_layers._src" and name == own):
            continue
        target = package_of(module if module.count(".") > 1 or name is None else f"{module}.{name}")
        if module.startswith("keras_hub_layers._src") or target == "errors":
            assert ORDER.index(target) <= ORDER.index(own), f"{own} imports {module}, which stands after it"
        else:
            assert own in ("cli", "saved_classes"), f"{own} imports the public {target}"
        assert target == own or not (name or "").startswith("_") or name == "__version__", f"{module}.{name} is private"


@pytest.mark.parametrize("path", FILES, ids=dotted)
def test_a_package_imports_only_the_frameworks_of_its_kind(path):
    frameworks = {module.split(".")[0] for module, _ in imports_of(path)}
    assert not frameworks & ROAD[package_of(dotted(path))]


def test_private_names_of_keras_and_tensorflow_are_in_compat():
    for path in FILES:
        private = [m for m, _ in imports_of(path) if m.startswith(("keras.src", "tensorflow.python", "tf_keras"))]
        assert not private or "compat" in path.parts, f"{path} imports {private}"


def test_no_attribute_with_an_underscore_of_another_package_is_used():
    for path in FILES:
        tree = ast.parse(path.read_text("utf-8"))
        modules = {name for module, name in imports_of(path) if module.startswith("keras_hub_layers")}
        reached = [
            f"{node.value.id}.{node.attr}"
            for node in ast.walk(tree)
            if isinstance(node, ast.Attribute)
            and isinstance(node.value, ast.Name)
            and node.value.id in modules
            and node.attr.startswith("_")
            and not node.attr.startswith("__")
        ]
        assert not reached, f"{dotted(path)} reaches into {reached}"


def test_folders_and_files_are_small():
    lengths = {path: len(path.read_text("utf-8").splitlines()) for path in FILES}
    assert statistics.median(lengths.values()) < 150
    assert not {dotted(path): count for path, count in lengths.items() if count > 350}
    for folder in {path.parent for path in FILES if path.parent != PACKAGE}:
        modules = [path for path in folder.glob("*.py") if path.name != "__init__.py"]
        assert len(modules) <= 12, f"{folder} holds {len(modules)} modules"


def test_functions_are_short():
    for path in FILES:
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.FunctionDef):
                docstring = node.body[0].end_lineno - node.body[0].lineno + 1 if ast.get_docstring(node) else 0
                length = node.end_lineno - node.lineno + 1 - docstring
                assert length <= 60, f"{dotted(path)}.{node.name} has {length} lines"


def test_a_public_name_is_defined_in_the_file_of_its_name():
    import keras_hub_layers as khl

    for verb, path in khl._VERBS.items():
        assert path.rpartition(".")[2] == verb
