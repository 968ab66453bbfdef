"""cut(model, inputs, outputs): a part of a functional model as a model of its own, with the same layers."""

import re
from collections.abc import Mapping
from typing import Any

import keras

from keras_hub_layers._src.compat import models
from keras_hub_layers._src.cut.functional_graph import Graph, Key, Step, every_step
from keras_hub_layers._src.public import public
from keras_hub_layers._src.text import words
from keras_hub_layers.errors import CutError

__all__ = ["cut"]


@public()
def cut(model: keras.Model, inputs: Any = None, outputs: Any = None) -> keras.Model:
    """Make a model of what lies between some layers of a functional model.

    The piece shares the layers, so it has the weights that the model has, now and after more training. It is not
    compiled, so it has no optimizer.

    Args:
        model: A functional or built `keras.Sequential` model.
        inputs: Where the piece begins: the name of a layer, which is the first one inside the piece, or a symbolic
            tensor, or a list or dict of these. Of a layer that is applied several times `"name:0"` is the first
            application. A layer of a nested model is found by its name or by its path, `"encoder/pooler"`.
            Defaults to `None`: the inputs of the model.
        outputs: Where the piece ends, likewise: the name of a layer stands for its output. Defaults to `None`:
            the outputs of the model.

    Returns:
        A `keras.Model`. Its inputs and outputs are structured as the arguments are; with neither, it is the model.

    Raises:
        errors.CutError: A name is unknown or stands for several applications, the outputs also depend on other
            inputs (it names them) or not on those given, or the model is subclassed or not built.

    Example:

    ```python
    import keras
    import keras_hub_layers as khl

    x = keras.Input((32, 32, 3))
    h = keras.layers.GlobalAveragePooling2D(name="features")(keras.layers.Conv2D(8, 3)(x))
    classifier = keras.Model(x, keras.layers.Dense(10, name="head")(h))
    extractor = khl.cut(classifier, outputs="features")
    ```
    """
    if inputs is None and outputs is None:
        return model
    functional = models.graph_of(model)
    if functional is None:
        raise CutError(
            "Only a functional model has a graph that can be cut.",
            expected="a functional model, or a Sequential one that has an Input or was called",
            received=f"{type(model).__name__} {getattr(model, 'name', model)!r}",
            where="khl.cut",
            fix="compose it from layers, keras.Model(x, head(encoder(x))), and export one: "
            'callbacks.ExportPiece("directory", layer="encoder")',
        )
    chooser = _Chooser(model, list(every_step(functional)))
    start, names = chooser.choose(inputs, Step.inputs, functional.input, "inputs")
    end, _ = chooser.choose(outputs, Step.outputs, functional.output, "outputs")
    graph = Graph(functional, chooser.opened)
    return _Cut(model, graph, start, end, names, given=inputs is not None).model()


class _Chooser:
    """Turns names and tensors into keys of tensors, and notes which nested models they lie in."""

    def __init__(self, model: Any, steps: list[Step]) -> None:
        self._model = model
        self._steps = steps
        self.opened: set[tuple[int, ...]] = set()

    def choose(self, chosen: Any, side: Any, own: Any, what: str) -> tuple[Any, dict[Key, tuple[str, Any]]]:
        """The keys, structured as the choice; and for each key the name and the symbolic tensor that it stands for."""
        named: dict[Key, tuple[str, Any]] = {}

        def keyed(step: Step, tensor: Any, name: str) -> Key:
            named.setdefault(step.key(tensor), (name, tensor))
            return _Leaf(step.key(tensor))

        def walk(part: Any, name: str | None = None) -> Any:
            if isinstance(part, Mapping):
                return {key: walk(value, str(key)) for key, value in part.items()}
            if isinstance(part, (list, tuple)):
                return [walk(value) for value in part]
            if isinstance(part, keras.KerasTensor):
                step = self._step_of(part, what)
                return keyed(step, part, name or step.path[-1] + ("" if step.node.is_input else "_output"))
            step = self._step_named(part, what)
            name = name or step.path[-1] + ("" if step.node.is_input or what == "outputs" else "_input")
            return keras.tree.map_structure(lambda tensor: keyed(step, tensor, name), side(step))

        return walk(own if chosen is None else chosen), named

    def _step_named(self, text: Any, what: str) -> Step:
        match = re.fullmatch(r"([^:]+)(?::(\d+))?", text) if isinstance(text, str) else None
        if match is None:
            raise self._problem(
                f"{what} names no layer.", 'a name, "name:index", a symbolic tensor, or a list or dict', repr(text),
                f'khl.cut(model, {what}="{self._steps[-1].name}")',
            )  # fmt: skip
        found = [step for step in self._steps if len(step.path) == 1 and step.name == match[1]]
        found = found or [step for step in self._steps if f"/{step.name}".endswith(f"/{match[1]}")]
        paths = sorted({step.name for step in found})
        if not found:
            ends = [step for step in self._steps if what == "inputs" or not step.node.is_input]
            names = list(dict.fromkeys(step.name for step in ends or self._steps))
            close = words.nearest(match[1], names)
            raise self._problem(
                "The model has no layer of that name.", f"one of {names}", f"{what}={text!r}",
                f'khl.cut(model, {what}="{close}")',
            )  # fmt: skip
        if len(paths) > 1:
            raise self._problem(
                "Several nested models have a layer of that name.", f"one of {paths}", f"{what}={text!r}",
                f'khl.cut(model, {what}="{paths[0]}")',
            )  # fmt: skip
        if match[2] is None and len(found) > 1:
            raise self._problem(
                "The layer is applied several times, so its name alone does not say where.",
                f"one of {[f'{match[1]}:{i}' for i in range(len(found))]}", f"{what}={text!r}",
                f'khl.cut(model, {what}="{match[1]}:0")',
            )  # fmt: skip
        if int(match[2] or 0) >= len(found):
            raise self._problem(
                "The layer is not applied that often.", f"an index below {len(found)}", f"{what}={text!r}",
                f'khl.cut(model, {what}="{match[1]}:{len(found) - 1}")',
            )  # fmt: skip
        return self._open(found[int(match[2] or 0)])

    def _step_of(self, tensor: Any, what: str) -> Step:
        found = [step for step in self._steps if any(tensor is other for other in step.node.output_tensors)]
        if len(found) != 1:
            raise self._problem(
                "The tensor is not one of this model." if not found else "The tensor's model is applied several times.",
                "a symbolic tensor of this very model, such as model.inputs[0] or layer.output",
                f"{what}={tensor!r}" + (f", in {[step.name for step in found]}" if found else ""),
                f'khl.cut(model, {what}="{self._steps[-1].name}")   # by the name of the layer',
            )  # fmt: skip
        return self._open(found[0])

    def _open(self, step: Step) -> Step:
        self.opened |= {step.prefix[: i + 1] for i in range(len(step.prefix))}
        return step

    def _problem(self, text: str, expected: str, received: str, fix: str) -> CutError:
        where = f"{type(self._model).__name__} {self._model.name!r}"
        return CutError(text, expected=expected, received=received, where=where, fix=fix)


