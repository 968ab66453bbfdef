"""Down the road with one handle, step by step: where it fails and why, and the code to go on with."""

import importlib.util
import os
import shlex
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import keras
import tensorflow as tf

from keras_hub_layers._src.cli.doctor.finding import OK, PROBLEM, WARNING, Finding, has_problem, of_error
from keras_hub_layers._src.files.manifests import sizes
from keras_hub_layers._src.inspect import fine_tunable, inspect, sample_inputs, table, usage
from keras_hub_layers._src.inspect.specs import Spec, describe, flatten, spec_of
from keras_hub_layers._src.layers import access, hub_layer, trainability
from keras_hub_layers._src.resolve import handles, resolve
from keras_hub_layers._src.savedmodel import load, missing_files
from keras_hub_layers._src.text import words
from keras_hub_layers.errors import HubError, HubWarning

_KINDS = {
    "path": "a local path",
    "url": "a URL",
    "remote": "a path on a remote file system",
    "kaggle": "a Kaggle model",
    "huggingface": "a Hugging Face repository",
}


@dataclass(frozen=True)
class Journey:
    """How far a handle came.

    Attributes:
        handle: The handle, without password.
        findings: One or more per step, in their order; a problem ends the journey.
        code: Lines to paste, `""` where it did not arrive.
    """

    handle: str
    findings: tuple[Finding, ...]
    code: str


@dataclass
class _Luggage:
    """What the steps hand on to each other."""

    handle: str
    texts: Sequence[str]
    tags: Sequence[str] | None = None
    info: Any = None
    arguments: dict[str, Any] = field(default_factory=dict)
    layer: Any = None
    inputs: Any = None

    @property
    def shown(self) -> str:
        """The handle as it may be shown."""
        return handles.display(self.handle)

    @property
    def words(self) -> str:
        """What names it on the command line."""
        tags = "" if self.tags is None else f" --tags {shlex.quote(','.join(self.tags))}"
        return shlex.quote(self.shown) + tags

    def line(self, **arguments: Any) -> str:
        """The line that makes the layer with these arguments."""
        if self.tags is not None:
            arguments["tags"] = list(self.tags)
        return usage.code(self.shown, arguments)


def travel(handle: str, inputs: Sequence[str] = (), tags: Sequence[str] | None = None) -> Journey:
    """Parse, resolve, inspect, load and call what a handle names, and look where gradients arrive.

    Args:
        handle: A path, URL or model id.
        inputs: Sample inputs as `samples.read` takes them. Defaults to none: they are made up from the first trace.
        tags: Tags of the graph. Defaults to `None`, as in `keras_hub_layers.load`.

    Returns:
        A `Journey`.

    Example:

    >>> from keras_hub_layers import journeys
    >>> journeys.travel("").findings[0].level
    'problem'
    """
    luggage = _Luggage(handle, inputs, tags)
    found: list[Finding] = []
    for topic, step in _STEPS:
        with warnings.catch_warnings(record=True) as warned:
            warnings.simplefilter("always", HubWarning)
            found += _walk(topic, step, luggage)
        found += [Finding(topic, WARNING, str(one.message)) for one in warned if issubclass(one.category, HubWarning)]
        if has_problem(found):
            return Journey(luggage.shown, tuple(found), "")
    return Journey(luggage.shown, tuple(found), _code(luggage))


def _walk(topic: str, step: Callable[[_Luggage], list[Finding]], luggage: _Luggage) -> list[Finding]:
    try:
        return step(luggage)
    except HubError as error:
        return [of_error(error, topic)]
    except Exception as error:  # TensorFlow's errors have no common base
        return [of_error(error, topic)]


def _parse(luggage: _Luggage) -> list[Finding]:
    return [Finding("parse", OK, _KINDS[handles.parse(luggage.handle).kind])]


def _resolve(luggage: _Luggage) -> list[Finding]:
    directory = resolve.resolve(luggage.handle)
    size = sum(size for _, size in sizes(directory)) if os.path.isdir(directory) else 0
    return [Finding("resolve", OK, f"{directory}, {words.readable(size)}" if size else directory)]


def _inspect(luggage: _Luggage) -> list[Finding]:
    info = luggage.info = inspect.inspect(luggage.handle, luggage.tags)
    arguments = usage.arguments_in(info.code)
    extent, text = info.sizes["all"], table.format_of(info)
    if extent.variables:
        text += f", {words.counted(extent.variables, 'variable')}, {words.counted(extent.parameters, 'parameter')}"
    if isinstance(arguments, str):
        if arguments.startswith(missing_files.MISSING):
            load.load(luggage.handle, luggage.tags)  # its error says what to do
        return [Finding("inspect", PROBLEM, f"{text}; {arguments}", f"keras-hub-layers inspect {luggage.words}")]
    luggage.arguments = arguments
    return [Finding("inspect", OK, text)]


