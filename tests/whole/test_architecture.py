"""The packages are a straight road: each imports only what stands before it, and only the frameworks of its kind."""

import ast
import re
import statistics
import subprocess
import sys
from pathlib import Path

import keras_hub_layers as khl

PACKAGE = Path(khl.__file__).parent
PLAIN, SAVED_MODEL, KERAS, BOTH = {"tensorflow", "keras"}, {"keras"}, {"tensorflow"}, set()
# package -> the frameworks that it must not import, in the order of the road
ROAD = {
    "errors": PLAIN,
    "public": PLAIN,
    "keras_import": PLAIN,
    "text": PLAIN,
    "files": PLAIN,
    "tensorflow_process": PLAIN,
    "resolve": PLAIN,
    "publish": PLAIN,
    "compat": BOTH,
    "savedmodel": SAVED_MODEL,
    "inspect": PLAIN,
    "sample_inputs": SAVED_MODEL,
    "executors": BOTH,
    "cut": KERAS,
    "layers": KERAS,
    "plots": PLAIN,
    "finetuning": KERAS,
    "export": BOTH,
    "callbacks": KERAS,
    "distribution": BOTH,
    "tuners": KERAS,
    "saved_classes": BOTH,
    "cli": BOTH,
}
ORDER = list(ROAD)
# What of `savedmodel` uses TensorFlow. The rest reads files without it, for `inspect`.
USES_TENSORFLOW = {
    "checkpoints", "file_system", "graphs.assignments", "folding", "graphs.concrete", "graphs.parts", "live_functions",
    "live_object", "load", "load_options", "protos.text_form", "pruning",
}  # fmt: skip
NAMESPACES = [PACKAGE / f"{name}.py" for name in khl._NAMESPACES if name != "errors"]
TREES = {
    path: ast.parse(path.read_text("utf-8"))
    for path in sorted([PACKAGE / "errors.py", *(PACKAGE / "_src").rglob("*.py")])
    if path != PACKAGE / "_src" / "__init__.py"
}
PRIVATE = ("keras.src", "tensorflow.python", "tf_keras")
OF_THE_STANDARD_LIBRARY = {"_getframe", "_replace", "_SubParsersAction", "_current_indent", "_indent_increment"}


def package_of(name):
    """`keras_hub_layers._src.resolve.http`, or its path -> `resolve`; a public namespace -> its own name."""
    if isinstance(name, Path):
        name = ".".join(name.relative_to(PACKAGE.parent).with_suffix("").parts)
    return re.sub(r"^keras_hub_layers\.(_src\.)?", "", name).split(".")[0]


def imports(tree):
    """(module, name or `None`) of each import, also inside functions, but not under TYPE_CHECKING."""
    guards = [node for node in ast.walk(tree) if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)]
    skipped = {node for guard in guards for node in ast.walk(guard)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import) and node not in skipped:
            yield from ((alias.name, None) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node not in skipped:
            assert not node.level, "relative import"
            yield from ((node.module, alias.name) for alias in node.names)


IMPORTS = [(path, package_of(path), *pair) for path, tree in TREES.items() for pair in imports(tree)]
OURS = [  # (file, its package, the package that it imports from, the module, the name)
    (path, own, package_of(f"{module}.{name}" if module.count(".") < 2 else module), module, name)
    for path, own, module, name in IMPORTS
    if module.split(".")[0] == "keras_hub_layers"
]


def test_a_package_imports_only_what_stands_before_it():
    for path, own, target, module, _ in OURS:
        if "_src" in module or target == "errors":
            assert ORDER.index(target) <= ORDER.index(own), f"{path} imports {target}, which stands after {own}"
        else:  # a public namespace
            assert own == "cli", f"{path} imports {module}"


def test_a_package_imports_only_the_frameworks_of_its_kind():
    assert not [(path, module) for path, own, module, _ in IMPORTS if module.split(".")[0] in ROAD[own]]


def test_what_reads_a_savedmodel_for_inspect_does_not_import_tensorflow():
    folder = PACKAGE / "_src" / "savedmodel"
    for path in folder.rglob("*.py"):
        name = ".".join(path.relative_to(folder).with_suffix("").parts)
        modules = {module for file, _, module, _ in IMPORTS if file == path}
        if name not in USES_TENSORFLOW and name.split(".")[0] not in USES_TENSORFLOW:
            assert not [module for module in modules if module.split(".")[0] == "tensorflow"], path


def test_private_names_stay_in_their_package():
    assert not [(p, module) for p, own, module, _ in IMPORTS if module.startswith(PRIVATE) and own != "compat"]
    assert not [row for row in OURS if row[1] != row[2] and re.match("_(?!_)", row[4] or "")]
    nodes = [(path, package_of(path), node) for path, tree in TREES.items() for node in ast.walk(tree)]
    defined = {(own, name) for _, own, node in nodes for name in (getattr(node, "name", None), stored(node))}
    for path, own, node in nodes:
        if isinstance(node, ast.Attribute) and re.match("_(?!_)", node.attr) and own != "compat":
            is_own = (own, node.attr) in defined or node.attr in OF_THE_STANDARD_LIBRARY
            assert is_own, f"{path}:{node.lineno} reaches into {ast.unparse(node)}"


def stored(node):
    """The name of a variable or attribute that is assigned to."""
    return (
        getattr(node, "attr", getattr(node, "id", None)) if isinstance(getattr(node, "ctx", None), ast.Store) else None
    )


def test_every_warning_goes_through_the_helper_that_finds_the_line_of_the_user():
    for path, tree in TREES.items():
        calls = [node for node in ast.walk(tree) if isinstance(node, ast.Attribute) and node.attr == "warn"]
        assert path.stem == "errors" or "warnings.warn" not in map(ast.unparse, calls), path
    assert not [path for path, _, module, name in IMPORTS if (module, name) == ("warnings", "warn")]


def test_folders_files_and_functions_are_small():
    lengths = {path: len(path.read_text("utf-8").splitlines()) for path in TREES}
    assert statistics.median(lengths.values()) < 150
    assert not {path: count for path, count in lengths.items() if count > 350}
    for folder in {path.parent for path in TREES if path.parent != PACKAGE}:
        assert len([path for path in folder.glob("*.py") if path.name != "__init__.py"]) <= 12, folder
    for path, tree in TREES.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef):
                first = node.body[1] if ast.get_docstring(node) and len(node.body) > 1 else node.body[0]
                assert node.end_lineno - first.lineno < 60, f"{path}:{node.lineno} {node.name} is too long"


def test_a_public_name_is_defined_in_the_file_of_its_name():
    for verb, path in khl._VERBS.items():
        assert path.split(".")[1] == verb
    for namespace in NAMESPACES:
        for module, name in imports(ast.parse(namespace.read_text("utf-8"))):
            if name == "saved_classes":  # imported first, so that Keras finds what saved files name
                continue
            file, plain = module.rpartition(".")[2].replace("_", ""), name.lower().replace("_", "")
            is_record = namespace.stem == "interface" and file == "records"
            assert file in plain or plain in file or is_record, f"{namespace.stem}.{name} is defined in {module}"


def test_importing_the_package_imports_neither_framework():
    code = "import sys, keras_hub_layers; print({'tensorflow', 'keras'} & sys.modules.keys())"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "set()\n"
