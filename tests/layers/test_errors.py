"""Each deliberate mistake gives an early error of our own that shows what to paste."""

import os
import shutil

import keras
import numpy as np
import producers
import pytest
import tensorflow as tf

from keras_hub_layers import errors, layers


def test_a_missing_path_is_named(tmp_path):
    with pytest.raises(errors.HandleNotFoundError, match="no_such_model"):
        layers.HubLayer(str(tmp_path / "no_such_model"))


def test_a_directory_without_a_savedmodel_is_named(tmp_path):
    (tmp_path / "notes.txt").write_text("nothing here")
    with pytest.raises(errors.ResolveError, match=r"(?s)saved_model\.pb"):
        layers.HubLayer(tmp_path)


def test_a_damaged_savedmodel_is_an_error_with_its_cause(tmp_path):
    (tmp_path / "saved_model.pb").write_bytes(b"\xff\xfe not a protobuf")
    with pytest.raises(errors.LoadError, match="no readable SavedModel") as caught:
        layers.HubLayer(tmp_path)
    assert caught.value.__cause__ is not None


def test_a_missing_checkpoint_is_an_error_with_its_cause(tmp_path):
    path = producers.half_plus_one(tmp_path / "model")
    shutil.rmtree(tmp_path / "model" / "variables")
    with pytest.raises(errors.HubError, match="variables") as caught:
        layers.HubLayer(path)
    assert isinstance(caught.value, OSError)


@pytest.mark.parametrize("file", ["variables.index", "variables.data-00000-of-00001"])
@pytest.mark.parametrize("length", [0, 100])
def test_a_checkpoint_that_is_cut_off_is_to_be_fetched_anew(tmp_path, file, length):
    path = producers.batch_norm(tmp_path / "model", True)
    os.truncate(tmp_path / "model" / "variables" / file, length)
    with pytest.raises(errors.LoadError, match=r"(?s)is damaged: its checkpoint.*download the whole directory anew"):
        layers.HubLayer(path)


def test_unknown_ops_are_named_with_the_package_that_brings_them(tmp_path):
    path = producers.words(tmp_path / "model")
    file = tmp_path / "model" / "saved_model.pb"
    # Same length, so that the protobuf stays well formed: StringSplitV2 is an op of TensorFlow.
    file.write_bytes(file.read_bytes().replace(b"StringSplitV2", b"CaseFoldUTF8X"))
    with pytest.raises(
        errors.MissingOpError, match=r"(?s)CaseFoldUTF8X.*model.*pip install \"tensorflow-text==2\.\d+\.\*\""
    ):
        layers.HubLayer(path)


def test_unknown_ops_of_nobody_are_named_too(tmp_path):
    path = producers.words(tmp_path / "model")
    file = tmp_path / "model" / "saved_model.pb"
    file.write_bytes(file.read_bytes().replace(b"StringSplitV2", b"NobodysOpV123"))
    with pytest.raises(errors.MissingOpError, match="NobodysOpV123"):
        layers.HubLayer(path)


def test_tags_that_it_does_not_have_list_those_that_it_has(produced):
    with pytest.raises(errors.InterfaceError, match=r"(?s)\[\['serve'\]\].*tags=\['serve'\]"):
        layers.HubLayer(produced(producers.plus_one), tags=["train"])


def test_load_options_that_do_not_exist_are_named(produced):
    with pytest.raises(errors.InterfaceError, match="io_device"):
        layers.HubLayer(produced(producers.plus_one), load_options={"io_device": "/job:localhost"})


def test_an_unknown_signature_lists_the_known_ones(produced):
    with pytest.raises(errors.InterfaceError, match=r"(?s)'serving_default'.*'serving_defualt'"):
        layers.HubLayer(produced(producers.plus_one), signature="serving_defualt", output_key="output_0")


def test_an_unknown_output_key_lists_the_known_ones(produced):
    with pytest.raises(errors.InterfaceError, match=r"(?s)output_key among \['output_0'\].*output_key='output_0'"):
        layers.HubLayer(produced(producers.plus_one), signature="serving_default", output_key="output")


def test_an_unknown_piece_lists_the_known_ones(produced):
    with pytest.raises(errors.InterfaceError, match=r"(?s)'encoder', 'text.length', 'text.tokenize'.*piece='encoder'"):
        layers.HubLayer(produced(producers.with_pieces), piece="encodr")


@pytest.mark.parametrize(
    "kwargs", [{}, {"output_key": "output_0", "signature_outputs_as_dict": True}], ids=["neither", "both"]
)
def test_a_signature_needs_one_of_output_key_and_dict(produced, kwargs):
    with pytest.raises(errors.InterfaceError, match="either output_key or signature_outputs_as_dict=True"):
        layers.HubLayer(produced(producers.plus_one), signature="serving_default", **kwargs)


def test_outputs_as_dict_is_for_signatures(produced):
    with pytest.raises(errors.InterfaceError, match="signature_outputs_as_dict is for signatures"):
        layers.HubLayer(produced(producers.plus_one), signature_outputs_as_dict=True)


