"""An export runs in every other process, keeps what was so in its source, and says what cannot be trained."""

import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_hub_layers as khl
from keras_hub_layers import callbacks, errors, layers

L = keras.layers
X = np.linspace(-1, 1, 12, dtype="float32").reshape(3, 4)


def run(script, *arguments):
    return subprocess.run([sys.executable, "-c", script, *map(str, arguments)], check=False, timeout=200,
                          capture_output=True, text=True)  # fmt: skip


# -- Python inside -----------------------------------------------------------------------------------------------------


class Doubling(L.Layer):
    def __init__(self, double, **kwargs):
        super().__init__(**kwargs)
        self.double = double

    def call(self, x):
        return keras.ops.reshape(self.double(x), (-1, 4))

    def compute_output_shape(self, shape):
        return shape


def by_numpy(x):
    return tf.ensure_shape(tf.numpy_function(lambda value: 2 * value, [x], tf.float32), [None, 4])


def by_python(x):
    return tf.ensure_shape(tf.py_function(lambda value: 2 * value, [x], tf.float32), [None, 4])


def doubling(double):
    x = keras.Input((4,), name="x")
    return keras.Model(x, Doubling(double, name="double")(L.Dense(4, name="dense")(x)))


@pytest.mark.parametrize("double", [by_numpy, by_python])
def test_python_inside_a_model_is_refused_by_name_and_both_fixes_run_in_another_process(tmp_path, double):
    model = doubling(double)
    with pytest.raises(errors.ExportError, match=r"calls Python functions[\s\S]*/double\S*/\w*PyFunc") as caught:
        khl.export(model, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    assert 'khl.export(khl.cut(model, outputs="layer_before"), "directory")' in str(caught.value.fix)
    khl.export(khl.cut(model, outputs="dense"), tmp_path / "before")
    written_with_tensorflow = doubling(lambda x: 2 * x)
    written_with_tensorflow.set_weights(model.get_weights())
    khl.export(written_with_tensorflow, tmp_path / "out")
    script = (
        "import sys, tensorflow as tf\n"
        "for path in sys.argv[1:]: print(tf.saved_model.load(path)(tf.ones((1, 4)), training=False).numpy().sum())"
    )
    done = run(script, tmp_path / "before", tmp_path / "out")
    assert done.returncode == 0, done.stderr[-2000:]
    before, both = map(float, done.stdout.split())
    kernel = model.get_layer("dense").kernel.numpy()
    np.testing.assert_allclose([before, both], [kernel.sum(), 2 * kernel.sum()], rtol=1e-5)


def test_python_inside_a_signature_and_without_verification_is_refused_too(tmp_path):
    model = keras.Sequential([keras.Input((4,)), L.Dense(1)])
    with pytest.raises(errors.ExportError, match="calls Python functions"):
        khl.export(model, tmp_path / "out", verify=False, signatures={"doubled": lambda x: by_numpy(x)})


def module_with_python():
    module = tf.Module()
    module.__call__ = tf.function(by_numpy, input_signature=[tf.TensorSpec([None, 4])])
    return module


def test_python_inside_an_object_is_refused_and_in_a_source_it_is_warned_of(tmp_path):
    module = module_with_python()
    with pytest.raises(errors.ExportError, match="calls Python functions"):
        khl.export(module, tmp_path / "out")
    tf.saved_model.save(module, str(tmp_path / "source"), signatures={})
    with pytest.warns(errors.HubWarning, match="in another process these calls fail"):
        khl.export(khl.load(str(tmp_path / "source")), tmp_path / "out")


# -- what is not finite ------------------------------------------------------------------------------------------------

KERAS_2 = """
import os, sys
os.environ["TF_USE_LEGACY_KERAS"] = "1"
import numpy as np, tensorflow as tf, tf_keras
model = tf_keras.Sequential([tf_keras.layers.Dense(2, input_shape=(4,), kernel_initializer="ones")])
model.compile("sgd", "mse", metrics=["mae"])
model.fit(np.ones((2, 4)), np.ones((2, 2)), verbose=0)
for metric in model.metrics:
    for variable in metric.variables:
        variable.assign(np.nan)
model.save(sys.argv[1], save_format="tf")
"""


@pytest.fixture(scope="module")
def with_metrics(tmp_path_factory):
    """A model of Keras 2 whose compile metrics are NaN on disk."""
    path = tmp_path_factory.mktemp("keras_2") / "model"
    done = run(KERAS_2, path)
    assert done.returncode == 0, done.stderr[-2000:]
    return str(path)


def stored(path):
    """Key -> value of the floats in a checkpoint, read by TensorFlow alone."""
    reader = tf.train.load_checkpoint(f"{path}/variables/variables")
    shapes = reader.get_variable_to_dtype_map()
    return {key: reader.get_tensor(key) for key, dtype in shapes.items() if dtype.is_floating}


def test_metrics_that_are_nan_in_the_source_stay_so_and_block_no_export(with_metrics, tmp_path):
    layer = layers.HubLayer(with_metrics, trainable=True)
    nan = {key for key, value in stored(with_metrics).items() if np.isnan(value).any()}
    assert nan
    khl.export(layer, tmp_path / "untouched")
    model = keras.Sequential([keras.Input((4,)), layer])
    model.compile("sgd", "mse")
    model.fit(X, np.ones((3, 2)), verbose=0, callbacks=[callbacks.ExportFinetuned(tmp_path / "tuned", verbose=0)])
    khl.export(model, tmp_path / "whole")
    found = stored(tmp_path / "tuned")
    assert {key for key, value in found.items() if np.isnan(value).any()} == nan
    np.testing.assert_allclose(tf.saved_model.load(str(tmp_path / "tuned"))(X), model(X), rtol=1e-5)


def test_what_was_trained_to_nan_is_refused_all_the_same(with_metrics, tmp_path):
    layer = layers.HubLayer(with_metrics, trainable=True)
    layer.trainable_weights[0].assign(np.full((4, 2), np.nan))
    with pytest.raises(errors.ExportError, match="NaN or infinite"):
        khl.export(layer, tmp_path / "out")
    with pytest.raises(errors.ExportError, match="NaN or infinite"):
        khl.export(keras.Sequential([keras.Input((4,)), layer]), tmp_path / "out")


def test_an_infinite_mask_that_cannot_be_trained_stays_as_in_the_source_and_nan_does_not(tmp_path):
    module = tf.train.Checkpoint()
    module.w = tf.Variable([1.0, 2.0])
    module.mask = tf.Variable([0.0, -np.inf], trainable=False)
    module.__call__ = tf.function(
        lambda x: tf.nn.softmax(x * module.w + module.mask), input_signature=[tf.TensorSpec([None, 2])]
    )
    module.variables, module.trainable_variables = [module.w, module.mask], [module.w]
    tf.saved_model.save(module, str(tmp_path / "source"), signatures={})
    layer = layers.HubLayer(str(tmp_path / "source"), trainable=True)
    layer.trainable_weights[0].assign([3.0, 4.0])
    khl.export(layer, tmp_path / "out")
    np.testing.assert_array_equal(tf.saved_model.load(str(tmp_path / "out")).variables[1], [0.0, -np.inf])
    for value in ([-np.inf, -np.inf], [0.0, np.nan]):
        layer.non_trainable_weights[0].assign(value)
        with pytest.raises(errors.ExportError, match="NaN or infinite"):
            khl.export(layer, tmp_path / "out")


# -- LoRA and quantized models -----------------------------------------------------------------------------------------


def adapted():
    model = keras.Sequential([keras.Input((4,)), L.Dense(3, name="adapted"), L.Dense(2, name="plain")])
    model.get_layer("adapted").enable_lora(2)
    return model


def gradients_in_another_process(path):
    script = (
        "import sys, tensorflow as tf\n"
        "loaded = tf.saved_model.load(sys.argv[1])\n"
        "with tf.GradientTape() as tape: loss = tf.reduce_sum(loaded(tf.ones((2, 4)), training=True) ** 2)\n"
        "found = tape.gradient(loss, list(loaded.trainable_variables))\n"
        "print(sorted(v.name.split(':')[0] for v, g in zip(loaded.trainable_variables, found) if g is not None))"
    )
    done = run(script, path)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout.strip()


def test_lora_says_that_the_base_is_frozen_and_trainable_publishes_it_too(tmp_path):
    model = adapted()
    with pytest.warns(errors.HubWarning, match=r"1 of 6 weights are frozen[\s\S]*LoRA is on in adapted"):
        khl.export(model, tmp_path / "adapters")
    names = gradients_in_another_process(tmp_path / "adapters")
    assert (names.count("/kernel'"), names.count("lora_kernel_")) == (1, 2), names  # that of the plain layer
    khl.export(model, tmp_path / "all", trainable=True)
    names = gradients_in_another_process(tmp_path / "all")
    assert (names.count("/kernel'"), names.count("lora_kernel_")) == (2, 2), names
    assert [v.trainable for v in model.get_layer("adapted").variables].count(False) == 1
    np.testing.assert_allclose(layers.HubLayer(str(tmp_path / "all"))(X), model(X), rtol=1e-4, atol=1e-5)


@pytest.mark.filterwarnings("ignore:Layer InputLayer does not have a `quantize` method")  # Keras says it of each
@pytest.mark.parametrize("trainable", [None, True])
def test_quantized_kernels_are_said_to_be_trainable_by_nobody(tmp_path, trainable):
    model = keras.Sequential([keras.Input((4,)), L.Dense(3, name="small"), L.Dense(2, name="head")])
    model.quantize("int8")
    with pytest.warns(errors.HubWarning, match=r"kernels of small, head are quantized[\s\S]*before model\.quantize"):
        path = khl.export(model, tmp_path / "out", trainable=trainable)
    layer = layers.HubLayer(path, trainable=True)
    assert sorted(tuple(weight.shape) for weight in layer.trainable_weights) == [(2,), (3,)]
    np.testing.assert_allclose(layer(X), model(X), rtol=1e-3, atol=1e-4)


# -- advice that fits --------------------------------------------------------------------------------------------------


def test_a_table_that_no_layer_holds_is_cured_by_assets(tmp_path):
    table = tf.lookup.StaticHashTable(tf.lookup.KeyValueTensorInitializer(["a"], [7.0]), -1.0)

    class Lookup(L.Layer):
        def call(self, x):
            return table.lookup(x)

    layer = Lookup()
    layer(tf.constant(["a"]))
    spec = tf.TensorSpec([None], tf.string)
    with pytest.raises(errors.ExportError, match="a table or variable that no layer holds") as caught:
        khl.export(layer, tmp_path / "out", input_spec=spec)
    assert 'assets={"table": table}' in str(caught.value.fix)
    khl.export(layer, tmp_path / "out", input_spec=spec, assets={"table": table})
    np.testing.assert_array_equal(layers.HubLayer(str(tmp_path / "out"))(tf.constant(["a", "b"])), [7.0, -1.0])


@pytest.mark.parametrize("place", ["s3://bucket/model", "dbfs://models/export", "s3://bucket/m.keras"])
def test_a_scheme_that_tensorflow_does_not_know_is_told_before_training(tmp_path, place):
    model = keras.Sequential([keras.Input((4,)), L.Dense(1)])
    model.compile("sgd", "mse")
    before = model.get_weights()[0]
    with pytest.raises(errors.ExportWriteError, match="no file system for this path") as caught:
        model.fit(X, np.ones((3, 1)), verbose=0, callbacks=[callbacks.ExportPiece(place)])
    np.testing.assert_array_equal(model.get_weights()[0], before)
    assert "free space" not in str(caught.value)
    assert "'/dbfs/models/export'" in str(caught.value) or "import tensorflow_io" in str(caught.value)
    verb = khl.save if place.endswith(".keras") else khl.export
    with pytest.raises(errors.ExportWriteError, match="no file system for this path"):
        verb(model, place)


def test_a_model_that_cannot_be_traced_is_not_sent_to_input_spec(tmp_path):
    class Eager(L.Layer):
        def call(self, x):
            return x * float(keras.ops.convert_to_numpy(x).sum())

    layer = Eager()
    layer(np.ones((1, 2), "float32"))
    with pytest.raises(errors.ExportError, match="cannot be traced") as caught:
        khl.export(layer, tmp_path / "out", input_spec=tf.TensorSpec([None, 2]))
    assert "input_spec" not in str(caught.value.fix)
    assert "keras.ops instead of NumPy" in str(caught.value.fix)
