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
from collections.abc import Iterable, Iterator
from typing import Any

import keras
import tensorflow as tf

from keras_hub_layers._src.compat import models, tensorflow
from keras_hub_layers._src.export import advice, input_specs, signature_names
from keras_hub_layers._src.layers.access import hub_layers
from keras_hub_layers.errors import ExportError, warn

__all__ = ["Root", "override_trainable"]


_RESERVED = re.compile(r"_.*|variables|trainable_variables|regularization_losses|signatures|serve|.*\W.*")


class Root:
    """What is saved for a Keras layer or model; it is traced once.

    Args:
        layer: A `keras.layers.Layer` or `keras.Model` that is built.
        input_spec: As `input_specs.describe_inputs` takes it.
        trainable: Publish all weights as trainable (`True`) or none (`False`). Defaults to `None`: as they are now.

    Attributes:
        layer: The layer.
        specs: The inputs as `tf.TypeSpec`s, structured as the layer takes them.
        object: The trackable that is saved.
        output_names: Names of the layers that make the outputs, as `signature_names.output_layers` gives them.
        pieces: Names of the pieces that were put on it.
        notes: What its consumers will miss, in words.
    """

    def __init__(self, layer: keras.layers.Layer, input_spec: Any = None, trainable: bool | None = None) -> None:
        self.layer = layer
        self.specs, self.input_names = input_specs.describe_inputs(layer, input_spec)
        self.output_names = signature_names.output_layers(layer)
        self.object = tf.train.Checkpoint()
        self.pieces: dict[str, Root] = {}
        self.notes: list[str] = []
        self._trainable = trainable
        self._function = tf.function(self._call, autograph=False)
        self._traces: dict[bool, Any] = {}
        self._publish()

    @property
    def variables(self) -> list[Any]:
        """Those of the layer, and those that its traces use beyond them."""
        return [*self.object.variables, *getattr(self.object, "_state", ())]

    @property
    def structured_outputs(self) -> Any:
        """What a call returns, as specs. After a trace."""
        return self._traces[False].structured_outputs

    def infer(self, inputs: Any) -> Any:
        """What the signature computes. It is called while that is traced, within the first save: that would trace
        again what was traced earlier."""
        for root in (self, *self.pieces.values()):
            root._trace()
        return self._traces[False](inputs, training=False)

    def attach(self, name: str, value: Any) -> None:
        """Put a file, a Keras layer (as a piece with its own interface) or any trackable on the object.

        Raises:
            errors.ExportError: The name is not free, the file is not there, or a SavedModel cannot hold it.
        """
        if _RESERVED.fullmatch(name) or hasattr(self.object, name):
            raise self._not_attachable(f"the name {name!r}, which is not free or no Python name")
        if isinstance(value, (str, os.PathLike)):
            if not tf.io.gfile.exists(os.fspath(value)):
                raise self._not_attachable(f"the file {os.fspath(value)!r}, which does not exist")
            value = tf.saved_model.Asset(os.fspath(value))
        elif isinstance(value, keras.layers.Layer):
            self.pieces[name] = Root(value, trainable=self._trainable)
            value = self.pieces[name].object
        setattr(self.object, name, value)
        if name not in tf.train.TrackableView.children(self.object):
            raise self._not_attachable(f"a {type(value).__name__} as {name!r}, which a SavedModel cannot hold")

    def keep_state(self, functions: Iterable[Any]) -> None:
        """Put on the object the variables that functions use and that nothing on it holds yet."""
        known = {id(replica) for v in self.variables for replica in (v, *getattr(v, "values", ()))}
        captured = {id(v): v for function in functions for v in function.graph.variables}
        state = [v for key, v in captured.items() if key not in known]
        self.object._state = [*getattr(self.object, "_state", ()), *state]

    @contextlib.contextmanager
    def publish_flags(self) -> Iterator[None]:
        """Have the flags of Keras and of TensorFlow as they are published, and names that can be traced, for the time
        of a save."""
        trainable = {id(variable) for variable in self.object.trainable_variables}
        with (
            override_trainable(self.layer, self._trainable),
            models.names_for_scopes(self.layer),
            tensorflow.names_for_graph(self.object.variables),
            tensorflow.watch_variables(self.object.variables, lambda variable: id(variable) in trainable),
        ):
            yield

    def _call(self, inputs, training=False):
        if "training" in inspect.signature(self.layer.call).parameters:
            return self.layer(inputs, training=training)
        return self.layer(inputs)

    def _trace(self) -> None:
        """Trace both modes, and keep the state that only a trace shows: variables captured outside the layer."""
        if self._traces:
            return
        try:
            for training in (False, True):
                self._traces[training] = self._function.get_concrete_function(self.specs, training=training)
                count = len(models.added_losses(self.layer))
                models.clear_losses(self.layer)
                if count and not training:
                    self._warn(advice.warn_of_losses(count))
        finally:
            models.clear_losses(self.layer)  # what is left are tensors of a graph that has ended
        self.keep_state(self._traces.values())

    def _publish(self) -> None:
        """Put on the object what the interface names."""
        models.make_global_seed_generator()
        with override_trainable(self.layer, self._trainable):
            trainable = list(self.layer.trainable_variables)
            losses = [_regularizer(v) for v in trainable if v.regularizer is not None]
            for hub in hub_layers(self.layer):
                losses += [_published_loss(hub, index) for index in range(len(hub.published_losses()))]
        with override_trainable(self.layer, True):
            frozen = len(self.layer.trainable_variables) - len(trainable)
        for text in advice.warnings_of(self.layer, self._trainable, frozen, frozen + len(trainable)):
            self._warn(text)
        self.object.__call__ = self._function
        self.object.variables = [variable.value for variable in self.layer.variables]
        self.object.trainable_variables = [variable.value for variable in trainable]
        self.object.regularization_losses = losses
        self.object._resources = _resources(self.layer)
        self.object.serve = tf.function(  # with structured inputs, for keras.layers.TFSMLayer
            self.infer, input_signature=[self.specs], autograph=False
        )

    def _warn(self, text: str) -> None:
        self.notes.append(text)
        warn(f"{self.layer.name!r}: {text}")

    def _not_attachable(self, received: str) -> ExportError:
        return ExportError(
            "This cannot be put on the export.",
            expected="assets={name: path of a file, Keras layer, tf.Module, tf.Variable or tf.lookup table}",
            received=received,
            where="assets",
            fix='khl.export(model, "directory", assets={"vocabulary": "path/to/vocabulary.txt"})',
        )


