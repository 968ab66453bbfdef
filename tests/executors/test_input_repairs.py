"""Deliberate mistakes, made as people make them: each gives an error in four parts, whose last part is run here.

`Mistake` catches the error, and `paste` runs its last part, line by line, with the names that the mistake used.
"""

import ast
import re
import textwrap
import warnings

import keras
import numpy as np
import producers
import pytest
import tensorflow as tf
import tensorflow_hub as hub
import tf_keras

from keras_hub_layers import errors, finetuning
from keras_hub_layers._src.cut import cut as cut_module
from keras_hub_layers._src.inspect import inspect as inspect_module
from keras_hub_layers.layers import HubLayer

PARTS = r"(?s)^\S[^\n]*\n  Expected: .+\n  Received: .+\n  Where: .+\n  What to do: .+$"


class Mistake:
    """Catches the error of a mistake, which must be worded in four parts and be about what `match` says.

    Args:
        error: Class of the error.
        match: Regular expression that is searched in the text.
    """

    def __init__(self, error, match):
        self._error, self._match = error, match

    def __enter__(self):
        return self

    def __exit__(self, kind, error, traceback):
        assert kind is self._error, f"{kind} instead of {self._error}"
        text = str(error)
        assert re.search(PARTS, text), text
        assert re.search(self._match, text), text
        self.fix = textwrap.dedent("    " + text.partition("\n  What to do: ")[2])
        return True

    def paste(self, lines=None, **names):
        """Run the fix, or its first lines; the names that are there afterwards, `_` for the value of its last line."""
        code = "\n".join(self.fix.splitlines()[:lines])
        return run(code, **names)


def run(code, **names):
    tree = ast.parse(code)
    names |= {"keras": keras, "np": np, "tf": tf, "HubLayer": HubLayer}
    last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
    exec(compile(tree, "the fix", "exec"), names)
    if last is not None:
        names["_"] = eval(compile(ast.Expression(last.value), "the fix", "eval"), names)
    return names


def fine_tune(model, *data):
    model.compile("sgd", "mse")
    return model.fit(*data, shuffle=False, verbose=0)


def channel_means(directory, shape=(None, 224, 224, 3)):
    """Images of one size to the means of their channels."""
    root = tf.train.Checkpoint()
    root.__call__ = tf.function(lambda x: tf.reduce_mean(x, [1, 2]), input_signature=[tf.TensorSpec(shape)])
    return producers.save(root, directory)


def encoder(directory):
    """A dict as of BERT's inputs to the dict {pooled: the sum of the ids where the mask is 1, whole: all of them}."""
    root = tf.train.Checkpoint()
    spec = {name: tf.TensorSpec((None, 4), tf.int32) for name in ("input_word_ids", "input_mask")}

    def call(x):
        whole = tf.cast(x["input_word_ids"] * x["input_mask"], tf.float32)
        return {"pooled": tf.reduce_sum(whole, 1, keepdims=True), "whole": whole}

    root.__call__ = tf.function(call, input_signature=[spec])
    return producers.save(root, directory)


def ids_and_numbers(directory):
    """[integers (None, 3), floats (None, 5)] to the sum of all."""
    root = tf.train.Checkpoint()
    specs = [tf.TensorSpec((None, 3), tf.int32), tf.TensorSpec((None, 5), tf.float32)]

    def call(x):
        return tf.reduce_sum(tf.cast(x[0], tf.float32), 1) + tf.reduce_sum(x[1], 1)

    root.__call__ = tf.function(call, input_signature=[specs])
    return producers.save(root, directory)


def empty_table(directory):
    """A TF1 SavedModel whose table nobody fills: whoever saved it left the op out."""
    v1 = tf.compat.v1
    with tf.Graph().as_default() as graph, v1.Session(graph=graph) as session:
        x = v1.placeholder(tf.string, [None], name="x")
        values = tf.lookup.KeyValueTensorInitializer(tf.constant(["a"]), tf.constant([7], tf.int64))
        y = tf.lookup.StaticHashTable(values, -1).lookup(x)
        v1.get_variable("w", initializer=[1.0], use_resource=True)
        session.run(v1.global_variables_initializer())
        graph.clear_collection("table_initializer")
        builder = v1.saved_model.Builder(str(directory))
        signature = v1.saved_model.predict_signature_def({"x": x}, {"y": y})
        builder.add_meta_graph_and_variables(session, ["serve"], {"serving_default": signature})
        builder.save()
    return str(directory)


