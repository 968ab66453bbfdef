"""A layer that loads what it uses is the layer that loads all: outputs, gradients, losses, state, files, errors."""

import logging
import shutil
from pathlib import Path

import keras
import numpy as np
import producers
import pytest
import tensorflow as tf
import tf_keras

import keras_hub_layers as khl
from keras_hub_layers import errors, layers
from keras_hub_layers._src.layers import access
from keras_hub_layers._src.savedmodel.pruning import pruned_object

COLUMN = [[1.0], [-2.0], [4.0]]
ROWS = np.random.default_rng(0).normal(size=(4, 6)).astype("float32")
TEXTS = ["hello", "good world hello"]
IDS = [[3, 3, 1], [2, 3, 0]]
TOKENS = {"input_word_ids": IDS, "input_mask": [[1, 1, 0], [1, 1, 1]], "input_type_ids": [[0, 0, 0], [0, 0, 1]]}
TRAINED, ALL = {"trainable": True}, {"trainable": True, "unfreeze": "."}
# producer, its arguments, inputs, arguments of the layer
CASES = [
    (producers.half_plus_one, (False,), COLUMN, TRAINED),
    (producers.half_plus_one, (True,), COLUMN, TRAINED),
    (producers.half_plus_one, (True,), COLUMN, {"signature": "serving_default", "output_key": "plus_1"}),
    (producers.batch_norm, (False,), COLUMN, TRAINED),
    (producers.batch_norm, (True,), COLUMN, TRAINED),
    (producers.text_length, (False,), [["a"], ["bcd"]], TRAINED),
    (producers.text_length, (True,), [["a"], ["bcd"]], TRAINED),
    (producers.text_classifier, (), TEXTS, TRAINED),
    (producers.parsed_number, (True,), [["12"], ["3"]], {}),
    (producers.sum_and_difference, (), {"x": COLUMN, "y": COLUMN}, {"arguments": {"return_dict": True}}),
    (producers.two_lists, (), [ROWS[:, :2], ROWS[:, 2:4]], {}),
    (producers.shared_loss, (), COLUMN, TRAINED),
    (producers.flags_against_lists, (), COLUMN, TRAINED),
    (producers.raw_module, (), COLUMN, ALL),
    (producers.ragged_sum, (), tf.ragged.constant([[1.0, 2.0], [3.0]]), {}),
    (producers.lookup, (True,), IDS, TRAINED),
    (producers.two_lookups, (), IDS, TRAINED),
    (producers.input_losses, (), ROWS, TRAINED),
    (producers.activity_regularizer, (), ROWS, TRAINED),
    (producers.nested_losses, (), ROWS, TRAINED),
    (producers.with_pieces, (), COLUMN, {"piece": "encoder", **TRAINED}),
    (producers.with_pieces, (), TEXTS, {"piece": "text.length"}),
    (producers.two_positional, (), [1.0, 2.0], {"piece": "double"}),
    (producers.tensor_training, (), [1.0, 2.0], {"signature": "plus_one", "signature_outputs_as_dict": True}),
    (producers.bert_encoder, (), TOKENS, {"output_key": "pooled_output", **TRAINED}),
    (producers.small_image_model, (), np.linspace(0, 1, 128, dtype="float32").reshape(2, 8, 8, 1), TRAINED),
]


@pytest.fixture
def pruning(monkeypatch):
    return lambda mode: monkeypatch.setenv("KERAS_HUB_LAYERS_PRUNE", mode)


class Holder(keras.Model):
    def __init__(self, layer):
        super().__init__()
        self.layer, self.built = layer, True


def is_part(layer):
    return pruned_object.saved_graph(access.loaded_object(layer)) is not None


def measured(layer, inputs, directory):
    """All that a layer computes and writes, in NumPy and bytes; small changes of the weights in between."""
    inputs = tf.nest.map_structure(tf.convert_to_tensor, inputs) if isinstance(inputs, (dict, np.ndarray)) else inputs
    facts = {"weights": [(w.path, w.trainable, w.dtype) for w in layer.weights], "groups": layer.interface}
    for training in (False, True):
        tf.random.set_seed(1)
        with tf.GradientTape() as tape:
            outputs = keras.tree.flatten(layer(inputs, training=training))
            floats = [tf.reduce_sum(tf.cast(y, tf.float32) ** 2) for y in outputs if y.dtype.is_floating]
            loss = sum(floats) + sum(layer.losses)
        variables = [weight.value for weight in layer.trainable_weights]
        gradients = tape.gradient(loss, variables) if variables else []
        facts[f"outputs {training}"] = [np.asarray(y) for y in tf.nest.flatten(outputs, expand_composites=True)]
        facts[f"losses {training}"] = [float(value) for value in layer.losses]
        facts[f"gradients {training}"] = [None if g is None else tf.convert_to_tensor(g).numpy() for g in gradients]
        facts[f"state {training}"] = [weight.numpy() for weight in layer.weights]
        for variable in variables:
            variable.assign(variable * 1.5 + 0.25)
    facts["export"] = files(Path(khl.export(layer, directory / "export")))
    model = Holder(layer)
    model.save_weights(directory / "model.weights.h5")
    for weight in layer.weights:
        weight.assign(keras.ops.zeros_like(weight))
    model.load_weights(directory / "model.weights.h5")
    facts["loaded"] = [weight.numpy() for weight in layer.weights]
    return facts


