"""The pages of docs/ tell the truth: their code runs, their commands exist, no name is missing, and the site builds."""

import dataclasses
import inspect
import json
import re
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import keras
import numpy as np
import prose
import pytest

import keras_hub_layers as khl
from keras_hub_layers import callbacks, distribution, errors, finetuning, interface, layers, tuners
from keras_hub_layers._src.cli import parser
from keras_hub_layers._src.inspect import records

DOCS = prose.ROOT / "docs"
# What other packages say about themselves.
OTHERS = [
    "ignore:You are saving your model as an HDF5 file:UserWarning",  # tf_keras
    "ignore:`shuffle=True` was passed:UserWarning",  # Keras 3.15, for each dataset
    "ignore:.*\\n? *Warning. tf.lite.Interpreter is deprecated:UserWarning",  # TensorFlow 2.21
    "ignore:(currentThread|getName):DeprecationWarning",  # KerasTuner 1.4.8
]
BLOCKS = {str(page.relative_to(DOCS)): prose.blocks_of(page) for page in sorted(DOCS.rglob("*.md"))}
WITH_CODE = [name for name, blocks in BLOCKS.items() if any(b.language in ("python", "console") for b in blocks)]
NAMESPACES = {
    "callbacks": callbacks,
    "distribution": distribution,
    "finetuning": finetuning,
    "interface": interface,
    "layers": layers,
    "tuners": tuners,
}
VERBS = {f"khl.{name}": getattr(khl, name) for name in khl.__all__ if inspect.isfunction(getattr(khl, name))}
PUBLIC = VERBS | {
    f"{space}.{name}": getattr(module, name) for space, module in NAMESPACES.items() for name in module.__all__
}


@pytest.fixture
def place(produced, tmp_path, monkeypatch):
    prose.place_handles(tmp_path, produced, monkeypatch)


@pytest.mark.usefixtures("place")
@pytest.mark.filterwarnings(*OTHERS)
@pytest.mark.parametrize("page", WITH_CODE)
def test_all_code_of_a_page_runs_and_says_what_the_page_shows(page, monkeypatch):
    prose.run(BLOCKS[page], prose.namespace(), monkeypatch)


# -- docstrings --------------------------------------------------------------------------------------------------------


SHORTER = {r"\bepochs=\d+": "epochs=2", r"\bmax_trials=\d+": "max_trials=1", r"\bdepths=\(.*\)": "depths=(1,)"}


