"""What goes into a HubLayer and what comes out: structures, kinds, dtypes, symbolic and eager."""

import keras
import numpy as np
import producers
import pytest
import tensorflow as tf

from keras_hub_layers import errors, layers

ONE_TO_TEN = np.array([[0.0], [8.0], [10.0], [12.0]], "float32")
KINDS = pytest.mark.parametrize("keras2", producers.PRODUCERS.values(), ids=producers.PRODUCERS)


@KINDS
def test_sequential_without_input_computes_the_savedmodel(produced, keras2):
    model = keras.Sequential([layers.HubLayer(produced(producers.half_plus_one, keras2))])
    np.testing.assert_allclose(model.predict(ONE_TO_TEN, verbose=0), [[1], [5], [6], [7]])


@KINDS
def test_functional_model_computes_the_savedmodel(produced, keras2):
    inputs = keras.Input((1,))
    model = keras.Model(inputs, layers.HubLayer(produced(producers.half_plus_one, keras2))(inputs))
    np.testing.assert_allclose(model(ONE_TO_TEN), [[1], [5], [6], [7]])


@KINDS
def test_subclassed_model_computes_the_savedmodel(produced, keras2):
    class Model(keras.Model):
        def __init__(self):
            super().__init__()
            self.hub = layers.HubLayer(produced(producers.half_plus_one, keras2))

        def call(self, inputs):
            return 2 * self.hub(inputs)

    np.testing.assert_allclose(Model().predict(ONE_TO_TEN, verbose=0), [[2], [10], [12], [14]])


@pytest.mark.parametrize("value", [10.0, np.float64(10.0), np.float32(10.0), tf.constant(10.0), 10, np.int64(10)])
def test_numbers_of_any_python_and_numpy_type_are_taken(produced, value):
    assert float(layers.HubLayer(produced(producers.plus_one))(value)) == 11.0


@pytest.mark.parametrize(
    "value",
    [[1.0, 2.0], (1, 2), np.array([1, 2], "int8"), np.array([1, 2], "float16"), tf.constant([1, 2], tf.int64)],
    ids=["list", "tuple of ints", "int8", "float16", "int64 tensor"],
)
def test_values_are_cast_within_and_from_integers_to_floats(produced, value):
    outputs = layers.HubLayer(produced(producers.plus_one))(value)
    assert outputs.dtype == tf.float32
    np.testing.assert_allclose(outputs, [2, 3])


def test_int64_is_cast_to_a_traced_int32(produced):
    layer = layers.HubLayer(produced(producers.token_doubler))
    np.testing.assert_allclose(layer(np.array([[1, 2, 3]], "int64")), [[2, 4, 6]])


def test_integers_that_do_not_fit_are_refused(produced):
    layer = layers.HubLayer(produced(producers.token_doubler))
    with pytest.raises(errors.InputError, match="do not fit into int32"):
        layer(np.array([[1, 2, 2**40]]))


@pytest.mark.parametrize(
    "value", [[[1.5, 2.0, 3.0]], [["1", "2", "3"]], [[True, False, True]]], ids=["float", "string", "bool"]
)
def test_casts_that_change_values_are_refused(produced, value):
    layer = layers.HubLayer(produced(producers.token_doubler))
    with pytest.raises(errors.InputError, match="that cast would change values"):
        layer(value)


def test_python_floats_keep_their_precision_for_a_float64_trace(tmp_path):
    root = tf.train.Checkpoint()
    root.__call__ = tf.function(lambda x: x, input_signature=[tf.TensorSpec((None,), tf.float64)])
    assert float(layers.HubLayer(producers.save(root, tmp_path))([0.1])[0]) == 0.1


def test_integer_model_without_input_gets_an_integer_input(produced):
    model = keras.Sequential([layers.HubLayer(produced(producers.token_doubler))])
    np.testing.assert_allclose(model.predict(np.array([[1, 2, 3]]), verbose=0), [[2, 4, 6]])
    assert model.inputs[0].dtype == "int32"


