"""doctor HANDLE: each step from the handle to a gradient, where it fails and why, and the code to go on with."""

import dataclasses
import importlib.util
import os
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from keras_hub_layers._src.cli.doctor.checked_model import CheckedModel, Step
from keras_hub_layers._src.cli.doctor.finding import OK, PROBLEM, WARNING, Finding, has_problem, of_error
from keras_hub_layers._src.cli.terminal import import_tensorflow
from keras_hub_layers._src.files.manifests import sizes
from keras_hub_layers._src.inspect import inspect, table
from keras_hub_layers._src.resolve import handles, resolve
from keras_hub_layers._src.savedmodel import missing_files
from keras_hub_layers._src.text import words
from keras_hub_layers._src.text.progress import progress
from keras_hub_layers.errors import HubWarning

LONGEST_TOPIC = "fine-tune"


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


def check(
    handle: str,
    inputs: Sequence[str] = (),
    tags: Sequence[str] | None = None,
    report: Callable[[Finding], None] = lambda finding: None,
) -> HandleCheck:
    """Parse, resolve, inspect, load and call what a handle names, and look which variables get a gradient.

    TensorFlow and Keras are imported for the steps from loading on.

    Args:
        handle: A path, URL or model id.
        inputs: Sample inputs as `sample_inputs.read` takes them. Defaults to none: they are made up from the first
            trace.
        tags: Tags of the graph. Defaults to `None`, as in `keras_hub_layers.load`.
        report: What is called with each finding as soon as it is known. Defaults to nothing.

    Returns:
        A `HandleCheck`.
    """
    model = CheckedModel(handle, inputs, tags)
    findings = _run(_STEPS, model, report)
    if not has_problem(findings):
        from keras_hub_layers._src.cli.doctor import layer_check

        findings += _run(layer_check.STEPS, model, report)
        if not has_problem(findings):
            return HandleCheck(model.display, tuple(findings), layer_check.write_code(model))
    return HandleCheck(model.display, tuple(findings), "")


def _run(steps: Iterable[Step], model: CheckedModel, report: Callable[[Finding], None]) -> list[Finding]:
    """What some steps find; a problem ends them."""
    all_findings: list[Finding] = []
    for topic, step in steps:
        findings: list[Finding] = []
        with progress(f"doctor: {topic}"), warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", HubWarning)
            try:
                findings += step(model)
            except Exception as error:  # TensorFlow's errors have no common base
                findings.append(of_error(error, topic))
        given = [warning for warning in caught if issubclass(warning.category, HubWarning)]
        findings += [Finding(topic, WARNING, str(warning.message)) for warning in given]
        for finding in findings:
            report(finding)
        all_findings += findings
        if has_problem(findings):
            break
    return all_findings


def _parse(model: CheckedModel) -> Iterator[Finding]:
    yield Finding("parse", OK, _KINDS[handles.parse(model.handle).kind])


def _resolve(model: CheckedModel) -> Iterator[Finding]:
    directory = model.directory = resolve.resolve(model.handle)
    size = sum(size for _, size in sizes(directory)) if os.path.isdir(directory) else 0
    yield Finding("resolve", OK, f"{directory}, {words.readable(size)}" if size else directory)


def _inspect(model: CheckedModel) -> Iterator[Finding]:
    interface = model.interface = inspect.inspect(model.handle, model.tags)
    extent, text = interface.sizes["all"], table.format_of(interface)
    if extent.variables:
        counts = (extent.variables, "variable"), (extent.parameters, "parameter")
        text += "".join(f", {words.format_count(*count)}" for count in counts)
    if interface.arguments is None:
        if interface.missing_files:
            error = missing_files.not_whole(list(interface.missing_files), model.handle)
            error.locate(f"{model.directory} (handle {model.display!r})")
            raise error
        text += f"; {interface.code.strip('()')}"
        yield Finding("inspect", PROBLEM, text, f"keras-hub-layers inspect {model.command_line}")
        return
    model.arguments = interface.arguments
    yield Finding("inspect", OK, text)


def _check_ops(model: CheckedModel) -> Iterator[Finding]:
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


def _import_frameworks(model: CheckedModel) -> Iterator[Finding]:
    """Import what the next steps need; a broken installation is a finding."""
    try:
        import_tensorflow()
        from keras_hub_layers._src.cli.doctor import layer_check  # noqa: F401 - imports TensorFlow and Keras
    except Exception as error:  # a backend that is not installed, a library that does not fit
        yield dataclasses.replace(of_error(error, "import"), fix="keras-hub-layers doctor")


_STEPS: tuple[Step, ...] = (
    ("parse", _parse),
    ("resolve", _resolve),
    ("inspect", _inspect),
    ("ops", _check_ops),
    ("import", _import_frameworks),
)
