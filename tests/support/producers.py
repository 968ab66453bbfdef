"""Small SavedModels whose numbers can be worked out by hand, saved by raw TensorFlow and by Keras 2.

Each function writes one SavedModel into `directory` and returns its path as a `str`. Where `keras2` is an
argument, both kinds of producer make the same model.
"""

from pathlib import Path

import tensorflow as tf
import tf_keras

PRODUCERS = {"saved_raw": False, "saved_from_keras2": True}


def half_plus_one(directory, keras2=False):
    """y = w·x + 1 with w = 0.5 trainable (its L2 loss is 0.01·w² = 0.0025), kernel 1 and bias 1 fixed."""
    inputs = tf_keras.Input((1,))
    times_w = tf_keras.layers.Dense(
        1,
        use_bias=False,
        kernel_initializer=tf_keras.initializers.Constant(0.5),
        kernel_regularizer=tf_keras.regularizers.l2(0.01),
        name="times_w",
    )
    plus_1 = tf_keras.layers.Dense(
        1, kernel_initializer="ones", bias_initializer="ones", trainable=False, name="plus_1"
    )
    model = tf_keras.Model(inputs, plus_1(times_w(inputs)))
    if keras2:
        return save(model, directory)
    root = tf.train.Checkpoint()
    root.__call__ = tf.function(lambda x: model(x, training=False), input_signature=[tf.TensorSpec((None, 1))])
    root.variables = model.trainable_variables + model.non_trainable_variables
    root.trainable_variables = [times_w.kernel]
    root.regularization_losses = [tf.function(lambda: model.losses[0], input_signature=[])]
    return save(root, directory)


def batch_norm(directory, keras2=False, modes=(True, False)):
    """Batch normalization of one feature with momentum 0.8: state that moves in training mode only."""
    inputs = tf_keras.Input((1,))
    layer = tf_keras.layers.BatchNormalization(momentum=0.8, name="batch_normalization")
    model = tf_keras.Model(inputs, layer(inputs))
    if keras2:
        return save(model, directory)
    root = tf.train.Checkpoint()
    root.__call__ = traced(
        lambda inputs, training=False: model(inputs, training=training),
        *[(tf.TensorSpec((None, 1)), {"training": mode}) for mode in modes],
    )
    root.trainable_variables = [layer.beta, layer.gamma]
    root.variables = [layer.beta, layer.gamma, layer.moving_mean, layer.moving_variance]
    return save(root, directory)


def text_length(directory, keras2=False):
    """String (None, 1) to (None, 2): the text's length times the trainable weights [0.1, 0.3]."""

    class Length(tf_keras.layers.Layer):
        def call(self, inputs):
            return tf.strings.length(inputs)

    inputs = tf_keras.Input((1,), dtype=tf.string)
    times_w = tf_keras.layers.Dense(
        2,
        use_bias=False,
        kernel_initializer=tf_keras.initializers.Constant([0.1, 0.3]),
        kernel_regularizer=tf_keras.regularizers.l2(0.01),
    )
    model = tf_keras.Model(inputs, times_w(tf.cast(Length()(inputs), tf.float32)))
    if keras2:
        return save(model, directory)
    root = tf.train.Checkpoint()
    root.__call__ = tf.function(model, input_signature=[tf.TensorSpec((None, 1), tf.string)])
    root.variables = root.trainable_variables = model.trainable_variables
    root.regularization_losses = [tf.function(lambda: model.losses[0], input_signature=[])]
    return save(root, directory)


