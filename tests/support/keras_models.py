"""One small model of each kind that Keras 3 can build: name -> function that returns (model, one batch of inputs).

The functions take a directory to write vocabularies to. `EXPORT` holds the arguments that some need for export.
"""

import inspect

import keras
import numpy as np
import producers
import tensorflow as tf

from keras_hub_layers import layers

L = keras.layers
EXPORT = {"bare_layer_with_spec": {"input_spec": tf.TensorSpec([None, 4])}}
FLOATS = np.linspace(-1.0, 1.0, 12, dtype="float32").reshape(3, 4)
IDS = np.array([[1, 2, 0], [3, 0, 0], [4, 5, 6]], "int32")
IMAGES = np.linspace(0.0, 1.0, 3 * 8 * 8 * 3, dtype="float32").reshape(3, 8, 8, 3)
WORDS = tf.constant([["red"], ["blue"], ["grey"]])


def sequential(_):
    return keras.Sequential([keras.Input((4,)), L.Dense(3, activation="relu"), L.Dense(2)]), FLOATS


def sequential_built_by_a_call(_):
    model = keras.Sequential([L.Dense(3), L.Dense(2)])
    model(FLOATS)
    return model, FLOATS


def functional(_):
    x = keras.Input((4,), name="features")
    h = L.Dense(3, kernel_regularizer="l2", name="hidden")(x)
    return keras.Model(x, L.Dense(2, bias_regularizer="l1", bias_initializer="ones", name="logits")(h)), FLOATS


def batch_norm_and_dropout(_):
    x = keras.Input((4,))
    return keras.Model(x, L.Dense(2)(L.Dropout(0.5)(L.BatchNormalization()(x)))), FLOATS


def dict_in_dict_out(_):
    x = {"a": keras.Input((4,), name="a"), "b": keras.Input((4,), name="b")}
    h = L.Concatenate()([x["a"], x["b"]])
    return keras.Model(x, {"sum": L.Dense(1)(h), "pair": L.Dense(2)(h)}), {"a": FLOATS, "b": 2 * FLOATS}


def list_in_list_out(_):
    a, b = keras.Input((4,), name="a"), keras.Input((4,), name="b")
    return keras.Model([a, b], [L.Dense(1, name="one")(a), L.Dense(2, name="two")(b)]), [FLOATS, 2 * FLOATS]


def nested_structures(_):
    x = {"pair": [keras.Input((4,), name="p"), keras.Input((4,), name="q")], "one": keras.Input((4,), name="r")}
    h = L.Add()([*x["pair"], x["one"]])
    return keras.Model(x, {"deep": {"er": L.Dense(2)(h)}}), {"pair": [FLOATS, FLOATS], "one": FLOATS}


def nested_models(_):
    inner = keras.Sequential([keras.Input((4,)), L.Dense(3, kernel_regularizer="l2"), L.BatchNormalization()])
    x = keras.Input((4,))
    return keras.Model(x, L.Dense(2)(inner(x))), FLOATS


def shared_layer(_):
    x, shared = keras.Input((4,)), L.Dense(4, kernel_regularizer="l2")
    return keras.Model(x, shared(shared(x))), FLOATS


class Subclassed(keras.Model):
    def __init__(self):
        super().__init__()
        self.hidden, self.dropout, self.head = L.Dense(3), L.Dropout(0.5), L.Dense(2)

    def call(self, x, training=False):
        return self.head(self.dropout(self.hidden(x), training=training))


def subclassed(_):
    model = Subclassed()
    model(FLOATS)
    return model, FLOATS


class SubclassedDict(keras.Model):
    def __init__(self):
        super().__init__()
        self.head = L.Dense(2)

    def call(self, inputs):
        return {"out": self.head(inputs["a"] + inputs["b"])}


def subclassed_dict_without_training(_):
    model = SubclassedDict()
    model({"a": FLOATS, "b": FLOATS})
    return model, {"a": FLOATS, "b": FLOATS}


def bare_layer(_):
    layer = L.Dense(2, kernel_regularizer="l2")
    layer(FLOATS)
    return layer, FLOATS


def bare_layer_with_spec(_):
    return bare_layer(_)


def frozen_parts(_):
    x = keras.Input((4,))
    frozen = L.Dense(3, trainable=False, kernel_regularizer="l2")
    return keras.Model(x, L.Dense(2)(L.BatchNormalization(trainable=False)(frozen(x)))), FLOATS


def string_lookup(_):
    x = keras.Input((1,), dtype="string", name="word")
    ids = L.StringLookup(vocabulary=["red", "green", "blue"])(x)
    return keras.Model(x, L.Dense(2)(L.Flatten()(L.Embedding(5, 3)(ids)))), WORDS


def string_lookup_from_a_file(directory):
    path = directory / "colours.txt"
    path.write_text("red\ngreen\nblue\n")
    x = keras.Input((1,), dtype="string", name="word")
    ids = L.StringLookup(vocabulary=str(path))(x)
    return keras.Model(x, L.Dense(2)(L.Flatten()(L.Embedding(5, 3)(ids)))), WORDS


def text_vectorization(_):
    text = L.TextVectorization(output_sequence_length=4, vocabulary=["red", "green", "blue"])
    x = keras.Input((), dtype="string", name="text")
    return keras.Model(x, L.Dense(2)(L.GlobalAveragePooling1D()(L.Embedding(8, 3)(text(x))))), WORDS[:, 0]


def category_encoding_and_hashing(_):
    x = keras.Input((1,), dtype="string", name="word")
    return keras.Model(x, L.Dense(2)(L.CategoryEncoding(8, output_mode="multi_hot")(L.Hashing(8)(x)))), WORDS


