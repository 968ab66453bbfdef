"""What every executor must do: written against the seam, run on each backend that has one.

Another executor adds a row to EXECUTORS. Known divergences: none.
"""

import functools

import keras
import numpy as np
import producers
import pytest
import tensorflow as tf

from keras_hub_layers import errors
from keras_hub_layers._src.executors import base, registry
from keras_hub_layers._src.savedmodel import live_functions, live_object
from keras_hub_layers._src.savedmodel import load as load_module

EXECUTORS = {execution: functools.partial(registry.executor_class, execution) for execution in registry.EXECUTIONS}


@pytest.fixture(params=EXECUTORS, ids=str)
def execute(request, produced):
    """Make an executor for the SavedModel of a producer: execute(producer, *args, **choice)."""
    executor_class = EXECUTORS[request.param]()

    def make(producer, *args, piece=None, signature=None, **choice):
        obj = load_module.load(produced(producer, *args))
        target = obj if piece is None else live_object.piece(obj, piece)
        function = live_functions.signatures(obj)[signature] if signature else live_functions.call_function(target)
        given = {"arguments": {}, "output_key": None, "output_shape": None, **choice}
        executor = executor_class(base.Choice(target=target, function=function, **given))
        executor.kept = obj  # variables live as long as the object does
        return executor

    return make


def numbers(tensors):
    return keras.tree.map_structure(lambda tensor: keras.ops.convert_to_numpy(tensor).tolist(), tensors)


@pytest.mark.parametrize(
    ("producer", "choice", "inputs", "expected"),
    [
        (producers.half_plus_one, {}, [[8.0]], [[5.0]]),
        (producers.two_lists, {}, [[[5.0, 6.0]], [[1.0, 2.0]]], [[[6.0, 8.0]], [[4.0, 4.0]]]),
        (producers.sum_and_difference, {}, {"x": [[11.0]], "y": [[1.0]]}, [[12.0, 13.0]]),
        (producers.scaled, {"arguments": {"a": 10.0, "b": 1.0}}, [[2.0]], [[21.0]]),
        (producers.token_doubler, {}, [[1, 2, 3]], [[2.0, 4.0, 6.0]]),
        (producers.with_pieces, {"piece": "encoder"}, [[2.0]], [[6.0]]),
        (producers.plus_one, {"signature": "serving_default", "output_key": "output_0"}, 10.0, 11.0),
        (producers.plus_one, {"signature": "serving_default"}, 10.0, {"output_0": 11.0}),
        (producers.tf1, {"signature": "serving_default"}, [[1.0, 1.0]], {"y": [[3.0]]}),
    ],
)
def test_call_computes_known_answers(execute, producer, choice, inputs, expected):
    assert numbers(execute(producer, **choice).call(inputs, training=False)) == expected


def test_training_is_a_python_bool_that_selects_the_mode(execute):
    executor = execute(producers.batch_norm)
    state = {weight.name: weight for weight in executor.weights}
    executor.call([[5.0]], training=False)
    assert float(state["batch_normalization.moving_mean"].numpy()[0]) == 0.0
    executor.call([[5.0]], training=True)
    np.testing.assert_allclose(state["batch_normalization.moving_mean"].numpy(), [1.0])


def test_a_fixed_training_argument_can_only_be_switched_off(execute):
    executor = execute(producers.tensor_training, arguments={"training": False})
    assert numbers(executor.call(1.0, training=True)) == 1.0
    executor = execute(producers.tensor_training, arguments={"training": True})
    assert [numbers(executor.call(1.0, training=mode)) for mode in (False, True)] == [1.0, 2.0]


def test_weights_come_in_a_stable_order_under_stable_names(execute):
    names = [[w.name for w in execute(producers.half_plus_one, True).weights] for _ in range(2)]
    assert names[0] == names[1] == ["times_w.kernel", "plus_1.kernel", "plus_1.bias"]
    executor = execute(producers.half_plus_one, True)
    assert [executor.name_of(w) for w in executor.weights] == ["times_w/kernel", "plus_1/kernel", "plus_1/bias"]


def test_candidates_are_the_published_trainable_variables(execute):
    executor = execute(producers.flags_against_lists)
    assert (executor.has_lists, [w.name for w in executor.candidates]) == (True, ["b"])


def test_without_lists_candidates_are_the_captured_ones_that_may_be_trained(execute):
    executor = execute(producers.raw_module)
    assert (executor.has_lists, [w.name for w in executor.candidates]) == (False, ["dense.w"])
    assert {w.name for w in executor.weights} == {"dense.w", "count"}


def test_a_weight_that_is_assigned_changes_what_call_computes(execute):
    executor = execute(producers.multiply)
    executor.weights[0].assign(5.0)
    assert numbers(executor.call([2.0], training=False)) == [10.0]


def test_losses_are_computed_anew_each_time(execute):
    executor = execute(producers.shared_loss)
    np.testing.assert_allclose(numbers(executor.regularization_losses()), [1.3, 1.5], rtol=1e-6)
    executor.weights[1].assign(1.0)
    np.testing.assert_allclose(numbers(executor.regularization_losses()), [0.5, 0.5], rtol=1e-6)


@pytest.mark.parametrize(
    ("producer", "choice", "symbolic", "expected"),
    [
        (producers.half_plus_one, {}, keras.KerasTensor((None, 1)), [((None, 1), "float32")]),
        (producers.half_plus_one, {}, keras.KerasTensor((4, 1), "float16"), [((4, 1), "float32")]),
        (producers.text_length, {}, keras.KerasTensor((None, 1), "string"), [((None, 2), "float32")]),
        (producers.plus_one, {}, keras.KerasTensor((2, 3, 4)), [((2, 3, 4), "float32")]),
        (
            producers.obscure_shapes,
            {"output_shape": [[1], [2, 2], [3, 3, 3]]},
            keras.KerasTensor((None, 1)),
            [((None, 1), "float32"), ((None, 2, 2), "float32"), ((None, 3, 3, 3), "float32")],
        ),
    ],
)
def test_output_spec_gives_shapes_and_dtypes(execute, producer, choice, symbolic, expected):
    specs = keras.tree.flatten(execute(producer, **choice).output_spec(symbolic))
    assert [(spec.shape, spec.dtype) for spec in specs] == expected


@pytest.mark.parametrize(
    ("producer", "dtype"),
    [
        (producers.half_plus_one, "float32"),
        (producers.text_classifier, "string"),
        (producers.token_doubler, "int32"),
        (producers.two_lists, None),
    ],
)
def test_the_input_dtype_is_that_of_a_single_input(execute, producer, dtype):
    assert execute(producer).input_dtype == dtype


def test_gradients_reach_weights_and_inputs(execute):
    executor = execute(producers.multiply)
    executor.weights[0].trainable = True
    x = tf.constant([3.0])
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = executor.call(x, training=True)
    assert numbers(tape.gradient(y, [executor.weights[0].value, x])) == [3.0, [2.0]]


def test_inputs_that_match_no_trace_are_an_input_error(execute):
    with pytest.raises(errors.InputError, match="match no trace"):
        execute(producers.token_doubler).call([[1.5, 2.5, 3.5]], training=False)


def test_a_backend_without_an_executor_is_an_error_that_names_those_that_have_one(monkeypatch):
    monkeypatch.setattr(keras.config, "backend", lambda: "openvino")
    with pytest.raises(errors.BackendError, match=r"(?s)'openvino'.*KERAS_BACKEND\"\] = \"tensorflow\""):
        registry.executor_class()
