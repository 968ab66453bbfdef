"""Sample inputs fit their traces, or are what the user describes."""

import numpy as np
import pytest
import tensorflow as tf

from keras_hub_layers import errors
from keras_hub_layers._src import sample_inputs
from keras_hub_layers._src.inspect.specs import Spec


@pytest.mark.parametrize(
    ("spec", "shape"),
    [
        (Spec((None, 5), "float32"), (2, 5)),
        (Spec((None, None), "int32"), (2, 8)),
        (Spec((None, None, None, 3), "uint8"), (2, 32, 32, 3)),
        (Spec((1,), "float64"), (1,)),
        (Spec((), "bool"), ()),
        (Spec(None, "string"), (2,)),
        (Spec(None, "float32"), (2, 1)),
        (Spec((None, 3), "bfloat16"), (2, 3)),
    ],
)
def test_a_made_up_tensor_has_a_shape_and_dtype_of_the_trace(spec, shape):
    made = sample_inputs.made_up(spec)
    assert (tuple(made.shape), made.dtype.name) == (shape, spec.dtype)


def test_numbers_are_small_and_the_same_each_time_and_integers_are_valid_indices():
    spec = Spec((None, 5), "float32")
    first, second = sample_inputs.made_up(spec).numpy(), sample_inputs.made_up(spec).numpy()
    np.testing.assert_array_equal(first, second)
    assert 0 <= first.min() < first.max() < 1
    assert sample_inputs.made_up(Spec((None, 2), "int64")).numpy().tolist() == [[1, 1], [1, 1]]
    assert sample_inputs.made_up(Spec((None,), "string")).numpy().tolist() == [b"a sample text"] * 2


def test_nests_and_kinds_are_kept():
    made = sample_inputs.made_up(
        {"a": [Spec((None, 4), "float32", "sparse")], "b": Spec((None, None), "float32", "ragged")}
    )
    assert isinstance(made["a"][0], tf.SparseTensor)
    assert made["a"][0].shape == (2, 4)
    assert isinstance(made["b"], tf.RaggedTensor)
    assert made["b"].bounding_shape().numpy().tolist() == [2, 8]


def test_the_parts_of_a_sparse_tensor_agree():
    specs = {
        "x_indices": Spec((None, 2), "int64"),
        "x_values": Spec((None,), "float32"),
        "x_dense_shape": Spec((2,), "int64"),
        "other_indices": Spec((None, 2), "int64"),
    }
    made = sample_inputs.made_up(specs)
    dense = tf.sparse.to_dense(tf.SparseTensor(made["x_indices"], made["x_values"], made["x_dense_shape"]))
    np.testing.assert_array_equal(dense[:, 0], made["x_values"])
    assert made["other_indices"].numpy().tolist() == [[1, 1], [1, 1]]


def test_shapes_files_lists_and_dicts_can_be_described(tmp_path):
    path = tmp_path / "x.npy"
    np.save(path, np.array([[1.5, 2.5]], "float32"))
    np.save(tmp_path / "texts.npy", np.array(["good", "bad"]))
    assert sample_inputs.read(["1,2:int32"]).numpy().tolist() == [[1, 1]]
    assert (sample_inputs.read(["(4,)"]).shape, sample_inputs.read([":string"]).shape) == ((4,), ())
    assert sample_inputs.read([str(path)]).numpy().tolist() == [[1.5, 2.5]]
    assert sample_inputs.read([str(tmp_path / "texts.npy")]).numpy().tolist() == [b"good", b"bad"]
    one, two = sample_inputs.read([str(path), "3:int64"])
    assert (one.shape, two.dtype) == ((1, 2), tf.int64)
    named = sample_inputs.read(["ids=1,8:int32", f"x={path}"])
    assert (list(named), named["ids"].shape) == (["ids", "x"], (1, 8))


@pytest.mark.parametrize(
    ("texts", "reason"),
    [
        (["1,a:float32"], "invalid literal"),
        (["3:float33"], "float33"),
        (["nothing.npy"], "No such file"),
        (["a=1:int32", "2:int32"], "either all inputs have names or none has"),
    ],
)
def test_what_cannot_be_read_is_an_error_with_an_example(texts, reason):
    with pytest.raises(errors.InputError, match=rf"(?s){reason}.*--input 2,224,224,3:float32"):
        sample_inputs.read(texts)


def test_arrays_of_objects_are_refused(tmp_path):
    np.save(tmp_path / "x.npy", np.array([{}], object))
    with pytest.raises(errors.InputError, match="allow_pickle"):
        sample_inputs.read([str(tmp_path / "x.npy")])
