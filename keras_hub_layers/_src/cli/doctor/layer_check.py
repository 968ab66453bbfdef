"""The steps of `doctor HANDLE` from loading on: the layer, a call, gradients, and the code to go on with."""

from collections.abc import Iterator
from typing import Any

from keras_hub_layers._src import sample_inputs
from keras_hub_layers._src.cli.doctor import example_code, sample_call
from keras_hub_layers._src.cli.doctor.checked_model import CheckedModel, Step
from keras_hub_layers._src.cli.doctor.finding import OK, PROBLEM, WARNING, Finding, of_error
from keras_hub_layers._src.inspect import code as code_lib
from keras_hub_layers._src.inspect.specs import describe, spec_of
from keras_hub_layers._src.layers.hub_layer import HubLayer
from keras_hub_layers._src.text import words


def _load(model: CheckedModel) -> Iterator[Finding]:
    model.layer = HubLayer(model.handle, **{**model.arguments, "trainable": False})
    model.interface = model.layer.interface  # a piece has one of its own
    yield Finding("load", OK, f"as a layer with {words.format_count(len(model.layer.weights), 'weight')}")


def _call(model: CheckedModel) -> Iterator[Finding]:
    is_given = bool(model.input_texts)
    inputs = sample_inputs.read(model.input_texts) if is_given else sample_inputs.made_up(_expected_inputs(model))
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


def _check_gradient(model: CheckedModel) -> Iterator[Finding]:
    if model.inputs is None:
        yield Finding("gradient", OK, "not tried: there is no input to call it with")
    elif sample_call.reaches_nothing(model.interface):
        number = words.format_count(sum(v.trainable for v in model.interface.variables), "published trainable variable")
        yield Finding("gradient", PROBLEM, f"arrives at none of {number}")
    elif not model.interface.fine_tunable:
        yield Finding("gradient", OK, "not tried: it is not fine-tunable as it is")
    else:
        yield sample_call.check_gradient(model.layer, model.inputs)


def _check_fine_tuning(model: CheckedModel) -> Iterator[Finding]:
    interface = model.interface
    if interface.fine_tunable:
        yield Finding("fine-tune", OK, f"yes: {interface.reason}")
        return
    yield Finding("fine-tune", WARNING, f"no: {interface.reason}", interface.fine_tuning_code)


def write_code(model: CheckedModel) -> str:
    """A program that uses the layer."""
    layer_line = code_lib.line(model.display, **model.arguments)
    return example_code.example(layer_line, _expected_inputs(model), model.inputs)


def _expected_inputs(model: CheckedModel) -> Any:
    return sample_call.expected_inputs(model.interface, model.arguments.get("signature"))


STEPS: tuple[Step, ...] = (
    ("load", _load),
    ("call", _call),
    ("gradient", _check_gradient),
    ("fine-tune", _check_fine_tuning),
)
