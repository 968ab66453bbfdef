"""What users pass as data reaches `fit` in a form that Keras takes."""

import keras
import numpy as np
import producers
import pytest
import tensorflow as tf

from keras_hub_layers import errors, finetuning, layers
from keras_hub_layers._src.finetuning.arguments.fit_data import as_arrays, as_validation


@pytest.mark.parametrize(
    "texts", [["a", "b"], np.array(["a", "b"]), np.array([b"a", b"b"]), np.array(["a", "b"], object), ("a", "b")]
)
def test_texts_become_a_tensor(texts):
    found = as_arrays(texts)
    assert keras.ops.is_tensor(found)
    assert found.numpy().tolist() == [b"a", b"b"]


def test_numbers_in_lists_become_arrays():
    np.testing.assert_array_equal(as_arrays([1, 2, 3]), np.array([1, 2, 3]))
    np.testing.assert_array_equal(as_arrays([[1.0, 2.0], [3.0, 4.0]]), np.array([[1.0, 2.0], [3.0, 4.0]]))


def test_structures_of_inputs_stay_structures():
    x, texts = np.ones((2, 3)), np.array(["a", "b"])
    found = as_arrays({"x": x, "texts": texts, "both": [x, texts]})
    assert found["x"] is x
    assert found["both"][0] is x
    assert keras.ops.is_tensor(found["texts"])
    assert keras.ops.is_tensor(found["both"][1])


@pytest.mark.parametrize(
    "data", [None, np.ones(3), tf.constant(["a"]), tf.data.Dataset.range(3), np.array([[1], [1, 2]], object), []]
)
def test_anything_else_is_left_as_it_is(data):
    assert as_arrays(data) is data or as_arrays(data) == data


def test_validation_data_are_pairs_or_datasets():
    texts, y = as_validation((["a", "b"], [0, 1]))
    assert texts.dtype == "string"
    np.testing.assert_array_equal(y, [0, 1])
    dataset = tf.data.Dataset.range(3)
    assert as_validation(dataset) is dataset
    assert as_validation(None) is None


# -- one way to pass data


TEXTS, LABELS = ["good", "bad", "world", "hello"], np.array([[1.0], [0.0], [0.5], [0.2]], "float32")


def text_model(produced):
    hub = layers.HubLayer(produced(producers.text_classifier), name="hub")
    model = keras.Sequential([hub, keras.layers.Dense(1, kernel_initializer="ones")])
    model.compile("sgd", "mse", run_eagerly=True)
    return model


def data_of(kind):
    """Texts and labels in one form of many: the arguments that follow the model."""
    frame = lambda: pytest.importorskip("pandas", reason="pandas is optional")  # noqa: E731
    return {
        "x, y": lambda: (TEXTS, LABELS),
        "(x, y)": lambda: ((TEXTS, LABELS),),
        "a dataset": lambda: (tf.data.Dataset.from_tensor_slices((TEXTS, LABELS)).batch(4),),
        "str": lambda: (np.array(TEXTS), LABELS),
        "bytes": lambda: (np.array([text.encode() for text in TEXTS]), LABELS),
        "object": lambda: ((np.array(TEXTS, object), LABELS),),
        "a column": lambda: (frame().Series(TEXTS), frame().Series(LABELS[:, 0])),
        "a column of str": lambda: (frame().Series(TEXTS, dtype="str"), LABELS),
        "a column of strings": lambda: (frame().Series(TEXTS, dtype="string"), LABELS),
        "frames": lambda: ((frame().DataFrame({"text": TEXTS}), frame().DataFrame({"label": LABELS[:, 0]})),),
    }[kind]()


KINDS = pytest.mark.parametrize(
    "kind",
    [
        "x, y", "(x, y)", "a dataset", "str", "bytes", "object",
        "a column", "a column of str", "a column of strings", "frames",
    ],
)  # fmt: skip


@KINDS
def test_fine_tune_and_features_take_data_in_each_form(produced, kind):
    expected = text_model(produced).get_layer("hub")(tf.constant(TEXTS)).numpy()
    model = text_model(produced)
    outputs, targets = finetuning.features(model.get_layer("hub"), *data_of(kind))
    np.testing.assert_allclose(outputs, expected)
    np.testing.assert_allclose(np.ravel(targets), LABELS[:, 0])
    history = finetuning.fine_tune(model, *data_of(kind), epochs=2, shuffle=False, verbose=0)
    first = np.mean((expected.sum(1, keepdims=True) - LABELS) ** 2)
    assert history.history["loss"][0] == pytest.approx(first, rel=1e-5)


def test_a_frame_of_numbers_is_one_array_and_another_a_dict_of_columns():
    pandas = pytest.importorskip("pandas", reason="pandas is optional")
    numbers = pandas.DataFrame({"a": [1, 2], "b": [0.5, 1.5]})
    np.testing.assert_array_equal(as_arrays(numbers), [[1, 0.5], [2, 1.5]])
    mixed = as_arrays(pandas.DataFrame({"n": [1, 2], "text": ["a", "b"]}))
    assert mixed["n"].tolist() == [1, 2]
    assert mixed["text"].numpy().tolist() == [b"a", b"b"]
    assert as_arrays(pandas.Series([1, 2], dtype="Int64")).dtype == "int64"


def test_a_column_of_texts_with_gaps_is_refused_with_the_line_that_leaves_them_out():
    pandas = pytest.importorskip("pandas", reason="pandas is optional")
    x = pandas.DataFrame({"text": ["a", None, "c"]})
    with pytest.raises(errors.TrainingError, match=r"1 of 3 rows of 'text' without one") as caught:
        as_arrays(x)
    names = {"x": x}
    exec(caught.value.fix, names)
    assert as_arrays(names["x"]).numpy().tolist() == [b"a", b"c"]


def test_epochs_are_the_third_argument_as_ever(produced):
    model = text_model(produced)
    assert finetuning.fine_tune(model, (TEXTS, LABELS), 2, verbose=0).epoch == [0, 1]
    assert finetuning.fine_tune(model, TEXTS, LABELS, 2, verbose=0).epoch == [0, 1]
