"""An export is a drop-in replacement or a Reusable SavedModel, it is whole, and nothing good is lost for it."""

import filecmp
import os
import shutil
from pathlib import Path

import keras
import numpy as np
import producers
import pytest
import tensorflow as tf

import keras_hub_layers as khl
from keras_hub_layers import errors, layers
from keras_hub_layers._src import sample_inputs
from keras_hub_layers._src.compat.workers import workers_of
from keras_hub_layers._src.export import export as export_module
from keras_hub_layers._src.savedmodel import meta_graphs

L = keras.layers
X = np.linspace(-1, 1, 12, dtype="float32").reshape(3, 4)


def small(**kwargs):
    """features (4) -> logits (2) through BatchNormalization, with an L2 loss."""
    x = keras.Input((4,), name="features")
    h = L.BatchNormalization(name="norm")(L.Dense(3, kernel_regularizer="l2", name="hidden")(x))
    return keras.Model(x, L.Dense(2, name="logits", **kwargs)(h), name="small")


def tree(directory):
    return sorted(str(path.relative_to(directory)) for path in Path(directory).rglob("*") if path.is_file())


def nothing_left_over(tmp_path):
    return not [name for name in os.listdir(tmp_path) if name.startswith(".")]


# -- Keras models ------------------------------------------------------------------------------------------------------


def test_the_signatures_are_named_after_the_input_and_output_layers(tmp_path):
    loaded = tf.saved_model.load(khl.export(small(), tmp_path / "out"))
    assert sorted(loaded.signatures) == ["serve", "serving_default"]
    assert list(loaded.signatures["serve"].structured_input_signature[1]) == ["features"]
    assert list(loaded.signatures["serve"].structured_outputs) == ["logits"]


def test_each_weight_is_stored_once_and_the_optimizer_never(tmp_path):
    model = keras.Sequential([keras.Input((64,)), L.Dense(256), L.Dense(64)])
    model.compile("adam", "mse")
    model.fit(np.ones((2, 64)), np.ones((2, 64)), verbose=0)
    path = khl.export(model, tmp_path / "out")
    size = os.path.getsize(os.path.join(path, "variables", "variables.data-00000-of-00001"))
    weights = sum(np.asarray(weight).nbytes for weight in model.weights)
    assert weights <= size < 1.05 * weights + 4000


def test_the_graph_holds_each_mode_once(tmp_path):
    path = khl.export(small(), tmp_path / "out")
    graph = meta_graphs.read_meta_graphs(path)[0].graph_def
    assert len([f for f in graph.library.function if f.signature.name.startswith("__inference__call")]) == 2


def test_auto_names_that_keras_counts_are_not_published(tmp_path):
    model = keras.Sequential([keras.Input((4,)), L.Dense(2, name="d")])
    loaded = tf.saved_model.load(khl.export(model, tmp_path / "out"))
    assert list(loaded.signatures["serve"].structured_input_signature[1]) == ["inputs"]


def test_the_model_is_as_it_was_after_an_export(tmp_path):
    x = keras.Input((4,))
    model = keras.Model(x, L.Dropout(0.5, seed=1)(L.Dense(2, activity_regularizer="l2")(x)))
    model.compile("sgd", "mse")
    before = [np.array(v) for v in model.variables]
    with pytest.warns(errors.HubWarning, match=r"depend on inputs|dropout on features"):
        khl.export(model, tmp_path / "out")
    assert all(np.array_equal(old, v) for old, v in zip(before, model.variables, strict=True))
    assert len(model.losses) == 0
    model.fit(X, np.ones((3, 2)), verbose=0)


def test_the_published_flag_of_each_variable_agrees_with_the_published_list(tmp_path):
    model = small()
    model.get_layer("hidden").trainable = False
    with pytest.warns(errors.HubWarning, match="2 of 6 weights are frozen"):
        path = khl.export(model, tmp_path / "out")
    loaded = tf.saved_model.load(path)
    published = {v.name for v in loaded.trainable_variables}
    assert {v.name for v in loaded.variables if v.trainable} == published
    assert model.get_layer("hidden").kernel.value.trainable


