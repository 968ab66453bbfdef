"""The signatures of an export: named tensors in, named tensors out, as sessions and servers want them."""

from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf

from keras_hub_layers._src.export import signature_names
from keras_hub_layers.errors import ExportError, HubError

__all__ = [
    "argument_names",
    "flatten_outputs",
    "make_signature",
    "name_specs",
    "refuse_signatures",
    "trace_signature",
]


def name_specs(specs: Any) -> Any:
    """The specs with the names that a `tf.function` of `inputs` gives them, so that a trace made with them is found."""

    def call(inputs, training=False):
        return tf.constant(0)

    traced = tf.function(call, autograph=False).get_concrete_function(specs, training=False)
    return traced.structured_input_signature[0][0]


def make_signature(
    function: Callable[[Any], Any], specs: Any, names: Sequence[str], output_names: Sequence[str | None] | None
) -> Any:
    """A `tf.function` with one named argument per tensor, which returns a dict of tensors.

    Args:
        function: Called with inputs structured as `specs`.
        specs: A `tf.TypeSpec`, or a list or dict of them.
        names: One per flattened spec. A ragged or sparse input takes one argument per component.
        output_names: Names for flattened outputs that are no dict, or `None`.
    """

    def serving(*components):
        inputs = tf.nest.pack_sequence_as(specs, list(components), expand_composites=True)
        return flatten_outputs(function(inputs), output_names)

    flat = tf.nest.flatten(specs)
    components = [component for spec in flat for component in tf.nest.flatten(spec, expand_composites=True)]
    arguments = [
        tf.TensorSpec(component.shape, component.dtype, name=name)
        for name, component in zip(signature_names.expand(names, flat), components, strict=True)
    ]
    return tf.function(serving, input_signature=arguments, autograph=False)


def flatten_outputs(outputs: Any, output_names: Sequence[str | None] | None) -> dict[str, Any]:
    """Outputs as a flat dict, named as `signature_names` says."""
    specs = [tf.type_spec_from_value(value) for value in tf.nest.flatten(outputs)]
    names = signature_names.expand(signature_names.name_outputs(outputs, output_names), specs)
    return dict(zip(names, tf.nest.flatten(outputs, expand_composites=True), strict=True))


def trace_signature(name: str, function: Any, wrap: Callable[[Any], Any] | None = None) -> Any:
    """The concrete function of a signature of the user's.

    Args:
        name: Its name.
        function: A concrete function, a `tf.function` or a Python function.
        wrap: Makes a `tf.function` with an `input_signature` of a function that has none, with the inputs of what is
            exported. Defaults to `None`: it is not known what that takes.

    Raises:
        errors.ExportError: It is no function, or cannot be traced.
    """
    if not isinstance(name, str) or not name or name.startswith("__saved_model"):
        raise _unusable(name, "a name of letters", repr(name))
    if isinstance(function, tf.types.experimental.ConcreteFunction):
        return function
    if not callable(function):
        raise _unusable(name, "a function, a tf.function or a concrete function", f"a {type(function).__name__}")
    try:
        if getattr(function, "input_signature", None) is None:
            if wrap is None:
                raise _unusable(name, "a tf.function with an input_signature, or a concrete function", "neither")
            function = wrap(function)
        return function.get_concrete_function()
    except HubError:
        raise
    except Exception as err:
        expected = "a function of the inputs that the model takes, or a tf.function with an input_signature of its own"
        raise _unusable(name, expected, f"{type(err).__name__}: {err}") from err


def refuse_signatures(names: Sequence[str], error: Exception) -> ExportError:
    """The error for signatures that TensorFlow does not save."""
    expected = "functions of tensors, one by one, that return a tensor or a flat dict of tensors"
    return _unusable(", ".join(names), expected, f"{type(error).__name__}: {error}")


def _unusable(name: Any, expected: str, received: str) -> ExportError:
    return ExportError(
        f"The function cannot be the signature {name!r} of an export.",
        expected=expected,
        received=received,
        fix='@tf.function(input_signature=[tf.TensorSpec([None, 4], tf.float32, name="features")])\n'
        "def serve(features):\n"
        '    return {"scores": model(features, training=False)}\n\n'
        'khl.export(model, "directory", signatures={"serving_default": serve})',
    )


def argument_names(function: Any) -> list[str]:
    """The name that each input tensor of a concrete function has in its signature."""
    args, kwargs = function.structured_input_signature
    if not tf.nest.flatten(args):
        return sorted(kwargs)
    tensors = function.inputs[: len(function.inputs) - len(function.captured_inputs)]
    return [tensor.op.get_attr("_user_specified_name").decode() for tensor in tensors]
