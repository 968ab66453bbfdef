"""How a target is written: decided once, by what it is; used as often as it is exported."""

import contextlib
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import keras
import tensorflow as tf

from keras_hub_layers import cards, checkpoints, checks, comparison, embedding, interface, layers, loader, roots
from keras_hub_layers.errors import ExportError, HubWarning, explain

__all__ = ["Plan", "plan"]


@dataclass(frozen=True, eq=False)
class Plan:
    """How a target is written; decided once, used as often as it is exported.

    Attributes:
        write: Writes the SavedModel to a path that is an empty directory.
        verify: Raises unless the SavedModel at a path computes what the live target does.
        variables: The `tf.Variable`s whose values are exported.
        facts: What the model card says; `None` for no card.
        where: The target in words, for error texts.
    """

    write: Callable[[str], None]
    verify: Callable[[str], None]
    variables: Callable[[], list[Any]]
    facts: Callable[[], cards.Facts] | None
    where: str


def plan(target: Any, **options: Any) -> Plan:
    """Decide how a target is written; nothing is written yet.

    Args:
        target: As `keras_hub_layers.export` takes it.
        **options: `trainable`, `input_spec`, `signatures` and `assets` of `keras_hub_layers.export`.

    Raises:
        errors.ExportError: The target is of no kind that can be exported, or does not take these options.
    """
    given = {name: value for name, value in options.items() if value is not None}
    if isinstance(target, layers.HubLayer):
        return _plan_of_loaded(target.resolved_object, given, f"HubLayer {target.name!r}")
    if isinstance(target, keras.layers.Layer):
        return _plan_of_keras(roots.Root(target, **given), target)
    if isinstance(target, tf.Module) or _is_trackable(target):
        return _plan_of_loaded(target, given, f"an object of type {type(target).__name__}")
    raise ExportError(
        explain(
            "Nothing that can be exported.",
            expected="a HubLayer, a keras.Model or keras.layers.Layer, or a loaded object",
            received=f"an object of type {type(target).__name__}: {str(target)[:80]!r}",
            where="khl.export",
            fix='khl.export(model, "directory")',
        )
    )


# -- loaded objects ----------------------------------------------------------------------------------------------------


def _plan_of_loaded(obj: Any, given: Mapping[str, Any], where: str) -> Plan:
    if given:
        raise ExportError(
            explain(
                "A re-export keeps the interface of its source.",
                expected="none of trainable, input_spec, signatures, assets",
                received=", ".join(f"{name}=" for name in given),
                where=where,
                fix="wrap it to change the interface: keras.Sequential([keras.Input(shape), layer])",
            )
        )
    source = loader.source_of(obj)
    variables = checkpoints.live_variables(obj)

    def write(path: str) -> None:
        if source is None:
            _save_anew(obj, path)
            return
        if loader.has_changed(source):
            raise embedding.changed(source)
        try:
            checkpoints.rewrite(source.directory, obj, path, variables=variables)
        except checkpoints.SourceGone:
            if source.format != "tf2" or _has_assets(obj):
                raise
            warnings.warn(
                f"{where}: the SavedModel at {source.directory!r} is gone, so the object is saved anew with its "
                "signatures; other files that lay there, such as a model card, are lost.",
                HubWarning,
                stacklevel=2,
            )
            _save_anew(obj, path)
        except checkpoints.CheckpointMismatch:
            if source.format != "tf2":
                raise
            _save_anew(obj, path)

    def verify(path: str) -> None:
        checks.check_files(path)
        differing = comparison.differing(path, obj)
        if differing:
            raise checks.broken(path, "the weights of the live object", f"other values of {', '.join(differing[:5])}")
        if not _is_copy(source, path):  # else its graph is that of the source, byte by byte
            _check_signatures(obj, path)

    return Plan(
        write=write,
        verify=verify,
        variables=lambda: variables,
        facts=lambda: _facts_of_loaded(interface.inspect(obj), where),
        where=where,
    )


def _facts_of_loaded(found: interface.Interface, where: str) -> cards.Facts:
    signature = found.signatures.get("serving_default") or next(iter(found.signatures.values()), None)
    return cards.Facts(
        title=found.handle.rstrip("/").rpartition("/")[2] or where,
        origin=found.handle,
        inputs={name: str(spec) for name, spec in signature.inputs.items()} if signature else {},
        outputs={name: str(spec) for name, spec in signature.outputs.items()} if signature else {},
        traces=tuple(map(str, found.traces)),
        tuning=("yes: " if found.fine_tunable else "no: ") + found.reason,
        losses=found.regularization_losses,
        pieces=found.pieces,
        assets=found.assets,
    )


def _save_anew(obj: Any, path: str) -> None:
    """Without `signatures=`, TensorFlow picks any function that it finds as `serving_default`."""
    with tf.init_scope():
        tf.saved_model.save(obj, path, signatures=_signatures(obj))


def _check_signatures(obj: Any, path: str) -> None:
    """Compare what each signature computes in a session with what it computes here."""
    checks.check_outputs(path, "", None, {})
    for name, function in _signatures(obj).items():
        specs = function.structured_input_signature[1]
        state = [(variable, variable.read_value()) for variable in checkpoints.live_variables(obj)]
        expected, inputs = None, {}
        with contextlib.suppress(Exception):  # an input that we made up and that the function refuses proves nothing
            inputs = {key: checks.sample(spec)[0] for key, spec in specs.items()}
            tensors = {key: tf.constant(value) for key, value in inputs.items()}
            first, second = ({key: part.numpy() for key, part in function(**tensors).items()} for _ in range(2))
            expected = first if all(checks.close(first[key], second[key]) for key in first) else None
        for variable, value in state:
            variable.assign(value)
        if expected is not None:
            checks.check_outputs(path, name, inputs, expected)


def _signatures(obj: Any) -> dict[str, Any]:
    return dict(getattr(obj, "signatures", None) or {})


def _is_copy(source: loader.Source | None, path: str) -> bool:
    """Whether a written graph is that of the source."""
    if source is None:
        return False
    paths = [tf.io.gfile.join(directory, "saved_model.pb") for directory in (source.directory, path)]
    if not all(tf.io.gfile.exists(path) for path in paths):
        return False
    first, second = (tf.io.gfile.GFile(path, "rb").read() for path in paths)
    return first == second


def _has_assets(obj: Any) -> bool:
    return any(isinstance(node, tf.saved_model.Asset) for node in tf.train.TrackableView(obj).descendants())


def _is_trackable(obj: Any) -> bool:
    try:
        tf.train.TrackableView.children(obj)
    except (AttributeError, ValueError, TypeError):
        return False
    return True


# -- Keras models ------------------------------------------------------------------------------------------------------


def _plan_of_keras(root: roots.Root, layer: Any) -> Plan:
    def verify(path: str) -> None:
        checks.check_files(path)
        root.verify(path)

    return Plan(
        write=root.save,
        verify=verify,
        variables=lambda: list(root.object.variables),
        facts=root.facts,
        where=f"{type(layer).__name__} {layer.name!r}",
    )