@KINDS
def test_strings_go_in_as_lists_arrays_and_tensors(produced, keras2):
    layer = layers.HubLayer(produced(producers.text_length, keras2))
    expected = [[0.1, 0.3], [0.2, 0.6]]
    for texts in (
        [["a"], ["bb"]],
        np.array([["a"], ["bb"]]),
        np.array([["a"], ["bb"]], object),
        tf.constant([["a"], ["bb"]]),
    ):
        np.testing.assert_allclose(layer(texts), expected, rtol=1e-6)


@KINDS
def test_string_model_without_input_predicts_and_fits(produced, keras2):
    model = keras.Sequential([layers.HubLayer(produced(producers.text_length, keras2)), keras.layers.Dense(1)])
    model.compile("adam", "mse")
    texts = tf.constant([["a"], ["bb"]])
    model.fit(texts, np.ones((2, 1)), verbose=0)
    assert model.predict(texts, verbose=0).shape == (2, 1)
    assert model.inputs[0].dtype == "string"


def test_text_with_a_lookup_table_works_symbolically(produced):
    inputs = keras.Input((), dtype="string")
    model = keras.Model(inputs, layers.HubLayer(produced(producers.text_classifier))(inputs))
    np.testing.assert_allclose(model(tf.constant(["hello world", "bad"])), [[0.5, -0.5], [3, -3]])


def test_lists_and_tuples_stand_for_each_other(produced):
    layer = layers.HubLayer(produced(producers.two_lists))
    a, b = np.full((1, 2), 5.0), np.full((1, 2), 3.0)
    for inputs in ([a, b], (a, b)):
        total, difference = layer(inputs)
        np.testing.assert_allclose(total, [[8, 8]])
        np.testing.assert_allclose(difference, [[2, 2]])


def test_list_outputs_are_symbolic_tensors_with_shapes(produced):
    outputs = layers.HubLayer(produced(producers.two_lists))([keras.Input((2,)), keras.Input((2,))])
    assert [tensor.shape for tensor in outputs] == [(None, 2), (None, 2)]


@pytest.mark.parametrize("output_shape", [None, {"sigma": (2,), "delta": (1,)}], ids=["inferred", "given"])
def test_dict_inputs_and_outputs_work_in_a_functional_model(produced, output_shape):
    layer = layers.HubLayer(
        produced(producers.sum_and_difference), arguments={"return_dict": True}, output_shape=output_shape
    )
    inputs = {"x": keras.Input((1,), name="x"), "y": keras.Input((1,), name="y")}
    outputs = layer(inputs)
    model = keras.Model(inputs, [outputs["delta"], outputs["sigma"]])
    delta, sigma = model({"x": np.array([[11.0], [22.0]]), "y": np.array([[1.0], [2.0]])})
    np.testing.assert_allclose(delta, [[10], [20]])
    np.testing.assert_allclose(sigma, [[12, 13], [24, 26]])
    assert outputs["sigma"].shape == (None, 2)


def test_extra_keys_are_dropped_and_the_order_of_keys_does_not_matter(produced):
    layer = layers.HubLayer(produced(producers.sum_and_difference))
    np.testing.assert_allclose(layer({"z": "unused", "y": [[1.0]], "x": [[11.0]]}), [[12, 13]])


def test_output_key_picks_from_a_dict_that_call_returns(produced):
    path = produced(producers.sum_and_difference)
    layer = layers.HubLayer(path, arguments={"return_dict": True}, output_key="delta")
    np.testing.assert_allclose(layer({"x": [[11.0]], "y": [[1.0]]}), [[10]])


def test_output_shape_overrides_what_cannot_be_inferred(produced):
    layer = layers.HubLayer(produced(producers.obscure_shapes), output_shape=[[1], [2, 2], [3, 3, 3]])
    assert [tensor.shape for tensor in layer(keras.Input((1,)))] == [(None, 1), (None, 2, 2), (None, 3, 3, 3)]
    single, double, _ = layer(np.array([[1.0], [10.0]]))
    np.testing.assert_allclose(single, [[1], [10]])
    np.testing.assert_allclose(double[1], [[20, 20], [20, 20]])


