"""doctor HANDLE tries each step and says which one fails and why; the code that it gives runs."""

from pathlib import Path

import numpy as np
import producers
import pytest
import tensorflow as tf

from keras_hub_layers import layers
from keras_hub_layers._src.cli.doctor import handle_check
from keras_hub_layers._src.cli.doctor.finding import OK, PROBLEM, WARNING
from keras_hub_layers._src.publish.server import serve_in_thread

STEPS = ["parse", "resolve", "inspect", "ops", "load", "call", "gradient", "fine-tune"]


def levels(checked):
    return {finding.topic: finding.level for finding in checked.findings}


def text(checked, topic):
    return "\n".join(finding.text for finding in checked.findings if finding.topic == topic)


def runs(code):
    """The names that the code leaves behind."""
    names = {}
    exec(code.replace("model.summary()", ""), names)
    return names


def test_all_is_well_with_a_model_that_can_be_fine_tuned(produced):
    checked = handle_check.check(produced(producers.half_plus_one, True))
    assert levels(checked) == dict.fromkeys(STEPS, OK)
    assert text(checked, "call") == "float32 (2, 1) -> float32 (2, 1)"
    assert text(checked, "gradient") == "arrives at 1 of 1 published trainable variable"
    model = runs(checked.code)["model"]
    np.testing.assert_allclose(model.predict(np.float32([[4.0]]), verbose=0), [[3.0]])
    assert len(model.trainable_weights) == 1


@pytest.mark.parametrize(
    "producer",
    [
        producers.text_classifier, producers.sum_and_difference, producers.two_lists, producers.plus_one,
        producers.ragged_sum, producers.sparse_sum, producers.words, producers.two_positional, producers.with_pieces,
        producers.tf1, producers.multiply, producers.raw_module, producers.token_doubler, producers.tensor_training,
    ],
)  # fmt: skip
def test_the_code_runs_for_every_kind_of_savedmodel(produced, producer, capsys):
    checked = handle_check.check(produced(producer))
    assert PROBLEM not in levels(checked).values()
    assert "layer" in runs(checked.code)


def test_every_model_of_the_zoo_arrives_but_the_one_that_cannot_be_loaded(zoo, capsys):
    for path in sorted(path for path in zoo.iterdir() if path.is_dir()):
        checked = handle_check.check(str(path))
        if path.name == "serving_counter":
            assert levels(checked) == {"parse": OK, "resolve": OK, "inspect": PROBLEM}
            assert "a signature returns a TF1 reference" in text(checked, "inspect")
        else:
            assert levels(checked)["call"] == OK, path.name
            if path.name.startswith("tfx_"):
                assert "layer" in runs(checked.code)


def test_it_ends_where_it_fails_and_says_why(tmp_path):
    checked = handle_check.check("nosuch://place/model")
    assert levels(checked) == {"parse": PROBLEM}
    checked = handle_check.check(str(tmp_path / "nothing"))
    assert levels(checked) == {"parse": OK, "resolve": PROBLEM}
    assert "There is nothing at this path." in text(checked, "resolve")
    (tmp_path / "saved_model.pb").write_bytes(b"no protobuf")
    checked = handle_check.check(str(tmp_path))
    assert levels(checked) == {"parse": OK, "resolve": OK, "inspect": PROBLEM}
    assert checked.code == ""


def renamed(directory, op):
    """A SavedModel whose op StringSplitV2 has another name of the same length."""
    path = producers.words(directory)
    file = directory / "saved_model.pb"
    file.write_bytes(file.read_bytes().replace(b"StringSplitV2", op))
    return path


def test_missing_ops_are_traced_to_a_package(tmp_path):
    minor = ".".join(tf.__version__.split(".")[:2])
    checked = handle_check.check(renamed(tmp_path / "text", b"RougeLV123456"))
    assert list(levels(checked)) == STEPS[:4]
    assert text(checked, "ops") == "RougeLV123456: ops of tensorflow-text, which is not installed"
    assert checked.findings[-1].fix.startswith(f'pip install "tensorflow-text=={minor}.*"')
    checked = handle_check.check(renamed(tmp_path / "nobody", b"NobodysOpV123"))
    assert levels(checked)["ops"] == PROBLEM
    assert "no package that brings them is known" in text(checked, "ops")


def test_a_loss_that_cannot_be_called_fails_at_load_with_its_fix(produced):
    checked = handle_check.check(produced(producers.bad_losses))
    assert levels(checked)["load"] == PROBLEM
    assert "loss" in checked.findings[-1].text