def text_classifier(directory):
    """Texts (None,) to (None, 2): the mean of their words' rows; the vocabulary is an asset, row i is [i, -i]."""
    vocabulary = Path(directory).with_name("vocabulary.txt")
    vocabulary.parent.mkdir(parents=True, exist_ok=True)
    vocabulary.write_text("hello\nworld\ngood\nbad\n")
    root = tf.train.Checkpoint()
    initializer = tf.lookup.TextFileInitializer(
        str(vocabulary), tf.string, tf.lookup.TextFileIndex.WHOLE_LINE, tf.int64, tf.lookup.TextFileIndex.LINE_NUMBER
    )
    root.table = tf.lookup.StaticVocabularyTable(initializer, 1)
    root.vocab_file = tf.saved_model.Asset(str(vocabulary))
    rows = tf.range(5, dtype=tf.float32)
    root.embeddings = tf.Variable(tf.stack([rows, -rows], 1), name="encoder/embeddings")

    def call(texts):
        ids = tf.ragged.map_flat_values(root.table.lookup, tf.strings.split(texts))
        return tf.reduce_mean(tf.ragged.map_flat_values(lambda i: tf.gather(root.embeddings, i), ids), axis=1)

    root.__call__ = tf.function(call, input_signature=[tf.TensorSpec((None,), tf.string)])
    root.variables = root.trainable_variables = [root.embeddings]
    path = save(root, directory)
    vocabulary.unlink()
    return path


def parsed_number(directory, keras2=False):
    """String (None, 1) to the integers that they spell, with an asset and a variable as attributes of the root."""

    def parse(texts):
        return tf.strings.to_number(texts, tf.int64)

    if keras2:
        inputs = tf_keras.Input((1,), dtype=tf.string)
        root = tf_keras.Model(inputs, tf_keras.layers.Lambda(parse)(inputs))
    else:
        root = tf.train.Checkpoint()
        root.__call__ = tf.function(parse, input_signature=[tf.TensorSpec((None, 1), tf.string)])
    sample = Path(directory).with_name("number.txt")
    sample.write_text("12345\n")
    root.sample_input = tf.saved_model.Asset(str(sample))
    root.sample_output = tf.Variable([[12345]], dtype=tf.int64)
    path = save(root, directory)
    sample.unlink()
    return path


def scaled(directory):
    """y = a·x + b with tensor arguments a = 1 and b = 0."""
    root = tf.train.Checkpoint()
    root.__call__ = tf.function(
        lambda x, a=1.0, b=0.0: a * x + b,
        input_signature=[tf.TensorSpec((None, 1)), tf.TensorSpec(()), tf.TensorSpec(())],
    )
    return save(root, directory)


def sum_and_difference(directory):
    """{x, y} to [x + y, x + 2y], or with return_dict=True to {sigma: the same, delta: x - y}."""

    def call(d, return_dict=False):
        sigma = tf.concat([d["x"] + d["y"], d["x"] + 2 * d["y"]], -1)
        return {"sigma": sigma, "delta": d["x"] - d["y"]} if return_dict else sigma

    spec = {"x": tf.TensorSpec((None, 1)), "y": tf.TensorSpec((None, 1))}
    root = tf.train.Checkpoint()
    root.__call__ = traced(call, *[(spec, {"return_dict": mode}) for mode in (False, True)])
    return save(root, directory)


def two_lists(directory):
    """[a, b] to [a + b, a - b], as Keras 2 saves it."""
    a, b = tf_keras.Input((2,), name="a"), tf_keras.Input((2,), name="b")
    return save(tf_keras.Model([a, b], [a + b, a - b]), directory)


def obscure_shapes(directory):
    """x to [x, 2x as (2, 2), 3x as (3, 3, 3)] with shapes that TensorFlow cannot infer."""

    def broadcast(x, shape):
        hidden = tf.cast(tf.cast(shape, tf.float32) + 0.1 * tf.sin(tf.random.uniform(())) + 0.3, tf.int32)
        return tf.broadcast_to(x, hidden)

    def call(x):
        n = tf.shape(x)[0]
        return [broadcast(tf.reshape(i * x, [n] + [1] * i), tf.concat([[n], [i] * i], 0)) for i in (1, 2, 3)]

    root = tf.train.Checkpoint()
    root.__call__ = tf.function(call, input_signature=[tf.TensorSpec((None, 1))])
    return save(root, directory)


def plus_one(directory):
    """y = x + 1 for any shape; the signature `serving_default` returns `output_0`."""
    root = tf.train.Checkpoint()
    root.__call__ = tf.function(lambda x: x + 1, input_signature=[tf.TensorSpec(None)])
    return save(root, directory)