def test_a_static_batch_size_reaches_the_output(produced):
    outputs = layers.HubLayer(produced(producers.half_plus_one))(keras.Input(batch_shape=(7, 1)))
    assert outputs.shape == (7, 1)


@KINDS
def test_compute_output_shape_keeps_the_batch_size(produced, keras2):
    assert layers.HubLayer(produced(producers.half_plus_one, keras2)).compute_output_shape((10, 1)) == (10, 1)


@KINDS
def test_compute_output_shape_knows_dtypes_that_differ(produced, keras2):
    layer = layers.HubLayer(produced(producers.text_length, keras2))
    assert layer.compute_output_shape((None, 1)) == (None, 2)
    assert layer.compute_output_shape((3, 1)) == (3, 2)


def test_ragged_inputs_and_outputs(produced):
    layer = layers.HubLayer(produced(producers.ragged_sum))
    np.testing.assert_allclose(layer(tf.ragged.constant([[1.0], [2.0, 3.0]])), [[1], [5]])
    np.testing.assert_allclose(layer([[1.0], [2.0, 3.0]]), [[1], [5]])
    words = layers.HubLayer(produced(producers.words))(["a b", "c"])
    assert words.to_list() == [[b"a", b"b"], [b"c"]]


def test_ragged_words_feed_a_ragged_layer_in_a_dataset(produced):
    split, summed = layers.HubLayer(produced(producers.words)), layers.HubLayer(produced(producers.ragged_sum))
    data = tf.data.Dataset.from_tensor_slices(["1 2 3", "4"]).batch(2)
    data = data.map(split).map(lambda x: tf.ragged.map_flat_values(tf.strings.to_number, x)).map(summed)
    np.testing.assert_allclose(next(iter(data)), [[6], [4]])


def test_ragged_outputs_are_ragged_symbolically_too(produced):
    words = layers.HubLayer(produced(producers.words))(keras.Input((), dtype="string"))
    assert (words.shape, words.dtype) == ((None, None), "string")
    assert getattr(words, "ragged", True)  # Keras 3.8 has no such mark


@pytest.mark.parametrize("kind", ["ragged", "sparse"])
def test_a_sequential_model_without_input_fits_ragged_and_sparse_data(produced, kind):
    dense = np.array([[1.0, 0.0, 0.0, 0.0], [2.0, 3.0, 0.0, 0.0]], "float32")
    x = tf.RaggedTensor.from_tensor(dense, padding=0.0) if kind == "ragged" else tf.sparse.from_dense(dense)
    layer = layers.HubLayer(produced(producers.ragged_sum if kind == "ragged" else producers.sparse_sum))
    model = keras.Sequential([layer, keras.layers.Dense(1, kernel_initializer="ones")])
    model.compile("sgd", "mse")
    data = tf.data.Dataset.from_tensor_slices((x, [[1.0], [5.0]])).batch(2)
    np.testing.assert_allclose(model.predict(data, verbose=0), [[1], [5]])
    assert model.fit(data, shuffle=False, verbose=0).history["loss"] == [0.0]


def test_sparse_inputs(produced):
    layer = layers.HubLayer(produced(producers.sparse_sum))
    inputs = keras.Input((4,), sparse=True)
    model = keras.Model(inputs, layer(inputs))
    np.testing.assert_allclose(model(tf.sparse.from_dense(np.eye(2, 4, dtype="float32"))), [[1], [1]])


def test_a_sparse_hint_on_a_dense_symbolic_tensor_is_ignored(produced):
    inputs = keras.Input((1,))
    doubled = keras.KerasTensor((None, 1), "float32", sparse=True)
    assert layers.HubLayer(produced(producers.half_plus_one))(inputs * 2).shape == (None, 1)
    assert layers.HubLayer(produced(producers.half_plus_one)).compute_output_spec(doubled).sparse is False


