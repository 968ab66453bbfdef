"""Tensors that a SavedModel's function takes by name, such as a mask, are entries of a dict of inputs."""

import keras
import numpy as np
import producers
import pytest
import tensorflow as tf
import tf_keras

from keras_hub_layers import errors, layers
from keras_hub_layers._src.cli.doctor import handle_check
from keras_hub_layers._src.inspect import inspect as inspect_module

X = np.array([[[1.0, 2.0], [3.0, 4.0]], [[5.0, 6.0], [7.0, 8.0]]], "float32")
MASK = np.array([[True, False], [True, True]])
KINDS = pytest.mark.parametrize("keras2", producers.PRODUCERS.values(), ids=producers.PRODUCERS)


def masked_sum(directory, keras2=False, also_without=False):
    """y = 2·x, zero where the mask is false; traced with a mask only, or, if saved raw, also without one."""
    if keras2:

        class Masked(tf_keras.Model):
            def __init__(self):
                super().__init__()
                identity = tf_keras.initializers.Identity(2.0)
                self.scale = tf_keras.layers.Dense(2, kernel_initializer=identity, use_bias=False)

            def call(self, x, mask=None):
                y = self.scale(x)
                return y if mask is None else y * tf.cast(mask, y.dtype)[..., None]

        root = Masked()
        root(X, mask=MASK)
        root.save(str(directory))
        return str(directory)
    root = tf.train.Checkpoint(w=tf.Variable(2.0, name="w"))

    @tf.function
    def call(x, mask=None):
        y = root.w * x
        return y if mask is None else y * tf.cast(mask, y.dtype)[..., None]

    spec, mask_spec = tf.TensorSpec((None, None, 2)), tf.TensorSpec((None, None), tf.bool)
    call.get_concrete_function(spec, mask_spec)
    if also_without:
        call.get_concrete_function(spec)
    root.__call__ = call
    root.variables = root.trainable_variables = [root.w]
    return producers.save(root, directory)


@KINDS
def test_a_mask_goes_in_by_its_name_beside_the_input(produced, keras2):
    layer = layers.HubLayer(produced(masked_sum, keras2))
    np.testing.assert_array_equal(layer({"x": X, "mask": MASK}), 2 * X * MASK[..., None])
    inputs = {"x": keras.Input((2, 2), name="x"), "mask": keras.Input((2,), dtype="bool", name="mask")}
    model = keras.Model(inputs, layer(inputs))
    np.testing.assert_array_equal(model.predict({"x": X, "mask": MASK}, verbose=0), 2 * X * MASK[..., None])


@KINDS
def test_a_model_that_needs_a_mask_is_fine_tuned_and_saved(produced, tmp_path, keras2):
    path = produced(masked_sum, keras2)
    assert inspect_module.inspect(path).fine_tunable
    layer = eval(inspect_module.inspect(path).code, {"HubLayer": layers.HubLayer})
    inputs = {"x": keras.Input((2, 2), name="x"), "mask": keras.Input((2,), dtype="bool", name="mask")}
    model = keras.Model(inputs, layer(inputs))
    model.compile(keras.optimizers.SGD(0.01), "mse")
    data = {"x": X, "mask": MASK}
    model.fit(data, np.zeros_like(X), verbose=0)
    # the gradient of the mean of (w·x·m)² by w, of a matrix w by column
    seen = (X * MASK[..., None]).reshape(-1, 2)
    kernel = 2.0 * np.eye(2) - 0.01 * 2 / X.size * seen.T @ (2 * seen)
    expected = seen @ kernel if keras2 else (2.0 - 0.01 * 2 / X.size * np.sum(seen * 2 * seen)) * seen
    np.testing.assert_allclose(model.predict(data, verbose=0).reshape(-1, 2), expected, rtol=1e-5)
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras", safe_mode=False)
    np.testing.assert_allclose(again.predict(data, verbose=0).reshape(-1, 2), expected, rtol=1e-5)


def test_where_there_is_a_trace_without_it_the_mask_may_be_left_out(produced):
    layer = layers.HubLayer(produced(masked_sum, also_without=True))
    np.testing.assert_array_equal(layer(X), 2 * X)
    np.testing.assert_array_equal(layer({"x": X, "mask": MASK}), 2 * X * MASK[..., None])
    assert layer.compute_output_shape((None, 2, 2)) == (None, 2, 2)


@KINDS
def test_without_the_mask_that_it_needs_the_error_shows_the_dict(produced, keras2):
    layer = layers.HubLayer(produced(masked_sum, keras2), trainable=True)
    with pytest.raises(errors.InputError, match=r"a dict with the keys \['mask', 'x'\] is expected") as caught:
        layer(X)
    names = {"x": X, "mask": MASK}
    exec(caught.value.fix, names)
    np.testing.assert_array_equal(layer(names["x"]), 2 * X * MASK[..., None])


@KINDS
def test_a_mask_as_an_argument_of_the_call_is_answered_with_the_dict(produced, keras2):
    layer = layers.HubLayer(produced(masked_sum, keras2))
    with pytest.raises(errors.InputError, match="takes its inputs as one argument: here a dict") as caught:
        layer(X, mask=MASK)
    names = {"x": X, "mask": MASK, "layer": layer}
    exec(caught.value.fix, names)
    np.testing.assert_array_equal(names["y"], 2 * X * MASK[..., None])


@KINDS
def test_inspect_shows_the_dict_and_the_doctor_calls_with_it(produced, keras2):
    path = produced(masked_sum, keras2)
    interface = inspect_module.inspect(path)
    assert list(interface.traces[0].inputs) == ["x", "mask"]
    assert interface.code.endswith("   # call it with {'x': x, 'mask': mask}")
    assert interface == inspect_module.inspect(layers.HubLayer(path).resolved_object)
    findings = {finding.topic: finding.level for finding in handle_check.check(path).findings}
    assert (findings["call"], findings["gradient"]) == ("ok", "ok")


def test_a_tensor_that_is_given_for_good_is_no_input(produced):
    layer = layers.HubLayer(produced(masked_sum), arguments={"mask": [[True, False]]})
    np.testing.assert_array_equal(layer(X[:1]), 2 * X[:1] * MASK[:1, :, None])
