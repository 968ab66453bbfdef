"""HubLayer: a SavedModel as a Keras layer."""

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras

from keras_hub_layers import errors
from keras_hub_layers._src.compat import fit, layers, models, saving
from keras_hub_layers._src.executors import base, registry
from keras_hub_layers._src.inspect import code, inspect, interface
from keras_hub_layers._src.layers import arguments as arguments_lib
from keras_hub_layers._src.layers import (
    call_argument,
    handle_argument,
    recompile_guard,
    representation,
    selection,
    serialization,
    trainability,
    unfreeze_patterns,
)
from keras_hub_layers._src.layers import jit as jit_lib
from keras_hub_layers._src.public import public
from keras_hub_layers._src.savedmodel import source as source_lib

__all__ = ["HubLayer"]

saving.pass_on(errors.HubError)


@public("layers")
@keras.saving.register_keras_serializable(package="keras_hub_layers")
class HubLayer(layers.OwnLosses, layers.OwnInputDtype, representation.Representation):
    """A SavedModel as a Keras layer: use it frozen, or fine-tune it.

    The layer computes what the SavedModel's `__call__` computes, as the Reusable SavedModel interface defines it.
    It works in Sequential, functional and subclassed models. The variables of the SavedModel are the weights of the
    layer, without a copy. All calls of one layer share its weights. Two layers do not share weights.

    By default the layer is frozen: it has no trainable weights and no regularization losses, it runs in inference
    mode, and its state, such as moving averages, does not change. With `trainable=True` the published
    `trainable_variables` are trained, the published regularization losses are added to those of the model, and the
    SavedModel runs in training mode while the model trains. Change `trainable` before the model is compiled.

    Args:
        handle: What to load: a local path (`str` or `PathLike`), an `https://` URL of a model host or of an archive,
            a Kaggle id `"owner/model/framework/variation"`, `"hf://owner/repo"`, a path such as `"gs://…"`; or an
            object that is already loaded, or any callable with the same attributes.
        trainable: Boolean, whether to fine-tune. Defaults to `False`.
        arguments: Dict of further keyword arguments of the SavedModel's function, JSON values.
            `{"training": False}` keeps inference mode while weights are tuned. Defaults to none.
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
            (`"encoder/layer_1[01]/"`): while `trainable`, only matching variables are trained. Defaults to `None`: all
            published trainable variables. `"all"` means the same; if none are published, all that the layer uses.
        load_options: A `tf.saved_model.LoadOptions` or a dict of its arguments. Defaults to `None`.
        sha256: Checksum of the archive that a URL delivers, 64 hexadecimal digits. Defaults to `None`: not checked.
        optimize: Whether inference may use other operations, for batch normalization, einsum and GELU. Outputs then
            differ by the rounding of float32. Defaults to `"auto"`: if there is no GPU. Other backends ignore it.
        jit: Whether XLA may compile the layer, in a model that is compiled with `jit_compile=True`, or with `"auto"` if
            there is a GPU. A process of its own tries it first, and the training mode only if `trainable`. The cache
            keeps the verdict. Defaults to `False`: Keras runs without XLA. Other backends ignore it.
        execution: `"auto"`: TensorFlow's functions on TensorFlow, and an interpreter of the graph in `keras.ops` on JAX
            and PyTorch. `"interpreted"`: the interpreter on each backend. `"host"`: TensorFlow's functions on JAX and
            PyTorch, computed on the processor. Defaults to `"auto"`.
        **kwargs: `name`, `dtype` and other arguments of `keras.layers.Layer`. The dtypes inside the SavedModel are
            fixed: a policy changes neither its weights nor its outputs.

    Call arguments:
        inputs: A tensor, or a list or dict of tensors (dense, ragged or sparse, numbers or strings), with the shapes
            of one trace. NumPy arrays and Python values are converted. Values are cast to other integers, to other
            floats, and from integers to floats, and never otherwise. Extra keys are dropped. If the SavedModel's
            function takes a tensor by name, such as the mask of `call(x, mask=None)`, give a dict. The input has the
            name of the function's first argument in it: `layer({"x": x, "mask": mask})`.
        training: Boolean, whether the model trains. The SavedModel sees `layer.trainable and training`.

    Returns:
        A tensor, or a list or dict of tensors, in the SavedModel's dtypes.

    Raises:
        errors.HandleError, errors.ResolveError: The handle cannot be turned into a directory.
        errors.LoadError: TensorFlow cannot load it; `errors.MissingOpError` names the package to install.
        errors.InterfaceError: It has no such signature, output, piece or argument, or nothing that can be called; or
            XLA cannot be used for it.
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
        optimize: bool | str = "auto",
        jit: bool = False,
        execution: str = "auto",
        **kwargs: Any,
    ) -> None:
        handle_argument.check_safe_mode(handle)
        executor_class = registry.executor_class(execution)
        super().__init__(trainable=trainable, autocast=kwargs.pop("autocast", False), **kwargs)
        layers.take_inputs_as_they_are(self)
        self.supports_jit = executor_class.supports_jit
        # An attribute is tracked by TensorFlow, so that exports of a whole model find tables and assets.
        self._loaded = handle_argument.load(handle, tags, load_options, sha256, piece, signature)
        source = source_lib.source_of(self._loaded)
        if source is not None and source.format == "tf1_hub":
            signature = signature or "default"
            output_key = output_key or (None if signature_outputs_as_dict else "default")
        self._where = f"layer {self.name!r}, handle {code.format_handle(handle)}"
        with errors.add_place(self._where):
            settings = self._settings = arguments_lib.Settings(
                handle=handle,
                arguments=arguments_lib.plain_arguments(arguments),
                tags=tags,
                signature=signature,
                signature_outputs_as_dict=signature_outputs_as_dict,
                output_key=output_key,
                output_shape=arguments_lib.plain_shapes(output_shape),
                piece=piece,
                load_options=load_options,
                sha256=sha256,
                optimize=arguments_lib.check_optimize(optimize),
                jit=bool(jit),
                execution=None if execution == "auto" else execution,
            )
        self._line = functools.partial(self._settings.line, trainable=trainable or None, unfreeze=unfreeze)
        self._is_tf1 = source is not None and source.format != "tf2"
        self._warned: frozenset[str] = frozenset()
        with self._add_place():
            registry.check_execution(execution, is_asked := not isinstance(handle, serialization.LiveHandle))
            target, function = selection.choose(self._loaded, self._settings)
            unsaved = frozenset() if source is None else source.unsaved_gradients
            rest = output_key, settings.output_shape, unsaved, settings.optimize, handle_argument.is_loaded_here(handle)
            self._choice = base.Choice(target, function, settings.arguments, *rest)
            with keras.name_scope(self.name):
                self._executor = executor_class(self._choice, self._warn)
            layers.track_all(self, self._executor.weights)
            self._seed_generator = self._executor.seed_generator  # Keras keeps its state from step to step
            if not keras.backend.is_float_dtype(self.compute_dtype):
                layers.forget_input_shape(self)
            if trainable:
                patterns = arguments_lib.patterns_of(unfreeze)
                trainability.check_can_be_tuned(self._choice, settings, self._is_tf1, patterns)
            self.unfreeze = unfreeze
            self.built = True
            self._check_trainable(is_asked)

    # -- public properties ---------------------------------------------------------------------------------------

    @property
    def handle(self) -> Any:
        """The handle, or the object, that the layer was made from."""
        handle = self._settings.handle
        return str(handle) if isinstance(handle, str) else handle

    @property
    def resolved_object(self) -> Any:
        """The loaded object, with the layer's weights. What the layer does not use is loaded now."""
        with self._add_place():
            self._executor.write_back()
            return handle_argument.whole_object(self._loaded)

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
        self._ignores_unfreeze = False
        self._set_flags()

    @property
    def unfreeze(self) -> list[str] | None:
        """Settable: the patterns of the variables that are trained while `trainable`; `None` for all."""
        return None if self._unfreeze is None else list(self._unfreeze)

    @unfreeze.setter
    def unfreeze(self, patterns: str | Sequence[str] | None) -> None:
        wanted = arguments_lib.patterns_of(patterns)
        matches = None
        if wanted is not None:
            names = [self._executor.name_of(weight) for weight in self._executor.candidates]
            with self._add_place():
                matches = unfreeze_patterns.matcher(wanted, names)
        self._train_only(wanted, matches)
        self._ignores_unfreeze = wanted is not None and not self.trainable and self._executor.has_lists

    def _train_only(self, patterns: tuple[str, ...] | None, matches: Callable[[str], bool] | None) -> None:
        """Set what is trained while `trainable`: the variables whose names match, which these patterns select."""
        will_say_more = self.trainable and trainability.has_no_gradient(self._choice, self._executor)
        if patterns and not self._executor.has_lists and not will_say_more:
            self._warn(trainability.unpublished_warning(patterns))
        self._unfreeze, self._matches = patterns, matches
        self._set_flags()

    # -- Keras' protocol -----------------------------------------------------------------------------------------

    @layers.as_it_is_written
    def __call__(self, inputs: Any = None, training: Any = None, **kwargs: Any) -> Any:
        with self._add_place():
            if inputs is None:
                raise call_argument.no_input_error(kwargs)
            if not call_argument.is_flag(training):
                raise call_argument.second_input_error(inputs, training)
            if training is not None:
                kwargs["training"] = training
            try:
                return super().__call__(self._executor.prepare(inputs), **kwargs)
            except TypeError as err:
                if "unexpected keyword argument" not in str(err) or not set(kwargs) - {"training"}:
                    raise
                raise call_argument.unknown_arguments_error(kwargs, self._executor.input_names) from err

    def call(self, inputs: Any, training: Any = None) -> Any:
        with self._add_place():
            self._check_trainable()
            jit_lib.check_step(self)
            model = fit.model_in_training()
            if model is not None:
                recompile_guard.record_step(model, self)
                for warning in trainability.warnings_of_step(self, self._choice, self._executor):
                    self._warn(warning)
            if not self.trainable:
                if self._ignores_unfreeze and training is True:
                    self._warn(trainability.ignored_unfreeze_warning(self._unfreeze))
                return self._executor.call(inputs, False)
            if training is None or not keras.ops.is_tensor(training):  # a bool of Python or NumPy
                outputs, losses = self._executor.call_with_losses(inputs, bool(training))
            else:
                results: Any = keras.ops.cond(
                    keras.ops.cast(training, "bool"),
                    lambda: self._executor.call_with_losses(inputs, True),
                    lambda: self._executor.call_with_losses(inputs, False),
                )
                outputs, losses = results
            self.add_loss(losses)
            return outputs

    def compute_output_spec(self, inputs: Any, training: Any = None) -> Any:
        with self._add_place():
            self._check_trainable()
            return self._executor.output_spec(inputs)

    def compute_output_shape(self, input_shape: Any) -> Any:
        with self._add_place():
            spec = self._executor.output_spec(self._executor.symbolic_inputs(input_shape))
        return keras.tree.map_structure(lambda tensor: tensor.shape, spec)

    def published_losses(self) -> list[Any]:
        return self._executor.regularization_losses() if self.trainable else []

    def _own_input_dtype(self) -> str | None:
        return getattr(self.__dict__.get("_executor"), "input_dtype", None)

    def get_config(self) -> dict[str, Any]:
        with self._add_place():
            config = {**super().get_config(), "handle": serialization.live_handle(self._settings.handle)}
            config |= self._settings.config()
            config |= {} if self._unfreeze is None else {"unfreeze": self.unfreeze}
            if saving.is_saving_a_file():
                config = serialization.embed(config, self._loaded, map(self._executor.variable_of, self.weights))
        return config

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "HubLayer":
        handle_argument.check_safe_mode(config.get("handle"))
        layer = cls(**serialization.extract(config))
        layer._ignores_unfreeze = False  # a copy is frozen as its original is
        return layer

    def _add_place(self) -> Any:
        """Errors that leave this block say which layer it is, and show its line of code."""
        return errors.add_place(self._where, self._line)

    def _warn(self, warning: str | Callable[[errors.Line], str], at: errors.UserLine | None = None) -> None:
        """Warn, once, and say which layer it is; `at` is the line that it is about, if not one that runs now."""
        text = warning(self._line) if callable(warning) else warning
        if text not in self._warned:
            self._warned |= {text}
            errors.warn(f"{self._where}: {text}", at)

    def _set_flags(self) -> None:
        """Freeze the candidates that `unfreeze` leaves out."""
        executor = self.__dict__.get("_executor")
        if executor is None:
            return
        if not self.trainable:
            models.clear_losses(self)
        for weight in executor.candidates if self.trainable else ():
            weight.trainable = executor.has_lists if self._matches is None else self._matches(executor.name_of(weight))
        jit_lib.settle(self)
        recompile_guard.check_at_next_step(self)

    def _check_trainable(self, is_asked: bool = False) -> None:
        """Refuse what cannot be fine-tuned; warn, once, where nothing would be."""
        if self.trainable:
            trainability.check_can_be_tuned(self._choice, self._settings, self._is_tf1, self._unfreeze)
            self._executor.check_training()
            for warning in trainability.warnings_of_weights(self, self._choice, self._executor, is_asked):
                self._warn(warning)
