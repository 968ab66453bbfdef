"""A mistake in a short script, and the script with what its error proposes pasted into it."""

import ast
import contextlib
import io
import re
import warnings
from dataclasses import dataclass

import pytest
import tensorflow as tf

from keras_hub_layers import errors

MARK = "  #!"
PRELUDE = """\
import warnings
import keras, numpy as np, tensorflow as tf
import keras_hub_layers as khl
from keras_hub_layers import callbacks, errors, finetuning, layers
from keras_hub_layers.layers import HubLayer
"""


# What these scripts do needs no graph of a training step, and a step without is quicker.
MODEL = """
tf.config.run_functions_eagerly(True)
handle, loss, x, y = "shared_loss", "mse", np.ones((8, 1), "float32"), np.ones((8, 1), "float32")
data, epochs = (x, y), 2
layer = HubLayer(handle, name="hub")
model = keras.Sequential([keras.Input((1,)), layer, keras.layers.Dense(1, name="head")])
model.compile("sgd", loss)
"""
TUNER = """
tf.config.run_functions_eagerly(True)
import keras_tuner
from keras_hub_layers import tuners
x, y = np.ones((8, 1), "float32"), np.ones((8, 1), "float32")
candidates = ["shared_loss"]
head = lambda hp, features: keras.layers.Dense(1)(features)
"""


@dataclass(frozen=True)
class Mistake:
    """A script with a mistake, which runs in a folder with small SavedModels.

    Attributes:
        name: What is wrong.
        error: Class of the error, or `HubWarning`.
        script: The script; the line with the mistake ends in `#!`.
        options: `"before"`: the fix goes before that line; `"argument"`: it is keyword arguments of that line; else it
            goes in the place of the line, or of its value. `"1 line"`: of several lines that each are enough, the first
            is pasted. `"warns"`: the mended script may warn of something else. `"model"`, `"tuner"`: the script begins
            with one.
    """

    name: str
    error: type
    script: str
    options: tuple[str, ...]

    def code(self, fix=None):
        """The script, with the fix pasted into it if there is one."""
        code = []
        for line in self.script.splitlines():
            if fix is not None and line.endswith(MARK.strip()):
                code += _paste(line.removesuffix(MARK.strip()).rstrip(), fix, self.options)
            else:
                code.append(line)
        start = MODEL * ("model" in self.options) + TUNER * ("tuner" in self.options)
        return PRELUDE + start + "\n".join(code)


def read(folder):
    """The mistakes in the files of a folder: each begins with a line `== name | class of the error | options`."""
    for path in sorted(folder.glob("*.txt")):
        for block in re.split(r"^== ", path.read_text(encoding="utf-8"), flags=re.M)[1:]:
            head, _, script = block.partition("\n")
            name, error, *options = head.split(" | ")
            yield Mistake(name, getattr(errors, error), script.strip("\n"), tuple(options))


def run(code):
    """Run a script; what it warns of is a list of texts, and what it raises leaves."""
    with warnings.catch_warnings(record=True) as caught, contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        warnings.simplefilter("always", errors.HubWarning)
        try:
            exec(compile(code, "script.py", "exec"), {"__name__": "script"})
        finally:
            tf.config.run_functions_eagerly(False)
    return [str(warning.message) for warning in caught]


def fix_of(mistake):
    """What the error, or the warning, of a mistake proposes to paste."""
    if issubclass(mistake.error, Warning):
        said = run(mistake.code())
        assert said, "no warning"
        fix = "\n".join(line for line in said[0].splitlines()[1:] if not line[:1].isupper() or "(" in line.split()[0])
    else:
        with pytest.raises(mistake.error, match="What to do: ") as caught:
            run(mistake.code())
        fix = caught.value.fix
    assert fix, "no fix"
    return "\n".join(fix.splitlines()[: 1 if "1 line" in mistake.options else None])


def _paste(line, fix, options):
    indent = line[: len(line) - len(line.lstrip())]
    if "argument" in options:
        return [indent + _with_arguments(line.strip(), fix)]
    pasted = [indent + part for part in fix.splitlines()]
    if "before" in options:
        return [*pasted, line]
    target, sign, _ = line.strip().partition(" = ")
    is_value = isinstance(ast.parse(fix).body[0], ast.Expr)
    if sign and target.isidentifier() and is_value:
        pasted[0] = f"{indent}{target} = {pasted[0].strip()}"
    return pasted


def _with_arguments(line, fix):
    """A line of code with some keyword arguments changed, wherever they stand in it."""
    call = ast.parse(f"f({fix.partition('   #')[0]})").body[0].value
    changes = {keyword.arg: keyword.value for keyword in call.keywords}
    tree = ast.parse(line)
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            for keyword in node.keywords:
                keyword.value = changes.pop(keyword.arg, keyword.value)
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    calls[-1].keywords += [ast.keyword(name, value) for name, value in changes.items()]  # the innermost
    return ast.unparse(ast.fix_missing_locations(tree))