def _ops(luggage: _Luggage) -> list[Finding]:
    missing = set(luggage.info.missing_ops)
    if not missing:
        return [Finding("ops", OK, "TensorFlow has every op")]
    found = []
    for need in luggage.info.requires:
        names = ", ".join(sorted(missing & set(need.ops)))
        missing -= set(need.ops)
        if not names:
            continue
        if importlib.util.find_spec(need.module):
            found.append(Finding("ops", OK, f"{need.package} is installed and brings {names}"))
        else:
            text = f"{names}: ops of {need.package}, which is not installed"
            found.append(Finding("ops", PROBLEM, text, need.advice))
    if missing:
        text = f"{', '.join(sorted(missing))}: TensorFlow does not have them, and no package that brings them is known"
        found.append(Finding("ops", PROBLEM, text, "import the package of the model's publisher before loading"))
    return found


def _load(luggage: _Luggage) -> list[Finding]:
    luggage.layer = hub_layer.HubLayer(luggage.handle, **{**luggage.arguments, "trainable": False})
    luggage.info = luggage.layer.interface  # a piece has one of its own
    return [Finding("load", OK, f"as a layer with {words.counted(len(luggage.layer.weights), 'weight')}")]


def _call(luggage: _Luggage) -> list[Finding]:
    inputs = sample_inputs.read(luggage.texts) if luggage.texts else sample_inputs.made_up(_expected(luggage))
    info = luggage.info
    only_trains = fine_tunable.Runs(info.accepts_training, tuple(trace.training for trace in info.traces)).only_trains
    luggage.layer.trainable = only_trains
    try:
        outputs = luggage.layer(inputs, training=only_trains)
    except Exception as error:
        if luggage.texts:
            raise
        given = words.shortened(describe(spec_of(inputs)), 300)
        text = f"an input made up from the trace was refused: {given}\n{of_error(error, 'call').text}"
        return [Finding("call", WARNING, text, f"keras-hub-layers doctor {luggage.words} --input my_input.npy")]
    luggage.inputs = inputs
    text = words.shortened(f"{describe(spec_of(inputs))} -> {describe(spec_of(outputs))}", 600)
    wrong = [tensor for tensor in _floats(outputs) if not bool(tf.reduce_all(tf.math.is_finite(tensor)))]
    if wrong:
        return [Finding("call", WARNING, f"{text}; the outputs hold NaN or infinity")]
    return [Finding("call", OK, text)]


def _expected(luggage: _Luggage) -> Any:
    """The nest of `Spec`s that the layer takes."""
    info, name = luggage.info, luggage.arguments.get("signature")
    if info.format == "tf1_hub":
        name = name or "default"
    if name is not None:
        inputs = info.signatures[name].inputs
        return next(iter(inputs.values())) if len(inputs) == 1 else inputs
    return info.traces[0].inputs if info.traces else Spec(None, "float32")


def _gradient(luggage: _Luggage) -> list[Finding]:
    layer = luggage.layer
    if not luggage.info.fine_tunable or luggage.inputs is None:
        reason = (
            "it is not fine-tunable as it is" if luggage.inputs is not None else "there is no input to call it with"
        )
        return [Finding("gradient", OK, f"not tried: {reason}")]
    layer.trainable = True
    trained = layer.trainable_variables
    generator = tf.random.Generator.from_seed(0)
    with tf.GradientTape() as tape:
        outputs = _floats(layer(luggage.inputs, training=True))
        # Random weights: the plain sum of a softmax has no gradient.
        parts = [tf.reduce_sum(tf.cast(generator.normal(tf.shape(y)), y.dtype) * y) for y in outputs]
        total = tf.add_n([tf.cast(part, "float32") for part in (*parts, *layer.losses)]) if parts else None
    if total is None:
        return [Finding("gradient", PROBLEM, "no output is a number that could be trained on")]
    gradients = tape.gradient(total, [variable.value for variable in trained])
    names = access.weight_names(layer)
    lost = [names[variable.path] for variable, one in zip(trained, gradients, strict=True) if one is None]
    broken = [
        names[variable.path]
        for variable, one in zip(trained, gradients, strict=True)
        if one is not None and not bool(tf.reduce_all(tf.math.is_finite(tf.convert_to_tensor(one))))
    ]
    number = words.counted(len(trained), "published trainable variable")
    if broken:
        return [Finding("gradient", WARNING, f"NaN or infinite for {words.listed(broken)}, of {number}")]
    if len(lost) == len(trained):
        return [
            Finding(
                "gradient",
                PROBLEM,
                f"arrives at none of {number}",
            )
        ]
    if lost:
        text = f"arrives at {len(trained) - len(lost)} of {number}; not at {words.listed(lost)}"
        return [Finding("gradient", WARNING, f"{text}. What is called does not use them: they stay as they are")]
    return [
        Finding(
            "gradient",
            OK,
            f"arrives at {len(trained)} of {number}",
        )
    ]