def normalization_and_rescaling(_):
    norm = L.Normalization()
    norm.adapt(FLOATS)
    x = keras.Input((4,))
    return keras.Model(x, L.Dense(2)(L.Rescaling(2.0)(norm(x)))), FLOATS


def integer_lookup(_):
    x = keras.Input((3,), dtype="int64", name="ids")
    return keras.Model(x, L.Dense(2)(L.IntegerLookup(vocabulary=[1, 2, 3], output_mode="multi_hot")(x))), IDS.astype(
        "int64"
    )


def lstm_with_mask(_):
    x = keras.Input((None,), dtype="int32", name="ids")
    return keras.Model(x, L.Dense(2)(L.LSTM(3)(L.Embedding(8, 3, mask_zero=True)(x)))), IDS


def bidirectional_gru_with_dropout(_):
    x = keras.Input((None, 4))
    return keras.Model(x, L.Bidirectional(L.GRU(3, dropout=0.5))(x)), np.stack([FLOATS, FLOATS, FLOATS])


def attention(_):
    x = keras.Input((None,), dtype="int32", name="ids")
    h = L.Embedding(8, 4)(x)
    return keras.Model(x, L.LayerNormalization()(h + L.MultiHeadAttention(2, 2, dropout=0.1)(h, h))), IDS


def convolution_with_augmentation(_):
    x = keras.Input((None, None, 3))
    h = L.RandomFlip()(x)
    h = L.BatchNormalization()(L.Conv2D(4, 3, padding="same")(h))
    return keras.Model(x, L.Dense(2)(L.GlobalAveragePooling2D()(h))), IMAGES


def depthwise_and_pooling(_):
    x = keras.Input((8, 8, 3))
    return keras.Model(x, L.Flatten()(L.MaxPooling2D()(L.DepthwiseConv2D(3)(x)))), IMAGES


def _under(policy):
    with keras.DTypePolicyScope(policy) if hasattr(keras, "DTypePolicyScope") else _Policy(policy):
        x = keras.Input((4,))
        return keras.Model(x, L.Dense(2, dtype="float32")(L.Dense(3)(x))), FLOATS


class _Policy:
    def __init__(self, policy):
        self.policy = policy

    def __enter__(self):
        self.before = keras.config.dtype_policy()
        keras.config.set_dtype_policy(self.policy)

    def __exit__(self, *_):
        keras.config.set_dtype_policy(self.before)


def mixed_float16(_):
    return _under("mixed_float16")


def mixed_bfloat16(_):
    return _under("mixed_bfloat16")


def float64(_):
    return _under("float64")


def quantized_int8(_):
    model, x = functional(_)
    model.quantize("int8")
    return model, x


def lora(_):
    x = keras.Input((4,))
    dense = L.Dense(3)
    model = keras.Model(x, dense(x))
    dense.enable_lora(2)
    dense.lora_kernel_b.assign(np.ones((2, 3)))
    return model, FLOATS


class Noisy(L.Layer):
    def __init__(self, seed=None):
        super().__init__()
        self.generator = None if seed is None else keras.random.SeedGenerator(seed)

    def call(self, x, training=False):
        return x + keras.random.normal(keras.ops.shape(x), seed=self.generator) if training else x


def own_seed_generator(_):
    x = keras.Input((4,))
    return keras.Model(x, L.Dense(2)(Noisy(7)(x))), FLOATS


def global_seed_generator(_):
    x = keras.Input((4,))
    return keras.Model(x, L.Dense(2)(Noisy()(x))), FLOATS


def fixed_batch(_):
    x = keras.Input(batch_shape=(3, 4))
    return keras.Model(x, L.Dense(2)(x)), FLOATS


def scalar_inputs(_):
    x = keras.Input((), name="x")
    return keras.Model(x, x / 2 + 1), FLOATS[:, 0]


def ragged_input(_):
    class Sum(L.Layer):
        def build(self, shape):
            self.w = self.add_weight(shape=(), initializer="ones", name="w")

        def call(self, x):
            return tf.reduce_sum(x, axis=1) * self.w

    x = keras.Input((None,), ragged=True, name="numbers")
    return keras.Model(x, Sum()(x)), tf.ragged.constant([[1.0, 2.0], [3.0], []])


def sparse_input(_):
    x = keras.Input((4,), sparse=True, name="sparse")
    return keras.Model(x, L.Dense(2)(x)), tf.sparse.from_dense(FLOATS)


def hub_layer_inside(directory):
    x = keras.Input((1,))
    hub = layers.HubLayer(producers.half_plus_one(directory / "inner"), trainable=True)
    return keras.Model(x, L.Dense(2)(hub(x))), FLOATS[:, :1]


def hub_layer_with_a_table_inside(directory):
    x = keras.Input((), dtype="string")
    hub = layers.HubLayer(producers.text_classifier(directory / "inner"), trainable=True)
    return keras.Model(x, L.Dense(2)(hub(x))), tf.constant(["good movie", "bad", "movie"])


def spectral_wrapper_and_time_distributed(_):
    x = keras.Input((2, 4))
    return keras.Model(x, L.TimeDistributed(L.SpectralNormalization(L.Dense(3)))(x)), np.stack([FLOATS[:2]] * 3)


KINDS = {
    name: function
    for name, function in globals().copy().items()
    if callable(function) and getattr(function, "__module__", None) == __name__ and name[0] not in "_SN"
}
if "ragged" not in inspect.signature(keras.Input).parameters:
    del KINDS["ragged_input"]  # Keras 3.8 has no ragged inputs