def test_a_made_up_input_that_is_refused_is_a_warning_and_a_given_one_a_problem(produced, tmp_path):
    path = produced(producers.parsed_number, False)
    checked = handle_check.check(path)
    assert levels(checked)["call"] == WARNING
    assert "could not correctly convert string: a sample text" in text(checked, "call")
    assert text(checked, "gradient") == "not tried: there is no input to call it with"
    np.save(tmp_path / "x.npy", np.array([["12"], ["345"]]))
    checked = handle_check.check(path, [str(tmp_path / "x.npy")])
    assert text(checked, "call") == "string (2, 1) -> int64 (2, 1)"
    np.save(tmp_path / "x.npy", np.array([["twelve"]]))
    assert levels(handle_check.check(path, [str(tmp_path / "x.npy")]))["call"] == PROBLEM


def test_variables_that_get_no_gradient_are_named(tmp_path):
    root = tf.train.Checkpoint()
    root.used, root.unused = tf.Variable(2.0, name="used/w"), tf.Variable(3.0, name="unused/w")
    root.__call__ = tf.function(lambda x: root.used * x, input_signature=[tf.TensorSpec((None, 1))])
    root.variables = root.trainable_variables = [root.used, root.unused]
    checked = handle_check.check(producers.save(root, tmp_path / "some"))
    assert levels(checked)["gradient"] == WARNING
    assert "arrives at 1 of 2 published trainable variables; not at unused/w" in text(checked, "gradient")
    root.__call__ = tf.function(lambda x: tf.round(root.used * x), input_signature=[tf.TensorSpec((None, 1))])
    checked = handle_check.check(producers.save(root, tmp_path / "none"))
    assert levels(checked)["gradient"] == PROBLEM
    assert "arrives at none of 2 published trainable variables" in text(checked, "gradient")


def test_what_is_not_finite_is_said(tmp_path):
    root = tf.train.Checkpoint()
    root.w = tf.Variable(tf.ones((1, 3)), name="w")
    root.__call__ = tf.function(lambda x: tf.math.log(root.w - 1) * x, input_signature=[tf.TensorSpec((None, 1))])
    root.variables = root.trainable_variables = [root.w]
    checked = handle_check.check(producers.save(root, tmp_path / "infinite"))
    assert "NaN or infinity" in text(checked, "call")
    assert "NaN or infinite for w" in text(checked, "gradient")


def test_what_is_not_fine_tunable_comes_with_the_line_that_makes_it_so(produced):
    checked = handle_check.check(produced(producers.raw_module))
    assert levels(checked)["fine-tune"] == WARNING
    assert "unfreeze='dense/w'" in checked.findings[-1].fix
    checked = handle_check.check(produced(producers.batch_norm, False, modes=(False,)))
    assert checked.findings[-1].fix.endswith("trainable=True, arguments={'training': False})")
    layer = eval(checked.findings[-1].fix, {"HubLayer": layers.HubLayer})
    assert len(layer.trainable_weights) == 2


def test_passwords_are_not_shown(produced, monkeypatch):
    path = Path(produced(producers.raw_module))
    with serve_in_thread(path.parent) as base:
        checked = handle_check.check(f"{base}/{path.name}".replace("://", "://me:secret@"))
    assert levels(checked)["call"] == OK
    assert "secret" not in repr(checked)
    monkeypatch.setenv("KERAS_HUB_LAYERS_OFFLINE", "1")
    checked = handle_check.check("https://me:secret@example.org/model")
    assert levels(checked)["resolve"] == PROBLEM
    assert "secret" not in repr(checked)


def test_what_was_saved_for_training_only_is_called_in_training_mode(produced):
    checked = handle_check.check(produced(producers.batch_norm, modes=(True,)), ["2,1:float32"])
    assert levels(checked) == dict.fromkeys(STEPS, OK)
    assert "traced for training only" in text(checked, "fine-tune")
    runs(checked.code)


def test_files_that_are_missing_end_it_with_what_to_do(tmp_path):
    path = producers.half_plus_one(tmp_path / "model")
    (tmp_path / "model" / "variables" / "variables.index").unlink()
    checked = handle_check.check(path)
    assert (checked.findings[-1].topic, checked.findings[-1].level) == ("inspect", PROBLEM)
    assert "variables/variables.index" in checked.findings[-1].text
    assert "download the whole directory anew" in checked.findings[-1].fix
