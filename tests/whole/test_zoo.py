"""SavedModels that other people made, against their reference outputs."""

import pathlib

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_hub_layers as khl
from keras_hub_layers import errors, layers
from keras_hub_layers._src.cli.doctor import handle_check
from keras_hub_layers._src.inspect import inspect as inspect_module
from keras_hub_layers._src.layers import jit

CALLED = {
    "bfcnn_resnet_1x6": {},
    "hub_half_plus_two_v1": {},
    "keras_mixedprec_lso_tf22": {},
    "mlperf_tiny_kws": {},
    "serving_half_plus_two_tf2": {"signature": "serving_default", "output_key": "y"},
    "serving_half_plus_two_v1": {"signature": "serving_default", "output_key": "y"},
    "tfjs_multi_signatures": {},
    "tfx_keras_penguin": {},
    "tfx_transform_tf2": {"signature": "transform_signature", "signature_outputs_as_dict": True},
}


def reference(zoo, name):
    """(inputs, outputs) of a model: a tensor, a list or a dict, and a tensor or a dict."""
    with np.load(zoo / f"{name}.ref.npz", allow_pickle=True) as arrays:
        inputs = {k[3:]: arrays[k] for k in arrays if k.startswith("in:")}
        outputs = {k[4:]: arrays[k] for k in arrays if k.startswith("out:")}
    if all(key.startswith("arg") for key in inputs):
        inputs = [inputs[key] for key in sorted(inputs)]
    if len(inputs) == 1:
        inputs = next(iter(inputs.values())) if isinstance(inputs, dict) else inputs[0]
    return inputs, next(iter(outputs.values())) if len(outputs) == 1 else outputs


