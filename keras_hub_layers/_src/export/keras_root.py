"""A Keras model as the object that a Reusable SavedModel holds: two traces, raw variables, losses, tables, assets.

The root is not the model: to save a model is to save its optimizer and its Python layers, and to save
`keras.Variable`s beside the `tf.Variable`s in them is to save every weight twice.

Reference:

- [Reusable SavedModels](https://www.tensorflow.org/hub/reusable_saved_models)
"""

import contextlib
import inspect
import os
import re
from collections.abc import Iterator, Mapping
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_hub_layers._src.compat import models, tensorflow
from keras_hub_layers._src.export import advice, input_specs, model_card, verification
from keras_hub_layers._src.export import signatures as signatures_lib
from keras_hub_layers._src.export.trainable_flags import flags
from keras_hub_layers._src.inspect import sample_inputs, specs
from keras_hub_layers._src.layers import access
from keras_hub_layers._src.savedmodel.checkpoints import compare
from keras_hub_layers.errors import BackendError, ExportError, HubError, warn

__all__ = ["Root"]


_RESERVED = re.compile(r"_.*|variables|trainable_variables|regularization_losses|signatures|serve|.*\W.*")


class Root:
    """What is saved for a Keras layer or model; it can be saved repeatedly and is traced once.

    Args:
        layer: A `keras.layers.Layer` or `keras.Model` that is built.
        input_spec: A `tf.TypeSpec`, `keras.InputSpec`, symbolic or real tensor, or a list or dict of them.
            Defaults to `None`: the inputs that the layer was built with, with a free batch axis.
        trainable: Publish all weights as trainable (`True`) or none (`False`). Defaults to `None`: as they are now.
        signatures: Further `tf.function`s by name. Defaults to none.
        assets: What else to put on the root, by name. Defaults to none.

    Attributes:
        layer: The layer.
        specs: The inputs as `tf.TypeSpec`s, structured as the layer takes them.
        object: The trackable that is saved.
        arguments: Names of the signature's arguments, one per component of the flattened specs.

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
        _check_backend(layer)
        _check_built(layer)
        self.layer = layer
        symbolic = input_specs.symbolic_inputs(layer) if input_spec is None else input_spec
        free_batch = not any(getattr(part, "stateful", False) for part in models.flatten_layers(layer))
        self.specs = signatures_lib.named(
            tf.nest.map_structure(lambda x: input_specs.spec(x, layer, free_batch), symbolic)
        )
        self.object = tf.train.Checkpoint()
        self._trainable = trainable
        self._function = tf.function(self._call, autograph=False)
        self._traced: dict[bool, Any] = {}
        self._parts: list[Root] = []
        self._pieces: list[str] = []
        self._notes: list[str] = []
        self._publish()
        for name, value in (assets or {}).items():
            self._attach(name, value)
        names = signatures_lib.input_names(self.specs, [getattr(x, "name", None) for x in tf.nest.flatten(symbolic)])
        serve = signatures_lib.signature(self._infer, self.specs, names, self._output_names)
        self.arguments = [spec.name for spec in serve.input_signature]
        self._signatures = {"serving_default": serve, "serve": serve, **(signatures or {})}

    def save(self, directory: str) -> None:
        """Write the SavedModel.

        Raises:
            errors.ExportError: The layer cannot be traced.
        """
        try:
            with tf.init_scope(), self._published_flags():
                tf.saved_model.save(self.object, directory, signatures=self._signatures)
        except (HubError, OSError, tf.errors.OpError):
            raise
        except Exception as err:
            raise ExportError(
                "The model cannot be traced for export.",
                expected=f"a model that can be called with {tf.nest.map_structure(str, self.specs)}",
                received=f"{type(err).__name__}: {err}",
                where=f"{type(self.layer).__name__} {self.layer.name!r}",
                fix='khl.export(model, "directory", input_spec=tf.TensorSpec([None, 8], tf.float32))   # what it takes',
            ) from err

    def verify(self, directory: str) -> None:
        """Raise an `errors.ExportWriteError` unless the SavedModel computes what the live layer does."""
        inputs: list[Any] = []
        expected: dict[str, Any] | None = None
        if self._replicas_agree():
            with contextlib.suppress(Exception):  # an input that we made up and that the layer refuses proves nothing
                inputs = [array for spec in tf.nest.flatten(self.specs) for array in sample_inputs.sample(spec)]
                expected = self._compute(inputs)
        elif compare.differing(directory, self.object):
            raise verification.broken(directory, "the weights of the live model", "other values")
        if expected is None:
            verification.check_outputs(directory, "serving_default", None, {})
        else:
            verification.check_outputs(
                directory, "serving_default", dict(zip(self.arguments, inputs, strict=True)), expected
            )

    def _replicas_agree(self) -> bool:
        """Whether each variable has one value. Averages of batches differ between replicas; an export has their mean,
        and a trace those of the first replica."""
        parts: list[Any] = [getattr(variable, "values", ()) for variable in self.object.variables]
        return all(np.array_equal(part, values[0], equal_nan=True) for values in parts for part in values[1:])

    def _compute(self, components: list[Any]) -> dict[str, Any] | None:
        """What the signature's inputs give with the live variables; `None` if random numbers are drawn."""
        state = [(variable, variable.read_value()) for variable in self.object.variables + self.object._state]
        inputs = tf.nest.pack_sequence_as(
            self.specs, [tf.constant(part) for part in components], expand_composites=True
        )
        try:
            first, second = (self._compute_once(inputs) for _ in range(2))
        finally:
            for variable, value in state:
                variable.assign(value)
        return first if all(verification.close(first[name], second[name]) for name in first) else None

    def _compute_once(self, inputs: Any) -> dict[str, Any]:
        """Through the trace, which has the live variables: a call of the layer itself takes far longer."""
        outputs = signatures_lib.flat_outputs(self._traced[False](inputs, training=False), self._output_names)
        return {name: value.numpy() for name, value in outputs.items()}

    def facts(self) -> model_card.Facts:
        """What the model card says. After a save, which traces."""
        trainable, every = len(self.object.trainable_variables), len(self.object.variables)
        outputs = signatures_lib.flat_outputs(self._traced[False].structured_outputs, self._output_names)
        inputs = [
            part for spec in tf.nest.flatten(self.specs) for part in tf.nest.flatten(spec, expand_composites=True)
        ]
        return model_card.Facts(
            title=self.layer.name,
            origin="",
            inputs={name: str(specs.spec_of(part)) for name, part in zip(self.arguments, inputs, strict=True)},
            outputs={name: str(specs.spec_of(part)) for name, part in outputs.items()},
            traces=("training=False", "training=True"),
            tuning=f"{'yes' if trainable else 'no'}: {trainable} of {every} variables are trainable",
            losses=len(self.object.regularization_losses),
            pieces=tuple(self._pieces),
            assets=tuple(sorted(advice.assets(self.object._resources))),
            preprocessing=tuple(advice.preprocessing(self.layer)),
            notes=tuple(self._notes),
        )

    # -- what is traced ------------------------------------------------------------------------------------------

    def _call(self, inputs, training=False):
        if _takes_training(self.layer):
            return self.layer(inputs, training=training)
        return self.layer(inputs)

    def _infer(self, inputs: Any) -> Any:
        """Called while the signature is traced: within the first save, which would trace anything earlier again."""
        for part in (self, *self._parts):
            part._trace()
        return self._traced[False](inputs, training=False)

    def _trace(self) -> None:
        """Trace both modes, and keep the state that only a trace shows: variables captured outside the layer."""
        if self._traced:
            return
        try:
            for training in (False, True):
                self._traced[training] = self._function.get_concrete_function(self.specs, training=training)
                self._warn_of_losses(len(models.added_losses(self.layer)))
                models.clear_losses(self.layer)
        finally:
            models.clear_losses(self.layer)  # what is left are tensors of a graph that has ended
        known = {id(part) for v in self.object.variables for part in (v, *getattr(v, "values", ()))}
        captured = {id(v): v for trace in self._traced.values() for v in trace.graph.variables}
        self.object._state = [v for key, v in captured.items() if key not in known]

    # -- what is published ---------------------------------------------------------------------------------------

    def _publish(self) -> None:
        """Put on the object what the interface names."""
        models.make_global_seed_generator()
        self._output_names = getattr(self.layer, "output_names", None)
        with flags(self.layer, self._trainable):
            trainable = list(self.layer.trainable_variables)
            losses = [_regularizer(v) for v in trainable if v.regularizer is not None]
            for hub in access.hub_layers(self.layer):
                losses += [_published_loss(hub, index) for index in range(len(hub.published_losses()))]
        if self._trainable is None:
            self._warn_of_frozen_state(trainable)
        for text in advice.warnings_of(self.layer):
            self._warn(text)
        self.object.__call__ = self._function
        self.object.variables = [variable.value for variable in self.layer.variables]
        self.object.trainable_variables = [variable.value for variable in trainable]
        self.object.regularization_losses = losses
        self.object._resources = _resources(self.layer)
        self.object.serve = tf.function(  # with structured inputs, for keras.layers.TFSMLayer
            self._infer, input_signature=[self.specs], autograph=False
        )

    @contextlib.contextmanager
    def _published_flags(self) -> Iterator[None]:
        """Flags of Keras and of TensorFlow as they are published, for the time of a save."""
        trainable = {id(variable) for variable in self.object.trainable_variables}
        with (
            flags(self.layer, self._trainable),
            tensorflow.watched(self.object.variables, lambda variable: id(variable) in trainable),
        ):
            yield

    def _attach(self, name: str, value: Any) -> None:
        """Put a file, a Keras layer (as a piece with its own interface) or any trackable on the object."""
        problem = None
        if _RESERVED.fullmatch(name) or hasattr(self.object, name):
            problem = f"the name {name!r}, which is not free or no Python name"
        elif isinstance(value, (str, os.PathLike)):
            if not tf.io.gfile.exists(os.fspath(value)):
                problem = f"the file {os.fspath(value)!r}, which does not exist"
            else:
                setattr(self.object, name, tf.saved_model.Asset(os.fspath(value)))
        elif isinstance(value, keras.layers.Layer):
            part = Root(value, trainable=self._trainable)
            self._parts.append(part)
            self._pieces.append(name)
            setattr(self.object, name, part.object)
        else:
            setattr(self.object, name, value)
            if name not in tf.train.TrackableView.children(self.object):
                problem = f"a {type(value).__name__} as {name!r}, which a SavedModel cannot hold"
        if problem is not None:
            raise ExportError(
                "This cannot be put on the export.",
                expected="assets={name: path of a file, Keras layer, tf.Module, tf.Variable or tf.lookup table}",
                received=problem,
                where=f"assets of {type(self.layer).__name__} {self.layer.name!r}",
                fix='khl.export(model, "directory", assets={"vocabulary": "path/to/vocabulary.txt"})',
            )

    # -- what its consumers will miss ----------------------------------------------------------------------------

    def _warn(self, text: str) -> None:
        self._notes.append(text)
        warn(f"{self.layer.name!r}: {text}")

    def _warn_of_losses(self, count: int) -> None:
        if count and not self._traced.get(True):
            self._warn(
                f"{count} loss(es) depend on inputs (activity_regularizer or add_loss). A Reusable SavedModel "
                "publishes only losses without inputs: whoever fine-tunes the export trains without them."
            )

    def _warn_of_frozen_state(self, trainable: list[Any]) -> None:
        with flags(self.layer, True):
            frozen = len(self.layer.trainable_variables) - len(trainable)
        if frozen:
            self._warn(
                f"{frozen} of {frozen + len(trainable)} weights are frozen, and stay so in the export: whoever loads "
                'it cannot train them. khl.export(model, "directory", trainable=True) publishes all as trainable; '
                "trainable=False none, without this warning."
            )


