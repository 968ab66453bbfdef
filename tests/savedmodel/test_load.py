"""load() gives TensorFlow's own object and remembers where it came from."""

import gc
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import producers
import pytest
import tensorflow as tf
import tf_keras

from keras_hub_layers import errors, layers
from keras_hub_layers._src.inspect import inspect as inspect_module
from keras_hub_layers._src.savedmodel import load as load_module
from keras_hub_layers._src.savedmodel import load_options
from keras_hub_layers._src.savedmodel import source as source_module


def test_a_loaded_object_is_tensorflows_own_and_remembers_its_source(produced):
    path = produced(producers.multiply)
    obj = load_module.load(Path(path))
    assert obj([3.0]).numpy() == [6.0]
    source = source_module.source_of(obj)
    assert (source.handle, source.directory, source.tags) == (path, path, None)
    assert (source.format, source.tf_version) == ("tf2", tf.__version__)
    assert not source_module.has_changed(source)


def test_each_load_gives_variables_of_its_own(produced):
    one, other = load_module.load(produced(producers.multiply)), load_module.load(produced(producers.multiply))
    one.v.assign(9.0)
    assert float(other.v) == 2.0


def test_objects_of_others_have_no_source(produced):
    assert source_module.source_of(tf.saved_model.load(produced(producers.multiply))) is None
    assert source_module.source_of([]) is None


def test_tags_can_be_one_name(produced):
    assert source_module.source_of(load_module.load(produced(producers.multiply), tags="serve")).tags == ("serve",)


def test_the_format_is_told(produced, zoo):
    assert source_module.source_of(load_module.load(produced(producers.tf1))).format == "tf1"
    hub = source_module.source_of(load_module.load(zoo / "hub_half_plus_two_v1"))
    assert (hub.format, hub.tags) == ("tf1_hub", ())


def test_a_text_protobuf_is_read(tmp_path):
    path = Path(producers.multiply(tmp_path / "model"))
    from google.protobuf import text_format
    from tensorflow.core.protobuf import saved_model_pb2

    model = saved_model_pb2.SavedModel.FromString((path / "saved_model.pb").read_bytes())
    (path / "saved_model.pbtxt").write_text(text_format.MessageToString(model))
    (path / "saved_model.pb").unlink()
    assert load_module.load(path)([3.0]).numpy() == [6.0]


def test_load_options_are_taken_as_a_dict(produced):
    options = {"experimental_io_device": "/job:localhost"}
    assert load_module.load(produced(producers.multiply), options=options)([3.0]).numpy() == [6.0]
    assert load_options.options_config(load_options.load_options(options)) == options


def test_a_sha256_is_for_archives(produced):
    with pytest.raises(errors.ChecksumError, match="sha256"):
        load_module.load(produced(producers.multiply), sha256="0" * 64)


@pytest.mark.parametrize(
    ("lost", "named"),
    [
        ("variables", "variables/variables.index, variables/variables.data-00000-of-00001"),
        ("variables/variables.index", "variables/variables.index"),
        ("variables/variables.data-00000-of-00001", "variables/variables.data-00000-of-00001"),
        ("assets/vocabulary.txt", "assets/vocabulary.txt"),
    ],
)
def test_a_copy_that_is_not_whole_names_the_file_that_it_lacks(tmp_path, lost, named):
    path = Path(producers.text_classifier(tmp_path / "model"))
    (path / lost).rename(tmp_path / "lost")
    with pytest.raises(errors.LoadError, match=f"(?s)not whole.*Expected: {named}\n.*copy or download the whole"):
        load_module.load(path)
    with pytest.raises(errors.LoadError, match=r"(?s)not whole.*hub-layers cache remove https://example.org/model/1"):
        load_module.load_directory(str(path), handle="https://example.org/model/1")