def change(layer, inputs):
    """Take a gradient, and give the trained weights other values."""
    variables = [weight.value for weight in layer.trainable_weights]
    with tf.GradientTape() as tape:
        outputs = keras.tree.flatten(layer(inputs, training=True))
        loss = sum(tf.reduce_sum(tf.cast(y, tf.float32)) for y in outputs if y.dtype.is_floating)
    if variables:
        tape.gradient(loss, variables)
    for variable in variables:
        variable.assign(variable + 1)


def files(directory):
    """Path -> bytes, without the card: what it says of a live object changes once a gradient was taken of that."""
    return {
        str(p.relative_to(directory)): p.read_bytes()
        for p in sorted(directory.rglob("*"))
        if p.is_file() and p.name != "README.md"
    }


def check_same(first, second):
    assert list(first) == list(second)
    for name, value in first.items():
        if isinstance(value, list) and value and isinstance(value[0], np.ndarray):
            assert len(value) == len(second[name]), name
            for one, other in zip(value, second[name], strict=True):
                np.testing.assert_array_equal(one, other, name)
        elif isinstance(value, list) and any(isinstance(entry, np.ndarray) for entry in value):
            assert [None if e is None else e.tolist() for e in value] == [
                None if e is None else e.tolist() for e in second[name]
            ], name
        else:
            assert value == second[name], name


@pytest.mark.filterwarnings("ignore:(?s).*publishes no variables:keras_hub_layers.errors.HubWarning")
@pytest.mark.parametrize(
    ("producer", "settings", "inputs", "arguments"),
    [pytest.param(*case, id=f"{case[0].__name__}-{'-'.join(map(str, [*case[1], *case[3]]))}") for case in CASES],
)
def test_a_part_computes_trains_and_writes_what_the_whole_does(
    produced, pruning, tmp_path, producer, settings, inputs, arguments
):
    path = produced(producer, *settings)
    results = []
    for mode in ("always", "never"):
        pruning(mode)
        earlier = layers.HubLayer(path, **arguments)  # with which the next shares functions
        change(earlier, inputs)
        before = [weight.numpy() for weight in earlier.weights]
        keras.backend.clear_session()
        layer = layers.HubLayer(path, **arguments)
        assert is_part(layer) == (mode == "always")
        results.append(measured(layer, inputs, tmp_path / mode))
        assert is_part(layer) == (mode == "always")  # nothing of this has loaded the rest
        for weight, value in zip(earlier.weights, before, strict=True):
            np.testing.assert_array_equal(weight, value)
    check_same(*results)
    assert results[0]["export"]["saved_model.pb"] == Path(path, "saved_model.pb").read_bytes()


def test_the_whole_object_has_the_variables_of_the_layer_and_all_functions(produced, pruning):
    path = produced(producers.half_plus_one, True)
    pruning("always")
    layer = layers.HubLayer(path, trainable=True)
    layer.weights[0].assign([[3.0]])
    whole = layer.resolved_object
    assert whole is layer.resolved_object
    assert [id(v) for v in whole.variables] == [id(w.value) for w in layer.weights]
    np.testing.assert_array_equal(whole(tf.constant(COLUMN)), layer(COLUMN))
    signature = whole.signatures["serving_default"]
    np.testing.assert_array_equal(signature(tf.constant(COLUMN))["plus_1"], 3 * np.array(COLUMN) + 1)
    layer.weights[0].assign([[5.0]])
    np.testing.assert_array_equal(signature(tf.constant(COLUMN))["plus_1"], 5 * np.array(COLUMN) + 1)
    children = [set(tf.train.TrackableView.children(obj)) for obj in (whole, tf.saved_model.load(path))]
    assert children[0] == children[1]
    assert khl.inspect(whole) == layer.interface == khl.inspect(path)


@pytest.fixture(scope="module")
def with_optimizer(tmp_path_factory):
    """y = w·x after two steps of Adam, saved with the optimizer."""
    model = tf_keras.Sequential([tf_keras.Input((1,)), tf_keras.layers.Dense(1, use_bias=False, name="w")])
    model.compile(tf_keras.optimizers.legacy.Adam(0.1), "mse")
    model.fit(np.ones((2, 1)), np.zeros((2, 1)), epochs=2, verbose=0)
    path = tmp_path_factory.mktemp("optimizer") / "model"
    model.save(path, save_format="tf")
    return str(path)


