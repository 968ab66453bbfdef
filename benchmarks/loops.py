"""One training loop, written by hand with `tf.function`, over a raw loaded object or over a HubLayer."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import common
import keras
import tensorflow as tf

OUTPUT = {"mobilenet": None, "bert": "pooled_output"}


class Raw:
    """The loaded object as a hand-written loop uses it; Keras variables only for Keras' optimizer."""

    def __init__(self, name: str) -> None:
        self.object = tf.saved_model.load(common.model(name))
        self.key = OUTPUT[name]
        self.weights = [
            keras.Variable(v, dtype=v.dtype.name, autocast=False, name=v.name.replace("/", ".").partition(":")[0])
            for v in self.object.trainable_variables
        ]
        if not all(w.value is v for w, v in zip(self.weights, self.object.trainable_variables, strict=True)):
            raise AssertionError("Keras copied a variable")

    def __call__(self, inputs: Any, training: bool) -> Any:
        outputs = self.object(inputs, training=training)
        return outputs if self.key is None else outputs[self.key]

    def losses(self) -> list[Any]:
        return [loss() for loss in self.object.regularization_losses]


class Ours:
    """The same through a HubLayer."""

    def __init__(self, name: str, trainable: bool = True) -> None:
        from keras_hub_layers import layers

        self.layer = layers.HubLayer(common.model(name), trainable=trainable, output_key=OUTPUT[name])
        self.weights = self.layer.trainable_weights

    def __call__(self, inputs: Any, training: bool) -> Any:
        return self.layer(inputs, training=training)

    def losses(self) -> list[Any]:
        return self.layer.losses


class Thin(keras.layers.Layer):
    """The least that makes a Keras layer of a loaded object: what Keras itself costs."""

    def __init__(self, name: str, trainable: bool) -> None:
        super().__init__(trainable=trainable, autocast=False)
        self.raw = Raw(name)
        for weight in self.raw.weights:
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
        width = 1280 if self.raw.key is None else common.BERT["width"]
        return keras.KerasTensor((None, width), "float32")


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


def training_step(model: Any, name: str, frozen: bool = False) -> Step:
    """Forward, loss, gradients and Adam, of everything or, frozen, of the head on inference features."""
    inputs, labels = common.batch(name)
    width = model(inputs, False).shape[-1]
    keras.utils.set_random_seed(0)
    head = [keras.Variable(keras.random.normal((width, 10)) * 0.05), keras.Variable(tf.zeros(10))]
    weights = head if frozen else [*model.weights, *head]
    optimizer = keras.optimizers.Adam(1e-4)
    optimizer.build(weights)

    @tf.function
    def step(inputs, labels):
        with tf.GradientTape() as tape:
            logits = model(inputs, not frozen) @ head[0].value + head[1].value
            loss = tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits))
            if not frozen:
                loss += sum(model.losses(), 0.0)
        optimizer.apply(tape.gradient(loss, [weight.value for weight in weights]), weights)
        return loss

    return Step(step, (inputs, labels))


def prediction(model: Any, name: str) -> Step:
    """Features in inference mode."""
    inputs, _ = common.batch(name)
    return Step(tf.function(lambda inputs: model(inputs, False)), (inputs,))


def keras_steps(layer: keras.layers.Layer, name: str) -> tuple[Callable[[], Any], Callable[[], Any]]:
    """One step of what `fit` runs, and one of what `predict` runs, without their progress and callbacks."""
    inputs, labels = common.batch(name)
    if isinstance(inputs, dict):
        specs = {key: keras.Input(x.shape[1:], dtype=x.dtype.name, name=key) for key, x in inputs.items()}
    else:
        specs = keras.Input(inputs.shape[1:], dtype=inputs.dtype.name)
    keras.utils.set_random_seed(0)
    model = keras.Model(specs, keras.layers.Dense(10)(layer(specs)))
    model.compile(
        keras.optimizers.Adam(1e-4), keras.losses.SparseCategoricalCrossentropy(from_logits=True), metrics=["accuracy"]
    )
    model.make_train_function()
    model.make_predict_function()
    batches = iter(tf.data.Dataset.from_tensors((inputs, labels)).cache().repeat())
    unlabelled = iter(tf.data.Dataset.from_tensors((inputs,)).cache().repeat())
    return (
        lambda: tf.nest.map_structure(lambda x: x.numpy(), model.train_function(batches)),
        lambda: tf.nest.map_structure(lambda x: x.numpy(), model.predict_function([next(unlabelled)])),
    )