# -- images


def test_a_photo_as_it_was_read_goes_to_a_model_of_small_floats(produced):
    layer = HubLayer(produced(channel_means))
    x = np.full((492, 423, 3), 51, np.uint8)
    with Mistake(
        errors.InputError,
        r"(?s)float32 \(None, 224, 224, 3\).*uint8 \(492, 423, 3\) with values from 51 to 51.*axis=0.*Resizing.*Resc",
    ) as mistake:
        layer(x)
    np.testing.assert_allclose(layer(mistake.paste(x=x)["x"]), [[0.2, 0.2, 0.2]], rtol=1e-3)


@pytest.mark.parametrize(
    ("shape", "lines"),
    [
        ((2, 3, 224, 224), ["x = keras.ops.transpose(x, (0, 2, 3, 1))   # channels last"]),
        ((2, 224, 224, 1), ["x = keras.ops.repeat(x, 3, axis=-1)   # grey as red, green and blue"]),
        ((2, 224, 224, 4), ["x = x[..., :3]   # without the alpha channel"]),
        ((2, 224 * 224 * 3), ["x = keras.ops.reshape(x, (-1, 224, 224, 3))"]),
        ((100, 90), None),
    ],
)
def test_images_with_other_axes_go_to_an_image_model(produced, shape, lines):
    layer, x = HubLayer(produced(channel_means)), np.full(shape, 0.5, "float32")
    with Mistake(errors.InputError, "match no trace") as mistake:
        layer(x)
    assert lines is None or mistake.fix.splitlines() == lines
    np.testing.assert_allclose(layer(mistake.paste(x=x)["x"]), np.full((2 if lines else 1, 3), 0.5), rtol=1e-4)


def test_the_path_of_an_image_goes_to_an_image_model(produced, tmp_path):
    x = str(tmp_path / "grey.png")
    tf.io.write_file(x, tf.io.encode_png(np.full((30, 40, 3), 255, np.uint8)))
    layer = HubLayer(produced(channel_means))
    with Mistake(errors.InputError, "float32 is expected, string given") as mistake:
        layer(x)
    np.testing.assert_allclose(layer(mistake.paste(x=x)["x"]), [[1.0, 1.0, 1.0]], rtol=1e-5)


def test_of_several_traces_the_nearest_is_named_and_reached(tmp_path):
    root = tf.train.Checkpoint()
    specs = [tf.TensorSpec((None, size, size, 3)) for size in (16, 8, 4)]
    root.__call__ = producers.traced(lambda x: tf.reduce_mean(x, [1, 2]), *[(spec, {}) for spec in specs])
    layer, x = HubLayer(producers.save(root, tmp_path)), np.ones((8, 8, 3), "float32")
    with Mistake(errors.InputError, r"one of\n    \(float32 \(None, 8, 8, 3\)\)   <- the nearest\n    \(") as mistake:
        layer(x)
    assert len(mistake.fix.splitlines()) == 1
    np.testing.assert_allclose(layer(mistake.paste(x=x)["x"]), [[1.0, 1.0, 1.0]])


def test_larger_images_are_fitted(produced):
    layer, x, y = HubLayer(produced(producers.small_image_model)), np.zeros((4, 16, 16, 1), "float32"), np.zeros((4, 2))
    with Mistake(errors.InputError, r"What to do: x = keras.layers.Resizing\(8, 8\)\(x\)") as mistake:
        fine_tune(keras.Sequential([layer, keras.layers.Dense(2)]), x, y)
    fine_tune(keras.Sequential([layer, keras.layers.Dense(2)]), mistake.paste(x=x)["x"], y)


def test_a_dataset_of_single_examples_is_fitted(produced):
    dataset = tf.data.Dataset.from_tensor_slices((np.zeros((4, 8, 8, 1), "float32"), np.zeros((4, 4))))
    layer = HubLayer(produced(producers.small_image_model), trainable=True)
    with Mistake(errors.InputError, r"(?s)dataset = dataset.batch\(32\).*build a Sequential model again") as mistake:
        fine_tune(keras.Sequential([layer]), dataset)
    fine_tune(keras.Sequential([layer]), mistake.paste(dataset=dataset)["dataset"])