WITHOUT_KERAS_2 = """
import sys
sys.modules["tf_keras"] = None  # as if it were not installed
import json, keras, numpy as np, tensorflow as tf
import keras_hub_layers as khl
path, export, zoo = sys.argv[1:]
try:
    tf.saved_model.load(path)
    raise SystemExit("TensorFlow loads it by itself: _compat.restore_optimizers_without_keras_2 is not needed any more")
except AttributeError as err:
    assert "add_slot" in str(err)
hub = khl.layers.HubLayer(path, trainable=True)
model = keras.Sequential([keras.Input((1,)), hub])
model.compile(keras.optimizers.SGD(0.5), "mse")
before = float(hub(np.ones((1, 1)))[0, 0])
model.fit(np.ones((1, 1)), np.zeros((1, 1)), verbose=0, callbacks=[khl.callbacks.ExportFinetuned(export, verbose=0)])
slots = [float(np.ravel(v.numpy())[0]) for v in khl.load(export).optimizer.weights]
names = [name for name in ("mlperf_tiny_kws", "keras_mixedprec_lso_tf22", "tfx_keras_penguin") if zoo]
loaded = [type(khl.load(f"{zoo}/{name}")).__name__ for name in names]
print(json.dumps([before, float(khl.load(export)(np.ones((1, 1), "float32"))[0, 0]), slots, len(loaded)]))
"""


def compiled_by_keras_2(directory):
    """y = 2·x from Keras 2, trained for a step at rate 0 with a momentum: it holds an optimizer with a slot."""
    model = tf_keras.Sequential([tf_keras.layers.Dense(1, use_bias=False, input_shape=(1,))])
    model.set_weights([np.array([[2.0]])])
    model.compile(tf_keras.optimizers.legacy.SGD(0.0, momentum=0.9), "mse")
    model.fit(np.ones((1, 1)), np.zeros((1, 1)), verbose=0)
    model.optimizer.get_slot(model.weights[0], "momentum").assign([[7.0]])
    model.save(str(directory), save_format="tf")
    return str(directory)


def test_models_that_keras_2_saved_with_their_optimizer_load_and_are_tuned_where_keras_2_is_not_installed(tmp_path):
    path = compiled_by_keras_2(tmp_path / "model")
    zoo = Path(__file__).resolve().parents[3] / "shared" / "zoo"
    arguments = [path, str(tmp_path / "export"), str(zoo) if zoo.is_dir() else ""]
    done = subprocess.run(
        [sys.executable, "-W", "error::UserWarning", "-c", WITHOUT_KERAS_2, *arguments], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-3000:]
    before, after, slots, loaded = json.loads(done.stdout.splitlines()[-1])
    assert before == 2.0
    assert after == 0.0  # 2 - 0.5 · 2 · 2
    assert 7.0 in slots
    assert loaded == (3 if zoo.is_dir() else 0)


def test_a_directory_of_versions_on_a_remote_file_system_names_the_versions(produced):
    source = produced(producers.multiply)
    for version in ("2", "10"):
        for folder, _, names in os.walk(source):
            for name in names:
                target = f"ram://versions/{version}/" + os.path.relpath(os.path.join(folder, name), source)
                tf.io.gfile.makedirs(os.path.dirname(target))
                tf.io.gfile.copy(os.path.join(folder, name), target, overwrite=True)
    newest = r"versions 2, 10(?s:.*)HubLayer\('ram://versions/10'\)   # the newest$"
    with pytest.raises(errors.ResolveError, match=newest):
        load_module.load("ram://versions")
    assert layers.HubLayer("ram://versions/10")(np.array([4.0], "float32")).numpy().tolist() == [8.0]


REGISTERED = """
import tensorflow as tf
from tensorflow.python.framework import composite_tensor, type_spec_registry

class Pair(composite_tensor.CompositeTensor):
    def __init__(self, left): self.left = left
    @property
    def _type_spec(self): return PairSpec(tf.TensorSpec.from_tensor(self.left))

@type_spec_registry.register("tensorflow_probability.Pair")
class PairSpec(tf.TypeSpec):
    def __init__(self, left): self._left = left
    value_type = property(lambda self: Pair)
    def _serialize(self): return (self._left,)
    _component_specs = property(lambda self: self._left)
    def _to_components(self, value): return value.left
    def _from_components(self, left): return Pair(left)
"""
SAVE_TYPE = """
import sys
sys.path.insert(0, sys.argv[2])
import tensorflow as tf, tensorflow_probability as tfp
root = tf.train.Checkpoint()
row = tf.TensorSpec((None, 1))
root.__call__ = tf.function(lambda x: tfp.Pair(2 * x), [row])
tf.saved_model.save(root, sys.argv[1])
"""


