"""Signatures: functions of one's own are added or take the place of the export's, and each name is legal and stable."""

import subprocess
import sys

import keras
import numpy as np
import producers
import pytest
import tensorflow as tf

import keras_hub_layers as khl
from keras_hub_layers import callbacks, errors, layers
from keras_hub_layers._src.export import export as export_module
from keras_hub_layers._src.export import signature_names

L = keras.layers
X = np.linspace(-1, 1, 12, dtype="float32").reshape(3, 4)
SPEC = tf.TensorSpec([None, 4], tf.float32, name="rows")


def summing(name="scores"):
    """features (4) -> their sum + 1."""
    return keras.Sequential(
        [keras.Input((4,), name="features"), L.Dense(1, "linear", True, "ones", "ones", name=name)], name="summing"
    )


def names_of(path, signature="serving_default"):
    found = tf.saved_model.load(str(path)).signatures[signature]
    return sorted(found.structured_input_signature[1]), sorted(found.structured_outputs)


# -- functions of one's own --------------------------------------------------------------------------------------------


def python_function(model):
    return lambda inputs: {"tenfold": 10 * model(inputs)}


def polymorphic(model):
    return tf.function(python_function(model))


def declared(model):
    return tf.function(python_function(model), input_signature=[SPEC])


def concrete(model):
    return tf.function(python_function(model)).get_concrete_function(SPEC)


@pytest.mark.parametrize("name", ["serving_default", "serve", "tenfold"])
@pytest.mark.parametrize("kind", [python_function, polymorphic, declared, concrete])
def test_a_function_of_any_kind_is_a_signature_of_a_model(tmp_path, kind, name):
    model = summing()
    path = khl.export(model, tmp_path / "out", signatures={name: kind(model)})
    loaded = tf.saved_model.load(path)
    argument = "rows" if kind in (declared, concrete) else "features"
    assert names_of(path, name) == ([argument], ["tenfold"])
    found = loaded.signatures[name](**{argument: tf.constant(X)})["tenfold"]
    np.testing.assert_allclose(found, 10 * (X.sum(1, keepdims=True) + 1), rtol=1e-5)
    assert sorted(loaded.signatures) == sorted({"serving_default", "serve", name})
    for other in {"serving_default", "serve"} - {name}:
        assert names_of(path, other) == (["features"], ["scores"])
    np.testing.assert_allclose(loaded(X, training=False), X.sum(1, keepdims=True) + 1, rtol=1e-5)


def test_both_default_signatures_of_a_layer_may_be_replaced(tmp_path):
    layer = L.Dense(1, kernel_initializer="ones")
    layer(X)
    function = declared(layer)
    path = khl.export(layer, tmp_path / "out", signatures={"serving_default": function, "serve": function})
    found = tf.saved_model.load(path).signatures["serve"](rows=tf.constant(X))["tenfold"]
    np.testing.assert_allclose(found, 10 * X.sum(1, keepdims=True), rtol=1e-5)


def test_a_signature_may_take_inputs_of_its_own_and_use_a_variable_of_its_own(tmp_path):
    model, offset = summing(), tf.Variable(100.0)

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="line")])
    def from_text(line):
        return {"y": model(tf.stack(tf.io.decode_csv(line, [0.0] * 4), 1), training=False) + offset}

    path = khl.export(model, tmp_path / "out", signatures={"serving_default": from_text})
    found = tf.saved_model.load(path).signatures["serving_default"](line=tf.constant(["1,2,3,4"]))["y"]
    np.testing.assert_allclose(found, [[111.0]])


def test_an_object_of_this_process_takes_signatures(tmp_path):
    module = tf.Module()
    module.w = tf.Variable(2.0)
    module.__call__ = tf.function(lambda x: x * module.w, input_signature=[tf.TensorSpec([None])])
    function = tf.function(lambda x: {"y": x * module.w}, input_signature=[tf.TensorSpec([None], name="x")])
    path = khl.export(module, tmp_path / "out", signatures={"serving_default": function})
    loaded = tf.saved_model.load(path)
    np.testing.assert_array_equal(loaded.signatures["serving_default"](x=tf.constant([3.0]))["y"], [6.0])
    with pytest.raises(errors.ExportError, match="input_signature"):
        khl.export(module, tmp_path / "out", signatures={"serving_default": lambda x: x})


