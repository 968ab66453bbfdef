"""A rewritten SavedModel is the old one, byte by byte, with the weights of now."""

import filecmp
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from keras_hub_layers import errors
from keras_hub_layers._src.savedmodel.checkpoints import keys, rewrite

OBJECT_BASED = ["mlperf_tiny_kws", "tfx_keras_penguin", "keras_mixedprec_lso_tf22", "bfcnn_resnet_1x6",
                "serving_half_plus_two_tf2", "tfjs_multi_signatures", "tfx_transform_tf2"]  # fmt: skip
TF1 = ["serving_half_plus_two_v1", "hub_half_plus_two_v1"]


def half_plus_one(directory, dtype=tf.float32, **extra):
    """Save y = x / 2 + 1 as a raw module; further attributes as given."""
    module = tf.Module()
    module.w, module.b = tf.Variable(0.5, dtype=dtype, name="w"), tf.Variable(1.0, dtype=dtype, name="b")
    module.__call__ = tf.function(lambda x: module.w * x + module.b, input_signature=[tf.TensorSpec([None], dtype)])
    module.variables_ = [module.w, module.b]
    for name, value in extra.items():
        setattr(module, name, value)
    tf.saved_model.save(module, str(directory))
    return str(directory)


def tree(directory):
    return sorted(str(path.relative_to(directory)) for path in Path(directory).rglob("*") if path.is_file())


def unchanged(path):
    return not path.startswith("variables/variables.") and path != "fingerprint.pb"


def load(directory):
    return tf.saved_model.load(directory, tags=[] if "hub_half" in str(directory) else None)


def contents(directory):
    reader = tf.train.load_checkpoint(os.path.join(directory, "variables", "variables"))
    return {key: reader.get_tensor(key) for key in reader.get_variable_to_shape_map()}


def test_the_copy_computes_with_the_weights_of_now(tmp_path):
    source = half_plus_one(tmp_path / "source")
    loaded = load(source)
    loaded.w.assign(3.0)
    rewrite.rewrite(source, loaded, str(tmp_path / "copy"))
    np.testing.assert_array_equal(load(str(tmp_path / "copy"))([1.0, 2.0]), [4.0, 7.0])
    np.testing.assert_array_equal(load(source)([1.0, 2.0]), [1.5, 2.0])


@pytest.mark.parametrize("name", OBJECT_BASED + TF1)
def test_a_savedmodel_of_others_is_copied_with_every_byte_but_those_of_moved_weights(zoo, tmp_path, name):
    source, copy = str(zoo / name), str(tmp_path / name)
    loaded = load(source)
    moved = [v for v in keys.live_variables(loaded) if v.dtype == tf.float32]
    for variable in moved:
        variable.assign_add(tf.ones_like(variable))
    rewrite.rewrite(source, loaded, copy)
    same = [path for path in tree(source) if unchanged(path)]
    assert [path for path in tree(copy) if unchanged(path)] == same
    assert filecmp.cmpfiles(source, copy, same, shallow=False)[1:] == ([], [])
    before, after = contents(source), contents(copy)
    assert before.keys() == after.keys()
    differing = [key for key in before if not np.array_equal(before[key], after[key])]
    assert len(differing) == len(moved)
    for variable, again in zip(moved, [v for v in keys.live_variables(load(copy)) if v.dtype == tf.float32],
                               strict=True):  # fmt: skip
        np.testing.assert_array_equal(variable, again)


def test_a_sharded_checkpoint_becomes_a_whole_one(zoo, tmp_path):
    source = str(zoo / "keras_mixedprec_lso_tf22")
    assert "variables/variables.data-00001-of-00002" in tree(source)
    rewrite.rewrite(source, load(source), str(tmp_path / "copy"))
    assert [path for path in tree(tmp_path / "copy") if "data" in path] == ["variables/variables.data-00000-of-00001"]
    np.testing.assert_array_equal(load(source).variables[0], load(str(tmp_path / "copy")).variables[0])


def test_a_v1_session_restores_the_rewritten_keys(tmp_path):
    source = half_plus_one(tmp_path / "source")
    loaded = load(source)
    loaded.b.assign(10.0)
    rewrite.rewrite(source, loaded, str(tmp_path / "copy"))
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        meta = tf.compat.v1.saved_model.load(session, ["serve"], str(tmp_path / "copy"))
        signature = meta.signature_def["serving_default"]
        fetched = session.run(signature.outputs["output_0"].name, {signature.inputs["x"].name: [2.0]})
    np.testing.assert_array_equal(fetched, [11.0])