@pytest.mark.parametrize(
    ("shape", "has_input"), [((8, 8, 1), True), ((8, 8, 1), False), ((16, 16, 1), False), ((8, 8), False)]
)
def test_a_dataset_that_nobody_batched_is_batched(produced, shape, has_input):
    x = np.random.default_rng(0).uniform(size=(4, *shape)).astype("float32")
    dataset = tf.data.Dataset.from_tensor_slices((x, np.zeros((4, 4))))
    layer = HubLayer(produced(producers.small_image_model), trainable=True)
    with Mistake(errors.InputError, r"is expected, \(\d+, \d+(, 1)*\) given") as mistake:
        fine_tune(keras.Sequential([keras.Input(shape)] * has_input + [layer]), dataset)
    first, *others = mistake.fix.splitlines()
    dataset = run(first, dataset=dataset)["dataset"]
    assert dataset.element_spec[0].shape == (None, *shape)
    dataset = dataset.map(lambda x, y: (run("\n".join(["x = x", *others]), x=x)["x"], y))
    fine_tune(keras.Sequential([layer]), dataset)


@pytest.mark.parametrize("shape", [{"shape": (5, 8, 8, 1)}, {"batch_shape": (8, 8, 1)}], ids=str)
def test_an_input_is_declared_with_an_axis_too_many_or_too_few(produced, shape):
    layer = HubLayer(produced(producers.small_image_model))
    with Mistake(
        errors.InputError, r"What to do: x = keras.Input\(shape=\(8, 8, 1\)\)   # without the batch"
    ) as mistake:
        layer(keras.Input(**shape))
    assert layer(mistake.paste()["x"]).shape == (None, 4)


@pytest.mark.filterwarnings("ignore:Your input ran out of data")  # TensorFlow miscounts a dataset after unbatch
def test_a_dataset_is_batched_twice(produced):
    data = (np.zeros((4, 8, 8, 1), "float32"), np.zeros((4, 4)))
    dataset = tf.data.Dataset.from_tensor_slices(data).batch(2).batch(2)
    layer = HubLayer(produced(producers.small_image_model), trainable=True)
    with Mistake(errors.InputError, r"What to do: dataset = dataset.unbatch\(\)   # it is batched twice") as mistake:
        fine_tune(keras.Sequential([layer]), dataset)
    fine_tune(keras.Sequential([layer]), mistake.paste(dataset=dataset)["dataset"])


@pytest.mark.parametrize("kind", ["dict", "list"])
def test_a_dataset_of_several_inputs_that_nobody_batched_is_batched_once(tmp_path, kind):
    class Model(keras.Model):
        def __init__(self):
            super().__init__()
            self.hub = HubLayer(path, trainable=True)

        def call(self, x):
            return self.hub(x)

    spec = tf.TensorSpec((None, 2))
    root = tf.train.Checkpoint()
    nest = {"a": spec, "b": spec} if kind == "dict" else [spec, spec]
    root.__call__ = tf.function(lambda x: tf.add_n(tf.nest.flatten(x)), input_signature=[nest])
    root.v = tf.Variable(1.0)
    root.variables = root.trainable_variables = [root.v]
    path = producers.save(root, tmp_path / "model")
    x = tf.nest.map_structure(lambda _: np.ones((4, 2), "float32"), nest)
    dataset = tf.data.Dataset.from_tensor_slices((x if kind == "dict" else tuple(x), np.ones((4, 2))))
    with Mistake(errors.InputError, r"What to do: dataset = dataset.batch\(32\)   # all of its parts") as mistake:
        model = Model()
        model.compile("sgd", "mse")
        model.evaluate(dataset, verbose=0)
    assert mistake.fix.count("batch(32)") == 1
    model = Model()
    model.compile("sgd", "mse")
    assert model.evaluate(mistake.paste(dataset=dataset)["dataset"], verbose=0) == 1.0


def test_pixels_up_to_255_become_floats_for_weights_that_nothing_rescales_them_for(produced):
    layer, x = HubLayer(produced(producers.small_image_model)), np.full((2, 8, 8, 1), 255, np.uint8)
    with pytest.warns(errors.HubWarning, match=r"uint8 pixels from 0 to 255 were cast to float32") as caught:
        layer(x)
    text = next(str(warning.message) for warning in caught if warning.category is errors.HubWarning)
    rescale, ignore = [line for line in text.splitlines() if line.startswith(("x = ", "warnings."))]
    layer = HubLayer(produced(producers.small_image_model))
    rescaled = layer(run(rescale, x=x)["x"])  # and no warning, which would be an error here
    with warnings.catch_warnings():
        run(ignore, warnings=warnings)
        assert not np.allclose(rescaled, HubLayer(produced(producers.small_image_model))(x))


