"""Where a piece begins and ends: the tensors of a graph that names of layers, or tensors, stand for."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import keras

from keras_hub_layers._src.compat import models
from keras_hub_layers._src.cut.functional_graph import Key, Prefix, Step
from keras_hub_layers._src.text import words
from keras_hub_layers.errors import CutError

__all__ = ["End", "EndFinder", "flatten_ends"]


@dataclass(frozen=True, eq=False)
class End:
    """One tensor at which a piece begins or ends.

    Attributes:
        key: The tensor in its graph.
        tensor: The symbolic tensor.
        label: A name for it, for messages.
        name: The name of the Input in its place; `None` if Keras shall count, since its layer has no name of its own.
        code: What a user writes for it in `inputs=`.
    """

    key: Key
    tensor: Any
    label: str
    name: str | None
    code: str


class EndFinder:
    """Finds the tensors that a user means, and notes which nested models they lie in.

    Args:
        steps: All steps of a functional graph.

    Attributes:
        opened: Prefixes of these nested models.
    """

    def __init__(self, steps: list[Step]) -> None:
        self._steps = steps
        self.opened: set[Prefix] = set()

    def find(self, choice: Any, side: Callable[[Step], Any], default: Any, argument: str) -> Any:
        """The `End`s, structured as the choice.

        Args:
            choice: Names of layers or symbolic tensors, or a list or dict of them; `None` for the default.
            side: `Step.inputs` or `Step.outputs`: what the name of a layer stands for.
            default: Symbolic tensors.
            argument: `"inputs"` or `"outputs"`, for messages.
        """
        ends: dict[Key, End] = {}

        def make_end(step: Step, tensor: Any, label: str, is_named: bool, code: str) -> End:
            name = label if is_named or not models.has_counted_name(step.node.operation) else None
            return ends.setdefault(step.key(tensor), End(step.key(tensor), tensor, label, name, code))

        def find_below(value: Any, key: str | None = None) -> Any:
            if isinstance(value, Mapping):
                return {name: find_below(each, str(name)) for name, each in value.items()}
            if isinstance(value, (list, tuple)):
                return [find_below(each) for each in value]
            if isinstance(value, keras.KerasTensor):
                step = self._step_of_tensor(value, argument)
                label = key or step.path[-1] + ("" if step.node.is_input else "_output")
                code = "".join(f".get_layer({name!r})" for name in step.path)
                return make_end(step, value, label, key is not None, f"model{code}.output")
            step = self._step_of_name(value, argument)
            label = key or step.path[-1] + ("" if step.node.is_input or argument == "outputs" else "_input")
            return keras.tree.map_structure(
                lambda tensor: make_end(step, tensor, label, key is not None, repr(value)), side(step)
            )

        return find_below(default if choice is None else choice)

    def _step_of_name(self, text: Any, argument: str) -> Step:
        """The step that `"name"`, `"path/name"` or `"name:index"` stands for."""
        match = re.fullmatch(r"([^:]+)(?::(\d+))?", text) if isinstance(text, str) else None
        if match is None:
            expected = 'a name, "name:index", a symbolic tensor, or a list or dict'
            raise _problem(argument, f"{argument} names no layer.", expected, repr(text), self._steps[-1].name)
        name, index = match[1], match[2]
        steps = [step for step in self._steps if len(step.path) == 1 and step.name == name]
        steps = steps or [step for step in self._steps if f"/{step.name}".endswith(f"/{name}")]
        paths = sorted({step.name for step in steps})
        received = f"{argument}={text!r}"
        if not steps:
            candidates = [step for step in self._steps if argument == "inputs" or not step.node.is_input]
            names = list(dict.fromkeys(step.name for step in candidates or self._steps))
            problem, nearest = "The model has no layer of that name.", words.nearest(name, names)
            raise _problem(argument, problem, f"one of {names}", received, nearest)
        if len(paths) > 1:
            problem = "Several nested models have a layer of that name."
            raise _problem(argument, problem, f"one of {paths}", received, paths[0])
        if index is None and len(steps) > 1:
            problem = "The layer is applied several times, so its name alone does not say where."
            raise _problem(
                argument, problem, f"one of {[f'{name}:{i}' for i in range(len(steps))]}", received, f"{name}:0"
            )
        if int(index or 0) >= len(steps):
            problem, last = "The layer is not applied that often.", f"{name}:{len(steps) - 1}"
            raise _problem(argument, problem, f"an index below {len(steps)}", received, last)
        return self._open(steps[int(index or 0)])

    def _step_of_tensor(self, tensor: Any, argument: str) -> Step:
        steps = [step for step in self._steps if any(tensor is other for other in step.node.output_tensors)]
        if len(steps) != 1:
            problem = (
                "The tensor's model is applied several times." if steps else "The tensor is not one of this model."
            )
            expected = "a symbolic tensor of this very model, such as model.inputs[0] or layer.output"
            received = f"{argument}={tensor!r}" + (f", in {[step.name for step in steps]}" if steps else "")
            raise _problem(argument, problem, expected, received, self._steps[-1].name)
        return self._open(steps[0])

    def _open(self, step: Step) -> Step:
        self.opened |= {step.prefix[: i + 1] for i in range(len(step.prefix))}
        return step


def flatten_ends(structure: Any) -> list[End]:
    """All `End`s of a structure, in order."""
    if isinstance(structure, End):
        return [structure]
    values = structure.values() if isinstance(structure, Mapping) else structure
    return [end for value in values for end in flatten_ends(value)]


def _problem(argument: str, problem: str, expected: str, received: str, name: str | None) -> CutError:
    return CutError(problem, expected=expected, received=received, fix=f'khl.cut(model, {argument}="{name}")')
