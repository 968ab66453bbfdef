"""Training steps and predictions with a SavedModel: in a loop written by hand, and as Keras takes them."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import common
import keras
import tensorflow as tf

OUTPUT = {"mobilenet": None, "bert": "pooled_output", "tiny": None}


def adopted(variables: Any) -> list[keras.Variable]:
    """Keras variables that are these variables, for Keras' optimizer."""
    weights = [
        keras.Variable(v, dtype=v.dtype.name, autocast=False, name=v.name.replace("/", ".").partition(":")[0])
        for v in variables
    ]
    if not all(weight.value is variable for weight, variable in zip(weights, variables, strict=True)):
        raise AssertionError("Keras copied a variable")
    return weights


class Raw:
    """The loaded object as a hand-written loop uses it."""

    keras: Any = keras

    def __init__(self, name: str) -> None:
        self.name, self.key = name, OUTPUT.get(name)
        self.object = tf.saved_model.load(common.model(name))

    @property
    def weights(self) -> list[keras.Variable]:
        return adopted(self.object.trainable_variables)

    def __call__(self, inputs: Any, training: bool) -> Any:
        outputs = self.object(inputs, training=training)
        return outputs if self.key is None else outputs[self.key]

    def losses(self) -> list[Any]:
        return [loss() for loss in self.object.regularization_losses]

    def train(self, trainable: bool) -> None:
        """Freeze what is trained, or train it again."""

    def layer(self, trainable: bool) -> Any:
        """A Keras layer that does the same."""
        return Thin(self, trainable)

    def export(self, directory: str) -> None:
        tf.saved_model.save(self.object, directory, signatures=dict(self.object.signatures))


class Layer:
    """A Keras layer around a SavedModel. What it is made from is `self.hub`."""

    keras: Any = keras
    hub: Any

    @property
    def weights(self) -> list[keras.Variable]:
        return self.hub.trainable_weights

    def __call__(self, inputs: Any, training: bool) -> Any:
        outputs = self.hub(inputs, training=training)
        return outputs[OUTPUT[self.name]] if isinstance(outputs, dict) else outputs

    def losses(self) -> list[Any]:
        return self.hub.losses

    def train(self, trainable: bool) -> None:
        self.hub.trainable = trainable

    def layer(self, trainable: bool) -> Any:
        self.hub.trainable = trainable
        return self.hub

    def __init__(self, name: str, **arguments: Any) -> None:
        self.name = name
        self.hub = self.make(common.model(name), **arguments)


class Ours(Layer):
    """`HubLayer`. For a SavedModel that is not one of ours, with the arguments that `inspect` proposes."""

    def make(self, directory: str, **arguments: Any) -> Any:
        import keras_hub_layers as khl

        if self.name in OUTPUT:
            return khl.layers.HubLayer(directory, **{"trainable": True, "output_key": OUTPUT[self.name], **arguments})
        return khl.layers.HubLayer(directory, **arguments)

    def export(self, directory: str) -> None:
        import keras_hub_layers as khl

        khl.export(self.hub, directory)


class OldLayer(Layer):
    """`hub.KerasLayer`, under Keras 2."""

    def make(self, directory: str) -> Any:
        import tensorflow_hub
        import tf_keras

        self.keras = tf_keras
        return tensorflow_hub.KerasLayer(directory, trainable=True)

    @property
    def weights(self) -> list[keras.Variable]:
        return adopted(self.hub.trainable_weights)


class TFSM(Layer):
    """`keras.layers.TFSMLayer`: Keras' own way, for inference."""

    def make(self, directory: str) -> Any:
        return keras.layers.TFSMLayer(directory, call_endpoint="__call__")

    def train(self, trainable: bool) -> None:
        """It is not trained."""


class Thin(keras.layers.Layer):
    """The least that makes a Keras layer of a loaded object: what Keras itself costs."""

    def __init__(self, raw: Raw, trainable: bool) -> None:
        super().__init__(trainable=trainable, autocast=False)
        self.raw = raw
        for weight in raw.weights:
            self._track_variable(weight)
        self.built = True

    def call(self, inputs: Any, training: bool = False) -> Any:
        if not self.trainable:
            return self.raw(inputs, False)
        outputs = self.raw(inputs, bool(training))
        for loss in self.raw.losses():
            self.add_loss(loss)
        return outputs

    def compute_output_spec(self, inputs: Any, training: bool = False) -> Any:
        return keras.KerasTensor((None, common.WIDTH[self.raw.name]), "float32")


@dataclass
class Step:
    """One step on the same batch again and again."""

    function: Any
    batch: tuple[Any, ...]

    def __call__(self) -> Any:
        return self.function(*self.batch).numpy()

    def operations(self) -> int:
        """How many operations TensorFlow has to run at most, those of called functions included."""
        graph = self.function.get_concrete_function(*self.batch).graph.as_graph_def()
        return len(graph.node) + sum(len(function.node_def) for function in graph.library.function)


def training_step(model: Any, name: str, frozen: bool = False, jit: bool = False) -> Step:
    """Forward, loss, gradients and Adam, of everything or, frozen, of the head on inference features."""
    inputs, labels = common.batch(name)
    keras.utils.set_random_seed(0)
    head = [keras.Variable(keras.random.normal((common.WIDTH[name], 10)) * 0.05), keras.Variable(tf.zeros(10))]
    weights = head if frozen else [*model.weights, *head]
    optimizer = keras.optimizers.Adam(1e-4)
    optimizer.build(weights)

    @tf.function(jit_compile=jit)
    def step(inputs, labels):
        with tf.GradientTape() as tape:
            logits = model(inputs, not frozen) @ head[0].value + head[1].value
            loss = tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits))
            if not frozen:
                loss += sum(model.losses(), 0.0)
        optimizer.apply(tape.gradient(loss, [weight.value for weight in weights]), weights)
        return loss

    return Step(step, (inputs, labels))


def prediction(model: Any, name: str, jit: bool = False) -> Step:
    """Features in inference mode."""
    inputs, _ = common.batch(name)
    return Step(tf.function(lambda inputs: model(inputs, False), jit_compile=jit), (inputs,))


def keras_model(contestant: Any, trainable: bool, **compile_arguments: Any) -> Any:
    """A compiled model with a head of ten classes, of the contestant's Keras."""
    keras, (inputs, _) = contestant.keras, common.batch(contestant.name)
    several = inputs if isinstance(inputs, dict) else {"x": inputs}
    specs: Any = {key: keras.Input(tuple(x.shape[1:]), dtype=x.dtype.name, name=key) for key, x in several.items()}
    specs = specs if isinstance(inputs, dict) else specs["x"]
    outputs = contestant.layer(trainable)(specs)
    outputs = outputs[OUTPUT[contestant.name]] if isinstance(outputs, dict) else outputs
    keras.utils.set_random_seed(0)
    model = keras.Model(specs, keras.layers.Dense(10, dtype="float32")(outputs))
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(1e-4), loss, **compile_arguments)
    return model


def keras_steps(contestant: Any, trainable: bool) -> tuple[Callable[[], Any], Callable[[], Any]]:
    """One step of training, and one of prediction, as Keras takes them: without XLA, which not all of them allow."""
    inputs, labels = common.batch(contestant.name)
    model = keras_model(contestant, trainable, jit_compile=False)
    return lambda: model.train_on_batch(inputs, labels), lambda: model.predict_on_batch(inputs)
