"""What users pass as data reaches `fit` in a form that Keras takes."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_hub_layers._src.finetuning.fit_data import as_arrays, as_validation


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