def example_of(name):
    """The code of the `Example:` of a public name, or `""`."""
    text = inspect.getdoc(PUBLIC[name]) or ""
    found = re.search(r"^Example:\n\n```python\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
    return textwrap.dedent(found[1]) if found else ""


@pytest.mark.usefixtures("place")
@pytest.mark.filterwarnings(*OTHERS)
@pytest.mark.filterwarnings("ignore:.*weights are frozen")  # the best of a search may be the frozen one
@pytest.mark.parametrize("name", [name for name in PUBLIC if example_of(name)])
def test_the_example_of_a_docstring_runs(name):
    for path in ("path/to/saved_model", "path/to/one", "path/to/another", "my_saved_model", "export"):
        shutil.copytree(prose.IN_DOCSTRINGS, path)
    layer = layers.HubLayer("path/to/saved_model", trainable=True)
    model = keras.Sequential([keras.Input((8, 8, 1)), layer, keras.layers.Dense(1)])
    model.compile("adam", "mse")
    names = prose.namespace() | NAMESPACES | {"keras": keras, "keras_hub_layers": khl, "layer": layer, "model": model}
    x = np.zeros((8, 8)) if name == "callbacks.ExportPiece" else names["images"]
    code = example_of(name)
    for long, short in SHORTER.items():
        code = re.sub(long, short, code)
    exec(compile(code, name, "exec"), names | vars(finetuning) | {"x": x, "y": np.zeros((8, 1))})


# -- the site ----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def site(tmp_path_factory):
    """The built site, made from copies in a place of its own."""
    return build(tmp_path_factory.mktemp("project"))


def build(folder, **pages):
    """Build the site in a folder, with further pages, name -> text; return where it lies, or what went wrong."""
    shutil.copytree(DOCS, folder / "docs")
    for name in ("keras_hub_layers", "notebooks"):
        (folder / name).symlink_to(prose.ROOT / name)
    for name in ("mkdocs.yml", "README.md", "SECURITY.md", "CHANGELOG.md"):
        shutil.copy(prose.ROOT / name, folder)
    for name, text in pages.items():
        (folder / "docs" / f"{name}.md").write_text(text, "utf-8")
    words = [sys.executable, "-m", "zensical", "build", "--strict"]
    done = subprocess.run(words, cwd=folder, capture_output=True, text=True, check=False)
    return folder / "site" if done.returncode == 0 else done.stdout + done.stderr


def test_the_site_builds_and_fetches_nothing_from_elsewhere(site):
    assert isinstance(site, Path), site
    pages = list(site.rglob("*.html"))
    assert len(pages) > len(BLOCKS)  # and the page of what is not found
    for page in pages:
        text = page.read_text("utf-8")
        fetched = re.findall(r"<(?:script|img|iframe|source)[^>]*\ssrc=\"([^\"]+)|<link[^>]*\shref=\"([^\"]+)", text)
        assert fetched, page
        assert not [one for pair in fetched for one in pair if re.match("(https?:)?//", one)], page
    for style in site.rglob("*.css"):
        assert not re.search(r"(@import|url\()[\"' ]*(https?:)?//", style.read_text("utf-8")), style


def test_a_link_that_leads_nowhere_fails_the_build(tmp_path):
    assert "anchor does not exist" in build(tmp_path, more="# More\n\n[x](index.md#nowhere)\n")


def test_every_public_name_has_its_place_in_the_reference(site):
    reference = {page.stem: page.read_text("utf-8") for page in (site / "api").glob("*.html")}
    for name, value in PUBLIC.items():
        page = "verbs" if name in VERBS else name.partition(".")[0]
        assert f'id="{value.__module__}.{value.__name__}"' in reference[page], name
    for name in errors.__all__:
        assert f'id="keras_hub_layers.errors.{name}"' in reference["errors"], name
    assert {name for name, value in vars(records).items() if dataclasses.is_dataclass(value)} <= {*interface.__all__}


def test_sections_of_keras_docstrings_are_rendered_as_such(site):
    text = (site / "api" / "layers.html").read_text("utf-8")
    assert re.search(r'doc-section-title">Call arguments:', text)
    assert "<strong>Example:</strong>" in text
    assert "<strong>Reference:</strong>" in text


def test_every_page_is_in_the_navigation():
    nav = set(re.findall(r"[\w/-]+\.md", (prose.ROOT / "mkdocs.yml").read_text("utf-8")))
    assert nav == set(BLOCKS)


# -- what people search for --------------------------------------------------------------------------------------------


def plain(text):
    return " ".join(text.replace("`", "").split())


ERRORS = plain(" ".join(block.code for blocks in BLOCKS.values() for block in blocks if block.title == "Error"))


@pytest.mark.parametrize(
    "page", ["estimator", "hub-keraslayer", "kerastensor-is-symbolic", "pkg-resources", "tfsm-layer", "tf-keras"]
)
def test_the_title_of_a_migration_page_is_the_error_that_its_code_provokes(page):
    title = plain((DOCS / "migrate" / f"{page}.md").read_text("utf-8").splitlines()[0].removeprefix("# "))
    shown = plain(" ".join(block.code for block in BLOCKS[f"migrate/{page}.md"] if block.title == "Error"))
    start, _, rest = title.partition(": the legacy")  # the one that leaves out a path
    assert start in shown
    assert not rest or rest in shown


def test_errors_in_tables_are_ours_or_provoked_on_a_page():
    sources = plain(" ".join(path.read_text("utf-8") for path in (prose.ROOT / "keras_hub_layers").rglob("*.py")))
    count = 0
    for page in ("troubleshooting.md", "migrate/index.md"):
        rows = re.findall(r"^\| (`+)(?! )(.+?)\1 \|", (DOCS / page).read_text("utf-8"), re.MULTILINE)
        for _, error in rows:
            if not error.startswith("Lambda("):
                error = plain(error).removeprefix("…")
                assert error in sources or error in ERRORS, f"{page}: {error}"
            count += 1
    assert count > 40


def test_every_command_and_every_variable_of_the_environment_is_explained():
    text = " ".join(page.read_text("utf-8") for page in DOCS.rglob("*.md"))
    commands = {name.split()[0] for name in parser.COMMANDS}
    assert len(commands) > 8
    for command in commands:
        assert f"$ keras-hub-layers {command}" in (DOCS / "command-line.md").read_text("utf-8"), command
    sources = " ".join(path.read_text("utf-8") for path in (prose.ROOT / "keras_hub_layers").rglob("*.py"))
    variables = set(re.findall(r"\b(?:KERAS_HUB_LAYERS|TFHUB)_[A-Z_]+[A-Z]\b", sources))
    assert len(variables) > 7
    assert not [name for name in variables if f"`{name}" not in text]


def test_the_notebooks_that_pages_name_are_those_of_the_repository():
    named = {name for page in DOCS.rglob("*.md") for name in re.findall(r"\b\d\d_\w+\.ipynb", page.read_text("utf-8"))}
    assert named == {path.name for path in (prose.ROOT / "notebooks").glob("*.ipynb")}


@pytest.mark.skipif(not shutil.which("node"), reason="the search of the site is JavaScript")
def test_a_pasted_error_finds_a_page_that_shows_it(site):
    told = {
        block.code.replace("...", " 0x7f12 /home/me/file "): {page}
        for page, blocks in BLOCKS.items()
        for block in blocks
        if block.title == "Error"
    }
    texts = {page: plain((DOCS / page).read_text("utf-8")) for page in BLOCKS}
    for _, error in re.findall(
        r"^\| (`+)(?! )(.+?)\1 \|", (DOCS / "troubleshooting.md").read_text("utf-8"), re.MULTILINE
    ):
        shown = {page for page, text in texts.items() if plain(error) in text}
        told[f"an.Error: {error}\n  Received: '/home/me/file', line 1"] = shown
    words = ["node", str(Path(__file__).parents[1] / "support" / "search_site.js"), str(site)]
    done = subprocess.run(words, input=json.dumps([*told]), capture_output=True, text=True, check=True)
    misses = []
    for error, found in zip(told, json.loads(done.stdout), strict=True):
        pages = {location.partition("#")[0].replace(".html", ".md") for location in found[:3]}
        misses += [error] if not pages & told[error] else []
    assert len(told) > 60
    assert len(misses) <= 3, misses  # their words are in many sections


# -- the checks themselves ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("```python\n1 / 0\n```", "lie.md:1 failed(.|\n)*ZeroDivisionError"),
        ("```python\nprint(1)\n```\n```text title=\"Output\"\n2\n```", "Output: the page shows\n2"),
        ("```python\n1\n```\n```text title=\"Error\"\nValueError\n```", "Error: the page shows\nValueError"),
        ("```python\n1\n```\n```text title=\"Warning\"\nHubWarning\n```", "Warning: the page shows\nHubWarning"),
        ("```python\nimport warnings\nwarnings.warn('new')\n```", "UserWarning: new"),
        ("```python title=\"not run\"\n1\n```", "nobody knows the title 'not run'"),
        ("```ruby\n1\n```", "'ruby' is not checked"),
        ("```console\n$ rm -r .\n```", "nobody checks 'rm -r .'"),
        ("```console\nls\n```", "no line begins with"),
        ("```console\n$ pip install \"keras-hub-layers[nothing]\"\n```", "nobody checks 'pip install"),
        ("```console\n$ keras-hub-layers resolve nothing\n```", "There is nothing at this path"),
        ("```console\n$ keras-hub-layers resolve .\nkeras-hub-layers: fine\n```", "the page shows\nkeras-hub"),
    ],
)  # fmt: skip
def test_a_page_that_lies_is_caught(tmp_path, monkeypatch, text, problem):
    (tmp_path / "lie.md").write_text(text, "utf-8")
    monkeypatch.setattr(prose, "ROOT", tmp_path)
    shutil.copy(DOCS.parent / "pyproject.toml", tmp_path)
    with pytest.raises(AssertionError, match=problem):
        prose.run(prose.blocks_of(tmp_path / "lie.md"), prose.namespace(), monkeypatch)


def test_a_command_that_does_not_exist_is_caught(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(prose, "ROOT", tmp_path)
    (tmp_path / "lie.md").write_text("```console\n$ keras-hub-layers serve models --fast\n```", "utf-8")
    with pytest.raises(SystemExit, match="2"):
        prose.run(prose.blocks_of(tmp_path / "lie.md"), {}, monkeypatch)
    assert "--fast" in capsys.readouterr().err


def test_no_fence_is_overlooked():
    """Blocks are found by a pattern; as many are found as there are fences that open."""
    for page, blocks in BLOCKS.items():
        fences = re.findall(r"^ *```", (DOCS / page).read_text("utf-8"), re.MULTILINE)
        assert len(fences) == 2 * len(blocks), page