def _fine_tune(luggage: _Luggage) -> list[Finding]:
    info = luggage.info
    if info.fine_tunable:
        return [Finding("fine-tune", OK, f"yes: {info.reason}")]
    fix = ""
    choice, executor = access.choice_of(luggage.layer), access.executor_of(luggage.layer)
    if info.format == "reusable" and trainability.blocked(choice, executor) is None:
        pattern = trainability.suggested(choice, executor)
        if any(variable.trainable for variable in info.variables):
            fix = luggage.line(trainable=True, arguments={"training": False})
        elif pattern is not None:
            fix = luggage.line(trainable=True, unfreeze=pattern)
    return [Finding("fine-tune", WARNING, f"no: {info.reason}", fix)]


_STEPS: tuple[tuple[str, Callable[[_Luggage], list[Finding]]], ...] = (
    ("parse", _parse),
    ("resolve", _resolve),
    ("inspect", _inspect),
    ("ops", _ops),
    ("load", _load),
    ("call", _call),
    ("gradient", _gradient),
    ("fine-tune", _fine_tune),
)


def _code(luggage: _Luggage) -> str:
    """A program that uses the layer in a model, or calls it where Keras has no such `Input`."""
    expected = _expected(luggage)
    layer = "layer = layers." + usage.code(luggage.shown, luggage.arguments)
    if all(spec.kind == "dense" and spec.shape and spec.shape[0] is None for spec in flatten(expected)):
        lines = [
            "import keras",
            "from keras_hub_layers import layers",
            "",
            layer,
            f"inputs = {_nested(expected, _input)}",
        ]
        return "\n".join([*lines, "model = keras.Model(inputs, layer(inputs))", "model.summary()"])
    made = luggage.inputs if luggage.inputs is not None else sample_inputs.made_up(expected)
    lines = ["import tensorflow as tf", "from keras_hub_layers import layers", "", layer]
    return "\n".join([*lines, f"inputs = {_nested(made, lambda tensor, _: _literal(tensor))}", "print(layer(inputs))"])


def _nested(nest: Any, word: Callable[[Any, str], str], name: str = "") -> str:
    """The source text of a nest; one entry per line where there are many."""
    if isinstance(nest, dict):
        entries, brackets = [f"{key!r}: {_nested(value, word, key)}" for key, value in nest.items()], "{}"
    elif isinstance(nest, (list, tuple)):
        entries, brackets = [_nested(value, word) for value in nest], "[]"
    else:
        return word(nest, name)
    if sum(map(len, entries)) <= 60:
        return brackets[0] + ", ".join(entries) + brackets[1]
    return "\n".join([brackets[0], *(f"    {entry}," for entry in entries), brackets[1]])


def _input(spec: Spec, name: str) -> str:
    named = f", name={name!r}" if name.isidentifier() else ""
    return f"keras.Input({spec.shape[1:] if spec.shape else ()}, dtype={spec.dtype!r}{named})"


def _literal(tensor: Any) -> str:
    if isinstance(tensor, tf.RaggedTensor):
        return f"tf.RaggedTensor.from_tensor({_literal(tensor.to_tensor())})"
    if isinstance(tensor, tf.SparseTensor):
        return f"tf.sparse.from_dense({_literal(tf.sparse.to_dense(tensor))})"
    shape, dtype = tuple(tensor.shape), tensor.dtype.name
    if tensor.dtype == tf.string:
        return f"tf.fill({shape}, 'a sample text')"
    if tensor.dtype.is_integer and not bool(tf.reduce_all(tensor == 1)):
        return f"tf.constant({tensor.numpy().tolist()}, {dtype!r})"
    return f"tf.ones({shape}, {dtype!r})"


def _floats(outputs: Any) -> list[Any]:
    flat = tf.nest.flatten(outputs, expand_composites=True)
    return [tensor for tensor in flat if keras.backend.is_float_dtype(tf.as_dtype(tensor.dtype).name)]
