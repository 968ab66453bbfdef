"""doctor HANDLE: each step from the handle to a gradient, where it fails and why, and the code to go on with."""

import importlib.util
import os
import shlex
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from keras_hub_layers._src.cli.doctor import example_code, sample_call
from keras_hub_layers._src.cli.doctor.finding import OK, PROBLEM, WARNING, Finding, has_problem, of_error
from keras_hub_layers._src.files.manifests import sizes
from keras_hub_layers._src.inspect import code as code_lib
from keras_hub_layers._src.inspect import inspect, sample_inputs, table
from keras_hub_layers._src.inspect.specs import describe, spec_of
from keras_hub_layers._src.layers.hub_layer import HubLayer
from keras_hub_layers._src.resolve import handles, resolve
from keras_hub_layers._src.savedmodel import load
from keras_hub_layers._src.text import words
from keras_hub_layers.errors import HubWarning

_KINDS = {
    "path": "a local path",
    "url": "a URL",
    "remote": "a path on a remote file system",
    "kaggle": "a Kaggle model",
    "huggingface": "a Hugging Face repository",
}


@dataclass(frozen=True)
class HandleCheck:
    """The result of a check.

    Attributes:
        handle: The handle, without password.
        findings: One or more per step, in their order; a problem ends the check.
        code: Lines to paste, `""` where there was a problem.
    """

    handle: str
    findings: tuple[Finding, ...]
    code: str


@dataclass
class _Model:
    """What the steps find out about a model: each fills in what the next ones need."""

    handle: str
    input_texts: Sequence[str]
    tags: Sequence[str] | None = None
    interface: Any = None
    arguments: dict[str, Any] = field(default_factory=dict)
    layer: Any = None
    inputs: Any = None

    @property
    def display(self) -> str:
        """The handle, without password."""
        return handles.display(self.handle)

    @property
    def command_line(self) -> str:
        """What names the model on the command line."""
        tags = "" if self.tags is None else f" --tags {shlex.quote(','.join(self.tags))}"
        return shlex.quote(self.display) + tags

    def expected_inputs(self) -> Any:
        return sample_call.expected_inputs(self.interface, self.arguments.get("signature"))


def check(handle: str, inputs: Sequence[str] = (), tags: Sequence[str] | None = None) -> HandleCheck:
    """Parse, resolve, inspect, load and call what a handle names, and look which variables get a gradient.

    Args:
        handle: A path, URL or model id.
        inputs: Sample inputs as `sample_inputs.read` takes them. Defaults to none: they are made up from the first
            trace.
        tags: Tags of the graph. Defaults to `None`, as in `keras_hub_layers.load`.

    Returns:
        A `HandleCheck`.
    """
    model = _Model(handle, inputs, tags)
    findings: list[Finding] = []
    for topic, step in _STEPS:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", HubWarning)
            try:
                findings += step(model)
            except Exception as error:  # TensorFlow's errors have no common base
                findings.append(of_error(error, topic))
        given = [warning for warning in caught if issubclass(warning.category, HubWarning)]
        findings += [Finding(topic, WARNING, str(warning.message)) for warning in given]
        if has_problem(findings):
            return HandleCheck(model.display, tuple(findings), "")
    layer_line = code_lib.line(model.display, **model.arguments)
    code = example_code.example(layer_line, model.expected_inputs(), model.inputs)
    return HandleCheck(model.display, tuple(findings), code)


def _parse(model: _Model) -> Iterator[Finding]:
    yield Finding("parse", OK, _KINDS[handles.parse(model.handle).kind])


def _resolve(model: _Model) -> Iterator[Finding]:
    directory = resolve.resolve(model.handle)
    size = sum(size for _, size in sizes(directory)) if os.path.isdir(directory) else 0
    yield Finding("resolve", OK, f"{directory}, {words.readable(size)}" if size else directory)