def test_tensor_arguments_take_python_values_and_defaults(produced):
    layer = layers.HubLayer(produced(producers.scaled), arguments={"a": 10})
    np.testing.assert_allclose(layer([[1.0], [2.0]]), [[10], [20]])


def test_a_signature_returns_one_output_or_a_dict(produced):
    path = produced(producers.plus_one)
    assert float(layers.HubLayer(path, signature="serving_default", output_key="output_0")(10.0)) == 11.0
    outputs = layers.HubLayer(path, signature="serving_default", signature_outputs_as_dict=True)(10.0)
    assert {key: float(value) for key, value in outputs.items()} == {"output_0": 11.0}


def test_a_signature_of_a_callable_model_is_called_instead_of_it(produced):
    layer = layers.HubLayer(produced(producers.tensor_training), signature="plus_one", signature_outputs_as_dict=True)
    assert {key: float(value) for key, value in layer(10.0).items()} == {"output_0": 11.0}
    assert float(layers.HubLayer(produced(producers.tensor_training))(10.0)) == 10.0


def test_a_tf1_savedmodel_is_called_by_its_signature_and_keeps_its_state_as_weights(produced):
    layer = layers.HubLayer(produced(producers.tf1), signature="serving_default", output_key="y")
    np.testing.assert_allclose(layer([[1.0, 1.0]]), [[3.0]])
    assert layer.trainable_weights == []
    model = keras.Sequential([keras.Input((2,)), layer])
    np.testing.assert_allclose(model.predict(np.ones((2, 2)), verbose=0), [[3], [3]])


def test_a_piece_is_called_with_its_own_variables_and_losses(produced):
    layer = layers.HubLayer(produced(producers.with_pieces), piece="encoder", trainable=True)
    np.testing.assert_allclose(layer([[2.0]]), [[6.0]])
    assert [weight.name for weight in layer.trainable_weights] == ["encoder.k"]
    np.testing.assert_allclose(layer.losses, [0.3], rtol=1e-6)


def test_a_piece_of_a_piece_is_called_by_its_dotted_name(produced):
    layer = layers.HubLayer(produced(producers.with_pieces), piece="text.tokenize")
    assert layer(["a b"]).to_list() == [[b"a", b"b"]]


def test_weights_are_shared_by_the_calls_of_one_layer_and_separate_between_two(produced):
    path = produced(producers.multiply)
    one, other = layers.HubLayer(path), layers.HubLayer(path)
    one.set_weights([np.float32(5.0)])
    np.testing.assert_allclose([one([1.0]), one([2.0]), other([1.0])], [[5], [10], [2]])


def test_weights_are_the_loaded_variables_themselves(produced):
    layer = layers.HubLayer(produced(producers.half_plus_one))
    loaded = {id(variable) for variable in layer.resolved_object.variables}
    assert {id(weight.value) for weight in layer.weights} == loaded


def test_weights_have_unique_meaningful_paths(produced):
    layer = layers.HubLayer(produced(producers.half_plus_one, True), name="hub")
    assert sorted(w.path for w in layer.weights) == ["hub/plus_1.bias", "hub/plus_1.kernel", "hub/times_w.kernel"]


def test_variables_of_one_name_get_distinct_paths(tmp_path):
    root = tf.train.Checkpoint()
    root.a, root.b = tf.Variable(1.0, name="v"), tf.Variable(2.0, name="v")
    root.__call__ = tf.function(lambda x: root.a + root.b + x, input_signature=[tf.TensorSpec(())])
    root.variables = root.trainable_variables = [root.a, root.b]
    layer = layers.HubLayer(producers.save(root, tmp_path), name="hub", trainable=True)
    assert [w.path for w in layer.trainable_weights] == ["hub/v", "hub/v_1"]


def test_state_of_a_raw_module_is_tracked_as_weights(produced):
    layer = layers.HubLayer(produced(producers.raw_module))
    np.testing.assert_allclose([layer([[1.0]]), layer([[1.0]])], [[[3]], [[4]]])
    assert {w.name: float(w.numpy()) for w in layer.non_trainable_weights} == {"dense.w": 2.0, "count": 2.0}


