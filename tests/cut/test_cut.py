"""A cut is a model of its own that shares the layers, or an error that says which inputs are missing."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_hub_layers as khl
from keras_hub_layers import errors
from keras_hub_layers._src.cut.cut import cut

L = keras.layers
ONES = np.ones((2, 4), "float32")


def plus(n, name=None):
    """A layer that adds n: whatever lies in a piece can be read off its output."""
    return L.Rescaling(1.0, offset=n, name=name)


def chain():
    x = keras.Input((4,), name="x")
    return keras.Model(x, plus(100, "c")(plus(10, "b")(plus(1, "a")(x))), name="chain")


def added(piece, inputs=None):
    """What a piece adds to ones."""
    outputs = piece(ONES if inputs is None else inputs)
    return keras.tree.map_structure(lambda out: float(out[0, 0]) - 1, outputs)


@pytest.mark.parametrize(
    ("inputs", "outputs", "sum_"),
    [(None, "a", 1), (None, "b", 11), ("b", None, 110), ("b", "b", 10), ("a", "b", 11), ("x", "c", 111)],
)
def test_a_piece_reaches_from_the_input_of_one_layer_to_the_output_of_another(inputs, outputs, sum_):
    assert added(cut(chain(), inputs, outputs)) == sum_


def test_symbolic_tensors_say_the_same_as_names():
    model = chain()
    piece = cut(model, model.get_layer("a").output, model.get_layer("c").input)
    assert added(piece) == 10
    assert piece.inputs[0].name == "a_output"


def test_neither_means_the_whole_model():
    model = chain()
    assert cut(model) is model
    assert khl.cut is cut


def test_a_sequential_model_is_cut_too():
    model = keras.Sequential([keras.Input((4,)), plus(1, "a"), plus(10, "b")])
    assert added(cut(model, "b")) == 10


def test_weights_are_shared_and_the_original_trains_on():
    x = keras.Input((4,))
    model = keras.Model(x, L.Dense(1, name="head")(L.Dense(3, name="features")(x)))
    model.compile("sgd", "mse")
    piece = cut(model, outputs="features")
    before = piece.predict(ONES, verbose=0)
    model.fit(ONES, ONES[:, :1], verbose=0)
    assert piece.layers[-1] is model.get_layer("features")
    assert np.any(piece.predict(ONES, verbose=0) != before)
    assert not piece.compiled


def test_the_input_of_a_piece_is_named_after_its_layer():
    assert cut(chain(), "b").inputs[0].name == "b_input"
    assert cut(chain(), "a").inputs[0].name == "a_input"
    assert cut(chain(), "x", "a").inputs[0].name == "x"


def test_an_application_of_a_shared_layer_is_chosen_by_its_index():
    x, shared = keras.Input((4,), name="x"), plus(1, "s")
    model = keras.Model(x, shared(shared(shared(x))))
    assert added(cut(model, outputs="s:0")) == 1
    assert added(cut(model, outputs="s:2")) == 3
    assert added(cut(model, "s:1", "s:1")) == 1
    assert added(cut(model, "s:1", "s:2")) == 2
    with pytest.raises(errors.CutError, match=r"applied several times[\s\S]*'s:0', 's:1', 's:2'"):
        cut(model, outputs="s")
    with pytest.raises(errors.CutError, match=r"an index below 3[\s\S]*s:2"):
        cut(model, outputs="s:3")


def two_inputs():
    a, b = keras.Input((4,), name="a"), keras.Input((4,), name="b")
    return keras.Model([a, b], L.Add(name="sum")([plus(1, "one")(a), plus(10, "ten")(b)]))


def test_an_open_cut_names_the_missing_inputs():
    with pytest.raises(errors.CutError, match=r"not closed[\s\S]*\['b'\][\s\S]*inputs=\['one', 'b'\]"):
        cut(two_inputs(), "one", "sum")


def test_a_closed_cut_may_take_inputs_at_different_depths():
    piece = cut(two_inputs(), ["one", "b"], "sum")
    assert added(piece, [ONES, ONES]) == 1 + 11


def test_inputs_that_no_output_depends_on_are_named():
    with pytest.raises(errors.CutError, match=r"no output depends on: \['a_input'\]"):
        cut(chain(), ["a", "b"], "c")


def test_outputs_before_the_inputs_are_refused():
    with pytest.raises(errors.CutError, match="no output depends on"):
        cut(chain(), "c", "a")


def test_dicts_and_lists_are_kept():
    piece = cut(two_inputs(), {"left": "one", "right": "ten"}, {"both": "sum", "parts": ["one", "ten"]})
    outputs = piece({"left": ONES, "right": ONES})
    assert added(piece, {"left": ONES, "right": ONES}) == {"both": 12, "parts": [1, 10]}
    assert sorted(outputs) == ["both", "parts"]


def test_a_layer_of_several_inputs_gives_the_piece_as_many():
    piece = cut(two_inputs(), "sum")
    assert len(piece.inputs) == 2
    assert added(piece, [ONES, ONES]) == 1


def nested():
    i = keras.Input((4,), name="i")
    inner = keras.Model(i, plus(20, "q")(plus(10, "p")(i)), name="inner")
    x = keras.Input((4,), name="x")
    return keras.Model(x, plus(200, "z")(inner(plus(1, "y")(x))), name="outer")


@pytest.mark.parametrize(
    ("inputs", "outputs", "sum_"),
    [
        (None, "inner", 31),
        ("inner", None, 230),
        (None, "p", 11),
        (None, "inner/p", 11),
        ("q", "z", 220),
        ("inner/q", None, 220),
        ("y", "q", 31),
        ("p", "p", 10),
        ("i", "z", 230),
    ],
)
def test_a_cut_goes_through_nested_models(inputs, outputs, sum_):
    assert added(cut(nested(), inputs, outputs)) == sum_


def test_a_nested_model_that_is_not_cut_stays_a_layer():
    assert "inner" in [layer.name for layer in cut(nested(), outputs="z").layers]


def test_a_cut_goes_through_models_in_models():
    middle = keras.Sequential([keras.Input((4,)), nested(), plus(1000, "w")], name="middle")
    x = keras.Input((4,))
    model = keras.Model(x, middle(x))
    assert added(cut(model, "q", "w")) == 20 + 200 + 1000
    assert added(cut(model, None, "middle/outer/inner/p")) == 11


def test_a_nested_model_with_dict_inputs_is_followed():
    a, b = keras.Input((4,), name="a"), keras.Input((4,), name="b")
    inner = keras.Model({"a": a, "b": b}, L.Subtract(name="minus")([plus(5, "p")(a), b]), name="inner")
    x, y = keras.Input((4,), name="x"), keras.Input((4,), name="y")
    model = keras.Model([x, y], plus(3, "end")(inner({"b": y, "a": x})))
    np.testing.assert_array_equal(cut(model, ["p", "y"], "end")([3 * ONES, ONES]), 3 * ONES + 5 - 1 + 3)


def test_a_nested_model_applied_twice_counts_its_layers_twice():
    inner = keras.Sequential([keras.Input((4,)), plus(1, "p"), plus(10, "q")], name="inner")
    x = keras.Input((4,))
    model = keras.Model(x, inner(inner(x)))
    assert added(cut(model, outputs="q:0")) == 11
    assert added(cut(model, outputs="p:1")) == 12
    with pytest.raises(errors.CutError, match="model is applied several times"):
        cut(model, outputs=inner.get_layer("p").output)


def test_the_same_name_in_two_nested_models_asks_for_the_path():
    a = keras.Sequential([keras.Input((4,)), plus(1, "p")], name="a")
    b = keras.Sequential([keras.Input((4,)), plus(2, "p")], name="b")
    model = keras.Sequential([keras.Input((4,)), a, b])
    with pytest.raises(errors.CutError, match=r"\['a/p', 'b/p'\]"):
        cut(model, outputs="p")
    assert added(cut(model, outputs="b/p")) == 3


def test_masks_are_kept_inside_a_piece_and_are_inputs_at_its_edge():
    x = keras.Input((None,), dtype="int32", name="ids")
    h = L.Embedding(8, 4, mask_zero=True, name="embed")(x)
    model = keras.Model(x, L.Dense(2, name="head")(L.GlobalAveragePooling1D(name="mean")(h)))
    ids = np.array([[1, 2, 0, 0]])
    np.testing.assert_allclose(cut(model, outputs="mean")(ids), model.get_layer("mean")(model.get_layer("embed")(ids)))
    with pytest.raises(errors.CutError, match=r"\['ids'\] \(a mask is an input as well\)"):
        cut(model, "mean", "head")


def test_operations_and_dense_results_that_keras_marks_as_sparse_are_cut_through():
    x = keras.Input((4,), name="x")
    doubled = x * 2
    model = keras.Model(x, plus(1, "end")(keras.ops.relu(doubled)))
    piece = cut(model, "end")
    assert added(piece) == 1
    assert added(cut(model, doubled, "end")) == 1


@pytest.mark.parametrize(("where", "match"), [("d", r"one of \['a', 'b', 'c'\][\s\S]*khl\.cut"), (7, "names no layer")])
def test_a_name_that_is_none_lists_the_names(where, match):
    with pytest.raises(errors.CutError, match=match):
        cut(chain(), outputs=where)


def test_a_tensor_of_another_model_is_refused():
    with pytest.raises(errors.CutError, match="not one of this model"):
        cut(chain(), outputs=chain().outputs[0])


class Subclassed(keras.Model):
    def call(self, x):
        return x


def test_subclassed_and_unbuilt_models_are_refused():
    with pytest.raises(errors.CutError, match="Subclassed"):
        cut(Subclassed(), outputs="a")
    with pytest.raises(errors.CutError, match="Sequential"):
        cut(keras.Sequential([plus(1, "a")]), outputs="a")


def test_a_piece_is_exported_and_used_as_a_hub_layer(tmp_path):
    path = khl.export(cut(nested(), "p", "q"), tmp_path / "piece")
    assert added(khl.layers.HubLayer(path)) == 30
    assert list(tf.saved_model.load(path).signatures["serve"].structured_input_signature[1]) == ["p_input"]
