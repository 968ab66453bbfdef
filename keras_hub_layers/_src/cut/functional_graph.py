"""The graph of a functional model as steps that can be taken again, through the nested models that a cut enters."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import keras

from keras_hub_layers._src.compat import models
from keras_hub_layers.errors import CutError

__all__ = ["Graph", "Key", "Prefix", "Step", "list_steps"]


Prefix = tuple[int, ...]  # ids of the nodes of the nested models that lie around, the outermost first


Key = tuple[Prefix, int]  # one tensor of one application of its model: prefix and id of the KerasTensor


@dataclass(frozen=True, eq=False)
class Step:
    """One application of a layer or operation.

    Attributes:
        prefix: The applications of the nested models around it.
        path: Names of those models, then its own.
        node: Keras' node.
    """

    prefix: Prefix
    path: tuple[str, ...]
    node: Any

    @property
    def name(self) -> str:
        return "/".join(self.path)

    @property
    def inner(self) -> Any:
        """The functional graph of the nested model that is applied here, else `None`."""
        return None if self.node.is_input else models.graph_of(self.node.operation)

    def key(self, tensor: Any) -> Key:
        return self.prefix, id(tensor)

    def inputs(self) -> Any:
        """The tensors that go in, structured as the first argument if that is all, else as a list; each once."""
        arguments = self.node.arguments
        if self.node.is_input:
            return self.node.output_tensors[0]
        rest = {name: value for name, value in arguments.kwargs.items() if "mask" not in name}
        every = [t for t in keras.tree.flatten([arguments.args, rest]) if isinstance(t, keras.KerasTensor)]
        every = list({id(tensor): tensor for tensor in every}.values())
        first = arguments.args[0] if arguments.args else None
        if first is not None and len(keras.tree.flatten(first)) == len(every):
            return first
        return every[0] if len(every) == 1 else every

    def outputs(self) -> Any:
        tensors = self.node.output_tensors
        inner = self.inner
        if inner is not None:
            return keras.tree.pack_sequence_as(inner.output, tensors)
        return tensors[0] if len(tensors) == 1 else list(tensors)


def list_steps(model: Any) -> list[Step]:
    """All steps of a functional graph and, after each nested model, those inside it."""
    return list(_walk_steps(model))


def _walk_steps(model: Any, prefix: Prefix = (), path: tuple[str, ...] = ()) -> Iterator[Step]:
    for node in models.graph_nodes(model):
        step = Step(prefix, (*path, node.operation.name), node)
        yield step
        if step.inner is not None:
            yield from _walk_steps(step.inner, (*prefix, id(node)), step.path)


class Graph:
    """The steps of a model with some of its nested models laid open.

    Args:
        model: A functional graph.
        opened: Prefixes of the nested models to lay open; the others are steps themselves.
    """

    def __init__(self, model: Any, opened: Iterable[Prefix]) -> None:
        self._opened = set(opened)
        self._alias: dict[Key, Key] = {}
        self.steps = [step for step in _walk_steps(model) if self._is_visible(step)]
        for step in self.steps:
            if step.inner is not None and self._prefix_inside(step) in self._opened:
                self._join_inside_and_outside(step)
        self.steps = [step for step in self.steps if self._prefix_inside(step) not in self._opened]

    def find(self, key: Key) -> Key:
        """The tensor behind the names that it has inside and outside of nested models."""
        while key in self._alias:
            key = self._alias[key]
        return key

    def inputs_of(self, step: Step) -> list[Key]:
        """The tensors that a step reads."""
        arguments = step.node.arguments
        tensors = keras.tree.flatten([arguments.args, arguments.kwargs])
        return [self.find(step.key(tensor)) for tensor in tensors if isinstance(tensor, keras.KerasTensor)]

    def outputs_of(self, step: Step) -> list[Key]:
        return [self.find(step.key(tensor)) for tensor in step.node.output_tensors]

    def apply(self, step: Step, values: Mapping[Key, Any]) -> dict[Key, Any]:
        """Apply a step's layer to new tensors."""

        def new(value: Any) -> Any:
            return values[self.find(step.key(value))] if isinstance(value, keras.KerasTensor) else value

        arguments = step.node.arguments
        given: Any = keras.tree.map_structure(new, (tuple(arguments.args), dict(arguments.kwargs)))
        args, kwargs = given
        outputs = keras.tree.flatten(step.node.operation(*args, **kwargs))
        return dict(zip(self.outputs_of(step), outputs, strict=True))

    def _prefix_inside(self, step: Step) -> Prefix:
        return (*step.prefix, id(step.node))

    def _is_visible(self, step: Step) -> bool:
        """Whether every model around a step is laid open; the Input of such a model is the tensor that goes in."""
        if any(step.prefix[: i + 1] not in self._opened for i in range(len(step.prefix))):
            return False
        return not (step.prefix and step.node.is_input)

    def _join_inside_and_outside(self, step: Step) -> None:
        """Identify the tensors outside of a nested model with those inside."""
        given = [t for t in keras.tree.flatten(step.inputs()) if isinstance(t, keras.KerasTensor)]
        inside = self._prefix_inside(step)
        if len(given) != len(step.inner.inputs):
            raise CutError(
                "The cut goes through a nested model whose inputs cannot be followed.",
                expected=f"{len(step.inner.inputs)} different tensors that go into it",
                received=f"{len(given)} into {step.name!r}",
                fix=f"cut at its end instead: outputs={step.name!r}",
            )
        for outer, inner in zip(given, step.inner.inputs, strict=True):
            self._alias[(inside, id(inner))] = step.key(outer)
        for outer, inner in zip(step.node.output_tensors, step.inner.outputs, strict=True):
            self._alias[step.key(outer)] = (inside, id(inner))
