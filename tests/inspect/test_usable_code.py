"""The code that inspect() gives runs as pasted, or there is none."""

import inspect

import gradient_models
import producers
import pytest
import tensorflow as tf

from keras_hub_layers import errors, layers
from keras_hub_layers._src import sample_inputs
from keras_hub_layers._src.cli.doctor import handle_check
from keras_hub_layers._src.inspect import inspect as inspect_module
from keras_hub_layers._src.savedmodel import load as load_module

PRODUCERS = [
    function
    for module in (producers, gradient_models)
    for name, function in inspect.getmembers(module, inspect.isfunction)
    if function.__module__ == module.__name__ and "directory" in inspect.signature(function).parameters
    if not name.startswith("_") and name != "save"
]


def expected(layer, info):
    """The nest of specs that the layer of a line takes."""
    arguments = info.arguments
    name = arguments.get("signature", "default" if info.format == "tf1_hub" else None)
    if name is not None:
        return info.signatures[name].inputs
    return (info.piece_traces[arguments["piece"]] if "piece" in arguments else info.traces)[0].inputs


def run(path):
    """Run the lines that `inspect` gives of a SavedModel, and call the layers that they make."""
    info = inspect_module.inspect(path)
    if info.arguments is None:
        assert info.code.startswith("(")
        return info
    names = {"HubLayer": layers.HubLayer}
    layer = eval(info.code, names)
    assert isinstance(layer, layers.HubLayer)
    modes = [trace.training for trace in info.traces]
    inputs = sample_inputs.made_up(expected(layer, info))
    if "number" in path:
        inputs = tf.constant([["12"], ["7"]])  # the text has to be a number
    layer(inputs, training=True) if modes and all(mode is True for mode in modes) else layer(inputs)
    assert layer.trainable == bool(info.arguments.get("trainable"))
    if info.fine_tuning_code:
        tuned = eval(info.fine_tuning_code, names)
        assert tuned.trainable_weights
    return info


@pytest.mark.filterwarnings("ignore::keras_hub_layers.errors.HubWarning")
@pytest.mark.parametrize("producer", PRODUCERS, ids=lambda producer: producer.__name__)
def test_the_code_of_a_produced_savedmodel_runs(produced, producer):
    if producer in (producers.several_graphs, producers.bad_losses):
        pytest.skip("it needs tags, or its losses are refused, which have tests of their own")
    run(produced(producer))


@pytest.mark.filterwarnings("ignore::keras_hub_layers.errors.HubWarning")
def test_the_code_of_each_model_of_the_zoo_runs(zoo):
    for path in sorted(path for path in zoo.iterdir() if path.is_dir()):
        run(str(path))


def test_a_placeholder_that_is_no_input_leaves_no_code(produced):
    path = produced(gradient_models.open_placeholder)
    info = inspect_module.inspect(path)
    reason = "the signature 'serving_default' needs the placeholder 'keep', which is none of its inputs"
    assert (info.arguments, info.code) == (None, f"(TensorFlow 2 cannot load it: {reason})")
    with pytest.raises(errors.LoadError, match="needs an input for each placeholder"):
        layers.HubLayer(path, signature="serving_default", output_key="y")


def test_a_piece_that_can_be_tuned_is_named_with_its_line(produced):
    path = produced(gradient_models.tunable_piece)
    info = inspect_module.inspect(path)
    assert (info.fine_tunable, info.code) == (False, f"HubLayer({path!r}, trainable=False)")
    assert info.reason.endswith("its piece 'encoder' can be fine-tuned: 1 published trainable variable, one mode for "
                                "training and inference")  # fmt: skip
    assert info.fine_tuning_code == f"HubLayer({path!r}, piece='encoder', trainable=True)"
    assert [w.name for w in eval(info.fine_tuning_code, {"HubLayer": layers.HubLayer}).trainable_weights] == ["k"]
    assert f"tune it as    {info.fine_tuning_code}" in str(info)


def test_the_inputs_of_pieces_are_shown_and_their_strings_counted(produced):
    info = inspect_module.inspect(produced(producers.with_pieces))
    assert {name: str(traces[0].inputs) for name, traces in info.piece_traces.items()} == {
        "encoder": "float32 (None, 1)",
        "text.length": "string (None,)",
        "text.tokenize": "string (None,)",
    }
    assert info.string_inputs
    assert "taken by the piece 'text.length', the piece 'text.tokenize'" in str(info)
    assert "  string (None,) -> int32 (None,)" in str(info)


def test_the_table_shows_the_tags(produced):
    info = inspect_module.inspect(produced(producers.half_plus_one))
    assert info.tags == ("serve",)
    assert "tags          serve" in str(info)


def test_python_code_in_the_graph_is_named_and_not_called(produced):
    path = produced(gradient_models.python_function)
    info = inspect_module.inspect(path)
    assert info.python_ops == ("PyFunc",)
    assert info.code == f"HubLayer({path!r}, signature='plain', output_key='y')"
    assert (info.fine_tunable, info.fine_tuning_code) == (False, "")
    assert info.reason == "it runs Python code (PyFunc) that only the process which saved it has"
    assert "PyFunc: works only in the process that saved the SavedModel" in str(info)
    assert info == inspect_module.inspect(load_module.load(path))
    assert float(eval(info.code, {"HubLayer": layers.HubLayer})([[1.0]])[0, 0]) == 3.0


def test_where_all_runs_python_code_there_is_no_code_and_doctor_says_why(tmp_path):
    root = tf.train.Checkpoint()
    call = tf.function(lambda x: tf.py_function(lambda y: 2 * y, [x], tf.float32), [tf.TensorSpec((None, 1))])
    root.__call__ = call
    path = producers.save(root, tmp_path / "model", signatures={})
    info = inspect_module.inspect(path)
    reason = "it runs Python code (EagerPyFunc) that only the process which saved it has"
    assert (info.arguments, info.code, info.python_ops) == (None, f"({reason})", ("EagerPyFunc",))
    finding = handle_check.check(path).findings[-1]
    assert (finding.topic, finding.level) == ("inspect", "problem")
    assert reason in finding.text


def test_a_wrong_pattern_on_a_signature_is_answered_with_a_line_that_runs(tmp_path):
    root = tf.train.Checkpoint(w=tf.Variable(3.0, name="w"))
    root.__call__ = tf.function(lambda x: root.w * x, input_signature=[tf.TensorSpec((None, 1))])
    root.variables = root.trainable_variables = [root.w]
    serve = tf.function(lambda x: {"y": root.w * x}, input_signature=[tf.TensorSpec((None, 1), name="x")])
    path = producers.save(root, tmp_path / "model", signatures={"serving_default": serve})
    for pattern in ("nothing like it", "("):
        with pytest.raises(errors.TrainingError, match="through the signature 'serving_default'") as caught:
            layers.HubLayer(path, trainable=True, signature="serving_default", output_key="y", unfreeze=pattern)
        layer = eval(caught.value.fix, {"HubLayer": layers.HubLayer})
        assert [w.name for w in layer.trainable_weights] == ["w"]