def test_output_key_on_an_output_that_is_no_dict(produced):
    with pytest.raises(errors.InterfaceError, match=r"(?s)no such key.*What to do: HubLayer\('[^']*'\)$"):
        layers.HubLayer(produced(producers.plus_one), output_key="output_0")(10.0)


@pytest.mark.parametrize("producer", [producers.plus_one, producers.tf1])
def test_fine_tuning_through_a_signature_is_refused_by_the_constructor_and_by_the_next_call(produced, producer):
    kwargs = {"signature": "serving_default", "signature_outputs_as_dict": True}
    with pytest.raises(errors.TrainingError, match="cannot be fine-tuned"):
        layers.HubLayer(produced(producer), trainable=True, **kwargs)
    layer = layers.HubLayer(produced(producer), **kwargs)
    layer.trainable = True
    with pytest.raises(errors.TrainingError, match="cannot be fine-tuned"):
        layer(np.ones((1, 2), "float32"))


def test_nothing_that_can_be_called_lists_signatures_and_pieces(produced):
    with pytest.raises(errors.InterfaceError, match=r"(?s)HubLayer\('.*', piece='text.tokenize'\)"):
        layers.HubLayer(produced(producers.with_pieces))


def test_several_positional_inputs_are_outside_the_interface(produced):
    with pytest.raises(
        errors.InterfaceError, match=r"(?s)several positional inputs.*signature='double', output_key='output_0'"
    ):
        layers.HubLayer(produced(producers.two_positional))
    path = produced(producers.two_positional)
    np.testing.assert_allclose(layers.HubLayer(path, piece="double")([2.0]), [4.0])


def test_a_function_of_nothing_but_none_is_outside_the_interface(tmp_path):
    root = tf.train.Checkpoint()
    root.__call__ = producers.traced(lambda x: tf.constant(1.0), ([None, None], {}))
    with pytest.raises(errors.InterfaceError, match="traces take no tensors"):
        layers.HubLayer(producers.save(root, tmp_path))


def test_a_loss_that_cannot_be_called_is_shown(produced):
    with pytest.raises(errors.InterfaceError, match="regularization loss cannot be called"):
        layers.HubLayer(produced(producers.bad_losses))


def test_an_unknown_argument_lists_the_known_ones(produced):
    with pytest.raises(errors.InterfaceError, match=r"(?s)\['a', 'b'\].*'c'"):
        layers.HubLayer(produced(producers.scaled), arguments={"c": 1.0})


def test_a_value_that_was_not_traced_lists_the_traces(produced):
    with pytest.raises(errors.InterfaceError, match=r"(?s)return_dict=False.*return_dict=True.*return_dict': 3"):
        layers.HubLayer(produced(producers.sum_and_difference), arguments={"return_dict": 3})


def test_a_value_that_was_not_traced_lists_the_traces_with_their_none(tmp_path):
    root = tf.Module()
    root.__call__ = tf.function(lambda x, k=None: x * (k or 1.0))
    root.__call__(tf.ones((3,)))
    path = producers.save(root, tmp_path / "model")
    with pytest.raises(errors.InterfaceError, match=r"one of\n    \(float32 \(3,\), k=None\)\n  Received: .*'k': 5"):
        layers.HubLayer(path, arguments={"k": 5})


def test_an_object_takes_no_arguments_for_loading(produced):
    obj = tf.saved_model.load(produced(producers.multiply))
    with pytest.raises(errors.InterfaceError, match="already loaded"):
        layers.HubLayer(obj, tags=["serve"])


def test_a_keras_layer_is_no_handle():
    with pytest.raises(errors.InterfaceError, match=r"y = model\(x\).*use itself"):
        layers.HubLayer(keras.layers.Dense(1))


def test_output_shape_that_contradicts_the_computation(produced):
    with pytest.raises(errors.InterfaceError, match="output_shape contradicts"):
        layers.HubLayer(produced(producers.half_plus_one), output_shape=(3,))([[1.0]])
    with pytest.raises(errors.InterfaceError, match="not structured as the outputs"):
        layers.HubLayer(produced(producers.half_plus_one), output_shape=[(1,), (1,)])([[1.0]])


def test_an_output_of_unknown_rank_asks_for_output_shape(tmp_path):
    root = tf.train.Checkpoint()
    root.__call__ = tf.function(lambda x: tf.reshape(x, tf.cast(x, tf.int32)), input_signature=[tf.TensorSpec((None,))])
    layer = layers.HubLayer(producers.save(root, tmp_path))
    with pytest.raises(errors.InterfaceError, match="output_shape="):
        layer(keras.Input(()))


# -- inputs that match no trace