def check(outputs, expected):
    if isinstance(expected, dict):
        assert set(outputs) == set(expected)
        for key, value in expected.items():
            np.testing.assert_allclose(outputs[key], value, rtol=1e-5, atol=1e-6)
    elif expected.dtype == np.uint8:  # the last bit of a float decides a rounding on another processor
        difference = np.abs(np.asarray(outputs).astype(int) - expected)
        assert difference.max() <= 1
        assert (difference > 0).mean() < 0.001
    else:
        np.testing.assert_allclose(outputs, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", sorted(set(CALLED) - {"serving_half_plus_two_v1", "tfx_transform_tf2"}))
def test_a_call_that_xla_compiles_gives_the_reference_outputs(zoo, name, monkeypatch):
    monkeypatch.setattr(jit, "_try_in_a_process", lambda *_: ("", True))  # it would succeed for each of these
    inputs, expected = reference(zoo, name)
    compiled = tf.function(layers.HubLayer(zoo / name, jit=True, **CALLED[name]), jit_compile=True, autograph=False)
    check(compiled(tf.nest.map_structure(tf.constant, inputs)), expected)


def test_pixels_equal_those_of_tensorflow_alone_on_this_machine(zoo):
    inputs, _ = reference(zoo, "bfcnn_resnet_1x6")
    raw = tf.saved_model.load(str(zoo / "bfcnn_resnet_1x6"))
    np.testing.assert_array_equal(layers.HubLayer(zoo / "bfcnn_resnet_1x6")(inputs), raw(tf.constant(inputs)))


@pytest.mark.parametrize("name", CALLED)
def test_a_call_gives_the_reference_outputs(zoo, name):
    inputs, expected = reference(zoo, name)
    check(layers.HubLayer(zoo / name, **CALLED[name])(inputs), expected)


@pytest.mark.parametrize("name", CALLED)
def test_with_all_optimizations_switched_off_a_layer_computes_trains_and_writes_the_same(
    zoo, name, tmp_path, monkeypatch
):
    inputs, _ = reference(zoo, name)
    results, exports = [], []
    for optimize in ("auto", False):
        for variable in ("KERAS_HUB_LAYERS_PRUNE", "KERAS_HUB_LAYERS_SHARE") * (optimize is False):
            monkeypatch.setenv(variable, "0")
        layers.HubLayer(zoo / name, **CALLED[name])  # with which the next shares functions
        layer = layers.HubLayer(zoo / name, optimize=optimize, **CALLED[name])
        facts = {"outputs": layer(inputs)}
        if layer.interface.fine_tunable:
            layer.trainable = True
            for training in (False, True)[: 1 if name == "mlperf_tiny_kws" else 2]:  # its dropout has no seed
                variables = [weight.value for weight in layer.trainable_weights]
                with tf.GradientTape() as tape:
                    outputs = tf.nest.flatten(layer(inputs, training=training))
                    loss = sum(tf.reduce_sum(tf.cast(y, tf.float32) ** 2) for y in outputs) + sum(layer.losses)
                facts[f"losses {training}"], facts[f"loss {training}"] = list(layer.losses), loss
                for number, gradient in enumerate(tape.gradient(loss, variables)):
                    facts[f"gradient {training} {number}"] = gradient
            for variable in variables:
                variable.assign(variable * 1.5 + 0.25)
        facts["weights"] = layer.get_weights()
        results.append({key: [np.asarray(y) for y in tf.nest.flatten(value)] for key, value in facts.items()})
        exported = pathlib.Path(khl.export(layer, tmp_path / str(optimize)))
        files = (path for path in exported.rglob("*") if path.is_file() and path.name != "README.md")
        exports.append({str(path.relative_to(exported)): path.read_bytes() for path in files})
    assert exports[0] == exports[1]
    assert results[0].keys() == results[1].keys()
    for key, values in results[0].items():
        for ours, plain in zip(values, results[1][key], strict=True):
            if name == "mlperf_tiny_kws":  # its convolutions do the batch normalization
                np.testing.assert_allclose(ours, plain, rtol=1e-4, atol=1e-5 * np.max(np.abs(plain)), err_msg=key)
            else:
                np.testing.assert_array_equal(ours, plain, key)


@pytest.mark.parametrize(
    "name", ["mlperf_tiny_kws", "tfx_keras_penguin", "bfcnn_resnet_1x6", "keras_mixedprec_lso_tf22"]
)
def test_a_functional_model_gives_the_reference_outputs(zoo, name):
    inputs, expected = reference(zoo, name)
    symbolic = keras.tree.map_structure(lambda x: keras.Input(x.shape[1:], dtype=x.dtype), inputs)
    model = keras.Model(symbolic, layers.HubLayer(zoo / name)(symbolic))
    check(model.predict(inputs, verbose=0), expected)


@pytest.mark.parametrize(
    ("name", "signature", "key"),
    [("serving_half_plus_two_v1", "classify_x_to_y", "scores"), ("tfx_keras_penguin", "serving_default", "output_0")],
)
def test_other_signatures_give_their_reference_outputs(zoo, name, signature, key):
    with np.load(zoo / f"{name}.ref.npz", allow_pickle=True) as arrays:
        expected = arrays[f"sig:{signature}:{key}"]
    layer = layers.HubLayer(zoo / name, signature=signature, output_key=key)
    info = layer.interface.signatures[signature]
    assert {spec.dtype for spec in info.inputs.values()} == {"string"}
    assert layer(keras.Input((), dtype="string", batch_size=len(expected))).shape[-1] == expected.shape[-1]


def test_keyword_spotting_fine_tunes_with_its_five_losses_and_batch_norm(zoo):
    layer = layers.HubLayer(zoo / "mlperf_tiny_kws", trainable=True)
    assert (len(layer.trainable_weights), len(layer.weights), len(layer.losses)) == (38, 56, 5)
    raw = tf.saved_model.load(str(zoo / "mlperf_tiny_kws"))
    np.testing.assert_allclose(layer.losses, [loss() for loss in raw.regularization_losses])
    model = keras.Sequential([keras.Input((49, 10, 1)), layer])
    model.compile(keras.optimizers.Adam(1e-3), keras.losses.SparseCategoricalCrossentropy())
    before = {w.path: w.numpy() for w in layer.weights}
    x, y = np.random.default_rng(0).normal(size=(8, 49, 10, 1)).astype("float32"), np.arange(8)
    history = model.fit(x, y, epochs=5, verbose=0)
    assert history.history["loss"][-1] < history.history["loss"][0]
    moved = {path for path, value in before.items() if not np.array_equal(value, dict_of(layer)[path])}
    assert {w.path for w in layer.trainable_weights} <= moved
    assert sum("moving_" in path for path in moved) == 18


def test_keyword_spotting_stays_bit_identical_while_frozen(zoo):
    layer = layers.HubLayer(zoo / "mlperf_tiny_kws")
    before = dict_of(layer)
    model = keras.Sequential([keras.Input((49, 10, 1)), layer, keras.layers.Dense(2)])
    model.compile("adam", "mse")
    model.fit(np.ones((4, 49, 10, 1), "float32"), np.ones((4, 2)), verbose=0)
    assert model.losses == []
    for path, value in dict_of(layer).items():
        np.testing.assert_array_equal(value, before[path])


def test_a_raw_module_whose_pixels_are_integers_says_that_no_gradient_passes_them(zoo):
    assert "its output is uint8, which no gradient passes" in inspect_module.inspect(zoo / "bfcnn_resnet_1x6").reason
    with pytest.warns(errors.HubWarning, match="cannot be fine-tuned, since its output is uint8") as caught:
        layer = layers.HubLayer(zoo / "bfcnn_resnet_1x6", trainable=True, unfreeze=".")
    assert (len(layer.trainable_weights), len(layer.weights)) == (41, 73)
    assert len(caught) == 1
    finding = handle_check.check(str(zoo / "bfcnn_resnet_1x6")).findings[-1]
    assert ("its output is uint8" in finding.text, finding.fix) == (True, "")


def test_a_savedmodel_that_tensorflow_cannot_load_is_a_clear_error(zoo):
    with pytest.raises(errors.LoadError, match=r"(?s)reference type.*serving_counter.*saved_model_cli show"):
        layers.HubLayer(zoo / "serving_counter")


@pytest.mark.parametrize(
    ("name", "form", "fine_tunable"),
    [
        ("bfcnn_resnet_1x6", "reusable", False),
        ("hub_half_plus_two_v1", "tf1_hub", False),
        ("mlperf_tiny_kws", "reusable", True),
        ("serving_half_plus_two_tf2", "signatures", False),
        ("serving_half_plus_two_v1", "tf1", False),
        ("tfx_keras_penguin", "reusable", True),
        ("tfx_transform_tf2", "tf1", False),
    ],
)
def test_inspect_says_what_it_is_and_gives_code_that_works(zoo, name, form, fine_tunable):
    info = inspect_module.inspect(zoo / name)
    assert (info.format, info.fine_tunable) == (form, fine_tunable)
    layer = eval(info.code, {"HubLayer": layers.HubLayer})
    assert layer.interface == info


def dict_of(layer):
    return {weight.path: weight.numpy() for weight in layer.weights}