@pytest.mark.parametrize("producer", [producers.half_plus_one, producers.sum_and_difference])
@pytest.mark.parametrize("is_layer", [True, False])
def test_a_re_export_keeps_its_signatures_and_the_fix_gives_others(tmp_path, producer, is_layer):
    source = producer(tmp_path / "source")
    layer = layers.HubLayer(source)
    target = layer if is_layer else khl.load(source)
    with pytest.raises(errors.ExportError, match=r"keeps exactly[\s\S]*signatures=") as caught:
        khl.export(target, tmp_path / "out", signatures={"serving_default": lambda x: x})
    scope = {"keras": keras, "layer": layer}
    exec(str(caught.value.fix).rpartition("\n")[0], scope)  # the lines before khl.export
    model = scope["model"]
    path = khl.export(model, tmp_path / "out", trainable=False, signatures={"twice": lambda x: {"y": model(x)}})
    assert "twice" in tf.saved_model.load(path).signatures


@pytest.mark.parametrize(
    ("name", "function", "match"),
    [
        ("serving_default", 42, "a int"),
        ("", lambda x: x, "a name of letters"),
        ("serving_default", lambda x: x.numpy(), "input_signature of its own"),
        ("nested", tf.function(lambda x: {"a": {"b": x}}, input_signature=[SPEC]), "flat dict"),
    ],
)
def test_a_function_that_cannot_be_a_signature_is_refused_by_name(tmp_path, name, function, match):
    with pytest.raises(errors.ExportError, match=rf"signature {name!r}[\s\S]*{match}") as caught:
        khl.export(summing(), tmp_path / "out", signatures={name: function})
    assert not (tmp_path / "out").exists()
    model = summing()
    exec(str(caught.value.fix), {"tf": tf, "khl": _To(tmp_path / "fixed"), "model": model})
    assert names_of(tmp_path / "fixed") == (["features"], ["scores"])


class _To:
    """`khl.export` of a pasted line, into another directory."""

    def __init__(self, directory):
        self.directory = directory

    def export(self, target, directory, **kwargs):
        return khl.export(target, self.directory, **kwargs)


def test_a_replaced_signature_is_verified_with_its_own_inputs(tmp_path):
    model, offset = summing(), tf.Variable(0.0)
    function = tf.function(lambda rows: {"y": model(rows) + offset}, input_signature=[SPEC])
    made = export_module.make_export(model, signatures={"serving_default": function})
    write = made.write

    def sabotaged(path):
        write(path)
        offset.assign(5.0)  # as if the checkpoint had missed it

    made.write = sabotaged
    with pytest.raises(errors.ExportWriteError, match="the output 'y' of 'serving_default'"):
        export_module.write_export(made, str(tmp_path / "out"))


# -- names -------------------------------------------------------------------------------------------------------------

NAMES = {"class": "class_", "a b": "a_b", "1st": "x1st", "x.y": "x_y", "SepalLength": "SepalLength", "_own": "x_own",
         "self": "self_", "größe": "gr__e", "None": "None_", "training": "training"}  # fmt: skip


def test_any_text_names_an_input_and_an_output_and_is_found_again(tmp_path):
    inputs = {name: keras.Input((1,), name=name) for name in NAMES}
    model = keras.Model(inputs, {name: (i + 2) * inputs[name] for i, name in enumerate(sorted(NAMES))})
    path = khl.export(model, tmp_path / "out")
    rows = {name: np.full((2, 1), i + 1.0, "float32") for i, name in enumerate(sorted(NAMES))}
    right = {name: (i + 2) * rows[name] for i, name in enumerate(sorted(NAMES))}
    for name, found in layers.HubLayer(path)(rows).items():
        np.testing.assert_array_equal(found, right[name])
    assert names_of(path) == (sorted(NAMES.values()), sorted(NAMES.values()))
    by_signature = layers.HubLayer(path, signature="serving_default", signature_outputs_as_dict=True)
    for name, found in by_signature({NAMES[name]: value for name, value in rows.items()}).items():
        np.testing.assert_array_equal(found, {NAMES[name]: value for name, value in right.items()}[name])
    script = (
        "import sys, tensorflow as tf\n"
        "loaded = tf.saved_model.load(sys.argv[1])\n"
        "print(loaded({n: tf.ones((1, 1)) for n in eval(sys.argv[2])}, training=False)['class'].numpy().tolist())\n"
        "print(loaded.signatures['serve'](**{n: tf.ones((1, 1)) for n in eval(sys.argv[3])})['class_'].numpy())"
    )
    done = subprocess.run([sys.executable, "-c", script, path, str(list(NAMES)), str(list(NAMES.values()))],
                          check=False, timeout=120, capture_output=True, text=True)  # fmt: skip
    factor = sorted(NAMES).index("class") + 2.0
    assert done.stdout.splitlines() == [f"[[{factor}]]", f"[[{factor:.0f}.]]"], done.stderr[-2000:]