def test_custom_attributes_are_on_the_resolved_object(tmp_path):
    for keras2 in (False, True):
        layer = layers.HubLayer(producers.parsed_number(tmp_path / str(keras2), keras2))
        text = tf.io.read_file(layer.resolved_object.sample_input.asset_path)
        np.testing.assert_array_equal(layer(tf.reshape(text, (1, 1))), layer.resolved_object.sample_output)


def test_an_object_in_process_is_a_handle(produced):
    obj = tf.saved_model.load(produced(producers.multiply))
    layer = layers.HubLayer(obj, trainable=True)
    np.testing.assert_allclose(layer([1.0]), [2.0])
    assert layer.resolved_object is layer.handle is obj


def test_a_module_and_a_function_in_process_are_handles():
    class Module(tf.Module):
        def __init__(self):
            super().__init__()
            self.v = tf.Variable(2.0)

        @tf.function
        def __call__(self, x, training=False):
            return self.v * x + (1.0 if training else 0.0)

    layer = layers.HubLayer(Module(), trainable=True)
    np.testing.assert_allclose([layer([1.0]), layer([1.0], training=True)], [[2], [3]])
    assert len(layer.trainable_weights) == 1
    np.testing.assert_allclose(layers.HubLayer(lambda x: x + 1)(np.array([1.0])), [2.0])


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16", "float64"])
def test_under_any_policy_the_dtypes_of_the_savedmodel_stay(produced, policy):
    inputs = keras.Input((1,))
    layer = layers.HubLayer(produced(producers.half_plus_one), dtype=policy)
    hidden = keras.layers.Dense(1, dtype=policy)(inputs)
    assert layer(hidden).dtype == "float32"
    assert {w.dtype for w in layer.weights} == {"float32"}
    np.testing.assert_allclose(layer(tf.constant([[8.0]], tf.float16)), [[5.0]])


def test_it_works_inside_time_distributed(produced):
    inputs = keras.Input((3, 1))
    model = keras.Model(
        inputs, keras.layers.TimeDistributed(layers.HubLayer(produced(producers.half_plus_one)))(inputs)
    )
    np.testing.assert_allclose(model(np.array([[[0.0], [8.0], [10.0]]])), [[[1], [5], [6]]])


# -- what a review found


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_a_sequential_model_without_input_does_not_round_inputs_to_the_policy_of_the_layer(produced, policy):
    model = keras.Sequential([layers.HubLayer(produced(producers.half_plus_one), dtype=policy)])
    values = np.array([[100001.0], [2049.0]], "float32")
    np.testing.assert_allclose(model.predict(values, verbose=0), [[50001.5], [1025.5]])


def test_the_trace_that_loses_the_least_is_chosen(tmp_path):
    spec = tf.TensorSpec
    root = tf.train.Checkpoint()
    root.__call__ = producers.traced(
        lambda x: tf.cast(x, tf.float64), (spec((None,), tf.float16), {}), (spec((None,), tf.float64), {})
    )
    layer = layers.HubLayer(producers.save(root, tmp_path / "floats"))
    np.testing.assert_array_equal(layer(np.array([100001.0], "float32")), [100001.0])
    assert layer(keras.Input((), dtype="float32")).dtype == "float64"
    root.__call__ = producers.traced(
        lambda x: tf.cast(x, tf.float32), (spec((None,), tf.int8), {}), (spec((None,), tf.int64), {})
    )
    layer = layers.HubLayer(producers.save(root, tmp_path / "integers"))
    np.testing.assert_array_equal(layer(tf.constant([300])), [300.0])


def test_integer_tensors_that_do_not_fit_are_refused_where_values_are_known(produced):
    with pytest.raises(errors.InputError, match="do not fit into int32"):
        layers.HubLayer(produced(producers.token_doubler))(tf.constant([[1, 2, 2**40]], tf.int64))