@pytest.mark.parametrize(("trainable", "count", "losses"), [(True, 6, 1), (False, 0, 0)])
def test_trainable_publishes_all_or_none_and_leaves_the_model_as_it_is(tmp_path, trainable, count, losses, recwarn):
    model = small()
    model.get_layer("hidden").trainable = False
    model.get_layer("norm").trainable = False
    flags = [layer.trainable for layer in model.layers]
    loaded = tf.saved_model.load(khl.export(model, tmp_path / "out", trainable=trainable))
    assert (len(loaded.trainable_variables), len(loaded.regularization_losses)) == (count, losses)
    assert [layer.trainable for layer in model.layers] == flags
    assert [v.trainable for v in model.get_layer("norm").variables] == [False] * 4
    assert not recwarn
    mean = loaded.variables[4]
    loaded(X, training=True)
    assert np.any(mean.numpy() != 0) == trainable


def test_further_signatures_and_attached_things_are_found_by_their_names(tmp_path):
    model = small()
    (tmp_path / "words.txt").write_text("red\ngreen\n")
    double = tf.function(lambda x: {"doubled": 2 * model(x)}, input_signature=[tf.TensorSpec([None, 4], name="x")])
    lookup = L.StringLookup(vocabulary=["red", "green"], name="lookup")
    lookup(tf.constant(["red"]))
    extra = tf.Module()
    extra.factor = tf.Variable(3.0)
    path = khl.export(
        model, tmp_path / "out", signatures={"double": double},
        assets={"words": tmp_path / "words.txt", "encoder": model.get_layer("hidden"), "extra": extra},
    )  # fmt: skip
    (tmp_path / "words.txt").unlink()
    loaded = tf.saved_model.load(path)
    np.testing.assert_allclose(loaded.signatures["double"](tf.constant(X))["doubled"], 2 * model(X), rtol=1e-5)
    assert Path(loaded.words.asset_path.numpy().decode()).read_text() == "red\ngreen\n"
    assert loaded.extra.factor.numpy() == 3.0
    piece = layers.HubLayer(path, piece="encoder", trainable=True)
    np.testing.assert_allclose(piece(X), model.get_layer("hidden")(X), rtol=1e-6)
    assert (len(piece.trainable_weights), len(piece.losses)) == (2, 1)


@pytest.mark.parametrize(
    ("assets", "match"),
    [
        ({"variables": "f.txt"}, "the name 'variables'"),
        ({"no name": "f.txt"}, "the name 'no name'"),
        ({"words": "nowhere.txt"}, "the file 'nowhere.txt'"),
        ({"answer": 42}, "a int as 'answer'"),
    ],
)
def test_what_cannot_be_attached_is_named(tmp_path, assets, match):
    with pytest.raises(errors.ExportError, match=match):
        khl.export(small(), tmp_path / "out", assets=assets)
    assert os.listdir(tmp_path) == []


class Subclassed(keras.Model):
    def __init__(self):
        super().__init__()
        self.embed = L.Embedding(8, 2)

    def call(self, ids):
        return self.embed(ids)


def test_a_model_that_was_never_built_says_so(tmp_path):
    with pytest.raises(errors.ExportError, match=r"never built[\s\S]*model\(x\[:1\]\)"):
        khl.export(Subclassed(), tmp_path / "out")


def test_input_spec_tells_what_keras_does_not_know(tmp_path):
    model = Subclassed()
    model(np.array([[1, 2]]))
    path = khl.export(model, tmp_path / "out", input_spec=tf.TensorSpec([None, None], tf.int32))
    np.testing.assert_allclose(layers.HubLayer(path)(np.array([[1, 2, 3]])), model(np.array([[1, 2, 3]])))


def test_a_layer_of_several_arguments_asks_to_be_wrapped(tmp_path):
    attention = L.MultiHeadAttention(1, 2)
    attention(np.ones((1, 2, 3)), np.ones((1, 2, 3)))
    with pytest.raises(errors.ExportError, match=r"not known what the layer takes[\s\S]*keras\.Model\("):
        khl.export(attention, tmp_path / "out")


def test_a_model_that_cannot_be_traced_is_an_export_error_with_its_cause(tmp_path):
    class Eager(L.Layer):
        def call(self, x):
            return x * float(keras.ops.convert_to_numpy(x).sum())

    layer = Eager()
    layer(np.ones((1, 2), "float32"))
    with pytest.raises(errors.ExportError, match="cannot be traced") as caught:
        khl.export(layer, tmp_path / "out", input_spec=tf.TensorSpec([None, 2]))
    assert caught.value.__cause__ is not None
    assert os.listdir(tmp_path) == []


