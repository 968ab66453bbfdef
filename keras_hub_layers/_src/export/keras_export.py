"""KerasExport: how a Keras layer or model is written, verified and described."""

import functools
from collections.abc import Mapping
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_hub_layers._src.compat import models
from keras_hub_layers._src.export import (
    advice,
    input_specs,
    keras_root,
    model_card,
    signature_names,
    signatures,
    verification,
)
from keras_hub_layers._src.export.loaded_export import LoadedExport
from keras_hub_layers._src.inspect import specs as specs_lib
from keras_hub_layers._src.layers import access
from keras_hub_layers._src.layers.access import hub_layers
from keras_hub_layers._src.resolve import handles
from keras_hub_layers._src.savedmodel import source as source_lib
from keras_hub_layers._src.savedmodel.checkpoints import compare
from keras_hub_layers._src.savedmodel.graphs import pixel_range
from keras_hub_layers._src.savedmodel.graphs.concrete import body_of_concrete
from keras_hub_layers.errors import ExportError, HubError

__all__ = ["KerasExport", "check_names"]


class KerasExport:
    """The export of a Keras layer or model: traced once, written as often as it is asked for.

    Args:
        layer: A `keras.layers.Layer` or `keras.Model` that is built.
        input_spec: As `keras_hub_layers.export` takes it, like the following.
        trainable: Defaults to `None`: as it is now.
        signatures: Further functions, by name. `serving_default` and `serve` may be replaced. Defaults to none.
        assets: What else to put on it, by name. Defaults to none.

    Attributes:
        name: The layer in words.
        arguments: Names of the inputs of the signature, one per component.

    Raises:
        errors.ExportError: The layer is not built, or does not take one input.
    """

    def __init__(
        self,
        layer: keras.layers.Layer,
        *,
        input_spec: Any = None,
        trainable: bool | None = None,
        signatures: Mapping[str, Any] | None = None,
        assets: Mapping[str, Any] | None = None,
    ) -> None:
        self.name = f"{type(layer).__name__} {layer.name!r}"
        _check_built(layer)
        self._is_described = input_spec is not None or models.graph_of(layer) is not None
        self._root = keras_root.Root(layer, input_spec, trainable)
        for name, value in (assets or {}).items():
            self._root.attach(name, value)
        self._serve = self._make_signature(self._root.infer, self._root.output_names)
        self.arguments = [spec.name for spec in self._serve.input_signature]
        self._given = dict(signatures or {})
        self._own: dict[str, Any] | None = None  # concrete functions of the given signatures

    def variables(self) -> list[Any]:
        """The `tf.Variable`s whose values are exported."""
        return list(self._root.object.variables)

    def may_stay(self, variable: Any) -> bool:
        """Whether a variable that is not finite is exported as it is: a HubLayer has it and does not use it."""
        for hub in hub_layers(self._root.layer):
            if any(weight.value is variable for weight in hub.variables):
                return LoadedExport(access.loaded_object(hub), hub.name).may_stay(variable)
        return False

    def is_copy(self, directory: str) -> bool:
        """Whether what was written is the graph of a source: never, it is traced."""
        return False

    def write(self, directory: str) -> None:
        """Write the SavedModel.

        Raises:
            errors.ExportError: The layer or a signature cannot be traced, or uses what is not held by the model.
        """
        try:
            with tf.init_scope(), self._root.publish_flags():
                self._trace_given_signatures()
                tf.saved_model.save(self._root.object, directory, signatures=self._all_signatures())
        except (HubError, OSError, tf.errors.OpError):
            raise
        except Exception as err:
            raise self._word(err) from err

    def verify(self, directory: str, graphs: list[Any]) -> None:
        """Raise an `errors.ExportWriteError` unless the SavedModel computes what the live layer does."""
        runs = {}
        if self._replicas_agree():
            functions = {id(f): (name, f) for name, f in self._all_signatures().items()}
            for name, function in functions.values():
                concrete = function.get_concrete_function() if function is self._serve else function
                runs[name] = verification.run_here(name, concrete, self._root.variables)
        if not any(runs.values()) and compare.different_keys(directory, self._root.object):
            raise verification.not_whole(directory, "the weights of the live model", "other values")
        verification.check_runs(directory, graphs[0], [run for run in runs.values() if run])

    def facts(self, directory: str) -> model_card.Facts:
        """What the model card says of what was written to a directory."""
        root = self._root
        trainable, every = len(root.object.trainable_variables), len(root.object.variables)
        outputs = signatures.flatten_outputs(root.structured_outputs, root.output_names)
        inputs = {spec.name: specs_lib.spec_of(spec) for spec in self._serve.input_signature}
        return model_card.Facts(
            title=root.layer.name,
            origin="",
            parts=tuple(dict.fromkeys(handles.display(source.handle) for source in self._sources())),
            licences=tuple(model_card.licence_of(source.directory) for source in self._sources()),
            inputs={name: str(spec) for name, spec in inputs.items()},
            outputs={name: str(specs_lib.spec_of(tensor)) for name, tensor in outputs.items()},
            traces=("training=False", "training=True"),
            fine_tunable=bool(trainable),
            reason=f"{trainable} of {every} variables are trainable",
            losses=len(root.object.regularization_losses),
            pieces=tuple(root.pieces),
            assets=tuple(sorted(advice.assets(root.object._resources))),
            pixel_range=self._pixel_range(),
            preprocessing=tuple(advice.preprocessing(root.layer)),
            notes=tuple(root.notes),
        )

    def _sources(self) -> list[source_lib.Source]:
        """Where the SavedModels inside the model came from."""
        sources = [access.source(layer) for layer in hub_layers(self._root.layer)]
        return [source for source in sources if source is not None]

    def _pixel_range(self) -> str:
        """The values that the model takes for pixels, in words; `""` if unknown."""
        specs = self._serve.input_signature
        if len(specs) != 1:
            return ""
        serve = self._serve.get_concrete_function
        return pixel_range.IN_WORDS[pixel_range.range_of_body(lambda: body_of_concrete(serve()), specs[0])]

    def _trace_given_signatures(self) -> None:
        if self._own is None:
            wrap = functools.partial(self._make_signature, output_names=None)
            self._own = {n: signatures.trace_signature(n, f, wrap) for n, f in self._given.items()}
            self._root.keep_state(self._own.values())

    def _make_signature(self, function: Any, output_names: Any) -> Any:
        return signatures.make_signature(function, self._root.specs, self._root.input_names, output_names)

    def _all_signatures(self) -> dict[str, Any]:
        return {"serving_default": self._serve, "serve": self._serve, **(self._own or {})}

    def _replicas_agree(self) -> bool:
        """Whether each variable has one value. Averages of batches differ between replicas; an export has their mean,
        and a trace those of the first replica."""
        replicas: list[Any] = [getattr(variable, "values", ()) for variable in self._root.object.variables]
        return all(np.array_equal(value, values[0], equal_nan=True) for values in replicas for value in values[1:])

    def _word(self, error: Exception) -> ExportError:
        """The error for what TensorFlow said of the layer or a signature."""
        text = str(error)
        if "untracked" in text:
            return _untracked_error(text)
        if "signature" in text.lower() and self._given:
            return signatures.refuse_signatures(list(self._given), error)
        fix = 'khl.export(model, "directory", input_spec=tf.TensorSpec([None, 8], tf.float32))   # what it takes'
        if self._is_described:
            fix = "tf.function(model)(x[:1])   # must run in a graph: with keras.ops instead of NumPy"
        return ExportError(
            "The model cannot be traced for export.",
            expected=f"a model that can be called with {tf.nest.map_structure(str, self._root.specs)}",
            received=f"{type(error).__name__}: {text}",
            fix=fix,
        )


def check_names(layer: keras.layers.Layer) -> None:
    """Raise an `errors.ExportError` if two inputs or outputs of a layer would have one name in the signature.

    The outputs of a model without a graph are known only when it is traced, and the inputs of one that was not built
    only when it was called.
    """
    try:
        symbolic = input_specs.built_with(layer)
    except ExportError:
        return
    specs, names = input_specs.describe_inputs(layer, symbolic)
    signature_names.expand(names, tf.nest.flatten(specs))
    graph = models.graph_of(layer)
    if graph is not None:
        signature_names.name_outputs(graph.output, signature_names.output_layers(layer))


def _untracked_error(text: str) -> ExportError:
    return ExportError(
        "The model uses a table or variable that no layer holds, so it would be missing in the export.",
        expected="each table and variable as an attribute of a layer, or in assets=",
        received=text,
        fix='khl.export(model, "directory", assets={"table": table})   # the table that the model uses',
    )


def _check_built(layer: Any) -> None:
    if not layer.built:
        raise ExportError(
            "The model was never built, so it has no weights to export.",
            expected="a model that has an Input, or was called or trained once",
            received=f"{type(layer).__name__} {layer.name!r}, built=False",
            fix="model(x[:1])   # builds it: once, before the export",
        )
