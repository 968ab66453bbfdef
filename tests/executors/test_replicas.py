"""Eager calls in the scope of a strategy with two replicas: the right values, or the reason why not."""

import json
import subprocess
import sys

import numpy as np
import producers

TWO_REPLICAS = """
import json, sys
import keras, numpy as np, tensorflow as tf
from keras_hub_layers import errors, finetuning, layers

cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
half, norm = sys.argv[1:]
x = np.array([[0.0], [10.0]], "float32")
results, strategy = {}, tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])

def values(of):
    return np.ravel(of).tolist()

with strategy.scope():
    frozen = layers.HubLayer(half)
    layer, moving = (layers.HubLayer(path, trainable=True) for path in (half, norm))
    model = keras.Sequential([keras.Input((1,)), frozen])
    try:
        frozen.resolved_object(x)
    except tf.errors.InvalidArgumentError:
        results["plain"] = "fails"
    results["called"] = [values(one(x)) for one in (frozen, layer, model)]
    results["features"] = [values(finetuning.features(one, x)) for one in (frozen, model)]
    results["losses"] = values(layer.losses)
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(layer(x))
results["gradient"] = values(tape.gradient(loss, layer.trainable_variables))  # in the scope no variable has one
results["features"] += [values(finetuning.features(one, x)) for one in (frozen, model)]
results["refused"] = []
for context in (strategy.scope(), tf.name_scope("outside")):
    with context:
        try:
            moving(x, training=True)
        except errors.TrainingError as err:
            results["refused"].append(err.fix.split("   #")[0])
layer, x = moving, tf.constant(x)
exec(results["refused"][0])
mean = next(weight.value for weight in moving.weights if "moving_mean" in weight.name)
results["state"] = [float(np.ravel(copy)[0]) for copy in strategy.experimental_local_results(mean)]
print(json.dumps(results))
"""


def test_calls_and_features_are_those_of_one_device_and_training_between_the_replicas_is_refused(produced):
    paths = [produced(producers.half_plus_one), produced(producers.batch_norm, keras2=True)]
    done = subprocess.run([sys.executable, "-c", TWO_REPLICAS, *paths], capture_output=True, text=True, check=True)
    results = json.loads(done.stdout.splitlines()[-1])
    assert results["plain"] == "fails"  # TensorFlow itself; else `compat.tensorflow.on_one_copy` is not needed
    assert results["called"] == [[1.0, 6.0]] * 3  # y = x / 2 + 1
    assert results["features"] == [[1.0, 6.0]] * 4
    np.testing.assert_allclose(results["losses"], [0.0025])
    assert results["gradient"] == [10.0]
    assert len(results["refused"]) == 2
    np.testing.assert_allclose(results["state"], [1.0, 1.0], rtol=1e-5)  # 0.8·0 + 0.2·5 in each copy