def test_softmax_dropout_and_weight_decay_are_warned_of(tmp_path):
    model = keras.Sequential([keras.Input((4,)), L.Dense(2, activation="softmax")])
    model.compile(keras.optimizers.AdamW(weight_decay=0.01), "mse")
    with pytest.warns(errors.HubWarning) as caught:
        khl.export(model, tmp_path / "out")
    texts = " ".join(str(warning.message) for warning in caught)
    assert "weight_decay=0.01" in texts
    assert "softmax" in texts
    assert "softmax" in (tmp_path / "out" / "README.md").read_text()


# -- loaded objects ----------------------------------------------------------------------------------------------------


def test_a_hub_layer_is_exported_byte_by_byte_but_for_its_weights(zoo, tmp_path):
    source = str(zoo / "mlperf_tiny_kws")
    layer = layers.HubLayer(source, trainable=True)
    for weight in layer.trainable_weights:
        weight.assign(weight + 0.01)
    path = khl.export(layer, tmp_path / "out")
    same = [name for name in tree(source) if not name.startswith("variables/variables.")]
    assert filecmp.cmpfiles(source, path, same, shallow=False)[1:] == ([], [])
    inputs = np.load(f"{source}.ref.npz")
    x = next(value for name, value in inputs.items() if "in" in name)
    np.testing.assert_array_equal(layers.HubLayer(path)(x), layer(x))


@pytest.mark.parametrize("name", ["hub_half_plus_two_v1", "serving_half_plus_two_v1"])
def test_tf1_formats_keep_their_files_and_tags(zoo, tmp_path, name):
    loaded = khl.load(str(zoo / name))
    path = khl.export(loaded, tmp_path / name)
    assert [file for file in tree(path) if file != "README.md"] == tree(zoo / name)
    assert khl.inspect(path).format == khl.inspect(str(zoo / name)).format


def test_an_export_onto_its_own_source_works(tmp_path):
    source = producers.text_classifier(tmp_path / "model")
    layer = layers.HubLayer(source, trainable=True)
    layer.trainable_weights[0].assign_add(np.ones((5, 2), "float32"))
    expected = layer(tf.constant(["hello world"]))
    assert khl.export(layer, source) == source
    np.testing.assert_array_equal(layers.HubLayer(source)(tf.constant(["hello world"])), expected)
    assert os.listdir(tmp_path) == ["model"]
    khl.export(layer, source)


def test_an_object_with_a_new_variable_is_saved_anew_with_its_signatures(tmp_path):
    loaded = khl.load(khl.export(small(), tmp_path / "source"))
    loaded.step = tf.Variable(7)
    again = tf.saved_model.load(khl.export(loaded, tmp_path / "out"))
    assert again.step.numpy() == 7
    assert sorted(again.signatures) == ["serve", "serving_default"]
    np.testing.assert_allclose(again(X, training=False), loaded(X, training=False))


def test_a_module_of_this_process_is_saved_with_its_own_signatures_only(tmp_path):
    module = tf.Module()
    module.w = tf.Variable(2.0)
    module.helper = tf.function(lambda x: x, input_signature=[tf.TensorSpec([])])
    module.__call__ = tf.function(lambda x: x * module.w, input_signature=[tf.TensorSpec([None])])
    loaded = tf.saved_model.load(khl.export(module, tmp_path / "out"))
    assert list(loaded.signatures) == []
    np.testing.assert_array_equal(loaded([2.0]), [4.0])


def test_a_vanished_source_with_assets_is_an_error_that_names_it(tmp_path):
    loaded = khl.load(producers.text_classifier(tmp_path / "source"))
    khl.export(loaded, tmp_path / "out")
    shutil.rmtree(tmp_path / "source")
    with pytest.raises(errors.ExportError, match=rf"is gone[\s\S]*{tmp_path}/source"):
        khl.export(loaded, tmp_path / "out")
    assert layers.HubLayer(str(tmp_path / "out"))(tf.constant(["hello"])).shape == (1, 2)
    assert nothing_left_over(tmp_path)


def test_a_source_that_lost_an_asset_is_found_out_before_the_swap(tmp_path):
    loaded = khl.load(producers.text_classifier(tmp_path / "source"))
    (tmp_path / "source" / "assets" / "vocabulary.txt").unlink()
    with pytest.raises(errors.ExportWriteError, match=r"vocabulary\.txt"):
        khl.export(loaded, tmp_path / "out")
    assert sorted(os.listdir(tmp_path)) == ["source"]


