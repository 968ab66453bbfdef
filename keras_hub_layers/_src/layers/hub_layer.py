"""HubLayer: a SavedModel as a Keras layer."""

import functools
import os
from collections.abc import Mapping, Sequence
from typing import Any

import keras

from keras_hub_layers._src.compat import layers, saving
from keras_hub_layers._src.executors import base, registry
from keras_hub_layers._src.inspect import code, inspect, interface
from keras_hub_layers._src.layers import arguments as arguments_lib
from keras_hub_layers._src.layers import (
    call_argument,
    handle_argument,
    recompile_guard,
    selection,
    serialization,
    trainability,
    unfreeze_patterns,
)
from keras_hub_layers._src.public import public
from keras_hub_layers._src.savedmodel import load_options as load_options_lib
from keras_hub_layers._src.savedmodel import source as source_lib
from keras_hub_layers.errors import ConfigError, HubError, warn

__all__ = ["HubLayer"]


saving.pass_on(HubError)


@public("layers")
@keras.saving.register_keras_serializable(package="keras_hub_layers")
class HubLayer(layers.OwnLosses):
    """A SavedModel as a Keras layer: use it frozen, or fine-tune it.

    The layer computes what the SavedModel's `__call__` computes, as the Reusable SavedModel interface defines
    it. It works in Sequential, functional and subclassed models and owns the SavedModel's variables as
    weights, without a copy. All calls of one layer share them; another layer has its own.

    By default the layer is frozen: no trainable weights, no regularization losses, inference mode, and state such
    as moving averages stays as it is. With `trainable=True` the published `trainable_variables` are
    trained, the published regularization losses are added to the model's, and the SavedModel runs in training
    mode while the model trains. `trainable` may be changed until the model is compiled, as for any layer.

    Args:
        handle: What to load: a local path (`str` or `PathLike`), an `https://` URL of a model host or of an archive,
            a Kaggle id `"owner/model/framework/variation"`, `"hf://owner/repo"`, a path such as `"gs://…"`; or an
            object that is already loaded, or any callable with the same attributes.
        trainable: Boolean, whether to fine-tune. Defaults to `False`.
        arguments: Dict of further keyword arguments of the SavedModel's function, JSON values.
            `{"training": False}` pins inference mode while weights are tuned. Defaults to none.
        tags: Tags of the graph to load. Defaults to `None`, as in `keras_hub_layers.load`.
        signature: Name of a signature to call instead of `__call__`; inference only. Defaults to `None`, and
            to `"default"` for the TF1 Hub format.
        signature_outputs_as_dict: Whether a call of a signature returns the dict of all outputs. Defaults to `None`.
            Either this or `output_key` is needed with a signature.
        output_key: Key of the one output to return, of a signature or of a `__call__` that returns a dict.
            Defaults to `None`, and to `"default"` for the TF1 Hub format.
        output_shape: Shape of the output without the batch axis, or a list or dict of shapes as the outputs are
            structured. Defaults to `None`: inferred.
        piece: Dotted name of a named callable of the SavedModel to use, such as `"preprocessor.tokenize"`.
            Defaults to `None`: the whole.
        unfreeze: Regular expression, or list of them, searched in the variables' names in the SavedModel
            (`"encoder/layer_1[01]/"`): only those that match are trained. Defaults to `None`: all published
            trainable variables. On a SavedModel that publishes none it is the explicit way to train those that match.
        load_options: A `tf.saved_model.LoadOptions` or a dict of its arguments. Defaults to `None`.
        sha256: Checksum of the archive that a URL delivers, 64 hexadecimal digits. Defaults to `None`: not checked.
        **kwargs: `name`, `dtype` and other arguments of `keras.layers.Layer`. The dtypes inside the SavedModel are
            fixed: a policy changes neither its weights nor its outputs.

    Call arguments:
        inputs: A tensor, or a list or dict of tensors (dense, ragged or sparse, numbers or strings), with the shapes
            that the SavedModel was traced for. NumPy arrays and Python values are converted. Values are cast within
            and from integers to floats, and never otherwise; extra keys are dropped.
        training: Boolean, whether the model trains. The SavedModel sees `layer.trainable and training`.

    Returns:
        A tensor, or a list or dict of tensors, in the SavedModel's dtypes.

    Raises:
        errors.HandleError, errors.ResolveError: The handle cannot be turned into a directory.
        errors.LoadError: TensorFlow cannot load it; `errors.MissingOpError` names the package to install.
        errors.InterfaceError: It has no such signature, output, piece or argument, or nothing that can be called.
        errors.TrainingError: It cannot be fine-tuned this way.
        errors.InputError: The inputs of a call match no trace.
        errors.SafeModeError: A file is loaded with `safe_mode=True`.

    Example:

    ```python
    import keras
    from keras_hub_layers import layers

    model = keras.Sequential([
        layers.HubLayer("https://example.org/models/feature_vector/1", trainable=True),
        keras.layers.Dense(10),
    ])
    model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    model.fit(images, labels, epochs=3)
    ```

    Reference:

    - [Reusable SavedModels](https://www.tensorflow.org/hub/reusable_saved_models)
    """

    def __init__(
        self,
        handle: Any,
        trainable: bool = False,
        *,
        arguments: Mapping[str, Any] | None = None,
        tags: Any = None,
        signature: str | None = None,
        signature_outputs_as_dict: bool | None = None,
        output_key: str | None = None,
        output_shape: Any = None,
        piece: str | None = None,
        unfreeze: str | Sequence[str] | None = None,
        load_options: Any = None,
        sha256: str | None = None,
        **kwargs: Any,
    ) -> None:
        handle_argument.check_safe_mode(handle)
        executor_class = registry.executor_class()
        super().__init__(trainable=trainable, autocast=kwargs.pop("autocast", False), **kwargs)
        layers.take_inputs_as_they_are(self)
        self.supports_jit = False  # a string op under XLA aborts the process, and no check is known to be enough
        obj = handle_argument.load(handle, tags, load_options, sha256)
        source = source_lib.source_of(obj)
        if source is not None and source.format == "tf1_hub":
            signature = signature or "default"
            if output_key is None and not signature_outputs_as_dict:
                output_key = "default"
        self._settings = arguments_lib.Settings(
            handle=handle,
            arguments=arguments_lib.plain_arguments(arguments, handle),
            tags=tags,
            signature=signature,
            signature_outputs_as_dict=signature_outputs_as_dict,
            output_key=output_key,
            output_shape=arguments_lib.plain_shapes(output_shape),
            piece=piece,
            load_options=load_options,
            sha256=sha256,
        )
        self._where = f"layer {self.name!r}, handle {code.shown(handle)}"
        self._tf1 = source is not None and source.format != "tf2"
        self._loaded = obj  # tracked by TensorFlow, so that exports of a whole model find tables and assets
        target, function = selection.choose(obj, self._settings, self._where)
        self._choice = base.Choice(
            target=target,
            function=function,
            arguments=self._settings.arguments,
            output_key=output_key,
            output_shape=self._settings.output_shape,
            where=self._where,
            line=functools.partial(self._settings.line, trainable=trainable or None, unfreeze=unfreeze),
        )
        with keras.name_scope(self.name):
            self._executor = executor_class(self._choice)
        for weight in self._executor.weights:
            layers.track(self, weight)
        if not keras.backend.is_float_dtype(self.compute_dtype):
            layers.forget_input_shape(self)
        self._warned: frozenset[str] = frozenset()
        self._set_unfreeze(unfreeze)
        self.built = True
        self._check_trainable(asked=not isinstance(handle, serialization.LiveHandle))

    # -- public properties ---------------------------------------------------------------------------------------

    @property
    def handle(self) -> Any:
        """The handle, or the object, that the layer was made from."""
        handle = self._settings.handle
        return str(handle) if isinstance(handle, str) else handle

    @property
    def resolved_object(self) -> Any:
        """The loaded object; its variables are the layer's weights."""
        return self._loaded

    @property
    def interface(self) -> interface.Interface:
        """What the SavedModel offers, or its piece that the layer is, as `keras_hub_layers.inspect` says it."""
        piece = self._settings.piece
        return inspect.inspect(self._loaded) if piece is None else inspect.of_piece(self._loaded, piece)

    @property
    def trainable(self) -> bool:
        """Settable boolean, whether the layer is fine-tuned. A change after `compile` needs a new `compile`."""
        return super().trainable

    @trainable.setter
    def trainable(self, value: bool) -> None:
        keras.layers.Layer.trainable.fset(self, value)  # type: ignore[attr-defined]
        self._narrow()

    @property
    def unfreeze(self) -> list[str] | None:
        """Settable: the patterns of the variables that are trained while `trainable`; `None` for all."""
        return None if self._unfreeze is None else list(self._unfreeze)

    @unfreeze.setter
    def unfreeze(self, patterns: str | Sequence[str] | None) -> None:
        self._set_unfreeze(patterns)

    def _set_unfreeze(self, patterns: str | Sequence[str] | None) -> None:
        patterns = arguments_lib.patterns_of(patterns)
        executor = self._executor
        matches = None
        if patterns is not None:
            names = [executor.name_of(weight) for weight in executor.candidates]
            matches = unfreeze_patterns.matcher(patterns, names, self._where, self._choice.line)
            if patterns and not executor.has_lists:
                blocked = trainability.blocked(self._choice, executor) if self.trainable else None
                self._warn(
                    f"the SavedModel publishes no variables. unfreeze={list(patterns)!r} trains those that match, "
                    "without the regularization losses and maybe without the training mode that its publisher used."
                    + ("" if blocked is None else f" {blocked}")
                )
                self._warned |= {blocked} if blocked else set()
        self._unfreeze, self._matches = patterns, matches
        self._narrow()

    # -- Keras' protocol -----------------------------------------------------------------------------------------

    def __call__(self, inputs: Any = None, training: Any = None, **kwargs: Any) -> Any:
        if inputs is None:
            raise call_argument.no_input(kwargs, self._where)
        if not call_argument.is_flag(training):
            raise call_argument.second_input(inputs, training, self._where)
        if training is not None:
            kwargs["training"] = training
        try:
            return super().__call__(self._executor.prepare(inputs), **kwargs)
        except TypeError as err:
            if "unexpected keyword argument" not in str(err) or not set(kwargs) - {"training"}:
                raise
            raise call_argument.unknown_arguments(kwargs, self._where, self._choice.line) from err

    def call(self, inputs: Any, training: Any = None) -> Any:
        if self.trainable:
            self._check_trainable()
        if recompile_guard.traced(self):
            if self.trainable:
                self._warn(trainability.idle(self._choice, self._executor, self.trainable_weights))
                self._warn(trainability.apart(self))
            else:
                self._warn(trainability.moving(self._choice, self._executor))
        if not self.trainable or training is None:
            training = False
        if isinstance(training, (bool, int)) or not hasattr(training, "dtype"):
            return self._executor.call(inputs, bool(training))
        if not keras.ops.is_tensor(training):  # a NumPy bool
            return self._executor.call(inputs, bool(training))
        return keras.ops.cond(
            keras.ops.cast(training, "bool"),
            lambda: self._executor.call(inputs, True),
            lambda: self._executor.call(inputs, False),
        )

    def compute_output_spec(self, inputs: Any, training: Any = None) -> Any:
        if self.trainable:
            self._check_trainable()
        return self._executor.output_spec(inputs)

    def compute_output_shape(self, input_shape: Any) -> Any:
        spec = self._executor.output_spec(self._executor.symbolic_inputs(input_shape))
        return keras.tree.map_structure(lambda tensor: tensor.shape, spec)

    def published_losses(self) -> list[Any]:
        return self._executor.regularization_losses() if self.trainable else []

    @property
    def compute_dtype(self) -> str:
        """The dtype of a `Sequential` model's implied `Input`: that of a single non-float input, else the policy's."""
        return self._input_dtype() or super().compute_dtype

    @property
    def variable_dtype(self) -> str:
        """As `compute_dtype`: Keras needs both to agree. The weights keep the SavedModel's dtypes."""
        return self._input_dtype() or super().variable_dtype

    def _input_dtype(self) -> str | None:
        executor = self.__dict__.get("_executor")
        return None if executor is None else executor.input_dtype

    # -- saving --------------------------------------------------------------------------------------------------

    def get_config(self) -> dict[str, Any]:
        settings = self._settings
        if not isinstance(settings.handle, (str, os.PathLike)):
            raise ConfigError(
                "A layer that wraps an object of this process has no config, so it cannot be saved or cloned.",
                expected="a layer that was made from a handle",
                received=f"an object of type {type(settings.handle).__name__}",
                where=self._where,
                fix='tf.saved_model.save(obj, "my_model"); layer = HubLayer("my_model")',
            )
        config = super().get_config()
        config["handle"] = serialization.live(settings.handle)
        optional = {
            "arguments": dict(settings.arguments) or None,
            "tags": settings.tags if settings.tags is None or isinstance(settings.tags, str) else list(settings.tags),
            "signature": settings.signature,
            "signature_outputs_as_dict": settings.signature_outputs_as_dict,
            "output_key": settings.output_key,
            "output_shape": settings.output_shape,
            "piece": settings.piece,
            "unfreeze": self.unfreeze,
            "load_options": load_options_lib.options_config(settings.load_options),
            "sha256": settings.sha256,
        }
        config.update({name: value for name, value in optional.items() if value is not None})
        if saving.is_saving_a_file():
            config["handle"] = str(config["handle"])
            config["embedded"] = serialization.pack(self._loaded, [weight.value for weight in self.weights])
        return config

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "HubLayer":
        handle = config.get("handle")
        handle_argument.check_safe_mode(handle)
        if isinstance(handle, serialization.EmbeddedHandle):
            warn(
                f"handle {code.shown(handle)}: this is a copy of a layer that came from a file, which holds the "
                "SavedModel's graph and not its first weights. They are NaN until they are set:\n"
                "copy.set_weights(model.get_weights())"
            )
        config = dict(config)
        packed = config.pop("embedded", None)
        if packed is not None:
            config["handle"] = serialization.EmbeddedHandle(config["handle"], packed)
        return cls(**config)

    # -- training ------------------------------------------------------------------------------------------------

    def _narrow(self) -> None:
        """Freeze the candidates that `unfreeze` leaves out."""
        executor = self.__dict__.get("_executor")
        if executor is None:
            return
        for weight in executor.candidates if self.trainable else ():
            name = executor.name_of(weight)
            weight.trainable = executor.has_lists if self._matches is None else self._matches(name)
        recompile_guard.changed(self)

    def _check_trainable(self, asked: bool = False) -> None:
        """Refuse what cannot be fine-tuned; warn, once, where nothing would be.

        Args:
            asked: Whether the user has asked for this very layer to be trained. Else it may be a preprocessor without
                variables whose model was made trainable. Defaults to `False`.
        """
        if not self.trainable:
            return
        if self._tf1 or self._settings.signature is not None:
            choice = self._choice
            raise trainability.not_tunable(choice.target, self._settings, self._tf1, choice.line, self._where)
        blocked = trainability.blocked(self._choice, self._executor)
        if blocked is not None:
            self._warn(blocked)
        elif not self.trainable_weights and (asked or self.weights):
            candidates = self._executor.candidates
            reason = "the SavedModel publishes none."
            if candidates and self._executor.has_lists:
                reason = "all that the SavedModel publishes are frozen one by one or by unfreeze."
            elif candidates:
                reason = (
                    "the SavedModel publishes no variables. To train some of those that it uses:\n"
                    + self._choice.line(trainable=True, unfreeze=trainability.suggested(self._choice, self._executor))
                )
            self._warn(f"The layer is trainable but has no trainable weights: {reason}")

    def _warn(self, text: str | None) -> None:
        if text is not None and text not in self._warned:
            self._warned |= {text}
            warn(f"{self._where}: {text}")
