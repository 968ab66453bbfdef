"""Each mistake of a list: what its error, or warning, proposes is pasted into the script, which runs then.

A fix that is no line of Python is not pasted: `NOT_PASTED` says why, for the classes of errors that have no other.
"""

import inspect
import json
import os
import shutil
from pathlib import Path

import keras
import producers
import pytest
import tensorflow as tf
from mistakes import fix_of, read, run

from keras_hub_layers import errors

# Keras and KerasTuner write the scores of a trial with NumPy's old protocol; its protobufs warn too.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

MISTAKES = list(read(Path(__file__).with_name("mistakes")))

NOT_PASTED = {
    errors.MissingPackageError: "a command that installs a package",
    errors.MissingOpError: "a command that installs a package",
    errors.BackendError: "another backend needs a new process",
    errors.OfflineError: "a command that fetches the model where there is a network",
    errors.DownloadError: "a command, or an address, that only the network can try",
    errors.ArchiveError: "a command that packs the archive anew",
    errors.LoadError: "the files are damaged: only their publisher has others",
    errors.DistributionError: "a set-up of several processes",
    errors.ExportWriteError: "a disk that is full, or that this user must not write to",
}

PRODUCERS = (
    producers.half_plus_one, producers.batch_norm, producers.text_classifier, producers.scaled,
    producers.sum_and_difference, producers.two_lists, producers.shared_loss, producers.token_doubler,
    producers.two_positional, producers.with_pieces, producers.bert_encoder, producers.bert_preprocessor,
    producers.tf1, producers.small_image_model,
)  # fmt: skip
MIRRORS = {
    "https://tfhub.dev/google/nnlm-en-dim50/2": "text_classifier",
    "https://tfhub.dev/google/universal-sentence-encoder/4": "text_classifier",
    "hf://owner/model": "half_plus_one",
    "https://github.com/o/r/raw/main/m.tar.gz": "half_plus_one",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with small SavedModels, in which the scripts run."""
    folder = tmp_path_factory.mktemp("mistakes")
    for producer in PRODUCERS:
        producer(folder / producer.__name__)
    producers.batch_norm(folder / "inference_only", modes=(False,))
    columns, images, module = tf.train.Checkpoint(), tf.train.Checkpoint(), tf.Module()
    columns.__call__ = tf.function(lambda x: 2 * x, input_signature=[tf.TensorSpec((None, 30))])
    spec = tf.TensorSpec((None, None, None, 3))
    images.__call__ = tf.function(lambda x: tf.reduce_mean(x, [1, 2]), input_signature=[spec])
    module.a, module.b = tf.Variable(2.0, name="a"), tf.Variable(1.0, name="b")
    module.__call__ = tf.function(lambda x: module.a * x + module.b, input_signature=[tf.TensorSpec((None, 1))])
    for name, root in (("thirty_columns", columns), ("any_image", images), ("module", module)):
        producers.save(root, folder / name)
    for version in ("1", "2"):
        shutil.copytree(folder / "half_plus_one", folder / "versions" / version)
    keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)]).save(folder / "a_model.keras")
    return folder


@pytest.fixture(autouse=True)
def _in_the_folder(folder, monkeypatch):
    monkeypatch.chdir(folder)
    copies = {handle: os.fspath(folder / name) for handle, name in MIRRORS.items()}
    monkeypatch.setenv("KERAS_HUB_LAYERS_MIRRORS", json.dumps(copies))


@pytest.mark.parametrize("mistake", MISTAKES, ids=[mistake.name.replace(" ", "_") for mistake in MISTAKES])
def test_the_fix_of_a_mistake_runs_when_it_is_pasted(mistake):
    fix = fix_of(mistake)
    said = run(mistake.code(fix))
    assert not said or "warns" in mistake.options, said


def test_each_class_of_errors_has_a_mistake_or_a_reason_why_its_fix_is_not_pasted():
    classes = {
        value for value in vars(errors).values() if inspect.isclass(value) and issubclass(value, errors.HubError)
    }
    tried = {mistake.error for mistake in MISTAKES} | NOT_PASTED.keys()
    assert classes - {errors.HubError} <= tried
    assert len({mistake.name for mistake in MISTAKES}) == len(MISTAKES) >= 60