@pytest.mark.parametrize(
    ("producer", "value", "fix"),
    [
        (producers.text_classifier, [["a"], ["b"]], r"squeeze\(x, axis=-1\)"),
        (producers.text_length, ["a", "b"], r"expand_dims\(x, axis=-1\)"),
        (producers.small_image_model, np.zeros((8, 8, 1)), r"expand_dims\(x, axis=0\)"),
        (producers.small_image_model, np.zeros((2, 16, 16, 1)), r"Resizing\(8, 8\)"),
        (producers.token_doubler, [[1.0, 2.0, 3.0]], r"cast\(x, 'int32'\)"),
        (producers.sum_and_difference, [[1.0]], r"x = \{'x': x, 'y': y\}"),
        (producers.two_lists, [[1.0, 2.0]], r"x = \[input_0, input_1\]"),
        (producers.ragged_sum, np.ones((2, 2)), "RaggedTensor.from_tensor"),
        (producers.sparse_sum, [["text"]], r"x = tf.sparse.from_dense\("),
    ],
)
def test_inputs_that_match_no_trace_show_the_traces_and_the_fix(produced, producer, value, fix):
    with pytest.raises(errors.InputError, match=rf"(?s)Expected: one of.*Received: .*Where: .*What to do: .*{fix}"):
        layers.HubLayer(produced(producer))(value)


def test_a_symbolic_input_that_matches_no_trace_fails_when_the_model_is_built(produced):
    with pytest.raises(errors.InputError, match=r"(?s)float32 \(None, 8, 8, 1\).*Resizing\(8, 8\)"):
        layers.HubLayer(produced(producers.small_image_model))(keras.Input((16, 16, 1)))


def test_a_missing_key_is_named(produced):
    with pytest.raises(errors.InputError, match=r"the keys \['y'\] are missing"):
        layers.HubLayer(produced(producers.sum_and_difference))({"x": [[1.0]]})


def test_several_inputs_of_a_signature_must_be_named(produced, tmp_path):
    root = tf.train.Checkpoint()
    spec = tf.TensorSpec((None,))
    root.f = tf.function(lambda x, y: x - y, input_signature=[spec, spec])
    path = producers.save(root, tmp_path, signatures={"subtract": root.f})
    layer = layers.HubLayer(path, signature="subtract", output_key="output_0")
    np.testing.assert_allclose(layer({"y": [1.0], "x": [3.0], "z": [9.0]}), [2.0])
    with pytest.raises(errors.InputError, match=r"keys \['x', 'y'\]"):
        layer([[3.0], [1.0]])


def test_errors_raised_in_a_call_come_through_keras_as_they_are(produced):
    model = keras.Sequential([layers.HubLayer(produced(producers.small_image_model))])
    with pytest.raises(errors.InputError, match=r"(?s)^The inputs match no trace.*: [^\n]*\(x\).*first inputs$"):
        model(np.zeros((2, 16, 16, 1), "float32"))


def test_nothing_half_built_is_left_behind(produced):
    """After a failed construction the same name and the same model still work."""
    path = produced(producers.half_plus_one)
    with pytest.raises(errors.InterfaceError, match="no such signature"):
        layers.HubLayer(path, signature="none", output_key="x", name="hub")
    assert float(layers.HubLayer(path, name="hub")([[8.0]])[0, 0]) == 5.0


# -- values of the wrong kind


@pytest.mark.parametrize("handle", [None, 7, b"path", {}, [1], tf.Module], ids=repr)
def test_what_is_no_handle_lists_the_forms_of_handles(handle):
    with pytest.raises(errors.HandleError, match=r"(?s)Expected: .*https://"):
        layers.HubLayer(handle)


@pytest.mark.parametrize(
    ("kwargs", "error", "match"),
    [
        ({"arguments": [1]}, errors.InterfaceError, "arguments is not a dict"),
        ({"output_shape": "1"}, errors.InterfaceError, "output_shape is no shape"),
        ({"output_shape": tf.TensorShape(None)}, errors.InterfaceError, "output_shape is no shape"),
        ({"piece": 3}, errors.InterfaceError, "no such piece"),
        ({"unfreeze": 3}, errors.TrainingError, "not a regular expression"),
    ],
)
def test_arguments_of_the_wrong_kind_are_named(produced, kwargs, error, match):
    with pytest.raises(error, match=match):
        layers.HubLayer(produced(producers.multiply), **kwargs)


def test_published_things_of_another_kind_are_taken_for_what_they_are(tmp_path):
    root = tf.train.Checkpoint()
    root.v = tf.Variable(2.0, name="v")
    root.__call__ = tf.function(lambda x: root.v * x, input_signature=[tf.TensorSpec((None,))])
    root.variables, root.trainable_variables = {"v": root.v}, root.v
    root.regularization_losses = tf.function(lambda: 0.1 * root.v, input_signature=[])
    layer = layers.HubLayer(producers.save(root, tmp_path), trainable=True)
    assert [w.name for w in layer.trainable_weights] == ["v"]
    np.testing.assert_allclose(layer.losses, [0.2], rtol=1e-6)


def test_a_call_that_was_saved_without_a_trace_lists_the_signatures_and_pieces(produced):
    path = produced(producers.untraced)
    with pytest.raises(errors.InterfaceError, match="without any trace, since its publisher never called it") as caught:
        layers.HubLayer(path)
    assert f"HubLayer({path!r}, signature='serving_default', output_key='y')" in str(caught.value)
    assert f"HubLayer({path!r}, piece='triple')" in str(caught.value)
