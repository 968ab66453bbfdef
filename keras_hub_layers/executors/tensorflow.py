"""The native executor: adopt the loaded `tf.Variable`s and call the restored functions."""

from collections.abc import Mapping
from typing import Any

import keras
import tensorflow as tf

from keras_hub_layers import _compat, interface, loaded
from keras_hub_layers.errors import InterfaceError, TrainingError, explain
from keras_hub_layers.executors import Choice
from keras_hub_layers.executors.inputs import Mismatch
from keras_hub_layers.executors.matching import Matcher
from keras_hub_layers.executors.outputs import as_plain, keras_tensor, picked, shaped


class TensorFlowExecutor:
    """Computes a `Choice` on the TensorFlow backend; see `executors/README.md` for the members."""

    def __init__(self, choice: Choice) -> None:
        self._choice = choice
        self._function = choice.function
        self._traces = choice.function.usable_traces
        self._matcher = Matcher(choice.function, choice.where)
        self._matcher.check_arguments(choice.arguments)
        self._losses = [] if choice.function.is_signature else loaded.losses(choice.target)
        self._check_losses()
        variables = loaded.variables(choice.target, (choice.function,))
        self.has_lists = variables.has_lists
        # Without lists the variables' own flags are all there is: what `unfreeze` may choose from.
        candidates = variables.trainable if self.has_lists else [v for v in variables.captured if _may_train(v)]
        trainable = {id(v) for v in candidates}
        self.weights, self._names = [], {}
        for variable in (*variables.published, *variables.captured):
            self._adopt(variable, id(variable) in trainable)
        self.candidates = [weight for weight in self.weights if id(weight.value) in trainable]
        self._strategy = tf.distribute.get_strategy()
        self.input_dtype = self._single_dtype()

    # -- the seam ------------------------------------------------------------------------------------------------

    def call(self, inputs: Any, training: bool) -> Any:
        trained = any(weight.trainable for weight in self.weights)
        if trained:
            self._check_strategy()
        arguments = dict(self._choice.arguments)
        if self._function.accepts_training:
            arguments["training"] = training and arguments.get("training", True)
        if self._function.is_signature:
            inputs = self._by_name(inputs)
        inputs, arguments = self._matcher.match(inputs, arguments)
        variables = [weight.value for weight in self.weights]
        flags = {id(weight.value): bool(weight.trainable) for weight in self.weights}
        with _compat.watched(variables, lambda variable: flags.get(id(variable), trained)):
            outputs = self._invoke(inputs, arguments)
        outputs = picked(as_plain(outputs), self._choice.output_key, self._choice.where)
        return shaped(outputs, self._choice.output_shape, _batch(inputs), self._choice.where)

    def output_spec(self, inputs: Any) -> Any:
        specs = keras.tree.map_structure(self._spec_of, inputs)
        traced = tf.function(lambda x: self.call(x, training=False), autograph=False)
        outputs = traced.get_concrete_function(specs).structured_outputs
        return tf.nest.map_structure(lambda spec: keras_tensor(spec, self._choice.where), as_plain(outputs))

    def symbolic_inputs(self, shapes: Any) -> Any:
        inputs = self._traces[0].inputs if self._traces else tf.TensorSpec(None, tf.float32)  # pyright: ignore[reportArgumentType] - None is any shape
        if isinstance(inputs, Mapping):
            return {key: keras.KerasTensor(shapes[key], spec.dtype.name) for key, spec in inputs.items()}
        if isinstance(inputs, (list, tuple)):
            return [keras.KerasTensor(s, spec.dtype.name) for s, spec in zip(shapes, inputs, strict=True)]
        return keras.KerasTensor(shapes, inputs.dtype.name)

    def regularization_losses(self) -> list[Any]:
        flags = {id(weight.value): bool(weight.trainable) for weight in self.weights}
        variables = [weight.value for weight in self.weights]
        with _compat.watched(variables, lambda variable: flags.get(id(variable), False)):
            return [loss() for loss in self._losses]

    # -- at construction -----------------------------------------------------------------------------------------

    def _adopt(self, variable: Any, trainable: bool) -> None:
        base = name = interface.name_of(variable).replace("/", ".")
        number = 0
        while name in self._names:
            number += 1
            name = f"{base}_{number}"
        try:
            weight = _compat.adopt(variable, trainable, name)
        except (TypeError, ValueError):
            return  # a dtype or an unknown shape that Keras has no variable for: it stays inside the loaded object
        if weight.value is not variable:
            raise InterfaceError(
                explain(
                    "Keras copied a variable instead of adopting it; training would not reach the SavedModel.",
                    expected="keras.Variable(v).value is v",
                    received=f"a copy of {variable.name!r} ({variable.dtype.name})",
                    where=self._choice.where,
                    fix="report this together with keras.__version__ and tf.__version__",
                )
            )
        self._names[name] = interface.name_of(variable)
        self.weights.append(weight)

    def name_of(self, weight: Any) -> str:
        """A weight's name in the SavedModel."""
        return self._names[weight.name]

    def _check_losses(self) -> None:
        for loss in self._losses:
            if not callable(loss):
                raise InterfaceError(
                    explain(
                        "A published regularization loss cannot be called.",
                        expected="regularization_losses: a list of functions without arguments that return a scalar",
                        received=f"an entry of type {type(loss).__name__}: {loss!r}",
                        where=self._choice.where,
                        fix="have its publisher save tf.function(lambda: loss, input_signature=[]) instead",
                    )
                )

    def _single_dtype(self) -> str | None:
        dtypes = {
            leaf.dtype for trace in self._traces for leaf in tf.nest.flatten(trace.inputs) if hasattr(leaf, "dtype")
        }
        single = all(isinstance(trace.inputs, tf.TypeSpec) for trace in self._traces)
        if len(dtypes) != 1 or not single:
            return None
        dtype = dtypes.pop()
        return None if dtype.is_floating else dtype.name

    def _check_strategy(self) -> None:
        if not tf.distribute.has_strategy() or tf.distribute.get_strategy() is self._strategy:
            return
        raise TrainingError(
            explain(
                "The layer was created outside the distribution strategy that trains it.",
                expected="a HubLayer created within the scope of the strategy",
                received=f"one created under {type(self._strategy).__name__}, "
                f"called under {type(tf.distribute.get_strategy()).__name__}",
                where=self._choice.where,
                fix="with strategy.scope():\n    layer = HubLayer(handle, trainable=True)\n    model = ...",
            )
        )

    # -- at each call --------------------------------------------------------------------------------------------

    def _by_name(self, inputs: Any) -> Any:
        """The one input of a signature under its name; of several inputs the caller has to say which is which."""
        names = list(self._traces[0].inputs)
        return {names[0]: inputs} if len(names) == 1 and not isinstance(inputs, Mapping) else inputs

    def _invoke(self, inputs: Any, arguments: dict[str, Any]) -> Any:
        try:
            if self._function.is_signature:
                return self._function.call(**inputs)
            return self._function.call(inputs, **arguments)
        except (TypeError, ValueError) as err:
            if "matching concrete function" not in str(err):
                raise
            raise self._matcher.no_match(inputs, arguments, [Mismatch("TensorFlow refuses them")]) from err

    # -- symbolic calls ------------------------------------------------------------------------------------------

    def _spec_of(self, tensor: Any) -> Any:
        if not isinstance(tensor, keras.KerasTensor):
            return tensor
        shape, dtype = tensor.shape, tensor.dtype
        if getattr(tensor, "ragged", False):
            rank = getattr(tensor, "ragged_rank", None) or 1
            splits = getattr(tensor, "row_splits_dtype", None) or "int64"
            return tf.RaggedTensorSpec(shape, tf.as_dtype(dtype), rank, tf.as_dtype(splits))
        # Keras' hints are not to be trusted: some dense results (`x * 2`) are marked as sparse, and a Sequential
        # model without Input declares dense inputs for whatever it is given. What the traces take decides.
        kinds = {type(leaf) for trace in self._traces for leaf in tf.nest.flatten(trace.inputs)}
        if tensor.sparse and tf.SparseTensorSpec in kinds:
            return tf.SparseTensorSpec(shape, dtype)
        if kinds == {tf.RaggedTensorSpec}:
            ragged: Any = tf.nest.flatten(self._traces[0].inputs)[0]
            return tf.RaggedTensorSpec(shape, tf.as_dtype(dtype), ragged.ragged_rank, ragged.row_splits_dtype)
        if kinds == {tf.SparseTensorSpec}:
            return tf.SparseTensorSpec(shape, dtype)
        return tf.TensorSpec(shape, dtype)


def _may_train(variable: Any) -> bool:
    return variable.trainable and variable.dtype.is_floating


def _batch(inputs: Any) -> tf.TensorShape:
    """The batch axis of the first input, as a shape of rank 1."""
    return tf.nest.flatten(inputs)[0].shape[:1]