def test_a_batch_goes_to_a_trace_of_one(produced):
    layer, x = HubLayer(produced(channel_means, (1, 8, 8, 3))), np.zeros((3, 8, 8, 3), "float32")
    with Mistake(errors.InputError, r"(?s)the shape \(1, 8, 8, 3\) is expected, \(3, 8, 8, 3\) given") as mistake:
        layer(x)
    assert layer(mistake.paste(x=x)["x"]).shape == (1, 3)
    inputs = keras.Input((8, 8, 3))
    with pytest.warns(errors.HubWarning, match=r"takes float32 \(1, 8, 8, 3\) and nothing else") as caught:
        outputs = layer(inputs)
    model = keras.Model(inputs, outputs)
    model.compile(loss="mse")
    with pytest.raises(
        tf.errors.InvalidArgumentError, match=r"\[3,8,8,3\] is not compatible with expected shape \[1,8,8"
    ):
        model.evaluate(x, np.zeros((3, 3)), verbose=0)
    inputs = run(str(caught[0].message).splitlines()[-1])["x"]
    model = keras.Model(inputs, HubLayer(produced(channel_means, (1, 8, 8, 3)))(inputs))
    assert model.predict(x, batch_size=1, verbose=0).shape == (3, 3)


# -- texts


def test_a_column_of_texts_is_predicted(produced):
    layer, x = HubLayer(produced(producers.text_classifier)), tf.constant([["good"], ["bad"]])
    with Mistake(errors.InputError, r"the shape \(None,\) is expected, \([^)]*1\) given") as mistake:
        keras.Sequential([layer]).predict(x, verbose=0)
    x = mistake.paste(x=x)["x"]
    np.testing.assert_allclose(keras.Sequential([layer]).predict(x, verbose=0), [[2, -2], [3, -3]])


@pytest.mark.parametrize("producer", [producers.text_classifier, producers.text_length])
def test_a_dataset_of_texts_that_nobody_batched_is_batched(produced, producer):
    dataset = tf.data.Dataset.from_tensor_slices((["good", "bad"], [[1.0, 1.0]] * 2))
    layer = HubLayer(produced(producer))
    with Mistake(errors.InputError, r"is expected, \(\) given") as mistake:
        fine_tune(keras.Sequential([layer, keras.layers.Dense(2)]), dataset)
    first, *others = mistake.fix.splitlines()
    dataset = run(first, dataset=dataset)["dataset"].map(lambda x, y: (run("\n".join(["x = x", *others]), x=x)["x"], y))
    fine_tune(keras.Sequential([layer, keras.layers.Dense(2)]), dataset)


def test_a_dataset_of_single_examples_is_given_to_the_layer(produced):
    layer, x = HubLayer(produced(producers.small_image_model)), np.zeros((2, 8, 8, 1), "float32")
    with Mistake(errors.InputError, "match no trace") as mistake:
        layer(tf.data.Dataset.from_tensor_slices(x))
    assert layer(mistake.paste(x=tf.data.Dataset.from_tensor_slices(x))["x"]).shape == (2, 4)
    with Mistake(errors.InputError, r"\(8, 8, 1, 1\) given") as mistake:
        layer(x[0][..., None])
    assert layer(mistake.paste(x=x[0][..., None])["x"]).shape == (1, 4)


def test_rows_of_texts_go_to_a_model_of_texts(produced):
    layer, x = HubLayer(produced(producers.text_classifier)), tf.ragged.constant([["good", "bad"], ["bad"]])
    with Mistake(errors.InputError, "a ragged one given") as mistake:
        layer(x)
    np.testing.assert_array_equal(mistake.paste(x=x)["x"], [b"good bad", b"bad"])
    assert layer(mistake.paste(x=x)["x"]).shape == (2, 2)


def test_a_list_of_texts_goes_to_a_model_of_columns(produced):
    layer, x = HubLayer(produced(producers.text_length)), ["a", "abc"]
    with Mistake(errors.InputError, r"the shape \(None, 1\) is expected, \(2,\) given") as mistake:
        layer(x)
    np.testing.assert_allclose(layer(mistake.paste(x=x)["x"]), [[0.1, 0.3], [0.3, 0.9]], rtol=1e-6)