def test_tensors_and_arrays_may_be_mixed_and_extra_keys_hold_anything(produced):
    layer = layers.HubLayer(produced(producers.sum_and_difference))
    np.testing.assert_allclose(layer({"x": tf.constant([[11.0]]), "y": [[1.0]], "note": "unused"}), [[12, 13]])
    total, _ = layers.HubLayer(produced(producers.two_lists))([tf.ones((1, 2)), np.ones((1, 2))])
    np.testing.assert_allclose(total, [[2, 2]])
    outputs = layer({"x": keras.Input((1,)), "y": np.ones((1, 1))})
    assert outputs.shape == (None, 2)


def test_training_may_be_the_second_positional_argument(produced):
    layer = layers.HubLayer(produced(producers.batch_norm), trainable=True)
    layer(np.array([[5.0]]), True)
    assert any(float(w.numpy()[0]) == 1.0 for w in layer.non_trainable_weights)


@pytest.mark.parametrize(
    ("producer", "kwargs", "shapes", "expected"),
    [
        (producers.plus_one, {"signature": "serving_default", "output_key": "output_0"}, (None, 3), (None, 3)),
        (producers.tf1, {"signature": "serving_default", "output_key": "y"}, (4, 2), (4, 1)),
        (producers.sum_and_difference, {}, {"x": (2, 1), "y": (2, 1)}, (2, 2)),
        (producers.ragged_sum, {}, (None, None), (None, 1)),
        (producers.sparse_sum, {}, (None, 4), (None, 1)),
    ],
)
def test_compute_output_shape_takes_every_kind_of_input(produced, producer, kwargs, shapes, expected):
    assert layers.HubLayer(produced(producer), **kwargs).compute_output_shape(shapes) == expected


def test_compute_output_shape_says_how_shapes_are_structured(produced):
    with pytest.raises(errors.InputError, match=r"compute_output_shape\(\{'x': \(None, 1\), 'y': \(None, 1\)\}\)"):
        layers.HubLayer(produced(producers.sum_and_difference)).compute_output_shape((None, 1))


@pytest.mark.filterwarnings("ignore:Do not pass an `input_shape`")
def test_the_classic_line_with_input_shape_and_dtype_works_for_text(produced):
    layer = layers.HubLayer(produced(producers.text_classifier), input_shape=[], dtype=tf.string, trainable=True)
    np.testing.assert_allclose(keras.Sequential([layer]).predict(tf.constant(["bad"]), verbose=0), [[3, -3]])


def test_a_none_among_the_outputs_is_left_out(tmp_path):
    root = tf.train.Checkpoint()
    root.__call__ = tf.function(lambda x: {"a": x + 1, "b": None}, input_signature=[tf.TensorSpec((None, 1))])
    layer = layers.HubLayer(producers.save(root, tmp_path))
    assert set(layer([[1.0]])) == {"a"}
    inputs = keras.Input((1,))
    np.testing.assert_allclose(keras.Model(inputs, layer(inputs))(np.array([[1.0]]))["a"], [[2.0]])


@pytest.mark.parametrize("shape", [1, (1,), [np.int64(1)], np.array([1]), tf.TensorShape([1])], ids=str)
def test_output_shape_takes_every_spelling_of_a_shape(produced, shape):
    layer = layers.HubLayer(produced(producers.half_plus_one), output_shape=shape)
    assert layer(keras.Input((1,))).shape == (None, 1)
    assert layers.HubLayer.from_config(layer.get_config()).get_config() == layer.get_config()


def test_output_shape_does_not_mind_inputs_without_a_batch_axis(tmp_path):
    root = tf.train.Checkpoint()
    spec = {"a": tf.TensorSpec((3,)), "x": tf.TensorSpec((None, 2))}
    root.__call__ = tf.function(lambda d: d["x"] * tf.reduce_sum(d["a"]), input_signature=[spec])
    layer = layers.HubLayer(producers.save(root, tmp_path), output_shape=(2,))
    np.testing.assert_allclose(layer({"a": [1.0, 1.0, 1.0], "x": [[1.0, 2.0]]}), [[3, 6]])