def test_the_state_of_an_optimizer_comes_with_the_whole_object_and_goes_into_an_export(
    with_optimizer, pruning, tmp_path
):
    pruning("always")
    layer = layers.HubLayer(with_optimizer, trainable=True)
    layer.weights[0].assign([[7.0]])
    plain = tf.saved_model.load(with_optimizer)
    export = khl.export(layer, tmp_path / "export")
    for obj in (layer.resolved_object, tf.saved_model.load(export)):
        assert obj.variables[0].numpy() == [[7.0]]
        for name in ("m", "v"):
            slot = obj.optimizer.get_slot(obj.variables[0], name).numpy()
            np.testing.assert_array_equal(slot, plain.optimizer.get_slot(plain.variables[0], name).numpy())
            assert slot != 0
        assert obj.optimizer.iter.numpy() == 2


def test_without_its_directory_the_whole_object_is_there_but_for_the_optimizer(with_optimizer, pruning, tmp_path):
    pruning("always")
    path = shutil.copytree(with_optimizer, tmp_path / "model")
    layer = layers.HubLayer(path)
    shutil.rmtree(path)
    with pytest.warns(errors.HubWarning, match="is gone, and with it the state of its optimizer"):
        whole = layer.resolved_object
    np.testing.assert_array_equal(whole(tf.constant(COLUMN)), layer(COLUMN))
    assert not hasattr(whole, "optimizer")
    assert "serving_default" in whole.signatures


def test_a_directory_with_another_vocabulary_gives_no_whole_object(produced, pruning, tmp_path):
    pruning("always")
    path = shutil.copytree(produced(producers.text_classifier), tmp_path / "model")
    layer = layers.HubLayer(path)
    (Path(path) / "assets" / "vocabulary.txt").write_text("other\n")
    with pytest.raises(errors.LoadError, match=r"(?s)has been replaced by another one.*HubLayer\(obj\)"):
        _ = layer.resolved_object


def test_variables_that_nothing_calls_are_exported_with_the_values_that_were_loaded(pruning, tmp_path):
    root = tf.train.Checkpoint()
    root.used, root.other = tf.Variable(2.0), tf.Variable(3.0)
    root.__call__ = tf.function(lambda x: root.used * x, input_signature=[tf.TensorSpec((None,))])
    root.head = tf.function(lambda x: root.other * x, input_signature=[tf.TensorSpec((None,))])
    path = str(tmp_path / "model")
    tf.saved_model.save(root, path)
    pruning("always")
    first, second = layers.HubLayer(path), layers.HubLayer(path, piece="head")
    assert [len(first.weights), len(second.weights)] == [1, 1]
    second.weights[0].assign(9.0)
    khl.export(second, path, overwrite=True)
    khl.export(first, path, overwrite=True)  # knows 3, not what lies there meanwhile
    assert tf.saved_model.load(path).other.numpy() == 3.0


def test_saving_weights_does_not_load_the_rest(produced, pruning, tmp_path):
    pruning("always")
    layer = layers.HubLayer(produced(producers.half_plus_one, True))
    model = keras.Sequential([keras.Input((1,)), layer])
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras", safe_mode=False)
    assert is_part(layer)
    assert is_part(loaded.layers[-1])
    np.testing.assert_array_equal(loaded(np.array(COLUMN)), model(np.array(COLUMN)))
    whole = loaded.layers[-1].resolved_object
    del model, loaded, layer
    assert Path(khl.export(whole, tmp_path / "export", overwrite=True), "saved_model.pb").exists()


def test_what_a_user_put_on_the_whole_object_is_exported(produced, pruning, tmp_path):
    pruning("always")
    layer = layers.HubLayer(produced(producers.half_plus_one))
    layer.resolved_object.extra = tf.Variable(5.0)
    assert tf.saved_model.load(khl.export(layer, tmp_path / "export")).extra.numpy() == 5.0


def test_an_error_lists_what_the_whole_offers(produced, pruning):
    path = produced(producers.tensor_training)
    pruning("always")
    with pytest.raises(errors.InterfaceError, match=r"signature among \['plus_one'\]"):
        layers.HubLayer(path, signature="plus_on", output_key="output_0")
    pruning("always")
    layer = layers.HubLayer(path, signature="plus_one", output_key="output_0")
    assert is_part(layer)
    with pytest.raises(errors.TrainingError, match="cannot be fine-tuned through the signature"):
        layers.HubLayer(path, signature="plus_one", output_key="output_0", trainable=True)