@pytest.mark.parametrize("name", ["class", "a b", "x.y", "SepalLength"])
def test_the_name_of_an_input_and_of_an_output_layer_may_be_any_text(tmp_path, name):
    x = keras.Input((4,), name=name)
    model = keras.Model(x, L.Dense(1, name=f"{name} 2")(x))
    path = khl.export(model, tmp_path / "out")
    assert [layer.name for layer in model.layers] == [name, f"{name} 2"]
    assert [v.value.name for v in model.variables] == [f"{name} 2/kernel:0", f"{name} 2/bias:0"]
    np.testing.assert_allclose(tf.saved_model.load(path)(X, training=False), X @ model.get_weights()[0], rtol=1e-5)
    assert names_of(path) == ([NAMES[name]], [signature_names.legal_name(f"{name} 2")])


def test_two_names_that_become_one_are_told_before_training(tmp_path):
    inputs = [keras.Input((1,), name=name) for name in ("a b", "a_b")]
    model = keras.Model(inputs, L.Dense(1, name="y")(L.Concatenate()(inputs)))
    model.compile("sgd", "mse")
    before = model.get_weights()[0]
    with pytest.raises(errors.ExportError, match=r"'a b' and 'a_b', which both become 'a_b'"):
        model.fit([np.ones((2, 1))] * 2, np.ones((2, 1)), verbose=0, callbacks=[callbacks.ExportPiece(tmp_path / "o")])
    np.testing.assert_array_equal(model.get_weights()[0], before)
    with pytest.raises(errors.ExportError, match=r"'a b' and 'a_b'"):
        khl.export(model, tmp_path / "out")


def test_names_of_outputs_and_of_the_components_of_ragged_inputs_may_collide_too(tmp_path):
    x = keras.Input((1,), name="x")
    model = keras.Model(x, {"y z": 2 * x, "y.z": 3 * x})
    with pytest.raises(errors.ExportError, match=r"names of outputs[\s\S]*'y_z'"):
        khl.export(model, tmp_path / "out")
    specs = {"a": tf.RaggedTensorSpec([None, None]), "a_flat_values": tf.TensorSpec([None])}
    names = signature_names.name_inputs(specs, [])
    with pytest.raises(errors.ExportError, match="'a' and 'a_flat_values'"):
        signature_names.expand(names, tf.nest.flatten(specs))


def test_a_sequential_model_ends_in_the_name_of_its_last_layer(tmp_path):
    assert names_of(khl.export(summing(), tmp_path / "a")) == (["features"], ["scores"])
    outer = keras.Sequential([keras.Input((4,)), keras.Sequential([L.Dense(2, name="inside")], name="encoder")])
    assert names_of(khl.export(outer, tmp_path / "b")) == (["inputs"], ["encoder"])
    built = keras.Sequential([L.Dense(2, name="scores")])
    built(X)
    assert names_of(khl.export(built, tmp_path / "c")) == (["inputs"], ["scores"])


def test_names_that_keras_counts_reach_no_signature(tmp_path):
    found = set()
    for build in range(3):
        x, second = keras.Input((4,)), keras.Input((4,))
        heads = [L.Dense(1)(x), L.Dense(1, name="own")(x), keras.ops.exp(second), 2 * x]
        found.add(str(names_of(khl.export(keras.Model([x, second], heads), tmp_path / str(build)))))
    assert found == {str((["inputs_0", "inputs_1"], ["output_0", "output_2", "output_3", "own"]))}
    model = keras.Sequential([keras.Input((4,)), L.Dense(3), L.Dense(2)])
    piece = khl.cut(model, inputs=model.layers[-1].name)
    assert names_of(khl.export(piece, tmp_path / "piece")) == (["inputs"], ["outputs"])


def test_a_layer_with_two_outputs_numbers_them():
    x = keras.Input((4,), name="x")
    lstm = L.LSTM(2, return_state=True, name="memory")(L.Reshape((2, 2))(x))
    names = signature_names.name_outputs(lstm, signature_names.output_layers(keras.Model(x, lstm)))
    assert names == ["memory", "memory_1", "memory_2"]
