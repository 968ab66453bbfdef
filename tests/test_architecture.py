"""The road of the package is a straight one: each module imports only what stands above it."""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / "keras_hub_layers"
ROAD = [
    "errors", "cards", "naming", "tables", "findings", "swapping", "handles", "formats", "pages", "settings", "web",
    "download", "tarballs", "archives", "manifests", "locks", "cache", "local", "hubs", "resolvers", "publishers",
    "probes", "installation", "surroundings", "servers",
    "packages", "ops", "origins", "damage", "loader", "tensors", "loaded", "effects", "blueprint", "records",
    "usage", "overview", "interface", "options", "selection", "checkpoints", "comparison", "checks", "signing",
    "embedding", "executors", "guards", "calls", "opening", "layers", "grouping", "slots", "rates", "unfreezing",
    "data", "fingerprints", "stores", "features", "finetuning", "graphs", "pieces", "specs", "advice", "flags",
    "roots", "plans", "exporters",
    "saving", "moments", "callbacks", "leases", "spaces", "trials", "arms", "searches", "tuners",
    "samples", "journeys", "demo", "commands", "cli", "__main__",
]  # fmt: skip
PLAIN = ROAD[: ROAD.index("servers") + 1]
SAVED_MODEL = [
    "ops",
    "origins",
    "damage",
    "loader",
    "tensors",
    "loaded",
    "effects",
    "blueprint",
    "records",
    "usage",
    "overview",
    "interface",
    "options",
    "selection",
    "checkpoints",
    "comparison",
    "checks",
    "signing",
    "embedding",
]
KERAS = [
    "guards",
    "calls",
    "opening",
    "layers",
    "grouping",
    "slots",
    "rates",
    "unfreezing",
    "data",
    "fingerprints",
    "stores",
    "features",
    "finetuning",
    "graphs",
    "pieces",
    "moments",
    "callbacks",
    "leases",
    "spaces",
    "trials",
    "arms",
    "searches",
    "tuners",
]
LAZY = {"cli", "demo", "__main__"}


def modules():
    """(name on the road, file) of each module."""
    for file in sorted(PACKAGE.rglob("*.py")):
        parts = file.relative_to(PACKAGE).with_suffix("").parts
        if parts[0] not in ("__init__", "_compat"):
            yield parts[0], file


def imports(file):
    """Dotted names imported anywhere in a file, also inside functions, but not under TYPE_CHECKING."""
    tree = ast.parse(file.read_text("utf-8"))
    skipped = {
        id(node)
        for guard in ast.walk(tree)
        if isinstance(guard, ast.If) and "TYPE_CHECKING" in ast.dump(guard.test)
        for node in ast.walk(guard)
    }
    for node in ast.walk(tree):
        if id(node) in skipped:
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{file.name}: relative import"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@pytest.mark.parametrize(("name", "file"), list(modules()), ids=lambda value: getattr(value, "name", value))
def test_a_module_imports_only_what_stands_above_it(name, file):
    assert name in ROAD, f"{name} has no place on the road"
    for target in imports(file):
        package, _, rest = target.partition(".")
        if package != "keras_hub_layers":
            continue
        room = rest.split(".")[0]
        if room == "_compat":
            assert name not in PLAIN, f"{name} is plain and imports _compat"
        elif room in ROAD and room != name:
            assert ROAD.index(room) < ROAD.index(name), f"{name} imports {room}, which stands below it"


@pytest.mark.parametrize(("name", "file"), list(modules()), ids=lambda value: getattr(value, "name", value))
def test_a_stratum_imports_only_its_frameworks(name, file):
    roots = {target.split(".")[0] for target in imports(file)}
    if name in PLAIN:
        assert not roots & {"tensorflow", "keras"}
    if name in SAVED_MODEL:
        assert "keras" not in roots
    if name in KERAS:
        assert "tensorflow" not in roots


def test_private_names_of_keras_and_tensorflow_live_in_compat():
    for _, file in modules():
        private = [t for t in imports(file) if t.startswith(("keras.src", "tensorflow.python", "tf_keras"))]
        assert not private, f"{file.name} imports {private}"
