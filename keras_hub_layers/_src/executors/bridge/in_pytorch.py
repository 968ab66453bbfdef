"""The bridge from PyTorch: a function of autograd whose two passes TensorFlow computes."""

import importlib
from collections.abc import Sequence
from typing import Any

import keras

from keras_hub_layers._src.executors.bridge.host_function import HostFunction
from keras_hub_layers._src.executors.interpreter.values import tensor
from keras_hub_layers.errors import BackendError

torch: Any = importlib.import_module("torch")


@torch.compiler.disable  # so the layer stays outside of what `torch.compile` compiles
def call(host: HostFunction, values: Sequence[Any], wanted: Sequence[int]) -> list[Any]:
    """The outputs of a function of the host for tensors of PyTorch.

    Args:
        host: The function.
        values: What it takes.
        wanted: Places of the values that have gradients. PyTorch knows them too.
    """
    if any(value.device.type == "meta" for value in values):  # Keras asks for the shapes of a model
        return [keras.ops.zeros(*spec) for spec in host.specs([tuple(value.shape) for value in values])]
    return list(_HostCall.apply(host, *values))


class _HostCall(torch.autograd.Function):
    """A call of a function of the host."""

    @staticmethod
    def forward(context: Any, host: HostFunction, *values: Any) -> tuple[Any, ...]:
        context.host = host
        state = host.state_places  # Keras changes it in place, before the gradient is taken
        context.save_for_backward(*(value.clone() if n in state else value for n, value in enumerate(values)))
        outputs = tuple(map(tensor, host.outputs(list(map(_array, values)))))
        context.mark_non_differentiable(*(output for output in outputs if not _is_float(output)))
        return outputs

    @staticmethod
    def backward(context: Any, *upstream: Any) -> tuple[Any, ...]:
        if torch.is_grad_enabled():  # create_graph=True: what is computed here would count as a constant
            raise _second_derivative_error()
        values = context.saved_tensors
        wanted = [place for place, is_needed in enumerate(context.needs_input_grad[1:]) if is_needed]
        given = [_array(gradient) if _is_float(gradient) else None for gradient in upstream]
        gradients = context.host.gradients(list(map(_array, values)), wanted, given)
        results = {place: tensor(gradient) for place, gradient in zip(wanted, gradients, strict=True)}
        return None, *(
            results[place].to(value.dtype) if place in results else None for place, value in enumerate(values)
        )


def _array(value: Any) -> Any:
    return keras.ops.convert_to_numpy(value)


def _is_float(value: Any) -> bool:
    return value.is_floating_point() or value.is_complex()


def _second_derivative_error() -> BackendError:
    return BackendError(
        "A layer with execution='host' has no second derivatives.",
        expected="a gradient that is not differentiated once more",
        received="create_graph=True",
        fix=lambda line: line(execution=None),
    )
