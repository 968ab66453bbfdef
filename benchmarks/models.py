"""Save a MobileNetV2-like or BERT-like Reusable SavedModel with Keras 2: `models.py NAME DIRECTORY`."""

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


if __name__ == "__main__":
    name, directory = sys.argv[1:]
    tf_keras.utils.set_random_seed(0)
    tf.saved_model.save({"mobilenet": mobilenet, "bert": bert}[name](), directory)