def mutable_table(directory):
    """Texts to numbers by a table that can be changed: "a" is 1."""
    root = tf.train.Checkpoint()
    root.table = tf.lookup.experimental.MutableHashTable(tf.string, tf.int64, -1)
    root.table.insert(["a"], [1])
    root.__call__ = tf.function(lambda x: root.table.lookup(x), input_signature=[tf.TensorSpec((None,), tf.string)])
    return producers.save(root, directory)


@pytest.mark.parametrize(
    ("producer", "arguments", "reason"),
    [
        (mutable_table, {}, "it holds state that is no variable"),
        (producers.tf1, {"signature": "serving_default", "output_key": "y"}, "it has the form of TensorFlow 1"),
        (producers.lost_losses, {}, "Keras layers inside it have losses"),
        (producers.multiply, {"load_options": {"experimental_io_device": "/job:localhost"}}, "its options speak of"),
    ],
)
def test_what_is_not_understood_is_loaded_whole_and_the_log_says_why(
    produced, pruning, caplog, producer, arguments, reason
):
    pruning("always")
    with caplog.at_level(logging.DEBUG, "keras_hub_layers"):
        layer = layers.HubLayer(produced(producer), **arguments)
    assert not is_part(layer)
    assert [record.levelname for record in caplog.records if record.name == "keras_hub_layers"] == ["DEBUG"]
    assert reason in caplog.text


def test_a_model_of_few_functions_is_loaded_whole(produced, pruning, caplog):
    pruning("auto")
    with caplog.at_level(logging.DEBUG, "keras_hub_layers"):
        assert not is_part(layers.HubLayer(produced(producers.half_plus_one)))
    assert "so pruning does not pay" in caplog.text
    assert is_part(layers.HubLayer(produced(producers.half_plus_one, True)))


def test_in_the_scope_of_a_strategy_the_whole_is_loaded(produced, pruning):
    pruning("always")
    with tf.distribute.MirroredStrategy(["CPU:0"]).scope():
        layer = layers.HubLayer(produced(producers.half_plus_one, True))
    assert not is_part(layer)


def test_load_gives_the_whole(produced, pruning):
    pruning("always")
    assert "serving_default" in khl.load(produced(producers.half_plus_one, True)).signatures


def test_variables_are_not_restored_where_the_options_say_so(produced, pruning):
    pruning("always")
    options = {"experimental_skip_checkpoint": True}
    layer = layers.HubLayer(produced(producers.half_plus_one, True), load_options=options)
    assert is_part(layer)
    assert [weight.numpy().size for weight in layer.weights] == [0, 0, 0]
    layer.weights[0].assign([[2.0]])
    assert layer.resolved_object.variables[0].numpy() == [[2.0]]


ZOO = [
    ("mlperf_tiny_kws", (2, 49, 10, 1), {"arguments": {"training": False}, **TRAINED}),  # its dropout has no seed
    ("bfcnn_resnet_1x6", (1, 16, 16, 3), {}),
    ("serving_half_plus_two_tf2", (1,), {"signature": "serving_default", "output_key": "y"}),
]


@pytest.mark.parametrize(("name", "shape", "arguments"), ZOO)
def test_a_part_of_a_model_of_others_is_the_whole(zoo, pruning, tmp_path, name, shape, arguments):
    inputs, results = np.random.default_rng(0).random(shape).astype("float32"), []
    if name == "bfcnn_resnet_1x6":
        inputs = (255 * inputs).astype("uint8")
    for mode in ("auto", "never"):
        pruning(mode)
        keras.backend.clear_session()
        change(layers.HubLayer(zoo / name, **arguments), inputs)
        keras.backend.clear_session()
        layer = layers.HubLayer(zoo / name, **arguments)
        assert is_part(layer) == (mode == "auto")
        results.append(measured(layer, inputs, tmp_path / mode))
    check_same(*results)


@pytest.mark.parametrize("name", ["keras_mixedprec_lso_tf22", "tfjs_multi_signatures", "tfx_keras_penguin"])
def test_a_part_of_a_small_model_of_others_is_the_whole(zoo, pruning, tmp_path, name):
    with np.load(zoo / f"{name}.ref.npz", allow_pickle=True) as arrays:
        inputs = {key[3:]: arrays[key] for key in arrays if key.startswith("in:")}
    if len(inputs) == 1 or all(key.startswith("arg") for key in inputs):
        inputs = [inputs[key] for key in sorted(inputs)]
        inputs = inputs[0] if len(inputs) == 1 else inputs
    results = []
    for mode in ("always", "never"):
        pruning(mode)
        change(layers.HubLayer(zoo / name), inputs)
        keras.backend.clear_session()
        layer = layers.HubLayer(zoo / name)
        layer.trainable = layer.interface.fine_tunable
        assert is_part(layer) == (mode == "always")
        results.append(measured(layer, inputs, tmp_path / mode))
    check_same(*results)