def tensor_training(directory):
    """y = x + 1 in training and x otherwise, where `training` is a tensor; `plus_one` is a signature."""
    root = tf.train.Checkpoint()
    root.__call__ = tf.function(
        lambda x, training=False: tf.cond(training, lambda: x + 1, lambda: x),
        input_signature=[tf.TensorSpec(None), tf.TensorSpec((), tf.bool)],
    )
    root.plus_one = tf.function(lambda x: x + 1, input_signature=[tf.TensorSpec(None)])
    return save(root, directory, signatures={"plus_one": root.plus_one})


def multiply(directory, power=1):
    """The TF Hub guide's low-level example: y = v·x with v = 2 trainable and the loss 0.001·v² = 0.004."""

    class MyMulModel(tf.train.Checkpoint):
        def __init__(self, v_init):
            super().__init__()
            self.v = tf.Variable(v_init)
            self.variables = [self.v]
            self.trainable_variables = [self.v]
            self.regularization_losses = [
                tf.function(input_signature=[])(lambda: 0.001 * self.v**2),
            ]

        @tf.function(input_signature=[tf.TensorSpec((None,))])
        def __call__(self, inputs):
            return tf.multiply(inputs, self.v**power if power != 1 else self.v)

    return save(MyMulModel(2.0), directory)


def shared_loss(directory):
    """y = a·x + b with a = 2, b = 3 trainable and two losses: 0.1·(a² + b²) = 1.3 over both, 0.5·b = 1.5."""
    root = tf.train.Checkpoint()
    root.a, root.b = tf.Variable(2.0, name="scale/a"), tf.Variable(3.0, name="shift/b")
    root.__call__ = tf.function(lambda x: root.a * x + root.b, input_signature=[tf.TensorSpec((None, 1))])
    root.variables = root.trainable_variables = [root.a, root.b]
    root.regularization_losses = [
        tf.function(lambda: 0.1 * (root.a**2 + root.b**2), input_signature=[]),
        tf.function(lambda: 0.5 * root.b, input_signature=[]),
    ]
    return save(root, directory)


def flags_against_lists(directory):
    """y = a·x + b + c: b is published as trainable though its flag is false, a and c have true flags only."""
    root = tf.train.Checkpoint()
    root.a = tf.Variable(2.0, name="a")
    root.b = tf.Variable(3.0, name="b", trainable=False)
    root.c = tf.Variable(4.0, name="c")
    root.__call__ = tf.function(lambda x: root.a * x + root.b + root.c, input_signature=[tf.TensorSpec((None, 1))])
    root.variables, root.trainable_variables = [root.a, root.b], [root.b]
    return save(root, directory)


def raw_pixels(directory, dtype=tf.uint8):
    """y = w·x + b in a dtype, with w = 2, and b = 1 that is fixed; a plain tf.Module that publishes nothing."""
    root = tf.Module()
    root.w, root.b = tf.Variable(2.0, name="w"), tf.Variable(1.0, name="b", trainable=False)
    call = tf.function(lambda x: tf.cast(root.w * x + root.b, dtype), input_signature=[tf.TensorSpec((None, 1))])
    root.__call__ = call
    return save(root, directory)


def raw_module(directory):
    """y = w·x + count with w = 2: a plain tf.Module that publishes nothing; `count` is an integer state."""

    class Module(tf.Module):
        def __init__(self):
            super().__init__()
            self.w = tf.Variable(2.0, name="dense/w")
            self.count = tf.Variable(0, name="count", trainable=False)

        @tf.function(input_signature=[tf.TensorSpec((None, 1))])
        def __call__(self, x):
            self.count.assign_add(1)
            return self.w * x + tf.cast(self.count, tf.float32)

    return save(Module(), directory)


def ragged_sum(directory):
    """Ragged (None, None) to the rows' sums (None, 1)."""
    return _function(directory, lambda x: tf.reduce_sum(x, 1, keepdims=True), tf.RaggedTensorSpec((None, None)))


def sparse_sum(directory):
    """Sparse (None, 4) to the rows' sums (None, 1)."""
    return _function(
        directory, lambda x: tf.sparse.sparse_dense_matmul(x, tf.ones((4, 1))), tf.SparseTensorSpec((None, 4))
    )


