"""Checkpoints in several files, and variables that TF1 has split, load and export; the former are tuned too."""

import os

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_hub_layers as khl
from keras_hub_layers import layers

TABLE = np.arange(40, dtype="float32").reshape(10, 4)
IDS = tf.constant([0, 3, 9], tf.int64)


@pytest.fixture(scope="module")
def sharded(tmp_path_factory):
    """Rows of a table plus 1, in a checkpoint of at most 60 bytes a file."""
    root = tf.train.Checkpoint()
    root.table, root.bias = tf.Variable(TABLE, name="table"), tf.Variable(np.ones(4, "float32"), name="bias")
    root.__call__ = tf.function(
        lambda ids: tf.gather(root.table, ids) + root.bias, input_signature=[tf.TensorSpec((None,), tf.int64)]
    )
    root.variables = root.trainable_variables = [root.table, root.bias]
    path = str(tmp_path_factory.mktemp("sharded") / "model")
    shards = tf.train.experimental.MaxShardSizePolicy(max_shard_size=60)
    tf.saved_model.save(root, path, options=tf.saved_model.SaveOptions(experimental_sharding_callback=shards))
    assert len([name for name in os.listdir(f"{path}/variables") if ".data-" in name]) == 4
    return path


def test_a_checkpoint_in_several_files_is_described_tuned_and_exported(sharded, tmp_path):
    assert [(info.name, info.shape) for info in khl.inspect(sharded).variables] == [("table", (10, 4)), ("bias", (4,))]
    hub = layers.HubLayer(sharded, trainable=True)
    np.testing.assert_array_equal(hub(IDS), TABLE[[0, 3, 9]] + 1)
    inputs = keras.Input((), dtype="int64")
    model = keras.Model(inputs, hub(inputs))
    model.compile(keras.optimizers.SGD(3.0), "mse")  # 12 outputs: the gradient of y is y/6
    model.fit(IDS, np.zeros((3, 4)), verbose=0)
    rows = TABLE[[0, 3, 9]] + 1
    expected = rows - rows / 2 - rows.sum(0) / 2
    np.testing.assert_allclose(hub(IDS), expected, rtol=1e-6)
    tuned = layers.HubLayer(khl.export(hub, tmp_path / "tuned"))
    np.testing.assert_array_equal(tuned(IDS), hub(IDS))
    khl.save(model, tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras", safe_mode=False)
    np.testing.assert_array_equal(loaded(IDS), hub(IDS))


def test_a_variable_that_tf1_has_split_loads_and_is_copied(tmp_path):
    path = str(tmp_path / "tf1")
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        ids = tf.compat.v1.placeholder(tf.int64, (None,), name="ids")
        table = tf.compat.v1.get_variable(
            "table",
            (10, 4),
            initializer=tf.constant_initializer(0),
            partitioner=tf.compat.v1.fixed_size_partitioner(3),
            use_resource=True,
        )
        looked_up = tf.compat.v1.nn.embedding_lookup(table, ids, partition_strategy="div")
        session.run([part.initializer for part in table])
        session.run([part.assign(rows) for part, rows in zip(table, np.split(TABLE, [4, 7]), strict=True)])
        builder = tf.compat.v1.saved_model.Builder(path)
        signature = tf.compat.v1.saved_model.predict_signature_def({"ids": ids}, {"rows": looked_up})
        builder.add_meta_graph_and_variables(session, ["serve"], {"serving_default": signature})
        builder.save()
    arguments = {"signature": "serving_default", "output_key": "rows"}
    hub = layers.HubLayer(path, **arguments)
    assert [tuple(weight.shape) for weight in hub.weights] == [(4, 4), (3, 4), (3, 4)]
    copy = layers.HubLayer(khl.export(hub, tmp_path / "copy"), **arguments)
    for layer in (hub, copy):
        np.testing.assert_array_equal(layer(IDS), TABLE[[0, 3, 9]])