def test_a_re_export_takes_no_arguments_that_change_its_interface(tmp_path):
    loaded = khl.load(producers.half_plus_one(tmp_path / "source"))
    with pytest.raises(errors.ExportError, match="Received: trainable="):
        khl.export(loaded, tmp_path / "out", trainable=True)


def test_five_generations_keep_the_interface_and_do_not_grow(tmp_path):
    path, model, described, sizes = khl.export(small(), tmp_path / "0"), None, set(), []
    for generation in range(1, 6):
        layer = layers.HubLayer(path, trainable=True)
        model = keras.Sequential([keras.Input((4,)), layer])
        model.compile("sgd", "mse")
        model.fit(X, np.ones((3, 2)), verbose=0)
        path = khl.export(layer, tmp_path / str(generation))
        found = khl.inspect(path).to_dict()
        named = ("handle", "code", "fine_tuning_code")
        described.add(str({key: value for key, value in found.items() if key not in named}))
        sizes.append(os.path.getsize(os.path.join(path, "saved_model.pb")))
        np.testing.assert_array_equal(layers.HubLayer(path)(X), model(X))
    assert len(described) == 1
    assert len(set(sizes)) == 1


def test_five_generations_through_keras_keep_the_interface_and_do_not_grow(tmp_path):
    path, described, sizes = khl.export(small(), tmp_path / "0"), [], []
    for generation in range(1, 6):
        x = keras.Input((4,), name="features")
        model = keras.Model(x, layers.HubLayer(path, trainable=True, name="logits")(x))
        model.compile("sgd", "mse")
        model.fit(X, np.ones((3, 2)), verbose=0)
        path = khl.export(model, tmp_path / str(generation))
        found = khl.inspect(path)
        described.append(
            (found.traces, found.signatures, found.regularization_losses, len(found.variables), found.training_modes,
             sum(v.trainable for v in found.variables))
        )  # fmt: skip
        sizes.append(os.path.getsize(os.path.join(path, "saved_model.pb")))
    assert all(one == described[0] for one in described)
    assert sizes[-1] < 1.6 * sizes[0]


# -- destinations ------------------------------------------------------------------------------------------------------


def test_overwrite_false_keeps_what_is_there(tmp_path):
    path = khl.export(small(), tmp_path / "out")
    before = (Path(path) / "saved_model.pb").read_bytes()
    with pytest.raises(errors.ExportError, match="overwrite=True"):
        khl.export(small(), path, overwrite=False)
    assert (Path(path) / "saved_model.pb").read_bytes() == before


def test_a_file_in_the_way_is_refused_and_kept(tmp_path):
    (tmp_path / "out").write_text("mine")
    with pytest.raises(errors.ExportError, match="a file"):
        khl.export(small(), tmp_path / "out")
    with pytest.raises(errors.ExportWriteError, match="Not a directory"):
        khl.export(small(), tmp_path / "out" / "deeper")
    assert (tmp_path / "out").read_text() == "mine"


def test_a_file_url_is_a_local_path(tmp_path):
    assert khl.export(small(), f"file://{tmp_path}/out") == f"{tmp_path}/out"


def test_a_remote_file_system_gets_numbered_versions(tmp_path):
    layer = layers.HubLayer(khl.export(small(), "ram://exporters/model"), trainable=True)
    assert layer.handle == "ram://exporters/model/1"
    second = khl.export(layer, "ram://exporters/model")
    assert second == "ram://exporters/model/2"
    np.testing.assert_array_equal(layers.HubLayer(second)(X), layer(X))


def test_a_remote_upload_that_fails_leaves_no_version(monkeypatch):
    copy, copied = tf.io.gfile.copy, []

    def fails(source, target, overwrite=False):
        copied.append(target)
        if target.endswith("saved_model.pb"):
            raise tf.errors.UnavailableError(None, None, "the line is dead")
        copy(source, target, overwrite)

    monkeypatch.setattr(tf.io.gfile, "copy", fails)
    with pytest.raises(errors.ExportWriteError, match="the line is dead"):
        khl.export(small(), "ram://exporters/dead")
    assert copied[-1].endswith("1/saved_model.pb")
    assert not tf.io.gfile.exists("ram://exporters/dead/1")


