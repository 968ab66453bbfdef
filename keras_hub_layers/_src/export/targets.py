"""What can be exported: a HubLayer, a Keras model or layer, a loaded object."""

from typing import Any

import keras
import tensorflow as tf

from keras_hub_layers._src.export import keras_root, verification
from keras_hub_layers._src.export.loaded_object import _plan_of_loaded
from keras_hub_layers._src.export.plan import Plan
from keras_hub_layers._src.layers import hub_layer
from keras_hub_layers.errors import ExportError

__all__ = ["plan"]


def plan(target: Any, **options: Any) -> Plan:
    """Decide how a target is written; nothing is written yet.

    Args:
        target: As `keras_hub_layers.export` takes it.
        **options: `trainable`, `input_spec`, `signatures` and `assets` of `keras_hub_layers.export`.

    Raises:
        errors.ExportError: The target is of no kind that can be exported, or does not take these options.
    """
    given = {name: value for name, value in options.items() if value is not None}
    if isinstance(target, hub_layer.HubLayer):
        return _plan_of_loaded(target.resolved_object, given, f"HubLayer {target.name!r}")
    if isinstance(target, keras.layers.Layer):
        return _plan_of_keras(keras_root.Root(target, **given), target)
    if isinstance(target, tf.Module) or _is_trackable(target):
        return _plan_of_loaded(target, given, f"an object of type {type(target).__name__}")
    raise ExportError(
        "Nothing that can be exported.",
        expected="a HubLayer, a keras.Model or keras.layers.Layer, or a loaded object",
        received=f"an object of type {type(target).__name__}: {str(target)[:80]!r}",
        where="khl.export",
        fix='khl.export(model, "directory")',
    )


def _is_trackable(obj: Any) -> bool:
    try:
        tf.train.TrackableView.children(obj)
    except (AttributeError, ValueError, TypeError):
        return False
    return True


# -- Keras models ------------------------------------------------------------------------------------------------------


def _plan_of_keras(root: keras_root.Root, layer: Any) -> Plan:
    def verify(path: str) -> None:
        verification.check_files(path)
        root.verify(path)

    return Plan(
        write=root.save,
        verify=verify,
        variables=lambda: list(root.object.variables),
        facts=root.facts,
        where=f"{type(layer).__name__} {layer.name!r}",
    )