def lookup(directory, keras2=False):
    """Ids (None, None) to the rows of a table (50, 4) of zeros: what a token moves in training is its row."""
    if keras2:
        inputs = tf_keras.Input((None,), dtype="int32")
        table = tf_keras.layers.Embedding(50, 4, embeddings_initializer="zeros", name="table")
        return save(tf_keras.Model(inputs, table(inputs)), directory)
    root = tf.train.Checkpoint()
    root.table = tf.Variable(tf.zeros((50, 4)), name="table")
    spec = tf.TensorSpec((None, None), tf.int32)
    root.__call__ = tf.function(lambda ids: tf.gather(root.table, ids), input_signature=[spec])
    root.variables = root.trainable_variables = [root.table]
    return save(root, directory)


def two_lookups(directory):
    """Ids (None, None) to the rows of a table (50, 4), gathered twice; the loss is an L2 of 3 rows."""
    root = tf.train.Checkpoint()
    root.table = tf.Variable(tf.reshape(tf.range(200.0) / 100, (50, 4)), name="table")

    def call(ids):
        return tf.gather(root.table, ids) + 2 * tf.gather(root.table, ids[:, ::-1])

    root.__call__ = tf.function(call, input_signature=[tf.TensorSpec((None, None), tf.int32)])
    root.variables = root.trainable_variables = [root.table]
    loss = tf.function(lambda: 0.1 * tf.reduce_sum(tf.gather(root.table, [1, 1, 7]) ** 2), input_signature=[])
    root.regularization_losses = [loss]
    return save(root, directory)


def input_losses(directory):
    """Keras 2: outputs x·k with k of ones (6); each call adds 0.5·mean(y²), and in training mode twice that.

    Besides a published L2 loss of 0.01·Σk² = 0.06.
    """

    class Penalty(tf_keras.layers.Layer):
        def build(self, input_shape):
            self.k = self.add_weight("k", (6,), initializer="ones", regularizer=tf_keras.regularizers.l2(0.01))

        def call(self, x, training=False):
            y = x * self.k
            self.add_loss((1.0 if training else 0.5) * tf.reduce_mean(y**2))
            return y

    inputs = tf_keras.Input((6,))
    return save(tf_keras.Model(inputs, Penalty()(inputs)), directory, keras=True)


def activity_regularizer(directory):
    """Keras 2: a dense layer (6 to 4) of ones with an activity regularizer of 0.5·Σy² over the batch size."""
    inputs = tf_keras.Input((6,))
    dense = tf_keras.layers.Dense(4, kernel_initializer="ones", activity_regularizer=tf_keras.regularizers.l2(0.5))
    return save(tf_keras.Model(inputs, dense(inputs)), directory, keras=True)


def nested_losses(directory):
    """Keras 2: a model with an activity regularizer, called twice within another."""
    inner = tf_keras.Sequential(
        [
            tf_keras.Input((6,)),
            tf_keras.layers.Dense(6, kernel_initializer="ones", activity_regularizer=tf_keras.regularizers.l1(0.5)),
        ]
    )
    inputs = tf_keras.Input((6,))
    return save(tf_keras.Model(inputs, inner(inputs) + inner(2 * inner(inputs))), directory, keras=True)


def lost_losses(directory):
    """TensorFlow's own function around a Keras 2 layer with an activity regularizer, which it does not return."""
    root = tf.train.Checkpoint()
    root.dense = tf_keras.layers.Dense(4, activity_regularizer=tf_keras.regularizers.l2(0.5))
    root.__call__ = tf.function(root.dense, input_signature=[tf.TensorSpec((None, 6))])
    root.__call__.get_concrete_function()
    root.variables = root.trainable_variables = root.dense.trainable_variables
    return save(root, directory)


def words(directory):
    """Texts (None,) to ragged words."""
    return _function(directory, tf.strings.split, tf.TensorSpec((None,), tf.string))


def token_doubler(directory):
    """Integers int32 (None, 3) to twice their values, float32."""
    return _function(directory, lambda x: 2 * tf.cast(x, tf.float32), tf.TensorSpec((None, 3), tf.int32))


