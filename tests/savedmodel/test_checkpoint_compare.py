"""A checkpoint that was written is compared with the live variables bit by bit, in its file or tensor by tensor."""

import numpy as np
import pytest
import tensorflow as tf

from keras_hub_layers._src.savedmodel.checkpoints import compare


@pytest.fixture
def saved(tmp_path):
    """A module of several dtypes, and the directory that it was saved to."""
    module = tf.Module()
    module.a = tf.Variable([1.0, np.nan], name="a")
    module.b = tf.Variable([True, False, True], name="b")
    module.c = tf.Variable([0.5], dtype=tf.bfloat16, name="c")
    module.d = tf.Variable("text", name="d")
    tf.saved_model.save(module, str(tmp_path))
    return module, str(tmp_path)


@pytest.mark.parametrize("in_the_file", [True, False])
def test_equal_bits_are_equal_nan_too_and_others_are_named(saved, monkeypatch, in_the_file):
    module, directory = saved
    if not in_the_file:
        monkeypatch.setattr(compare, "_lies_in_the_file", lambda *_: False)
    assert compare.different_keys(directory, module) == []
    module.b.assign([True, True, True])
    module.d.assign("other")
    assert [key.split("/")[0] for key in compare.different_keys(directory, module)] == ["b", "d"]


def test_without_a_checkpoint_nothing_differs(tmp_path):
    assert compare.different_keys(str(tmp_path), tf.Module()) == []
