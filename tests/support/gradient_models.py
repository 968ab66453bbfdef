"""Small SavedModels whose gradients can be worked out by hand: some are lost, some are stopped, some need Python."""

from pathlib import Path

import producers
import tensorflow as tf
import tf_keras
from tensorflow.core.protobuf import saved_model_pb2

ROW = tf.TensorSpec((None, 1))


@tf.custom_gradient
def _doubled(x):
    """x, with twice its gradient."""
    return tf.identity(x), lambda upstream: 2 * upstream


def custom_gradient(directory, only_in_training=False):
    """y = w·x with w = 3, through an op whose gradient is doubled, so that it is 2·x; saved with its gradient."""
    root = tf.train.Checkpoint(w=tf.Variable(3.0, name="w"))

    def call(x, training=False):
        y = root.w * x
        return _doubled(y) if training or not only_in_training else y

    root.__call__ = producers.traced(call, *[(ROW, {"training": mode}) for mode in (False, True)])
    root.variables = root.trainable_variables = [root.w]
    return producers.save(root, directory)


def lost_gradient(directory, only_in_training=False):
    """The same as another process sees it that saved no gradients: without them, under a name unknown here."""
    path = Path(custom_gradient(directory, only_in_training))
    model = saved_model_pb2.SavedModel.FromString((path / "saved_model.pb").read_bytes())
    library = model.meta_graphs[0].graph_def.library
    del library.registered_gradients[:]
    for node in (node for function in library.function for node in function.node_def):
        if "_gradient_op_type" in node.attr and node.attr["_gradient_op_type"].s.startswith(b"CustomGradient"):
            node.attr["_gradient_op_type"].s = b"CustomGradient-0"
    (path / "saved_model.pb").write_bytes(model.SerializeToString())
    return str(path)


def stopped_gradient(directory):
    """y = a·x + stop(b)·x: of the published a = 2, b = 3, c = 4 a gradient reaches the first only; c is not used."""
    root = tf.train.Checkpoint(**{name: tf.Variable(v, name=name) for name, v in (("a", 2.0), ("b", 3.0), ("c", 4.0))})
    root.__call__ = tf.function(lambda x: root.a * x + tf.stop_gradient(root.b) * x, input_signature=[ROW])
    root.variables = root.trainable_variables = [root.a, root.b, root.c]
    return producers.save(root, directory)


def lstm(directory):
    """An LSTM of Keras 2 before a dense layer: a saved loop."""
    inputs = tf_keras.Input((4, 2))
    return producers.save(tf_keras.Model(inputs, tf_keras.layers.Dense(1)(tf_keras.layers.LSTM(3)(inputs))), directory)


def argmax(directory):
    """y = the place of the largest of w·x, as a float: no gradient passes."""
    root = tf.train.Checkpoint(w=tf.Variable(2.0, name="w"))
    root.__call__ = tf.function(lambda x: tf.cast(tf.argmax(root.w * x, -1), tf.float32), input_signature=[ROW])
    root.variables = root.trainable_variables = [root.w]
    return producers.save(root, directory)


def only_in_a_loss(directory):
    """y = a·x with the loss b², a = 2 and b = 3: the loss alone moves b."""
    root = tf.train.Checkpoint(a=tf.Variable(2.0, name="a"), b=tf.Variable(3.0, name="b"))
    root.__call__ = tf.function(lambda x: root.a * x, input_signature=[ROW])
    root.variables = root.trainable_variables = [root.a, root.b]
    root.regularization_losses = [tf.function(lambda: root.b**2, input_signature=[])]
    return producers.save(root, directory)


def python_function(directory):
    """y = 2·x by a Python function; the signature `plain` gives w·x with w = 3 without one."""
    root = tf.train.Checkpoint(w=tf.Variable(3.0, name="w"))

    def call(x):
        y = tf.numpy_function(lambda value: 2 * value, [x * root.w / root.w], tf.float32)
        return tf.ensure_shape(y, (None, 1))

    root.__call__ = tf.function(call, input_signature=[ROW])
    root.variables = root.trainable_variables = [root.w]
    plain = tf.function(lambda x: {"y": root.w * x}, input_signature=[tf.TensorSpec((None, 1), name="x")])
    return producers.save(root, directory, signatures={"plain": plain})


def tunable_piece(directory):
    """y = 5·x that publishes nothing; its piece `encoder` is k·x with k = 3 published as trainable."""
    root = tf.train.Checkpoint(w=tf.Variable(5.0, name="w"))
    root.__call__ = tf.function(lambda x: root.w * x, input_signature=[ROW])
    root.encoder = tf.train.Checkpoint(k=tf.Variable(3.0, name="k"))
    root.encoder.__call__ = tf.function(lambda x: root.encoder.k * x, input_signature=[ROW])
    root.encoder.variables = root.encoder.trainable_variables = [root.encoder.k]
    return producers.save(root, directory)


def open_placeholder(directory):
    """A TF1 SavedModel that TensorFlow 2 cannot load: y = x·keep, and the placeholder `keep` is no input."""
    v1 = tf.compat.v1
    with tf.Graph().as_default() as graph, v1.Session(graph=graph) as session:
        x, keep = v1.placeholder(tf.float32, (None, 1), name="x"), v1.placeholder(tf.float32, (), name="keep")
        builder = v1.saved_model.Builder(str(directory))
        signature = v1.saved_model.predict_signature_def({"x": x}, {"y": x * keep})
        builder.add_meta_graph_and_variables(session, ["serve"], {"serving_default": signature})
        builder.save()
    return str(directory)