# -- never a worse thing -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_weights_that_are_not_finite_are_refused_by_name(tmp_path, bad):
    model = small()
    model.get_layer("hidden").bias.assign([0.0, bad, 0.0])
    with pytest.raises(errors.ExportError, match=r"NaN or infinite[\s\S]*bias"):
        khl.export(model, tmp_path / "out")
    assert os.listdir(tmp_path) == []


def test_an_export_that_computes_something_else_never_takes_its_place(tmp_path):
    model = small()
    path = khl.export(model, tmp_path / "out")
    broken = export_module.make_export(model)
    write = broken.write

    def sabotaged(work):
        write(work)
        model.get_layer("logits").bias.assign([5.0, 5.0])  # as if the checkpoint had missed it

    broken.write = sabotaged
    with pytest.raises(errors.ExportWriteError, match=r"the output 'logits'"):
        export_module.write_export(broken, path)
    assert nothing_left_over(tmp_path)
    export_module.write_export(broken, str(tmp_path / "unverified"), verify=False)


def test_a_checkpoint_that_is_cut_short_never_takes_its_place(zoo, tmp_path):
    broken = export_module.make_export(layers.HubLayer(str(zoo / "mlperf_tiny_kws")))
    write = broken.write

    def truncated(work):
        write(work)
        with open(os.path.join(work, "variables", "variables.data-00000-of-00001"), "r+b") as file:
            file.truncate(5000)

    broken.write = truncated
    with pytest.raises(errors.ExportWriteError, match="cannot be read back"):
        export_module.write_export(broken, str(tmp_path / "out"))
    assert os.listdir(tmp_path) == []


def test_a_random_layer_and_an_input_that_is_refused_do_not_stop_an_export(tmp_path):
    class Strict(L.Layer):
        def call(self, x):
            tf.debugging.assert_greater(x, 1000.0)
            return x + tf.random.normal([])

    layer = Strict()
    layer(np.full((1, 2), 2000.0, "float32"))
    khl.export(layer, tmp_path / "out", input_spec=tf.TensorSpec([None, 2]))


def test_what_is_no_target_is_named(tmp_path):
    with pytest.raises(errors.ExportError, match="type str: 'model'"):
        khl.export("model", tmp_path / "out")


def test_other_backends_are_told_how_to_export_with_further_arguments(tmp_path, monkeypatch):
    monkeypatch.setattr(keras.backend, "backend", lambda: "jax")
    with pytest.raises(errors.BackendError, match=r"input_spec=(?s:.*)KERAS_BACKEND=tensorflow"):
        khl.export(small(), tmp_path / "out", input_spec=tf.TensorSpec([None, 2]))
    assert not (tmp_path / "out").exists()


def test_samples_fit_their_specs():
    ragged = sample_inputs.sample(tf.RaggedTensorSpec([None, None], tf.int32))
    assert [part.shape for part in ragged] == [(16,), (3,)]
    assert sample_inputs.sample(tf.TensorSpec([None, None, 3], tf.string))[0].shape == (2, 8, 3)
    with pytest.raises(ValueError, match="unknown rank"):
        sample_inputs.sample(tf.TensorSpec(None))


def test_the_chief_of_a_cluster_writes_and_the_workers_take_part():
    class Resolver:
        def __init__(self, kind, index, jobs=("worker",)):
            self.task_type, self.task_id, self.jobs = kind, index, jobs

        def cluster_spec(self):
            return tf.train.ClusterSpec({job: ["localhost:1", "localhost:2"] for job in self.jobs})

    def chief(*args):
        strategy = type("Strategy", (), {"cluster_resolver": Resolver(*args)})
        workers = workers_of(strategy)
        return workers is None or workers.is_chief

    assert chief("worker", 0)
    assert chief("chief", 0, ("chief", "worker"))
    assert not chief("worker", 1)
    assert not chief("worker", 0, ("chief", "worker"))
    assert chief(None, None)


def test_a_source_that_was_replaced_is_refused_instead_of_exported_with_another_graph(tmp_path):
    path = producers.multiply(tmp_path / "source")
    layer = layers.HubLayer(path)
    shutil.rmtree(path)
    producers.multiply(tmp_path / "source", power=3)
    with pytest.raises(errors.ExportError, match="replaced by another one"):
        export_module.export(layer, tmp_path / "export")
    assert not (tmp_path / "export").exists()