def test_texts_of_unknown_number_go_to_a_model_of_columns(produced):
    x = keras.Input((), dtype="string")
    layer = HubLayer(produced(producers.text_length))
    with Mistake(errors.InputError, r"the shape \(None, 1\) is expected, \(None,\) given") as mistake:
        layer(x)
    model = keras.Model(x, layer(mistake.paste(x=x)["x"]))
    np.testing.assert_allclose(model.predict(tf.constant(["a"]), verbose=0), [[0.1, 0.3]], rtol=1e-6)


def test_an_input_for_texts_is_declared_without_its_dtype(produced):
    x, layer = keras.Input(()), HubLayer(produced(producers.text_classifier))
    with Mistake(errors.InputError, "string is expected, float32 given") as mistake:
        layer(x)
    x = mistake.paste()["x"]
    np.testing.assert_allclose(keras.Model(x, layer(x)).predict(tf.constant(["bad"]), verbose=0), [[3, -3]])


@pytest.mark.parametrize("gap", [None, float("nan")])
def test_a_column_of_texts_has_gaps(produced, gap):
    layer, x = HubLayer(produced(producers.text_length)), np.array(["abc", gap], dtype=object)
    with Mistake(errors.InputError, "no tensor can be made of ndarray") as mistake:
        layer(x)
    np.testing.assert_allclose(layer(mistake.paste(x=x)["x"]), [[0.3, 0.9], [0, 0]], rtol=1e-6)


def test_token_ids_go_to_a_model_of_texts(produced):
    layer, x = HubLayer(produced(producers.text_classifier)), np.array([1, 2])
    with Mistake(errors.InputError, "(?s)string is expected, int64 given.*the texts themselves") as mistake:
        layer(x)
    assert layer(mistake.paste()["x"]).shape == (2, 2)


def test_numpys_own_strings_are_refused_by_keras_before_the_layer_sees_them(produced):
    model, x = keras.Sequential([HubLayer(produced(producers.text_classifier))]), np.array(["good", "bad"])
    with pytest.raises(ValueError, match="Invalid dtype: str"):
        model.predict(x, verbose=0)
    for taken in (tf.constant(x), x.astype(object)):
        np.testing.assert_allclose(model.predict(taken, verbose=0), [[2, -2], [3, -3]])


# -- numbers, dicts and lists


@pytest.mark.parametrize("x", [keras.Input((3,)), np.ones((2, 3)), [[1.0, 2.0, 3.0]], [[True, False, True]]])
def test_floats_go_to_a_model_of_token_ids(produced, x):
    layer = HubLayer(produced(producers.token_doubler))
    with Mistake(errors.InputError, r"(?s)int32 is expected, \w+ given.*keras.ops.cast\(x, 'int32'\)") as mistake:
        layer(x)
    assert layer(mistake.paste(x=x)["x"]).shape[1:] == (3,)


@pytest.mark.parametrize(
    "x", [[[1, 2, 3], [4]], np.ones((2, 5), "int64"), np.ones((2, 2), "int32")], ids=["lists", "5", "2"]
)
def test_sequences_of_another_length_go_to_a_model_of_three_tokens(produced, x):
    layer = HubLayer(produced(producers.token_doubler))
    with Mistake(errors.InputError, r"keras.utils.pad_sequences\(x, ") as mistake:
        layer(x)
    assert layer(mistake.paste(x=x)["x"]).shape == (2, 3)


def test_the_name_of_an_input_is_misspelt(produced):
    x = {name: keras.Input((4,), dtype="int32") for name in ("input_word_id", "input_mask")}
    layer = HubLayer(produced(encoder), output_key="pooled")
    with Mistake(
        errors.InputError, r"(?s)the keys \['input_word_ids'\] are missing.*Received: .*'input_word_id'"
    ) as mistake:
        layer(x)
    x = mistake.paste(x=x)["x"]
    ones = np.ones((2, 4), "int32")
    model = keras.Model(list(x.values()), layer(x))
    np.testing.assert_allclose(model.predict([ones, ones], verbose=0), [[4], [4]])