def _inspect(model: _Model) -> Iterator[Finding]:
    interface = model.interface = inspect.inspect(model.handle, model.tags)
    extent, text = interface.sizes["all"], table.format_of(interface)
    if extent.variables:
        counts = (extent.variables, "variable"), (extent.parameters, "parameter")
        text += "".join(f", {words.format_count(*count)}" for count in counts)
    if interface.arguments is None:
        if interface.missing_files:
            load.load(model.handle, model.tags)  # its error says what to do
        text += f"; {interface.code.strip('()')}"
        yield Finding("inspect", PROBLEM, text, f"keras-hub-layers inspect {model.command_line}")
        return
    model.arguments = interface.arguments
    yield Finding("inspect", OK, text)


def _check_ops(model: _Model) -> Iterator[Finding]:
    missing = set(model.interface.missing_ops)
    if not missing:
        yield Finding("ops", OK, "TensorFlow has every op")
    for requirement in model.interface.requires:
        names = ", ".join(sorted(missing & set(requirement.ops)))
        missing -= set(requirement.ops)
        if names and importlib.util.find_spec(requirement.module):
            yield Finding("ops", OK, f"{requirement.package} is installed and brings {names}")
        elif names:
            text = f"{names}: ops of {requirement.package}, which is not installed"
            yield Finding("ops", PROBLEM, text, requirement.advice)
    if missing:
        text = f"{', '.join(sorted(missing))}: TensorFlow does not have them, and no package that brings them is known"
        yield Finding("ops", PROBLEM, text, "import the package of the model's publisher before loading")


def _load(model: _Model) -> Iterator[Finding]:
    model.layer = HubLayer(model.handle, **{**model.arguments, "trainable": False})
    model.interface = model.layer.interface  # a piece has one of its own
    yield Finding("load", OK, f"as a layer with {words.format_count(len(model.layer.weights), 'weight')}")


def _call(model: _Model) -> Iterator[Finding]:
    is_given = bool(model.input_texts)
    inputs = sample_inputs.read(model.input_texts) if is_given else sample_inputs.made_up(model.expected_inputs())
    modes = [trace.training for trace in model.interface.traces]
    only_trains = bool(modes) and all(mode is True for mode in modes)
    model.layer.trainable = only_trains
    try:
        outputs = model.layer(inputs, training=only_trains)
    except Exception as error:
        if is_given:
            raise
        given = words.shorten(describe(spec_of(inputs)), 300)
        text = f"an input made up from the trace was refused: {given}\n{of_error(error, 'call').text}"
        yield Finding("call", WARNING, text, f"keras-hub-layers doctor {model.command_line} --input my_input.npy")
        return
    model.inputs = inputs
    text = words.shorten(f"{describe(spec_of(inputs))} -> {describe(spec_of(outputs))}", 600)
    if sample_call.is_finite(outputs):
        yield Finding("call", OK, text)
    else:
        yield Finding("call", WARNING, f"{text}; the outputs hold NaN or infinity")


def _check_gradient(model: _Model) -> Iterator[Finding]:
    if model.inputs is None:
        yield Finding("gradient", OK, "not tried: there is no input to call it with")
    elif sample_call.reaches_nothing(model.interface):
        number = words.format_count(sum(v.trainable for v in model.interface.variables), "published trainable variable")
        yield Finding("gradient", PROBLEM, f"arrives at none of {number}")
    elif not model.interface.fine_tunable:
        yield Finding("gradient", OK, "not tried: it is not fine-tunable as it is")
    else:
        yield sample_call.check_gradient(model.layer, model.inputs)


def _check_fine_tuning(model: _Model) -> Iterator[Finding]:
    interface = model.interface
    if interface.fine_tunable:
        yield Finding("fine-tune", OK, f"yes: {interface.reason}")
        return
    yield Finding("fine-tune", WARNING, f"no: {interface.reason}", interface.fine_tuning_code)


_STEPS: tuple[tuple[str, Callable[[_Model], Iterator[Finding]]], ...] = (
    ("parse", _parse),
    ("resolve", _resolve),
    ("inspect", _inspect),
    ("ops", _check_ops),
    ("load", _load),
    ("call", _call),
    ("gradient", _check_gradient),
    ("fine-tune", _check_fine_tuning),
)