@contextlib.contextmanager
def override_trainable(layer: Any, trainable: bool | None) -> Iterator[None]:
    """Have all layers trainable, or none, for the time of the block; `None` changes nothing."""
    if trainable is None:
        yield
        return
    layers = models.flatten_layers(layer)
    flags = [(inner, inner.trainable) for inner in layers]
    variable_flags = [(variable, variable.trainable) for inner in layers for variable in inner.variables]
    hubs = hub_layers(layer)
    try:
        for inner in layers:
            if inner.trainable != trainable and not (trainable and inner in hubs and not inner.interface.fine_tunable):
                inner.trainable = trainable
        if trainable:
            for variable in _frozen_by_themselves(layers, hubs):
                variable.trainable = True
        yield
    finally:
        for _ in layers:  # setting a parent sets its children: until all are as they were
            changed = [(inner, flag) for inner, flag in flags if inner.trainable != flag]
            for inner, flag in changed:
                inner.trainable = flag
            if not changed:
                break
        for variable, flag in variable_flags:
            if variable.trainable != flag:
                variable.trainable = flag


def _frozen_by_themselves(layers: Iterable[Any], hubs: Iterable[Any]) -> list[Any]:
    """Weights whose own flag is false, as that of a kernel under LoRA; which of a HubLayer's is for its arguments."""
    own = {id(hub) for hub in hubs}
    weights = [v for inner in layers if id(inner) not in own for v in models.weights_made_trainable(inner)]
    return [variable for variable in weights if not variable.trainable]


def _regularizer(variable: Any) -> Any:
    return tf.function(lambda: variable.regularizer(variable), input_signature=[], autograph=False)


def _published_loss(hub: Any, index: int) -> Any:
    return tf.function(lambda: hub.published_losses()[index], input_signature=[], autograph=False)


def _resources(layer: Any) -> list[Any]:
    """The lookup tables and assets that the layer's functions use, and that must be saved with them."""
    kinds = (tf.saved_model.experimental.TrackableResource, tf.saved_model.Asset)
    nodes = tf.train.TrackableView(layer).descendants()
    return list({id(node): node for node in nodes if isinstance(node, kinds)}.values())