class _Leaf(tuple):
    """A key as a leaf of a structure, which `keras.tree` would take for a structure itself."""


class _Cut:
    """One cut: which steps it takes, and what they make."""

    def __init__(self, model: Any, graph: Graph, start: Any, end: Any, names: Any, given: bool) -> None:
        self._model, self._graph, self._start, self._end = model, graph, start, end
        self._names = {graph.find(key): value for key, value in names.items()}
        self._given = given

    def model(self) -> keras.Model:
        steps = self._steps()
        values: dict[Key, Any] = {}
        structured = _map(lambda key: self._input(self._graph.find(key), values), self._start)
        for step in steps:
            values |= self._graph.take(step, values)
        outputs = _map(lambda key: values[self._graph.find(key)], self._end)
        return keras.Model(structured, outputs, name=f"{self._model.name}_piece")

    def _input(self, key: Key, values: dict[Key, Any]) -> Any:
        """A new Input in the place of a tensor."""
        if key not in values:
            name, tensor = self._names[key]
            kind: dict[str, Any] = {}
            # Keras marks some dense results as sparse; believe it only of the model's own inputs.
            own = any(tensor is other for other in self._model.inputs)
            if own and tensor.sparse:
                kind["sparse"] = True
            if own and getattr(tensor, "ragged", False):
                kind["ragged"] = True
            taken = {step.path[-1] for step in self._graph.steps} | {value.name for value in values.values()}
            free = next(n for n in (name, *(f"{name}_{i}" for i in range(1, 1000))) if own or n not in taken)
            values[key] = keras.Input(batch_shape=tensor.shape, dtype=tensor.dtype, name=free, **kind)
        return values[key]

    def _steps(self) -> list[Step]:
        """The steps between the two sides, in order; an error if there are others that they depend on."""
        graph = self._graph
        start = {graph.find(key) for key in _leaves(self._start)}
        needed = {graph.find(key) for key in _leaves(self._end)}
        used, missing, taken = needed & start, [], []
        for step in reversed(graph.steps):
            wanted = needed.intersection(graph.gives(step)) - start
            if not wanted:
                continue
            if step.node.is_input:
                missing.append(step.name)
                continue
            taken.append(step)
            needed |= set(graph.needs(step))
            used |= start & set(graph.needs(step))
        where = f"{type(self._model).__name__} {self._model.name!r}"
        names = [name for key, (name, _) in self._names.items() if key in start - used]
        if self._given and names:
            raise CutError(
                "The outputs do not depend on all inputs of the piece.",
                expected="inputs that lie before the outputs",
                received=f"inputs that no output depends on: {names}",
                where=where,
                fix="leave these inputs out, or choose outputs behind them",
            )
        if not taken and not missing:
            raise CutError(
                "Nothing lies between the inputs and the outputs.",
                expected="outputs behind the inputs; the name of a layer as input means the input of that layer",
                received=f"the same tensor for both: {[name for name, _ in self._names.values()]}",
                where=where,
                fix='khl.cut(model, inputs="first_layer", outputs="last_layer")',
            )
        if missing:
            begin = [name.removesuffix("_input") for name, _ in self._names.values()] + sorted(missing)
            raise CutError(
                "The piece is not closed: its outputs depend on more than its inputs.",
                expected=f"these inputs too: {sorted(missing)} (a mask is an input as well)",
                received=f"inputs {[name for name, _ in self._names.values()]}",
                where=where,
                fix=f"khl.cut(model, inputs={begin!r}, outputs=...)",
            )
        return taken[::-1]


def _map(function: Any, structure: Any) -> Any:
    if isinstance(structure, _Leaf):
        return function(structure)
    if isinstance(structure, Mapping):
        return {key: _map(function, value) for key, value in structure.items()}
    return [_map(function, value) for value in structure]


def _leaves(structure: Any) -> list[Key]:
    if isinstance(structure, _Leaf):
        return [structure]
    parts = structure.values() if isinstance(structure, Mapping) else structure
    return [leaf for part in parts for leaf in _leaves(part)]