def test_a_tf1_hub_module_keeps_its_marker_and_answers_with_new_weights(zoo, tmp_path):
    source = str(zoo / "hub_half_plus_two_v1")
    loaded = load(source)
    loaded.variables[0].assign(5.0)
    rewrite.rewrite(source, loaded, str(tmp_path / "hub_half_copy"))
    again = load(str(tmp_path / "hub_half_copy"))
    assert (tmp_path / "hub_half_copy" / "tfhub_module.pb").exists()
    np.testing.assert_array_equal(again.signatures["default"](tf.constant([[2.0]]))["default"], [[12.0]])


def partitioned(directory):
    """Save a TF1 graph with a variable of 5 rows in parts of 3 and 2, as the old text embeddings are."""
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        table = tf.compat.v1.get_variable(
            "table", [5, 2], initializer=tf.compat.v1.ones_initializer(),
            partitioner=tf.compat.v1.fixed_size_partitioner(2), use_resource=True,
        )  # fmt: skip
        ids = tf.compat.v1.placeholder(tf.int32, [None], name="ids")
        rows = tf.compat.v1.nn.embedding_lookup(table, ids, partition_strategy="div")
        session.run(tf.compat.v1.global_variables_initializer())
        builder = tf.compat.v1.saved_model.Builder(str(directory))
        signature = tf.compat.v1.saved_model.predict_signature_def({"ids": ids}, {"rows": rows})
        builder.add_meta_graph_and_variables(session, ["serve"], {"serving_default": signature})
        builder.save()
    return str(directory)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_partitioned_tf1_variable_is_joined_under_its_one_key(tmp_path):
    source = partitioned(tmp_path / "source")
    loaded = load(source)
    first, second = sorted(loaded.variables, key=lambda part: part.name)
    second.assign(7 * tf.ones_like(second))
    rewrite.rewrite(source, loaded, str(tmp_path / "copy"))
    rows = load(str(tmp_path / "copy")).signatures["serving_default"](tf.constant([0, 2, 3, 4]))["rows"]
    np.testing.assert_array_equal(rows[:, 0], [1.0, 1.0, 7.0, 7.0])
    assert (first.shape[0], second.shape[0]) == (3, 2)


def test_blank_variables_are_nan_or_zero_and_the_live_ones_keep_their_values(tmp_path):
    source = half_plus_one(
        tmp_path / "source", count=tf.Variable(3, name="count"), half=tf.Variable(1.0, dtype="bfloat16")
    )
    loaded = load(source)
    rewrite.rewrite(source, loaded, str(tmp_path / "copy"), blank=[loaded.w, loaded.count, loaded.half])
    again = load(str(tmp_path / "copy"))
    assert np.isnan(again.w.numpy())
    assert np.isnan(np.float32(again.half.numpy()))
    assert (again.count.numpy(), again.b.numpy()) == (0, 1.0)
    assert (loaded.w.numpy(), loaded.count.numpy()) == (0.5, 3)


def test_a_variable_without_a_key_is_a_mismatch_that_names_it(tmp_path):
    source = half_plus_one(tmp_path / "source")
    loaded = load(source)
    loaded.extra = tf.Variable(0.0, name="added_later")
    with pytest.raises(rewrite.CheckpointMismatch, match="added_later"):
        rewrite.rewrite(source, loaded, str(tmp_path / "copy"))
    assert not (tmp_path / "copy").exists()


def test_a_variable_of_another_dtype_than_its_key_is_a_mismatch(tmp_path):
    loaded = load(half_plus_one(tmp_path / "source", dtype=tf.float64))
    other = half_plus_one(tmp_path / "other", dtype=tf.float32)
    with pytest.raises(rewrite.CheckpointMismatch, match="float32 under the key"):
        rewrite.rewrite(other, loaded, str(tmp_path / "copy"))


def test_a_variable_of_another_shape_than_its_key_is_a_mismatch(tmp_path):
    loaded = load(half_plus_one(tmp_path / "source", size=tf.Variable([1.0, 2.0])))
    other = half_plus_one(tmp_path / "other", size=tf.Variable([1.0]))
    with pytest.raises(rewrite.CheckpointMismatch, match=r"shape \(1,\)"):
        rewrite.rewrite(other, loaded, str(tmp_path / "copy"))


