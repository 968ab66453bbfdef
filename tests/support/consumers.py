"""Load exports as their consumers do, in a process of its own: `python consumers.py CONSUMER FOLDER`.

FOLDER holds one folder per case with the SavedModel in `out` and `case.pickle`: the flat components of one batch of
inputs, the flat outputs by name, the losses, and the numbers of variables. Prints {case: problem or ""} as JSON.
"""

import json
import os
import pickle
import sys
import traceback

CONSUMER, FOLDER = sys.argv[1:] if len(sys.argv) == 3 else ("", "")
os.environ["TF_USE_LEGACY_KERAS"] = "1" if CONSUMER == "tf_keras" else "0"
if CONSUMER in ("tensorflow", "session"):
    sys.modules["keras"] = sys.modules["tf_keras"] = None  # importing either is an error

import numpy as np  # noqa: E402
import tensorflow as tf  # noqa: E402


def close(found, expected, case):
    for key, value in expected.items():
        if found[key].shape != value.shape:
            raise AssertionError(f"{key}: {found[key].shape} for {value.shape}")
        if value.dtype.kind in "fV":
            np.testing.assert_allclose(np.float64(found[key]), np.float64(value), rtol=1e-3, atol=case["tolerance"])
        else:
            np.testing.assert_array_equal(found[key], value)


def flat(outputs):
    """Outputs as a list of arrays; the cases' outputs are in the same order."""
    return [part.numpy() for part in tf.nest.flatten(outputs, expand_composites=True)]


def inputs_of(loaded, components):
    spec = loaded.__call__.concrete_functions[0].structured_input_signature[0][0]
    return tf.nest.pack_sequence_as(spec, [tf.constant(part) for part in components], expand_composites=True)


def by_name(outputs, case):
    return dict(zip(case["outputs"], flat(outputs), strict=True))


def use_with_tensorflow(path, case):
    """The Reusable SavedModel interface itself, without any Keras."""
    loaded = tf.saved_model.load(path)
    inputs = inputs_of(loaded, case["inputs"])
    close(by_name(loaded(inputs, training=False), case), case["outputs"], case)
    assert len(loaded.__call__.concrete_functions) == 2
    assert sorted(loaded.signatures) == ["serve", "serving_default"]
    np.testing.assert_allclose([loss() for loss in loaded.regularization_losses], case["losses"], rtol=1e-5)
    assert (len(loaded.variables), len(loaded.trainable_variables)) == case["counts"]
    with tf.GradientTape() as tape:
        outputs = loaded(inputs, training=True)
        value = tf.add_n([tf.reduce_sum(tf.cast(part, tf.float32) ** 2) for part in tf.nest.flatten(outputs)])
    gradients = tape.gradient(value, list(loaded.trainable_variables))
    assert all(gradient is not None for gradient in gradients), "a trainable variable has no gradient"
    if case["dense"]:
        one = inputs_of(loaded, [part[:1] for part in case["inputs"]])
        first = {name: value[:1] for name, value in case["outputs"].items()}
        close(by_name(tf.saved_model.load(path)(one, training=False), case), first, case)


def use_in_a_session(path, case):
    """TF1's loader and a session: the C++ restore and run path that TensorFlow Serving takes."""
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        graph = tf.compat.v1.saved_model.load(session, ["serve"], path)
        for name in ("serving_default", "serve"):
            signature = graph.signature_def[name]
            assert sorted(signature.inputs) == sorted(case["arguments"])
            feed = {
                signature.inputs[key].name: part for key, part in zip(case["arguments"], case["inputs"], strict=True)
            }
            outputs = session.run({key: info.name for key, info in signature.outputs.items()}, feed)
            close(outputs, case["outputs"], case)


def use_with_tf_keras(path, case):
    """`hub.KerasLayer(trainable=True)` of the old world: predict, and two steps of training."""
    import tensorflow_hub as hub
    import tf_keras

    layer = hub.KerasLayer(path, trainable=True)
    inputs = inputs_of(layer.resolved_object, case["inputs"])
    close(by_name(layer(inputs, training=False), case), case["outputs"], case)
    assert len(layer.trainable_weights) == case["counts"][1]
    optimizer = tf_keras.optimizers.SGD(1e-3)
    before = [weight.numpy() for weight in layer.trainable_weights]
    for _ in range(2):
        with tf.GradientTape() as tape:
            outputs = tf.nest.flatten(layer(inputs, training=True))
            loss = tf.add_n([tf.reduce_mean((tf.cast(part, tf.float32) - 7.0) ** 2) for part in outputs] + layer.losses)
        optimizer.apply_gradients(
            zip(tape.gradient(loss, layer.trainable_weights), layer.trainable_weights, strict=True)
        )
    assert np.isfinite(loss.numpy())
    moved = [np.any(old != weight.numpy()) for old, weight in zip(before, layer.trainable_weights, strict=True)]
    assert any(moved) or not moved, "training moved nothing"
    np.testing.assert_allclose(len(layer.losses), len(case["losses"]))


def use_with_tfsm_layer(path, case):
    """Keras 3's own layer over the `serve` endpoint."""
    import keras

    layer = keras.layers.TFSMLayer(path, call_endpoint="serve")
    inputs = inputs_of(tf.saved_model.load(path), case["inputs"])
    close(by_name(layer(inputs), case), case["outputs"], case)


CONSUMERS = {
    "tensorflow": use_with_tensorflow,
    "session": use_in_a_session,
    "tf_keras": use_with_tf_keras,
    "tfsm_layer": use_with_tfsm_layer,
}


def main():
    results = {}
    for name in sorted(os.listdir(FOLDER)):
        with open(os.path.join(FOLDER, name, "case.pickle"), "rb") as file:
            case = pickle.load(file)
        try:
            CONSUMERS[CONSUMER](os.path.join(FOLDER, name, "out"), case)
            results[name] = ""
        except Exception:
            results[name] = traceback.format_exc()[-900:]
    sys.stdout.write("\n" + json.dumps(results) + "\n")


if __name__ == "__main__":
    main()
