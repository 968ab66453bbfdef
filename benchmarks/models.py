"""Save a SavedModel: `models.py NAME DIRECTORY`: `mobilenet`, `bert`, `tiny`, `large`, `layers-10`, `variables-9`."""

import sys

import common
import tensorflow as tf
import tf_keras


def mobilenet():
    """MobileNetV2 (width 0.35, 96 × 96), pooled, with an L2 loss for each convolution; random weights."""
    plain = tf_keras.applications.MobileNetV2(
        weights=None, input_shape=(96, 96, 3), alpha=0.35, include_top=False, pooling="avg"
    )
    for layer in plain.layers:
        if isinstance(layer, tf_keras.layers.Conv2D) and not isinstance(layer, tf_keras.layers.DepthwiseConv2D):
            layer.kernel_regularizer = tf_keras.regularizers.l2(4e-5)
    return tf_keras.models.model_from_json(plain.to_json())


def bert():
    """A transformer encoder as TF Hub's BERT models have it: dict of ids, mask and types to a dict of outputs."""
    layers, size = tf_keras.layers, common.BERT
    names = ("input_word_ids", "input_mask", "input_type_ids")
    inputs = {name: layers.Input((size["tokens"],), dtype=tf.int32, name=name) for name in names}
    width = size["width"]
    x = layers.Embedding(size["vocabulary"], width, name="word_embeddings")(inputs["input_word_ids"])
    x = x + layers.Embedding(2, width, name="type_embeddings")(inputs["input_type_ids"])
    x = x + layers.Embedding(size["tokens"], width, name="position_embeddings")(tf.range(size["tokens"]))
    x = layers.Dropout(0.1)(layers.LayerNormalization(epsilon=1e-12)(x))
    mask = inputs["input_mask"][:, None, :]
    for _ in range(size["layers"]):
        attention = layers.MultiHeadAttention(size["heads"], width // size["heads"], dropout=0.1)
        x = layers.LayerNormalization(epsilon=1e-12)(x + layers.Dropout(0.1)(attention(x, x, attention_mask=mask)))
        hidden = layers.Dense(width)(layers.Dense(4 * width, activation="gelu")(x))
        x = layers.LayerNormalization(epsilon=1e-12)(x + layers.Dropout(0.1)(hidden))
    pooled = layers.Dense(width, activation="tanh")(x[:, 0])
    return tf_keras.Model(inputs, {"pooled_output": pooled, "sequence_output": x})


def tiny():
    """One dense layer, to see whether a script runs, and for what repeats a model many times."""
    inputs = tf_keras.Input((8,))
    return tf_keras.Model(inputs, tf_keras.layers.Dense(8, kernel_regularizer="l2")(inputs))


def layers(number):
    """As many dense layers: Keras 2 writes some functions for each."""
    inputs = x = tf_keras.Input((8,))
    for _ in range(number):
        x = tf_keras.layers.Dense(8)(x)
    return tf_keras.Model(inputs, x)


def variables(number):
    """As many variables, in one function."""
    root = tf.train.Checkpoint()
    root.variables = root.trainable_variables = [tf.Variable(float(i), name=f"v{i}") for i in range(number)]
    spec = [tf.TensorSpec((None, 8))]
    root.__call__ = tf.function(lambda x: x + tf.add_n(list(root.variables)), input_signature=spec)
    return root


def large():
    """Weights of 320 MB in 8 variables, and little else."""
    root = tf.train.Checkpoint()
    root.variables = root.trainable_variables = [tf.Variable(tf.random.normal((1000, 10000))) for _ in range(8)]
    spec = [tf.TensorSpec((None, 1))]
    root.__call__ = tf.function(lambda x: x + sum(map(tf.reduce_mean, root.variables)), input_signature=spec)
    return root


def make(name: str, directory: str) -> None:
    """Save a model."""
    kind, _, number = name.partition("-")
    makers = {maker.__name__: maker for maker in (mobilenet, bert, tiny, large, layers, variables)}
    tf_keras.utils.set_random_seed(0)
    tf.saved_model.save(makers[kind](int(number)) if number else makers[kind](), directory)


if __name__ == "__main__":
    make(*sys.argv[1:])