def test_variables_of_a_strategy_are_written_once(tmp_path):
    source = half_plus_one(tmp_path / "source")
    with tf.distribute.MirroredStrategy(["CPU:0"]).scope():
        loaded = load(source)
    loaded.w.assign(2.0)
    assert len(loaded.w.values) == 1
    rewrite.rewrite(source, loaded, str(tmp_path / "copy"), blank=[loaded.b.values[0]])
    again = load(str(tmp_path / "copy"))
    assert again.w.numpy() == 2.0
    assert np.isnan(again.b.numpy())


def test_the_fingerprint_is_renewed_for_the_new_checkpoint(tmp_path):
    source = half_plus_one(tmp_path / "source")
    loaded = load(source)
    loaded.w.assign(2.0)
    rewrite.rewrite(source, loaded, str(tmp_path / "copy"))
    old = tf.saved_model.experimental.read_fingerprint(source)
    new = tf.saved_model.experimental.read_fingerprint(str(tmp_path / "copy"))
    assert new.checkpoint_hash == rewrite._hash(str(tmp_path / "copy")) != old.checkpoint_hash
    assert new.saved_model_checksum == old.saved_model_checksum


def test_a_fingerprint_hashed_in_an_unknown_way_is_left_out(tmp_path):
    source = half_plus_one(tmp_path / "source")
    (tmp_path / "source" / "fingerprint.pb").write_bytes(b"")
    rewrite.rewrite(source, load(source), str(tmp_path / "copy"))
    assert "fingerprint.pb" not in tree(tmp_path / "copy")


def test_files_in_folders_travel_and_links_become_files(tmp_path):
    source = half_plus_one(tmp_path / "source")
    (tmp_path / "source" / "assets.extra" / "deep").mkdir(parents=True)
    (tmp_path / "source" / "assets.extra" / "deep" / "notes.txt").write_text("kept")
    (tmp_path / "blob").write_text("linked")
    (tmp_path / "source" / "LICENSE").symlink_to(tmp_path / "blob")
    rewrite.rewrite(source, load(source), str(tmp_path / "copy"))
    assert (tmp_path / "copy" / "assets.extra" / "deep" / "notes.txt").read_text() == "kept"
    assert (tmp_path / "copy" / "LICENSE").read_text() == "linked"
    assert not (tmp_path / "copy" / "LICENSE").is_symlink()


def test_a_remote_file_system_is_read_and_written(tmp_path):
    local = half_plus_one(tmp_path / "source")
    loaded = load(local)
    loaded.w.assign(2.0)
    rewrite.rewrite(local, loaded, "ram://checkpoints/first")
    rewrite.rewrite("ram://checkpoints/first", load("ram://checkpoints/first"), str(tmp_path / "back"))
    np.testing.assert_array_equal(load(str(tmp_path / "back"))([1.0]), [3.0])


def test_a_savedmodel_without_any_checkpoint_is_copied(tmp_path):
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        x = tf.compat.v1.placeholder(tf.float32, [None], name="x")
        builder = tf.compat.v1.saved_model.Builder(str(tmp_path / "source"))
        signature = tf.compat.v1.saved_model.predict_signature_def({"x": x}, {"y": x / 2 + 1})
        builder.add_meta_graph_and_variables(session, ["serve"], {"serving_default": signature})
        builder.save()
    shutil.rmtree(tmp_path / "source" / "variables", ignore_errors=True)
    rewrite.rewrite(str(tmp_path / "source"), load(str(tmp_path / "source")), str(tmp_path / "copy"))
    assert tree(tmp_path / "copy") == ["saved_model.pb"]


def test_a_source_that_is_gone_is_named(tmp_path):
    source = half_plus_one(tmp_path / "source")
    loaded = load(source)
    shutil.rmtree(source)
    with pytest.raises(errors.ExportError, match=r"is gone[\s\S]*Where: .*source"):
        rewrite.rewrite(source, loaded, str(tmp_path / "copy"))


def test_a_destination_that_holds_something_is_refused_and_kept(tmp_path):
    source = half_plus_one(tmp_path / "source")
    loaded = load(source)
    with pytest.raises(errors.ExportError, match="destination of a rewritten SavedModel is taken"):
        rewrite.rewrite(source, loaded, source)
    assert load(source)([2.0]).numpy() == [2.0]


def test_a_destination_that_cannot_be_made_is_an_export_write_error(tmp_path):
    source = half_plus_one(tmp_path / "source")
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(errors.ExportWriteError, match="could not be copied"):
        rewrite.rewrite(source, load(source), str(tmp_path / "file" / "copy"))