def two_positional(directory):
    """f(x, y) = x + y: outside the interface, but with a signature and a piece."""
    root = tf.train.Checkpoint()
    spec = tf.TensorSpec((None,))
    root.__call__ = tf.function(lambda x, y: x + y, input_signature=[spec, spec])
    root.double = tf.function(lambda x: 2 * x, input_signature=[spec])
    return save(root, directory, signatures={"double": root.double})


def with_pieces(directory):
    """`encoder` (y = k·x, k = 3 trainable, loss 0.1·k = 0.3), `text.tokenize` and `text.length`; no __call__."""
    root = tf.train.Checkpoint()
    encoder = tf.train.Checkpoint()
    encoder.k = tf.Variable(3.0, name="encoder/k")
    encoder.__call__ = tf.function(lambda x: encoder.k * x, input_signature=[tf.TensorSpec((None, 1))])
    encoder.variables = encoder.trainable_variables = [encoder.k]
    encoder.regularization_losses = [tf.function(lambda: 0.1 * encoder.k, input_signature=[])]
    root.encoder = encoder
    root.text = tf.train.Checkpoint()
    strings = [tf.TensorSpec((None,), tf.string)]
    root.text.tokenize = tf.function(tf.strings.split, input_signature=strings)
    root.text.length = tf.function(tf.strings.length, input_signature=strings)
    return save(root, directory)


def bad_losses(directory):
    """y = v·x with a regularization loss that is a variable, not a function."""
    root = tf.train.Checkpoint()
    root.v = tf.Variable(2.0)
    root.__call__ = tf.function(lambda x: root.v * x, input_signature=[tf.TensorSpec((None,))])
    root.variables = root.trainable_variables = [root.v]
    root.regularization_losses = [tf.Variable(1.0)]
    return save(root, directory)


def bert_preprocessor(directory):
    """Texts (None,) to a dict of int32 (None, 4): word ids, mask and types; nothing to train."""
    root = tf.train.Checkpoint()

    def call(texts):
        words = tf.strings.split(texts).to_tensor(shape=(None, 4))
        mask = tf.cast(words != "", tf.int32)
        ids = mask * (1 + tf.cast(tf.strings.to_hash_bucket_fast(words, 9), tf.int32))
        return {"input_word_ids": ids, "input_mask": mask, "input_type_ids": tf.zeros_like(mask)}

    root.__call__ = tf.function(call, input_signature=[tf.TensorSpec((None,), tf.string)])
    return save(root, directory)


def bert_encoder(directory):
    """A dict of int32 (None, length) to a dict: `sequence_output` (None, length, 2) and `pooled_output` (None, 2)."""
    root = tf.train.Checkpoint()
    root.embeddings = tf.Variable(tf.reshape(tf.range(20.0), (10, 2)) / 20, name="bert/embeddings/word_embeddings")

    def call(inputs, training=False):
        mask = tf.cast(inputs["input_mask"], tf.float32)[..., None]
        sequence = mask * tf.gather(root.embeddings, inputs["input_word_ids"])
        pooled = tf.reduce_sum(sequence, 1) / tf.maximum(tf.reduce_sum(mask, 1), 1.0)
        return {"sequence_output": sequence, "pooled_output": pooled, "default": pooled}

    names = ("input_word_ids", "input_mask", "input_type_ids")
    spec = {name: tf.TensorSpec((None, None), tf.int32, name=name) for name in names}
    root.__call__ = tf.function(call)
    for mode in (False, True):
        root.__call__.get_concrete_function(spec, training=mode)
    root.variables = root.trainable_variables = [root.embeddings]
    return save(root, directory)


def tf1(directory):
    """A TF1 SavedModel: x (None, 2) to y = x₀ + 2·x₁."""
    v1 = tf.compat.v1
    with tf.Graph().as_default() as graph, v1.Session(graph=graph) as session:
        x = v1.placeholder(tf.float32, [None, 2], name="x")
        w = v1.get_variable("w", initializer=[[1.0], [2.0]], use_resource=True)
        y = tf.matmul(x, w)
        session.run(v1.global_variables_initializer())
        builder = v1.saved_model.Builder(str(directory))
        signature = v1.saved_model.predict_signature_def({"x": x}, {"y": y})
        builder.add_meta_graph_and_variables(session, ["serve"], {"serving_default": signature})
        builder.save()
    return str(directory)