@pytest.mark.parametrize("wrong", ["missing", "tensor", "list"])
def test_a_dict_of_inputs_is_not_whole(produced, wrong):
    layer, ones = HubLayer(produced(encoder)), np.ones((1, 4), "int32")
    x = {"missing": {"input_word_ids": ones}, "tensor": ones, "list": [ones, ones]}[wrong]
    with Mistake(errors.InputError, r"\['input_mask'") as mistake:
        layer(x)
    found = mistake.paste(x=x, input_word_ids=ones, input_mask=ones)["x"]
    np.testing.assert_allclose(layer(found)["pooled"], [[4]])


@pytest.mark.parametrize("kind", ["swapped", "dict", "too many"])
def test_a_list_of_inputs_has_another_order(produced, kind):
    ids, numbers = np.ones((1, 3), "int32"), np.ones((1, 5), "float32")
    x = {"swapped": [numbers, ids], "dict": {"b": numbers, "a": ids}, "too many": [ids, numbers, ids]}[kind]
    layer = HubLayer(produced(ids_and_numbers))
    with Mistake(errors.InputError, r"\[int32 \(None, 3\), float32 \(None, 5\)\]") as mistake:
        layer(x)
    np.testing.assert_allclose(layer(mistake.paste(x=x)["x"]), [8])


def test_two_inputs_are_passed_as_two_arguments(produced):
    layer, x, y = HubLayer(produced(ids_and_numbers)), np.ones((1, 3), "int32"), np.ones((1, 5), "float32")
    with Mistake(errors.InputError, "takes its inputs as one argument") as mistake:
        layer(x, y)
    np.testing.assert_allclose(mistake.paste(layer=layer, x=x, y=y)["y"], [8])


def test_one_input_is_wrapped(produced):
    layer, one = HubLayer(produced(producers.half_plus_one)), np.array([[8.0]])
    for x in ([one], {"x": one}, tf.data.Dataset.from_tensors((one, one))):
        with Mistake(errors.InputError, "match no trace") as mistake:
            layer(x)
        np.testing.assert_allclose(layer(mistake.paste(x=x)["x"]), [[5.0]])


def test_an_input_of_a_dict_is_given_as_an_argument_of_its_name(produced):
    layer = HubLayer(produced(encoder))
    x, input_mask = np.array([[1, 2, 3, 4]], "int32"), np.array([[1, 1, 0, 0]], "int32")
    with Mistake(errors.InputError, r"takes its inputs as one argument: here a dict") as mistake:
        layer(x, input_mask=input_mask)
    np.testing.assert_array_equal(mistake.paste(x=x, input_mask=input_mask, layer=layer)["y"]["pooled"], [[3]])


def test_an_argument_of_the_function_is_given_to_the_call(produced):
    layer, x = HubLayer(produced(producers.scaled)), np.array([[2.0]])
    with Mistake(errors.InputError, r"(?s)no such argument.*arguments=\{'a': 10.0\}") as mistake:
        layer(x, a=10.0)
    np.testing.assert_allclose(mistake.paste(x=x)["_"], [[20.0]])


# -- what a layer is made of


SIGNATURE = {"signature": "serving_default", "output_key": "output_0"}
XY = {"x": [[1.0]], "y": [[1.0]]}


@pytest.mark.parametrize(
    ("producer", "kwargs", "error", "x", "expected"),
    [
        ("plus_one", {"signature": "serving_defualt", "output_key": "output_0"}, errors.InterfaceError, 1.0, 2.0),
        ("plus_one", {"signature": "serving_default"}, errors.InterfaceError, 1.0, 2.0),
        ("plus_one", {"signature": "serving_default", "output_key": "output"}, errors.InterfaceError, 1.0, 2.0),
        ("plus_one", {"signature_outputs_as_dict": True}, errors.InterfaceError, 1.0, 2.0),
        ("plus_one", {"tags": "train"}, errors.InterfaceError, 1.0, 2.0),
        ("plus_one", SIGNATURE | {"trainable": True}, errors.TrainingError, 1.0, 2.0),
        ("two_positional", {}, errors.InterfaceError, [2.0], [4.0]),
        ("with_pieces", {"piece": "encodr"}, errors.InterfaceError, [[2.0]], [[6.0]]),
        ("scaled", {"arguments": {"A": 3.0}}, errors.InterfaceError, [[2.0]], [[2.0]]),
        ("sum_and_difference", {"arguments": {"return_dict": "no"}}, errors.InterfaceError, XY, [[2.0, 3.0]]),
        ("multiply", {"trainable": True, "unfreeze": "Varible"}, errors.TrainingError, [1.0], [2.0]),
    ],
)
def test_an_argument_of_the_layer_is_wrong(produced, producer, kwargs, error, x, expected):
    path = produced(getattr(producers, producer))
    with Mistake(error, re.escape(path)) as mistake:
        HubLayer(path, **kwargs)
    layer = mistake.paste(1)["_"]
    np.testing.assert_allclose(layer(x), expected)


