"""cut(model, inputs, outputs): a part of a functional model as a model of its own, with the same layers."""

from collections.abc import Callable, Mapping
from typing import Any

import keras

from keras_hub_layers._src.compat import models
from keras_hub_layers._src.cut.functional_graph import Graph, Key, Step, list_steps
from keras_hub_layers._src.cut.piece_ends import End, EndFinder, flatten_ends
from keras_hub_layers._src.public import public
from keras_hub_layers.errors import CutError, add_place

__all__ = ["cut"]


@public()
def cut(model: keras.Model, inputs: Any = None, outputs: Any = None) -> keras.Model:
    """Make a model of the layers between some inputs and some outputs of a functional model.

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
    with add_place(f"{type(model).__name__} {getattr(model, 'name', model)!r}"):
        functional = models.graph_of(model)
        if functional is None:
            raise CutError(
                "Only a functional model has a graph that can be cut.",
                expected="a functional model, or a Sequential one that has an Input or was called",
                received=type(model).__name__,
                fix='callbacks.ExportPiece("directory", layer="encoder")   # exports a layer of the model',
            )
        finder = EndFinder(list_steps(functional))
        start = finder.find(inputs, Step.inputs, functional.input, "inputs")
        end = finder.find(outputs, Step.outputs, functional.output, "outputs")
        graph = Graph(functional, finder.opened)
        steps = _steps_between(graph, start, end, check_unused=inputs is not None, has_outputs=outputs is not None)
        return _build(model, graph, steps, start, end)


def _build(model: Any, graph: Graph, steps: list[Step], start: Any, end: Any) -> keras.Model:
    """Apply the layers again, from new inputs to the outputs."""
    values: dict[Key, Any] = {}
    taken = {step.path[-1] for step in graph.steps}

    def make_input(end: End) -> Any:
        key = graph.find(end.key)
        if key not in values:
            values[key] = _input_like(model, end, taken)
            taken.add(values[key].name)
        return values[key]

    inputs = _map(make_input, start)
    for step in steps:
        values |= graph.apply(step, values)
    outputs = _map(lambda end: values[graph.find(end.key)], end)
    return keras.Model(inputs, outputs, name=f"{model.name}_piece")


def _input_like(model: Any, end: End, taken: set[str]) -> Any:
    """A new Input in the place of a tensor."""
    kind: dict[str, Any] = {}
    tensor, name = end.tensor, end.name
    # Keras marks some dense results as sparse; believe it only of the model's own inputs.
    is_own = any(tensor is other for other in model.inputs)
    if is_own and tensor.sparse:
        kind["sparse"] = True
    if is_own and getattr(tensor, "ragged", False):
        kind["ragged"] = True
    if name is not None and not is_own:
        name = next(free for free in (name, *(f"{name}_{i}" for i in range(1, 1000))) if free not in taken)
    return keras.Input(batch_shape=tensor.shape, dtype=tensor.dtype, name=name, **kind)


def _steps_between(graph: Graph, start: Any, end: Any, check_unused: bool, has_outputs: bool) -> list[Step]:
    """The steps between the two sides, in order.

    Raises:
        errors.CutError: There are none, the outputs depend on other inputs too, or on none of those given.
    """
    inputs = {graph.find(each.key): each for each in flatten_ends(start)}
    needed = {graph.find(each.key) for each in flatten_ends(end)}
    used, missing, steps = needed & set(inputs), [], []
    for step in reversed(graph.steps):
        if not needed.intersection(graph.outputs_of(step)) - set(inputs):
            continue
        if step.node.is_input:
            missing.append(step.name)
            continue
        steps.append(step)
        needed |= set(graph.inputs_of(step))
        used |= set(inputs).intersection(graph.inputs_of(step))
    unused = [each.label for key, each in inputs.items() if key not in used]
    if check_unused and unused:
        raise CutError(
            "The outputs do not depend on all inputs of the piece.",
            expected="inputs that lie before the outputs",
            received=f"inputs that no output depends on: {unused}",
            fix="leave these inputs out, or choose outputs behind them",
        )
    if not steps and not missing:
        raise CutError(
            "Nothing lies between the inputs and the outputs.",
            expected="outputs behind the inputs; the name of a layer as input means the input of that layer",
            received=f"the same tensor for both: {[each.label for each in inputs.values()]}",
            fix='khl.cut(model, inputs="first_layer", outputs="last_layer")',
        )
    if missing:
        raise _not_closed_error(list(inputs.values()), flatten_ends(end) if has_outputs else None, sorted(missing))
    return steps[::-1]


def _not_closed_error(inputs: list[End], outputs_given: list[End] | None, missing: list[str]) -> CutError:
    several = [each.code for each in outputs_given or ()]
    outputs = "" if not several else f", outputs={several[0] if len(several) == 1 else '[' + ', '.join(several) + ']'}"
    every = ", ".join([*(each.code for each in inputs), *map(repr, missing)])
    return CutError(
        "The piece is not closed: its outputs depend on more than its inputs.",
        expected=f"these inputs too: {missing} (a mask is an input as well)",
        received=f"inputs {[each.label for each in inputs]}",
        fix=f"khl.cut(model, inputs=[{every}]{outputs})",
    )


def _map(function: Callable[[End], Any], structure: Any) -> Any:
    if isinstance(structure, End):
        return function(structure)
    if isinstance(structure, Mapping):
        return {key: _map(function, value) for key, value in structure.items()}
    return [_map(function, value) for value in structure]
