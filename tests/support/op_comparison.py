"""What the interpreter computes of a function, beside what TensorFlow's own kernels compute."""

import contextlib

import keras
import numpy as np
import tensorflow as tf

from keras_hub_layers._src.executors.interpreter.program import Program, State
from keras_hub_layers._src.executors.interpreter.values import tensor
from keras_hub_layers._src.savedmodel.graphs.concrete import body_of_concrete


def specs_of(inputs, batches=None):
    """A `TensorSpec` for each input. The length of the first axis is unknown in the first `batches`, or in all."""
    count = len(inputs) if batches is None else batches
    return [
        tf.TensorSpec((None, *np.shape(x)[1:]) if np.ndim(x) and place < count else np.shape(x), x.dtype)
        for place, x in enumerate(inputs)
    ]


def concrete_of(function, inputs, batches=None):
    return tf.function(function, autograph=False).get_concrete_function(*specs_of(inputs, batches))


def as_array(value):
    return keras.ops.convert_to_numpy(value)


def is_float(value):
    return "float" in str(keras.backend.standardize_dtype(value.dtype))


def weighted(value):
    """The sum of the values, each times another number: a plain sum hides what cancels out, as in a softmax."""
    if not tf.is_tensor(value):
        weights = np.cos(np.arange(np.prod(value.shape))).reshape(value.shape)
        return keras.ops.sum(keras.ops.cast(value, "float64") * keras.ops.convert_to_tensor(weights, "float64"))
    weights = tf.reshape(tf.cos(tf.cast(tf.range(tf.size(value)), "float64")), tf.shape(value))
    return tf.reduce_sum(tf.cast(value, "float64") * weights)


def results_and_gradients(program, inputs, batches=0):
    """What a program returns, and the gradients of a weighted sum of its floats.

    TensorFlow computes them in a graph in which the length of the first axis of the first `batches` inputs is unknown.
    """
    tensors = [keras.ops.convert_to_tensor(x) for x in inputs]
    places = [place for place, x in enumerate(inputs) if "float" in x.dtype.name]

    def run(floats, tensors=tensors):
        values = list(tensors)
        for place, value in zip(places, floats, strict=True):
            values[place] = value
        outputs = [tensor(value) for value in program(values, State([]))]
        return sum((weighted(value) for value in outputs if is_float(value)), 0.0), outputs

    floats = [tensors[place] for place in places]
    if keras.backend.backend() == "jax":
        import jax

        (_, outputs), gradients = jax.jit(jax.value_and_grad(lambda x: (run(x)[0] + 0.0, run(x)[1]), has_aux=True))(
            floats
        )
    elif keras.backend.backend() == "torch":
        import torch

        floats = [value.detach().clone().requires_grad_() for value in floats]
        total, outputs = run(floats)
        has_gradient = torch.is_tensor(total) and total.requires_grad
        gradients = torch.autograd.grad(total, floats, allow_unused=True) if has_gradient else [None] * len(floats)
    else:

        def compute(*tensors):
            floats = [tensors[place] for place in places]
            with tf.GradientTape() as tape:
                tape.watch(floats)
                total, outputs = run(floats, tensors)
            gradients = tape.gradient(total, floats) if tf.is_tensor(total) else [None] * len(floats)
            return outputs, gradients

        if batches:
            compute = tf.function(compute, autograph=False, input_signature=specs_of(inputs, batches))
        outputs, gradients = compute(*tensors)
    return outputs, gradients


def expected_of(concrete, inputs):
    tensors = list(map(tf.constant, inputs))
    floats = [value for value in tensors if value.dtype.is_floating]
    with tf.GradientTape() as tape:
        tape.watch(floats)
        outputs = tf.nest.flatten(concrete(*tensors))
        total = sum(weighted(y) for y in outputs if y.dtype.is_floating)
    return outputs, tape.gradient(total, floats) if tf.is_tensor(total) else [None] * len(floats)


@contextlib.contextmanager
def in_64_bits():
    """Have JAX compute in 64 bits. The other backends do so by themselves."""
    if keras.backend.backend() != "jax":
        yield
        return
    import jax

    jax.config.update("jax_enable_x64", True)
    try:
        yield
    finally:
        jax.config.update("jax_enable_x64", False)


def compare(function, inputs, check, of_gradients=None, *, batches=None, in_graph=False, reference=None):
    """Compare outputs and gradients, and the outputs' shapes and dtypes.

    Args:
        function: A function of tensors, in operations of TensorFlow.
        inputs: Arrays.
        check: Compares an output with the known one: `check(value, known)`.
        of_gradients: The same for gradients. Defaults to `check`.
        batches: In how many inputs, from the first on, the length of the first axis is unknown. Defaults to all.
        in_graph: Whether the TensorFlow backend computes in a graph.
        reference: Function of the known values, where TensorFlow has no kernel for what `function` says.
    """
    concrete = concrete_of(function, inputs, batches)
    program = Program(body_of_concrete(concrete), {})
    count = len(inputs) if batches is None else batches
    outputs, gradients = results_and_gradients(program, inputs, count if in_graph else 0)
    expected, wanted = expected_of(concrete_of(reference, inputs, batches) if reference else concrete, inputs)
    assert len(outputs) == len(expected)
    for value, known in zip(outputs, expected, strict=True):
        assert as_array(value).shape == known.shape
        check(as_array(value), known.numpy())
    for value, known in zip(gradients, wanted, strict=True):
        known = 0.0 if known is None else tf.convert_to_tensor(known).numpy()
        (of_gradients or check)(0.0 if value is None else as_array(value), known)