def test_a_model_that_can_be_tuned_is_tuned_through_its_signature(produced):
    path = produced(producers.half_plus_one)
    with Mistake(errors.TrainingError, r"through the signature 'serving_default'") as mistake:
        HubLayer(path, **SIGNATURE, trainable=True, unfreeze="kernel")
    assert mistake.fix == f"HubLayer({path!r}, trainable=True, unfreeze='kernel')"
    assert len(mistake.paste()["_"].trainable_weights) == 1


@pytest.mark.parametrize(("text", "flag"), [("True", True), ("False", False)])
def test_training_is_given_as_a_text(produced, text, flag):
    path, x = produced(producers.batch_norm), np.ones((2, 1))
    layer = HubLayer(path)
    with Mistake(errors.InputError, rf"(?s)training is a bool.*layer\(x, training={flag}\)") as mistake:
        layer(x, training=text)
    np.testing.assert_allclose(mistake.paste(layer=layer, x=x)["y"], layer(x, training=flag))
    with Mistake(errors.InterfaceError, "No trace of the SavedModel has these values") as mistake:
        HubLayer(path, arguments={"training": text})
    assert mistake.fix == f"HubLayer({path!r}, arguments={{'training': {flag}}})"


@pytest.mark.parametrize(("given", "trained"), [(1, True), (True, True), (False, False)])
def test_a_number_of_groups_or_a_bool_is_given_for_patterns(produced, given, trained):
    with Mistake(errors.TrainingError, f"(?s)unfreeze is not a regular expression.*unfreeze={given}") as mistake:
        HubLayer(produced(producers.half_plus_one), unfreeze=given)
    assert bool(mistake.paste(finetuning=finetuning)["layer"].trainable_weights) == trained


def test_an_output_key_is_misspelt(produced):
    ones = np.ones((1, 4), "int32")
    x = {"input_word_ids": ones, "input_mask": ones}
    with Mistake(errors.InterfaceError, "no such key") as mistake:
        HubLayer(produced(encoder), output_key="poold")(x)
    np.testing.assert_allclose(mistake.paste()["_"](x), [[4]])


def test_a_model_saved_for_inference_only_is_fine_tuned(produced):
    path, x = produced(producers.batch_norm, modes=(False,)), np.ones((2, 1))
    with Mistake(errors.TrainingError, "saved for inference only") as mistake:
        fine_tune(keras.Sequential([HubLayer(path, trainable=True)]), x, x)
    tuned, frozen = mistake.paste(1)["_"], mistake.paste()["_"]
    for layer in (tuned, frozen):
        layer(x, training=True)
    assert (len(tuned.trainable_weights), len(frozen.trainable_weights)) == (2, 0)


def test_the_end_of_a_cut_is_no_layer_of_the_model():
    x = keras.Input((1,), name="encode")
    model = keras.Model(x, keras.layers.Dense(1, kernel_initializer="ones")(x))
    with Mistake(errors.CutError, "no layer of that name") as mistake:
        cut_module.cut(model, outputs="encoder")
    piece = mistake.paste(khl=cut_module, model=model)["_"]
    np.testing.assert_allclose(piece(np.array([[3.0]])), [[3.0]])


def test_the_layer_is_made_outside_the_strategy_that_trains_it(produced):
    strategy, layer = (
        tf.distribute.OneDeviceStrategy("CPU:0"),
        HubLayer(produced(producers.half_plus_one), trainable=True),
    )
    x = np.ones((2, 1))
    with strategy.scope(), Mistake(errors.TrainingError, "outside the distribution strategy") as mistake:
        fine_tune(keras.Sequential([keras.Input((1,)), layer]), x, x)
    layer = mistake.paste(strategy=strategy)["layer"]
    with strategy.scope():
        fine_tune(keras.Sequential([keras.Input((1,)), layer]), x, x)


