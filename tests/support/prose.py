"""Run the code of a Markdown page as a reader would: its blocks in order, in one namespace, in one directory.

- ```` ```python ```` is executed. A block with `title="Output"` after it is what it prints, one with `title="Error"` or
  `title="Warning"` what it raises or warns of; `...` stands for any text. Nothing else may be raised or warned of.
- ```` ```console ```` holds commands after `$ ` and, below each, what it prints. Ours are parsed by the real parser and
  run, except those that never end or would reach a host; of the others only known ones may occur.

The handles that the pages use are paths, and SavedModels with known answers lie there; `MIRRORS` has the URLs.
"""

import contextlib
import io
import json
import re
import shlex
import shutil
import site
import subprocess
import sys
import tempfile
import tomllib
import traceback
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import producers
import tensorflow as tf
import tf_keras

from keras_hub_layers._src.cli import main, parser

ROOT = Path(__file__).resolve().parents[2]


def deep_model(directory):
    """Images (None, 8, 8, 1) to 2 features through four dense layers: stem, block_1, block_16 and head."""
    parts = [tf_keras.layers.Dense(2, name=name) for name in ("stem", "block_1", "block_16", "head")]
    model = tf_keras.Sequential([tf_keras.Input((8, 8, 1)), tf_keras.layers.GlobalAveragePooling2D(), *parts])
    return producers.save(model, directory)


HANDLES = {
    "path/or/url/of/a/saved_model": producers.text_classifier,
    "path/or/url/of/an/image_model": producers.small_image_model,
    "path/or/url/of/a/model_with_pieces": producers.with_pieces,
    "path/or/url/of/a/tf1_model": producers.tf1,
    "path/or/url/of/a/raw_module": producers.raw_module,
    "path/or/url/of/a/deep_model": deep_model,
    "path/or/url/of/a/bert_preprocessor": producers.bert_preprocessor,
    "path/or/url/of/a/bert_encoder": producers.bert_encoder,
}
IN_DOCSTRINGS = "path/or/url/of/a/deep_model"
MIRRORS = {
    "https://tfhub.dev/google/nnlm-en-dim50/2": producers.text_classifier,
    "https://example.org/models/feature_vector/1": producers.small_image_model,
    "https://example.org/models/half_plus_two/1": producers.plus_one,
    "https://example.org/models/mobilenet_v2/1": deep_model,
}
ENDLESS = {"serve", "demo"}  # tested in tests/publish/test_server.py, tests/cli/test_commands.py and test_demo.py
# The title of a block that runs in another environment -> what is not installed there.
ELSEWHERE = {"With setuptools 82 or newer": {"pkg_resources", "_distutils_hack"}}
FENCE = re.compile(r"^(?P<indent> *)```(?P<info>[^\n`]*)\n(?P<code>.*?)^(?P=indent)```$", re.DOTALL | re.MULTILINE)


@dataclass(frozen=True)
class Block:
    """A fenced block: the page and line where it stands, its language, its title, and the text within."""

    page: str
    line: int
    language: str
    title: str
    code: str

    @property
    def where(self):
        return f"{self.page}:{self.line}"


def blocks_of(page):
    """The fenced blocks of a page, in order."""
    text = Path(page).read_text("utf-8")
    found = []
    for match in FENCE.finditer(text):
        language, _, rest = match["info"].strip().partition(" ")
        title = re.search(r'title="([^"]*)"', rest)
        code = "\n".join(line.removeprefix(match["indent"]) for line in match["code"].splitlines())
        name = str(Path(page).relative_to(ROOT))
        found.append(Block(name, text.count("\n", 0, match.start()) + 1, language, title[1] if title else "", code))
    return found


def place_handles(directory, produced, monkeypatch):
    """Put the SavedModels where the pages say that they are."""
    for handle, producer in HANDLES.items():
        shutil.copytree(produced(producer), directory / handle)
    table = {handle: produced(producer) for handle, producer in MIRRORS.items()}
    monkeypatch.setenv("KERAS_HUB_LAYERS_MIRRORS", json.dumps(table))
    monkeypatch.chdir(directory)


def namespace():
    """What a page has of its reader: eight texts and images, and a label for each."""
    texts = ["good world", "bad world", "good", "bad", "hello good", "hello bad", "good hello", "bad bad"]
    images = np.random.default_rng(0).normal(size=(8, 8, 8, 1)).astype("float32")
    return {
        "__name__": "__main__",
        "texts": tf.constant(texts),
        "images": images,
        "labels": np.array([[1.0], [0.0]] * 4, "float32"),
    }