def _check_backend(layer: Any) -> None:
    if keras.backend.backend() != "tensorflow":
        raise BackendError(
            "A Keras model is exported from the TensorFlow backend.",
            expected='keras.backend.backend() == "tensorflow"',
            received=keras.backend.backend(),
            where=f"{type(layer).__name__} {layer.name!r}",
            fix='save it with model.save("model.keras") and export it in a process with KERAS_BACKEND=tensorflow',
        )


def _check_built(layer: Any) -> None:
    if not layer.built:
        raise ExportError(
            "The model was never built, so it has no weights to export.",
            expected="a model that has an Input, or was called or trained once",
            received=f"{type(layer).__name__} {layer.name!r}, built=False",
            where="khl.export",
            fix="call it on one batch first: model(x[:1])",
        )


def _takes_training(layer: Any) -> bool:
    return "training" in inspect.signature(layer.call).parameters


def _regularizer(variable: Any) -> Any:
    return tf.function(lambda: variable.regularizer(variable), input_signature=[], autograph=False)


def _published_loss(hub: Any, index: int) -> Any:
    return tf.function(lambda: hub.published_losses()[index], input_signature=[], autograph=False)


def _resources(layer: Any) -> list[Any]:
    """The lookup tables and assets that the layer's functions use, and that must be saved with them."""
    kinds = (tf.saved_model.experimental.TrackableResource, tf.saved_model.Asset)
    nodes = tf.train.TrackableView(layer).descendants()
    return list({id(node): node for node in nodes if isinstance(node, kinds)}.values())