def tokenizer(directory):
    """Texts (None,) to the numbers (None, 1) of their characters: no variables at all."""
    root = tf.train.Checkpoint()
    root.__call__ = tf.function(
        lambda texts: tf.cast(tf.strings.length(texts), tf.float32)[:, None],
        input_signature=[tf.TensorSpec((None,), tf.string)],
    )
    return save(root, directory)


def untraced(directory, signature=True, piece=True):
    """`__call__` saved without a trace; y = 2·x by the signature, y = 3·x by the piece `triple`."""

    class Untraced(tf.Module):
        def __init__(self):
            super().__init__()
            self.w = tf.Variable(2.0, name="w")

        @tf.function
        def __call__(self, x):
            return self.w * x

        @tf.function
        def never_called(self, x):
            return x

        @tf.function(input_signature=[tf.TensorSpec((None, 1))])
        def serve(self, x):
            return {"y": self.w * x}

    root = Untraced()
    if piece:
        root.triple = tf.function(lambda x: 3.0 * x, input_signature=[tf.TensorSpec((None, 1))])
    return save(root, directory, **({"signatures": {"serving_default": root.serve}} if signature else {}))


def tf1_references(directory):
    """A TF1 SavedModel whose variables are references: y = w·x + b with w = 2 and b = [1, 1]."""
    v1 = tf.compat.v1
    with tf.Graph().as_default() as graph, v1.Session(graph=graph) as session:
        x = v1.placeholder(tf.float32, [None, 2], name="x")
        w, b = (v1.get_variable(name, initializer=value, use_resource=False) for name, value in
                (("dense/w", 2.0), ("dense/b", [1.0, 1.0])))  # fmt: skip
        session.run(v1.global_variables_initializer())
        v1.saved_model.simple_save(session, str(directory), {"x": x}, {"y": w * x + b})
    return str(directory)


def several_graphs(directory):
    """A TF1 SavedModel with two graphs, tagged ["serve"] and ["train", "gpu"]: y = w·x with w = 2."""
    v1 = tf.compat.v1
    with tf.Graph().as_default() as graph, v1.Session(graph=graph) as session:
        x = v1.placeholder(tf.float32, [None, 1], name="x")
        y = x * v1.get_variable("w", initializer=[2.0], use_resource=True)
        session.run(v1.global_variables_initializer())
        builder = v1.saved_model.Builder(str(directory))
        signature = {"serving_default": v1.saved_model.predict_signature_def({"x": x}, {"y": y})}
        builder.add_meta_graph_and_variables(session, ["serve"], signature)
        builder.add_meta_graph(["train", "gpu"], signature)
        builder.save()
    return str(directory)


def small_image_model(directory):
    """Images (None, 8, 8, 1) to 4 features, saved from Keras 2: convolution, batch normalization, dropout, L2."""
    tf_keras.utils.set_random_seed(1)
    model = tf_keras.Sequential(
        [
            tf_keras.Input((8, 8, 1)),
            tf_keras.layers.Conv2D(4, 3, kernel_regularizer=tf_keras.regularizers.l2(0.001), name="conv"),
            tf_keras.layers.BatchNormalization(momentum=0.5, name="norm"),
            tf_keras.layers.ReLU(),
            tf_keras.layers.Dropout(0.5),
            tf_keras.layers.GlobalAveragePooling2D(),
        ]
    )
    return save(model, directory)


def traced(function, *calls):
    """A tf.function with one trace per (spec, arguments)."""
    function = tf.function(function)
    for spec, arguments in calls:
        function.get_concrete_function(spec, **arguments)
    return function


def save(root, directory, keras=False, **kwargs):
    if keras:  # with what `tf_keras.models.load_model` needs
        root.save(str(directory), save_format="tf")
        return str(directory)
    tf.saved_model.save(root, str(directory), **kwargs)
    return str(directory)


def _function(directory, function, spec):
    root = tf.train.Checkpoint()
    root.__call__ = tf.function(function, input_signature=[spec])
    return save(root, directory)