def run(blocks, names, monkeypatch):
    """Run the blocks of one page; raise an `AssertionError` that says where the page is wrong.

    Returns:
        The number of blocks of Python and of commands that were run.
    """
    count = 0
    for block, after in zip(blocks, [*blocks, None][1:], strict=True):
        expected = after if after is not None and after.title in ("Output", "Error", "Warning") else None
        if block.language == "python":
            run_python(block, names, expected)
            count += 1
        elif block.language == "console":
            run_console(block, monkeypatch)
            count += 1
        elif block.title in ("Output", "Error", "Warning"):
            continue
        else:
            assert block.language in ("text", "json", "yaml"), f"{block.where}: {block.language!r} is not checked"
    return count


def run_python(block, names, expected):
    if block.title in ELSEWHERE:
        done = run_without(ELSEWHERE[block.title], block.code)
        assert done.returncode != 0, f"{block.where} runs"
        assert_like(done.stderr, expected.code, expected.where)
        return
    assert not block.title, f"{block.where}: nobody knows the title {block.title!r}"
    printed, raised = io.StringIO(), ""
    with warnings.catch_warnings(record=True) as caught:
        if expected is not None and expected.title == "Warning":
            warnings.simplefilter("always")
        try:
            with contextlib.redirect_stdout(printed):
                code = "\n" * block.line + block.code
                exec(compile(code, str(ROOT / block.page), "exec"), names)
        except Exception as error:
            raised = f"{type(error).__name__}: {error}"
            if expected is None or expected.title != "Error":
                raise AssertionError(f"{block.where} failed:\n{traceback.format_exc()}") from error
    if expected is not None:
        warned = "\n".join(f"{warning.category.__name__}: {warning.message}" for warning in caught)
        found = {"Output": printed.getvalue(), "Error": raised, "Warning": warned}[expected.title]
        assert_like(found, expected.code, f"{expected.where}, {expected.title}", whole=expected.title == "Output")


def run_without(packages, code):
    """Run code in a new process for which all is installed that is installed here, but for some packages."""
    with tempfile.TemporaryDirectory() as folder:
        for source in site.getsitepackages():
            for path in Path(source).iterdir():
                if path.name not in packages:
                    (Path(folder) / path.name).symlink_to(path)
        words = [sys.executable, "-S", "-c", f"import sys; sys.path.append({folder!r})\n{code}"]
        return subprocess.run(words, capture_output=True, text=True, check=False)


def run_console(block, monkeypatch):
    for command, printed in commands_of(block):
        words = shlex.split(command, comments=True)
        if words[0] == "export":
            name, _, value = words[1].partition("=")
            monkeypatch.setenv(name, value)
        elif words[:2] == ["mkdir", "-p"]:
            Path(words[2]).mkdir(parents=True)
        elif words[0] == "keras-hub-layers":
            if not is_parsed_only(words[1:]):
                found, code = run_command(words[1:], block)
                fails = re.search("^(keras-hub-layers: |problem )", printed, re.MULTILINE) is not None
                assert (code != 0) == fails, f"{block.where}: {command}: {code}, {found}"
                if printed:
                    assert_like(found, printed, f"{block.where}, {command}")
        else:
            assert is_known(words), f"{block.where}: nobody checks {command!r}"


def commands_of(block):
    """(command, what it prints) of a block of commands."""
    found = []
    for line in block.code.splitlines():
        if line.startswith("$ "):
            found.append([line.removeprefix("$ "), ""])
        elif found and found[-1][0].endswith("\\"):
            found[-1][0] = found[-1][0].removesuffix("\\") + line.strip()
        elif found:
            found[-1][1] += line + "\n"
    assert found, f"{block.where}: no line begins with '$ '"
    return [tuple(pair) for pair in found]


def is_parsed_only(words):
    """Whether a command never ends, or uploads, or depends on the machine; it must parse all the same."""
    parser.build_parser().parse_args(words)
    return words[0] in ENDLESS or words == ["doctor"] or (words[0] == "publish" and "--dry-run" not in words)


def run_command(words, block):
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = main.main(words)
    return out.getvalue() + err.getvalue(), code


def is_known(words):
    """Whether a command is one of the few others whose parts can be checked by reading."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    if words[:2] == ["pip", "install"]:
        extras = {extra for word in words for extra in re.findall(r"keras-hub-layers\[([\w,]+)\]", word)}
        return {name for extra in extras for name in extra.split(",")} <= project["optional-dependencies"].keys()
    if words[:2] == ["python3", "dev.py"]:
        return f"python3 dev.py {words[2]} " in (ROOT / "dev.py").read_text("utf-8")
    return False


def assert_like(found, expected, where, whole=False):
    """Assert that a text is, or contains, what a page shows; `...` stands for anything, white space for any of it."""
    parts = [re.escape(" ".join(part.split())) for part in expected.split("...")]
    pattern = ".*".join(part for part in parts)
    found = " ".join(re.sub(r"\x1b\[\d+m", "", found).split())
    match = re.fullmatch(pattern, found) if whole else re.search(pattern, found)
    assert match, f"{where}: the page shows\n{expected}\nbut it is\n{found}"