def test_a_file_with_the_layer_is_loaded_in_safe_mode(produced, tmp_path):
    path = tmp_path / "model.keras"
    keras.Sequential([keras.Input((1,)), HubLayer(produced(producers.half_plus_one))]).save(path)
    with Mistake(errors.SafeModeError, "safe_mode") as mistake:
        keras.saving.load_model(path)
    np.testing.assert_allclose(mistake.paste(1, path=path)["_"](np.array([[8.0]])), [[5.0]])


def test_the_tables_of_a_tf1_model_are_empty(produced):
    layer = HubLayer(produced(empty_table), signature="serving_default", output_key="y")
    with Mistake(errors.InterfaceError, "A lookup table of the SavedModel is empty") as mistake:
        layer(["a"])
    np.testing.assert_array_equal(mistake.paste()["layer"](["a", "b"]), [7, -1])


def test_a_function_is_taken_from_an_object_that_is_not_kept(produced):
    function = tf.saved_model.load(produced(producers.half_plus_one)).signatures["serving_default"]
    with Mistake(errors.InterfaceError, r"(?s)The variables of the function are gone.*load\(handle\)"):
        HubLayer(function)


# -- handles


def test_the_path_of_a_model_is_misspelt(produced, tmp_path):
    producers.half_plus_one(tmp_path / "half_plus_one")
    with Mistake(errors.HandleNotFoundError, "half_plus_onee") as mistake:
        HubLayer(tmp_path / "half_plus_onee")
    np.testing.assert_allclose(mistake.paste()["_"]([[8.0]]), [[5.0]])


def test_a_file_inside_the_model_is_given(produced):
    with Mistake(errors.ResolveError, "a file of a SavedModel, which is a directory") as mistake:
        HubLayer(produced(producers.half_plus_one) + "/saved_model.pb")
    np.testing.assert_allclose(mistake.paste()["_"]([[8.0]]), [[5.0]])


@pytest.mark.parametrize("name", ["model.keras", "model.h5"])
def test_a_keras_file_is_given(tmp_path, name):
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1, kernel_initializer="ones")])
    model.save(tmp_path / name)
    with Mistake(errors.ResolveError, "a Keras model") as mistake:
        HubLayer(tmp_path / name)
    np.testing.assert_allclose(mistake.paste()["model"](np.array([[3.0]])), [[3.0]])


def test_a_layer_of_another_package_is_given(produced):
    path = produced(producers.half_plus_one)
    made = hub.KerasLayer(path), keras.layers.TFSMLayer(path, call_endpoint="serving_default")
    for layer in made:
        with Mistake(errors.InterfaceError, "The handle is a layer already") as mistake:
            HubLayer(layer)
        np.testing.assert_allclose(mistake.paste(obj=layer)["_"]([[8.0]]), [[5.0]])
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1, kernel_initializer="ones")])
    with Mistake(errors.InterfaceError, "The handle is a layer already") as mistake:
        HubLayer(model)
    np.testing.assert_allclose(mistake.paste(model=model, x=np.array([[3.0]]))["y"], [[3.0]])


def test_a_keras_2_model_is_given_before_it_was_called():
    model, x = tf_keras.Sequential([tf_keras.layers.Dense(1, kernel_initializer="ones")]), np.array([[3.0]])
    with pytest.raises(errors.InterfaceError, match="has no variables yet"):
        inspect_module.inspect(model)
    with Mistake(errors.InterfaceError, "has no variables yet, since it was not called") as mistake:
        HubLayer(model)
    np.testing.assert_allclose(mistake.paste(model=model, x=x)["layer"](x), [[3.0]])


@pytest.mark.parametrize(
    "x", [keras.Input((1,)), np.ones((1, 1)), tf.ones((1, 1))], ids=["symbolic", "numpy", "tensor"]
)
def test_the_input_is_given_in_the_place_of_the_handle(x):
    with Mistake(errors.HandleError, "was given its input in the place of its handle") as mistake:
        HubLayer(x)
    assert mistake.fix.endswith("y = layer(x)")


@pytest.mark.parametrize(
    ("given", "fix"),
    [
        ({"ids": 1, "mask": 2}, "y = layer({'ids': ids, 'mask': mask})"),
        ({}, "y = layer(x)"),
        ({"training": True}, "y = "),
    ],
)
def test_a_call_without_an_input_names_the_call_that_was_meant(produced, given, fix):
    layer = HubLayer(produced(producers.half_plus_one))
    with pytest.raises(errors.InputError, match=f"(?s)called without an input.*{re.escape(fix)}"):
        layer(**given)
