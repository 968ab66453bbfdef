"""Export a loaded object: a copy of its source with only the checkpoint written anew."""

import contextlib
from collections.abc import Mapping
from typing import Any

import tensorflow as tf

from keras_hub_layers._src.export import model_card, verification
from keras_hub_layers._src.export.plan import Plan
from keras_hub_layers._src.inspect import inspect, interface, sample_inputs
from keras_hub_layers._src.savedmodel import source as source_lib
from keras_hub_layers._src.savedmodel.checkpoints import compare, keys, rewrite
from keras_hub_layers.errors import ExportError, warn

# -- loaded objects ----------------------------------------------------------------------------------------------------


def _plan_of_loaded(obj: Any, given: Mapping[str, Any], where: str) -> Plan:
    if given:
        raise ExportError(
            "A re-export keeps the interface of its source.",
            expected="none of trainable, input_spec, signatures, assets",
            received=", ".join(f"{name}=" for name in given),
            where=where,
            fix="wrap it to change the interface: keras.Sequential([keras.Input(shape), layer])",
        )
    source = source_lib.source_of(obj)
    variables = keys.live_variables(obj)

    def write(path: str) -> None:
        if source is None:
            _save_anew(obj, path)
            return
        source_lib.check_unchanged(source)
        try:
            rewrite.rewrite(source.directory, obj, path, variables=variables)
        except rewrite.SourceGone:
            if source.format != "tf2" or _has_assets(obj):
                raise
            warn(
                f"{where}: the SavedModel at {source.directory!r} is gone, so the object is saved anew with its "
                "signatures; other files that lay there, such as a model card, are lost."
            )
            _save_anew(obj, path)
        except rewrite.CheckpointMismatch:
            if source.format != "tf2":
                raise
            _save_anew(obj, path)

    def verify(path: str) -> None:
        verification.check_files(path)
        differing = compare.differing(path, obj)
        if differing:
            raise verification.broken(
                path, "the weights of the live object", f"other values of {', '.join(differing[:5])}"
            )
        if not _is_copy(source, path):  # else its graph is that of the source, byte by byte
            _check_signatures(obj, path)

    return Plan(
        write=write,
        verify=verify,
        variables=lambda: variables,
        facts=lambda: _facts_of_loaded(inspect.inspect(obj), where),
        where=where,
    )


def _facts_of_loaded(found: interface.Interface, where: str) -> model_card.Facts:
    signature = found.signatures.get("serving_default") or next(iter(found.signatures.values()), None)
    return model_card.Facts(
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
    verification.check_outputs(path, "", None, {})
    for name, function in _signatures(obj).items():
        specs = function.structured_input_signature[1]
        state = [(variable, variable.read_value()) for variable in keys.live_variables(obj)]
        expected, inputs = None, {}
        with contextlib.suppress(Exception):  # an input that we made up and that the function refuses proves nothing
            inputs = {key: sample_inputs.sample(spec)[0] for key, spec in specs.items()}
            tensors = {key: tf.constant(value) for key, value in inputs.items()}
            first, second = ({key: part.numpy() for key, part in function(**tensors).items()} for _ in range(2))
            expected = first if all(verification.close(first[key], second[key]) for key in first) else None
        for variable, value in state:
            variable.assign(value)
        if expected is not None:
            verification.check_outputs(path, name, inputs, expected)


def _signatures(obj: Any) -> dict[str, Any]:
    return dict(getattr(obj, "signatures", None) or {})


def _is_copy(source: source_lib.Source | None, path: str) -> bool:
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
