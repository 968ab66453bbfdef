"""In a new process, inspect and doctor read a SavedModel without importing TensorFlow or Keras, and say the same."""

import inspect
import json
import subprocess
import sys

import producers
import pytest
import tensorflow as tf

from keras_hub_layers._src.inspect import inspect as inspect_module

READ = """
import json, sys
import keras_hub_layers as khl
records = [khl.inspect(path, tags).to_dict() for path, tags in json.loads(sys.argv[1])]
print(json.dumps([records, sorted({"tensorflow", "keras", "tf_keras", "numpy"} & set(sys.modules))]))
"""
COMMAND = """
import sys
from keras_hub_layers._src.cli.main import main
code = main()
print("imported", *sorted({"tensorflow", "keras"} & set(sys.modules)), "and left with", code)
"""
SAVED = [
    producers.half_plus_one, producers.batch_norm, producers.text_length, producers.text_classifier, producers.scaled,
    producers.sum_and_difference, producers.two_lists, producers.plus_one, producers.tensor_training,
    producers.shared_loss, producers.flags_against_lists, producers.raw_module, producers.ragged_sum,
    producers.sparse_sum, producers.words, producers.two_positional, producers.with_pieces, producers.tf1,
    producers.untraced, producers.tf1_references, producers.small_image_model, producers.bad_losses,
]  # fmt: skip


def read_in_a_new_process(models):
    done = subprocess.run([sys.executable, "-c", READ, json.dumps(models)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout)


def run_command(*words):
    done = subprocess.run([sys.executable, "-c", COMMAND, *words], capture_output=True, text=True)
    return done.stdout


def with_other_op(directory, op):
    """A SavedModel whose op StringSplitV2 has another name of the same length."""
    path = producers.words(directory)
    file = directory / "saved_model.pb"
    file.write_bytes(file.read_bytes().replace(b"StringSplitV2", op))
    return path


def read_here(models):
    return json.loads(json.dumps([inspect_module.inspect(path, tags).to_dict() for path, tags in models]))


def test_each_kind_of_savedmodel_is_described_without_tensorflow_as_with_it(produced):
    models = []
    for producer in SAVED:
        kinds = (False, True) if "keras2" in inspect.signature(producer).parameters else (None,)
        models += [(produced(producer, *([] if kind is None else [kind])), None) for kind in kinds]
    models += [(produced(producers.several_graphs), tags) for tags in (["serve"], ["train", "gpu"])]
    records, imported = read_in_a_new_process(models)
    assert imported == []
    assert {record["producer"] for record in records} >= {"keras2", "tensorflow", "tf1"}
    for (path, _), record, here in zip(models, records, read_here(models), strict=True):
        assert record == here, path


def test_the_zoo_is_described_without_tensorflow_as_with_it(zoo):
    models = [(str(path), None) for path in sorted(zoo.iterdir()) if path.is_dir()]
    records, imported = read_in_a_new_process(models)
    assert imported == []
    assert "tf1_hub" in {record["format"] for record in records}
    assert records == read_here(models)


def test_values_and_types_in_the_arguments_are_described_alike(tmp_path):
    def call(x, dtype=tf.float32, scale=2.0):
        return tf.cast(x, dtype) * scale

    root = tf.train.Checkpoint()
    root.__call__ = producers.traced(call, (tf.TensorSpec((None, 1)), {"dtype": tf.float64, "scale": 0.5}))
    models = [(producers.save(root, tmp_path / "model"), None)]
    ((record,), imported) = read_in_a_new_process(models)
    assert imported == []
    assert record["traces"][0]["arguments"]["dtype"] == "<dtype: 'float64'>"
    assert [record] == read_here(models)
    loaded = inspect_module.inspect(tf.saved_model.load(models[0][0]))
    assert inspect_module.inspect(models[0][0]).traces == loaded.traces
    assert [str(trace) for trace in inspect_module.inspect(models[0][0]).traces] == list(map(str, loaded.traces))


@pytest.mark.parametrize("options", [[], ["--json"]])
def test_the_command_imports_neither_and_prints_the_record(produced, options):
    path = produced(producers.half_plus_one, True)
    info = inspect_module.inspect(path)
    record = json.dumps(info.to_dict(), indent=2) if options else str(info)
    assert run_command("inspect", path, *options) == f"{record}\nimported and left with 0\n"


def test_doctor_imports_neither_where_a_step_before_loading_fails(tmp_path):
    printed = run_command("doctor", with_other_op(tmp_path / "model", b"RougeLV123456"))
    assert "ops of tensorflow-text, which is not installed" in printed
    assert printed.endswith("\nimported and left with 1\n")


def test_doctor_names_missing_files_without_tensorflow(tmp_path):
    path = producers.half_plus_one(tmp_path / "model")
    (tmp_path / "model" / "variables" / "variables.index").unlink()
    printed = run_command("doctor", path)
    assert "The SavedModel is not whole" in printed
    assert "variables/variables.index" in printed
    assert printed.endswith("\nimported and left with 1\n")


def test_an_op_that_tensorflow_does_not_have_is_missing_without_tensorflow_too(tmp_path):
    path = with_other_op(tmp_path / "model", b"NobodysOpV123")
    ((record,), imported) = read_in_a_new_process([(path, None)])
    assert (record["missing_ops"], imported) == (["NobodysOpV123"], [])
    assert [record] == read_here([(path, None)])
