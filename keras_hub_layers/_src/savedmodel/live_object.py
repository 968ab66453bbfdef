"""What a loaded object holds, as live TensorFlow things: functions, variables, losses and pieces.

This is the one place that probes an object for attributes. The Reusable SavedModel interface says which
ones count: `__call__`, `variables`, `trainable_variables`, `regularization_losses`, and named callables
with the same attributes. Each may be missing.

Reference:

- [Reusable SavedModels](https://www.tensorflow.org/hub/reusable_saved_models)
"""

import os
from collections.abc import Mapping
from typing import Any

import tensorflow as tf

from keras_hub_layers._src.savedmodel import input_losses
from keras_hub_layers._src.savedmodel.contents import Contents, Function, Trace, Variables, is_piece_name
from keras_hub_layers._src.savedmodel.live_functions import call_function, is_function, signatures, traces_of
from keras_hub_layers._src.savedmodel.traces import gather_variables
from keras_hub_layers.errors import InterfaceError


def variables(obj: Any, functions: tuple[Function, ...]) -> Variables:
    """The published variables of an object, and what the given functions use beyond them."""
    container = _containers(obj) if tf.distribute.has_strategy() else {}
    if is_function(obj):  # its attributes of these names are TensorFlow's own, and no publication
        return gather_variables((), (), functions, container)
    try:
        published = [_variables_in(getattr(obj, name, None)) for name in ("trainable_variables", "variables")]
    except ValueError as err:  # of a Keras 2 model
        raise _not_built(obj, err) from err
    return gather_variables(published[0], published[1], functions, container)


def _not_built(obj: Any, err: ValueError) -> InterfaceError:
    return InterfaceError(
        "The model has no variables yet, since it was not called yet.",
        expected="a model that was built or called, so that it has its variables",
        received=f"{type(obj).__module__}.{type(obj).__name__}: {str(err).splitlines()[0]}",
        where="HubLayer(model)",
        fix="model(x)   # once, with a batch of what it takes\nlayer = HubLayer(model)",
    )


def losses(obj: Any) -> list[Any]:
    """The published regularization losses, callable or not."""
    return [] if is_function(obj) else _as_list(getattr(obj, "regularization_losses", None))


def input_losses_function(obj: Any) -> Function | None:
    """What computes the outputs of a Keras 2 object together with the losses that depend on inputs; or `None`."""
    keras_api = getattr(obj, "keras_api", None)
    functions = [getattr(keras_api, name, None) for name in input_losses.NAMES]
    return next((call_function(function) for function in functions if is_function(function)), None)


def input_losses_verdict(obj: Any, call: Function | None) -> str:
    """What becomes of the losses that depend on inputs: `"counted"`, `"lost"`, or `""` where there are none."""
    if hasattr(obj, "keras_api"):
        return input_losses.verdict(call, input_losses_function(obj))
    layers = [below for below in _descendants(obj) if hasattr(below, "keras_api")]
    is_lost = call is not None and any(
        hasattr(layer.keras_api, input_losses.REGULARIZER) or input_losses.count(input_losses_function(layer))
        for layer in layers
    )
    return "lost" if is_lost else ""


def piece(obj: Any, name: str) -> Any | None:
    """The named callable at a dotted name, `None` if there is none."""
    for segment in name.split("."):
        obj = getattr(obj, segment, None)
        if obj is None:
            return None
    return obj if _is_piece(obj) else None


def pieces(obj: Any) -> list[str]:
    """Dotted names of the named callables: the object's own, and one level further down."""
    names = []
    for name, child in _children(obj):
        if _is_piece(child):
            names.append(name)
        names += [f"{name}.{below}" for below, grandchild in _children(child) if _is_piece(grandchild)]
    return sorted(names)


def assets(obj: Any) -> list[str]:
    """File names of the assets that the object holds."""
    held = [child.asset_path for child in _descendants(obj) if type(child).__name__ == "Asset"]
    held += [getattr(asset, "asset_path", asset) for asset in getattr(obj, "asset_paths", None) or ()]  # TF1
    paths = [tf.get_static_value(path) if tf.is_tensor(path) else path for path in held]
    return sorted({os.path.basename(tf.compat.as_str(path)) for path in paths if path is not None})


def is_object(obj: Any) -> bool:
    """Whether something may be a loaded or in-process object: it can be called, or holds something that can."""
    return not isinstance(obj, type) and (callable(obj) or hasattr(obj, "signatures") or bool(_descendants(obj)))


def _as_list(value: Any) -> list[Any]:
    """The entries of a published list, of lists and dicts in it too; of anything else itself."""
    if value is None:
        return []
    if isinstance(value, Mapping):
        value = list(value.values())
    return [entry for nested in value for entry in _as_list(nested)] if isinstance(value, (list, tuple)) else [value]


def _variables_in(value: Any) -> list[Any]:
    """The variables of a published list; what is none is left out, of one of Keras 3 it is what it holds."""
    entries = [e if isinstance(e, tf.Variable) else getattr(e, "value", None) for e in _as_list(value)]
    return [entry for entry in entries if isinstance(entry, tf.Variable)]


def _is_piece(obj: Any) -> bool:
    """Whether something is a named callable; not, if it was saved without a trace."""
    call = obj if is_function(obj) else getattr(obj, "__call__", None)  # noqa: B004
    return call is not None and not isinstance(obj, (tf.Variable, type)) and getattr(call, "concrete_functions", True)


def _children(obj: Any) -> list[tuple[str, Any]]:
    try:
        children = tf.train.TrackableView(obj).children(obj)
    except (AttributeError, TypeError, ValueError):  # not a trackable
        return []
    return [(name, child) for name, child in children.items() if is_piece_name(name)]


def _descendants(obj: Any) -> list[Any]:
    try:
        return list(tf.train.TrackableView(obj).descendants())
    except (AttributeError, TypeError, ValueError):
        return []


def _containers(obj: Any) -> dict[int, Any]:
    """id of a per-replica component -> the distributed variable that it belongs to."""
    return {
        id(component): v
        for v in _descendants(obj)
        if isinstance(v, tf.distribute.DistributedValues)
        for component in v.values  # type: ignore[attr-defined]
    }


def read(obj: Any) -> Contents:
    """Describe a loaded or in-process object."""
    function, named = call_function(obj), signatures(obj)
    functions = ((function,) if function else ()) + tuple(named.values())
    return Contents(
        function=function,
        signatures=named,
        variables=variables(obj, functions),
        losses=loss_traces(obj),
        input_losses=input_losses_verdict(obj, function),
        pieces=pieces(obj),
        assets=assets(obj),
        missing_ops=[],
        piece=lambda name: read(piece(obj, name)),
    )


def loss_traces(obj: Any) -> tuple[Trace | None, ...]:
    """The trace of each published regularization loss; `None` for one that has none."""
    traces = (traces_of(loss, ["inputs"]) if is_function(loss) else () for loss in losses(obj))
    return tuple(next(iter(several), None) for several in traces)