def test_a_type_that_a_package_registers_names_the_package_and_is_imported_where_it_is_installed(tmp_path):
    (tmp_path / "installed" / "tensorflow_probability").mkdir(parents=True)
    (tmp_path / "installed" / "tensorflow_probability" / "__init__.py").write_text(REGISTERED)
    arguments = [str(tmp_path / "model"), str(tmp_path / "installed")]
    done = subprocess.run([sys.executable, "-c", SAVE_TYPE, *arguments], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    requirement = inspect_module.inspect(tmp_path / "model").requires[0]
    assert requirement.package == "tensorflow-probability[tf]"
    assert requirement.types == ("tensorflow_probability.Pair",)
    with pytest.raises(errors.MissingOpError, match=r"(?s)Pair', which no imported.*pip install .tensorflow-probab"):
        load_module.load(tmp_path / "model")
    sys.path.insert(0, arguments[1])
    try:
        assert load_module.load(tmp_path / "model")(tf.ones((1, 1))).left.numpy() == [[2.0]]
    finally:
        sys.path.remove(arguments[1])
        sys.modules.pop("tensorflow_probability", None)


POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:aa\nsize 1234\n"


@pytest.mark.parametrize(
    "name", ["saved_model.pb", "variables/variables.index", "variables/variables.data-00000-of-00001"]
)
def test_a_pointer_of_git_lfs_in_the_place_of_a_file_is_told(tmp_path, name):
    path = Path(producers.half_plus_one(tmp_path / "model"))
    (path / name).write_text(POINTER)
    with pytest.raises(errors.ResolveError, match=r"(?s)Git-LFS pointers.*git lfs pull"):
        load_module.load(path)


def test_a_checkpoint_of_another_model_is_told(tmp_path):
    path, other = Path(producers.half_plus_one(tmp_path / "model")), Path(producers.multiply(tmp_path / "other"))
    tf1 = Path(producers.tf1(tmp_path / "tf1"))
    for model in (path, tf1):
        shutil.rmtree(model / "variables")
        shutil.copytree(other / "variables", model / "variables")
        with pytest.raises(errors.LoadError, match=r"(?s)checkpoint is that of another model.*saved together with"):
            load_module.load(model)


def test_a_hub_module_of_tf1_without_its_checkpoint_names_it(tmp_path, zoo):
    for lost in ("variables", "variables/variables.data-00000-of-00001"):
        path = tmp_path / lost.replace("/", "_")
        shutil.copytree(zoo / "hub_half_plus_two_v1", path)
        shutil.rmtree(path / lost) if (path / lost).is_dir() else (path / lost).unlink()
        with pytest.raises(errors.LoadError, match=r"(?s)not whole.*variables/variables.data-00000-of-00001"):
            load_module.load(path)
        assert "variables/variables.data-00000-of-00001" in inspect_module.inspect(path).missing_files


@pytest.mark.parametrize("before", [False, True])
def test_a_load_makes_python_not_look_for_cycles_and_leaves_it_as_it_was(before, zoo, monkeypatch):
    seen, read = [], load_module.read_meta_graphs
    monkeypatch.setattr(load_module, "read_meta_graphs", lambda *args: seen.append(gc.isenabled()) or read(*args))
    was = gc.isenabled()
    try:
        (gc.enable if before else gc.disable)()
        load_module.load(str(zoo / "serving_half_plus_two_tf2"))
        with pytest.raises(errors.InterfaceError, match="tags"):
            load_module.load(str(zoo / "serving_half_plus_two_tf2"), tags=["none"])
        assert gc.isenabled() is before
    finally:
        (gc.enable if was else gc.disable)()
    assert seen == [False, False]


def test_the_error_of_tags_that_no_graph_has_names_the_directory_once_and_the_line_to_paste(zoo):
    path = str(zoo / "serving_half_plus_two_tf2")
    with pytest.raises(errors.InterfaceError, match="no graph with these tags") as caught:
        load_module.load(path, tags=["none"])
    assert caught.value.where == f"{path} (handle {path!r})"
    assert str(caught.value.fix).startswith(f"HubLayer({path!r}, tags=['serve'])")
