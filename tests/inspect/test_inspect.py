"""inspect() says what can be called, trained and lost, as data."""

import dataclasses
import html
import inspect
import json
import pickle
import re
from typing import NamedTuple

import keras
import producers
import pytest
import tensorflow as tf
import tf_keras

from keras_hub_layers import errors, finetuning, layers
from keras_hub_layers._src.inspect import inspect as inspect_module
from keras_hub_layers._src.inspect import records
from keras_hub_layers._src.inspect.specs import Spec
from keras_hub_layers._src.savedmodel import load as load_module

SAVED = [
    producers.half_plus_one, producers.batch_norm, producers.text_length, producers.text_classifier, producers.scaled,
    producers.sum_and_difference, producers.two_lists, producers.plus_one, producers.tensor_training,
    producers.shared_loss, producers.flags_against_lists, producers.raw_module, producers.ragged_sum,
    producers.sparse_sum, producers.words, producers.two_positional, producers.with_pieces, producers.tf1,
    producers.untraced,
]  # fmt: skip
FLOAT = Spec((None, 1), "float32")


def test_a_reusable_savedmodel_of_keras2(produced):
    info = inspect_module.inspect(produced(producers.half_plus_one, True))
    assert (info.format, info.callable, info.accepts_training) == ("reusable", True, True)
    assert info.training_modes == (False, True)
    assert {(trace.inputs, trace.training) for trace in info.traces} == {(FLOAT, False), (FLOAT, True)}
    assert info.traces[0].outputs == FLOAT
    assert {(v.name, v.shape, v.dtype, v.trainable, v.published) for v in info.variables} == {
        ("times_w/kernel", (1, 1), "float32", True, True),
        ("plus_1/kernel", (1, 1), "float32", False, True),
        ("plus_1/bias", (1,), "float32", False, True),
    }
    assert (info.regularization_losses, info.pieces, info.assets) == (1, (), ())
    assert info.tf_version == tf.__version__
    assert (info.fine_tunable, info.string_inputs) == (True, False)
    assert info.code == f"HubLayer({info.handle!r}, trainable=True)"


def test_text_with_an_asset(produced):
    info = inspect_module.inspect(produced(producers.text_classifier))
    assert (info.string_inputs, info.assets) == (True, ("vocabulary.txt",))
    assert info.traces[0].inputs == Spec((None,), "string")


def test_structures_kinds_and_arguments_are_described(produced):
    info = inspect_module.inspect(produced(producers.sum_and_difference))
    assert info.traces[0].inputs == {"x": FLOAT, "y": FLOAT}
    assert [trace.arguments for trace in info.traces] == [{"return_dict": False}, {"return_dict": True}]
    assert inspect_module.inspect(produced(producers.ragged_sum)).traces[0].inputs == Spec(
        (None, None), "float32", "ragged"
    )
    assert inspect_module.inspect(produced(producers.sparse_sum)).traces[0].inputs == Spec(
        (None, 4), "float32", "sparse"
    )
    assert inspect_module.inspect(produced(producers.tensor_training)).traces[0].training == "tensor"
    assert inspect_module.inspect(produced(producers.plus_one)).traces[0].inputs.shape is None


@pytest.mark.parametrize(
    ("producer", "kwargs", "form", "reason"),
    [
        (producers.tf1, {}, "tf1", "TF1"),
        (producers.with_pieces, {}, "empty", "cannot be called itself, but its piece 'encoder' can be fine-tuned: 1 "),
        (producers.two_positional, {}, "signatures", "inference only"),
        (producers.raw_module, {}, "reusable", "publishes no variables; unfreeze"),
        (producers.scaled, {}, "reusable", "no variables"),
        (producers.batch_norm, {"modes": (False,)}, "reusable", 'arguments={"training": False}'),
    ],
)
def test_what_cannot_be_fine_tuned_says_why(produced, producer, kwargs, form, reason):
    info = inspect_module.inspect(produced(producer, **kwargs))
    assert (info.format, info.fine_tunable) == (form, False)
    assert reason in info.reason


def test_pieces_and_signatures_are_listed(produced):
    assert inspect_module.inspect(produced(producers.with_pieces)).pieces == ("encoder", "text.length", "text.tokenize")
    info = inspect_module.inspect(produced(producers.two_positional))
    assert info.signatures["double"].inputs == {"x": Spec((None,), "float32")}
    assert info.code.endswith("signature='double', output_key='output_0')")


def test_captured_variables_are_listed_as_unpublished(produced):
    info = inspect_module.inspect(produced(producers.raw_module))
    assert {(v.name, v.trainable, v.published) for v in info.variables} == {
        ("dense/w", False, False),
        ("count", False, False),
    }


def test_it_is_frozen_comparable_and_picklable(produced):
    path = produced(producers.half_plus_one, True)
    info = inspect_module.inspect(path)
    assert info == inspect_module.inspect(path) == pickle.loads(pickle.dumps(info)) == layers.HubLayer(path).interface
    assert info != inspect_module.inspect(produced(producers.half_plus_one))
    with pytest.raises(dataclasses.FrozenInstanceError, match="format"):
        info.format = "tf1"


def test_to_dict_is_json_with_every_field(produced):
    info = inspect_module.inspect(produced(producers.sum_and_difference))
    data = json.loads(json.dumps(info.to_dict()))
    assert set(data) == {field.name for field in dataclasses.fields(info)}
    assert data["traces"][0]["inputs"]["x"] == {"shape": [None, 1], "dtype": "float32", "kind": "dense"}


def test_str_is_a_table_of_what_matters(produced):
    info = inspect_module.inspect(produced(producers.half_plus_one, True))
    rows = {line.split("  ")[0]: line[14:] for line in str(info).splitlines()}
    assert rows["format"] == "Reusable SavedModel, saved from a Keras 2 model by TensorFlow"  # and its version, below
    assert rows["fine-tunable"].startswith("yes: 1 published")
    assert rows["use it as"] == info.code
    assert rows["call"] == "float32 (None, 1) -> float32 (None, 1)"
    assert rows["training"] == "traced for False and True"
    assert rows["losses"] == "1 for regularization"
    assert rows["variables"] == "times_w/kernel  float32 (1, 1)  trainable"


def test_notebooks_and_terminals_show_the_same_characters(produced):
    info = inspect_module.inspect(produced(producers.half_plus_one, True))
    assert [line.rstrip() for line in info.__rich__().plain.splitlines()] == str(info).splitlines()
    assert html.unescape(re.sub("<[^>]*>", "", info._repr_html_())) == info.__rich__().plain
    assert "\x1b" not in str(info)


def test_groups_are_those_of_finetuning(produced, zoo):
    paths = [produced(producers.small_image_model), produced(producers.half_plus_one, True)]
    paths += [str(zoo / name) for name in ("mlperf_tiny_kws", "bfcnn_resnet_1x6", "tfx_keras_penguin")]
    for path in paths:
        info, layer = inspect_module.inspect(path), layers.HubLayer(path)
        published = {name for group in info.groups for name in group.tunable}
        for group, other in zip(info.groups, finetuning.groups(layer), strict=True):
            assert (group.name, group.variables) == (other.name, other.variables)
            assert (group.parameters, group.size) == (other.parameters, other.size)
            assert not published or group.tunable == other.tunable


def test_groups_and_sizes_are_counted(produced):
    info = inspect_module.inspect(produced(producers.small_image_model))
    conv, norm = info.groups
    assert (conv.name, conv.variables) == ("conv", ("conv/kernel", "conv/bias"))
    assert (conv.parameters, conv.size, conv.trainable) == (40, 160, 40)  # a 3 × 3 kernel of 4 filters and 4 biases
    assert (norm.parameters, norm.size, norm.trainable) == (16, 64, 8)
    assert norm.tunable == ("norm/gamma", "norm/beta")
    assert info.sizes == {
        "all": records.Extent(6, 56, 224),
        "published": records.Extent(6, 56, 224),
        "trainable": records.Extent(4, 48, 192),
    }
    assert inspect_module.inspect(produced(producers.raw_module)).sizes["published"] == records.Extent(0, 0, 0)


def test_many_variables_are_folded_by_group(zoo):
    text = str(inspect_module.inspect(zoo / "mlperf_tiny_kws"))
    assert "\ngroups " in text
    assert "\nvariables " not in text
    line = next(line for line in text.splitlines() if line.startswith(" " * 14 + "dense "))
    assert line.split() == ["dense", "2", "780", "<0.01", "780"]
    assert next(line for line in text.splitlines() if " all " in line).split() == ["all", "56", "24,908", "0.10"]


def test_the_table_of_every_model_of_the_zoo_fits_a_terminal(zoo):
    for path in sorted(path for path in zoo.iterdir() if path.is_dir()):
        info = inspect_module.inspect(path)
        for line in str(info).splitlines():
            assert len(line) <= 80 or str(path) in line, line  # what is pasted stays in one line


def test_who_wrote_it_and_what_hinders_xla(produced):
    info = inspect_module.inspect(produced(producers.text_classifier))
    assert info.producer == "tensorflow"
    assert info.jit == (
        "no: LookupTableFindV2, LookupTableSizeV2, StringSplitV2, StringToHashBucketFast, string inputs"
    )
    info = inspect_module.inspect(produced(producers.half_plus_one, True))
    assert (info.producer, info.jit, info.requires) == ("keras2", "unknown", ())
    assert inspect_module.inspect(tf.Module()).jit == "unknown"


def test_a_package_that_is_needed_is_named_with_its_version(tmp_path):
    path = producers.words(tmp_path / "model")
    file = tmp_path / "model" / "saved_model.pb"
    file.write_bytes(file.read_bytes().replace(b"StringSplitV2", b"RougeLV123456"))
    minor = ".".join(tf.__version__.split(".")[:2])
    info = inspect_module.inspect(path)
    assert info.requires == (
        records.Requirement(
            "tensorflow-text",
            "tensorflow_text",
            ("RougeLV123456",),
            f'pip install "tensorflow-text=={minor}.*"   # then import tensorflow_text before loading',
        ),
    )
    assert "needs         tensorflow-text, for RougeLV123456" in str(info)


def test_an_object_in_process_is_inspected_too():
    root = tf.Module()
    root.v = tf.Variable(1.0, name="v")
    info = inspect_module.inspect(root)
    assert (info.handle, info.format, info.tf_version) == ("", "empty", "")


def test_reading_a_handle_says_what_loading_it_shows(produced):
    for producer in SAVED:
        kinds = (False, True) if "keras2" in inspect.signature(producer).parameters else ((),)
        for kind in kinds:
            path = produced(producer, *([kind] if kind != () else []))
            assert inspect_module.inspect(path) == inspect_module.inspect(load_module.load(path))


def test_reading_a_model_of_the_zoo_says_what_loading_it_shows(zoo):
    for path in sorted(zoo.iterdir()):
        if path.is_dir() and path.name != "serving_counter":
            assert inspect_module.inspect(path) == inspect_module.inspect(load_module.load(path)), path.name


def test_what_cannot_be_loaded_is_described_and_its_code_says_so(zoo):
    info = inspect_module.inspect(zoo / "serving_counter")
    assert sorted(info.signatures) == ["get_counter", "incr_counter", "incr_counter_by", "reset_counter"]
    assert info.code == "(TensorFlow 2 cannot load it: a signature returns a TF1 reference)"


def test_missing_ops_are_listed(tmp_path):
    path = producers.words(tmp_path / "model")
    file = tmp_path / "model" / "saved_model.pb"
    file.write_bytes(file.read_bytes().replace(b"StringSplitV2", b"NobodysOpV123"))
    assert inspect_module.inspect(path).missing_ops == ("NobodysOpV123",)
    assert inspect_module.inspect(producers.words(tmp_path / "fine")).missing_ops == ()


def test_tags_choose_the_graph(produced):
    assert inspect_module.inspect(produced(producers.plus_one), tags=["serve"]).callable
    with pytest.raises(errors.InterfaceError, match=r"\[\['serve'\]\]"):
        inspect_module.inspect(produced(producers.plus_one), tags=["train"])


@pytest.mark.parametrize("tags", [["serve"], ["train", "gpu"]])
def test_of_several_graphs_the_code_gives_the_tags(produced, tags):
    path = produced(producers.several_graphs)
    info = inspect_module.inspect(path, tags=tags)
    assert info.code == f"HubLayer({path!r}, signature='serving_default', output_key='y', tags={tags!r})"
    layer = eval(info.code, {"HubLayer": layers.HubLayer})
    assert float(layer([[3.0]])[0, 0]) == 6.0
    assert layer.interface.code == info.code


def test_several_graphs_without_tags_are_an_error_with_a_line_for_the_command_line_too(produced):
    path = produced(producers.several_graphs)
    with pytest.raises(errors.InterfaceError, match=rf"(?s)several graphs.*{path} --tags (serve|gpu,train)") as caught:
        inspect_module.inspect(path)
    assert "HubLayer(" in str(caught.value)


def test_a_call_that_was_saved_without_a_trace_is_none(produced):
    path = produced(producers.untraced)
    info = inspect_module.inspect(path)
    assert info == inspect_module.inspect(load_module.load(path))
    assert (info.format, info.callable, info.pieces) == ("signatures", False, ("triple",))
    assert info.code == f"HubLayer({path!r}, signature='serving_default', output_key='y')"
    assert not inspect_module.inspect(produced(producers.untraced, False, False)).callable
    in_process = tf.Module()
    in_process.__call__ = tf.function(lambda x: x)
    assert inspect_module.inspect(in_process).callable


@pytest.mark.parametrize(
    ("published", "trainable", "losses", "counts"),
    [
        (lambda a, b: {"b": b, "a": a}, lambda a, b: {"a": a}, lambda loss: {"l2": loss}, (2, 1, 1)),
        (lambda a, b: a, lambda a, b: a, lambda loss: loss, (1, 1, 1)),
        (lambda a, b: (a, b), lambda a, b: [None, b], lambda loss: (loss,), (2, 1, 1)),
        (lambda a, b: [[a], [b]], lambda a, b: [[a], {"of": b}], lambda loss: [[loss], [loss]], (2, 2, 2)),
    ],
    ids=["a dict", "one alone", "a tuple, and None", "lists in lists"],
)
def test_what_is_published_in_other_forms_than_a_list_counts_too(tmp_path, published, trainable, losses, counts):
    root = tf.train.Checkpoint(a=tf.Variable(2.0, name="a"), b=tf.Variable(1.0, name="b"))
    root.__call__ = tf.function(lambda x: x * root.a + root.b, input_signature=[tf.TensorSpec((None, 1))])
    root.variables, root.trainable_variables = published(root.a, root.b), trainable(root.a, root.b)
    root.regularization_losses = losses(tf.function(lambda: root.a, input_signature=[]))
    path = producers.save(root, tmp_path / "model")
    info = inspect_module.inspect(path)
    assert info == inspect_module.inspect(load_module.load(path))
    assert (info.sizes["published"].variables, info.sizes["trainable"].variables) == counts[:2]
    layer = layers.HubLayer(path, trainable=True)
    assert (info.fine_tunable, len(layer.trainable_weights), len(layer.losses)) == (True, *counts[1:])
    assert len({id(weight) for weight in layers.HubLayer(root, trainable=True).trainable_weights}) == counts[1]


def test_of_pieces_only_the_one_that_can_be_tuned_is_used_and_all_are_counted(produced):
    path = produced(producers.with_pieces)
    info = inspect_module.inspect(path)
    assert info.code == f"HubLayer({path!r}, piece='encoder', trainable=True)"
    assert "format        pieces only, saved by" in str(info)
    assert [(v.name, v.trainable) for v in info.variables] == [("encoder/k", True)]
    assert (info.sizes["trainable"].parameters, [group.name for group in info.groups]) == (1, ["encoder"])
    layer = eval(info.code, {"HubLayer": layers.HubLayer})
    assert len(layer.trainable_weights) == 1
    assert (layer.interface.format, layer.interface.fine_tunable) == ("reusable", True)
    assert (layer.interface.code, layer.interface.handle) == (info.code, path)
    tokenizer = layers.HubLayer(path, piece="text.tokenize").interface
    assert (tokenizer.fine_tunable, tokenizer.string_inputs) == (False, True)
    assert tokenizer.code == f"HubLayer({path!r}, piece='text.tokenize', trainable=False)"


def test_what_was_saved_for_training_only_says_so_and_how_to_call_it(produced):
    path = produced(producers.batch_norm, modes=(True,))
    info = inspect_module.inspect(path)
    assert info == inspect_module.inspect(load_module.load(path))
    assert (info.fine_tunable, "traced for training only" in info.reason) == (True, True)
    assert info.code == f"HubLayer({path!r}, trainable=True)   # call it with training=True: it has no other mode"
    layer = eval(info.code, {"HubLayer": layers.HubLayer})
    assert layer([[1.0], [3.0]], training=True).shape == (2, 1)


def test_a_training_mode_with_nothing_published_to_train_is_no_use(tmp_path):
    root = tf.train.Checkpoint(w=tf.Variable(2.0, name="w"))
    root.__call__ = producers.traced(
        lambda x, training=False: root.w * x, (tf.TensorSpec((None, 1)), {"training": True})
    )
    serve = tf.function(lambda x: {"y": root.w * x}, input_signature=[tf.TensorSpec((None, 1), name="x")])
    alone = producers.save(root, tmp_path / "alone")
    assert inspect_module.inspect(alone).code.startswith("(it has a training mode only, and nothing published to train")
    signed = producers.save(root, tmp_path / "signed", signatures={"serving_default": serve})
    assert inspect_module.inspect(signed).code == f"HubLayer({signed!r}, signature='serving_default', output_key='y')"


def test_references_of_tf1_are_variables_too(produced):
    path = produced(producers.tf1_references)
    info = inspect_module.inspect(path)
    assert info == inspect_module.inspect(load_module.load(path))
    assert [(v.name, v.shape, v.dtype) for v in info.variables] == [
        ("dense/w", (), "float32"),
        ("dense/b", (2,), "float32"),
    ]
    assert info.sizes["all"] == records.Extent(2, 3, 12)
    layer = eval(info.code, {"HubLayer": layers.HubLayer})
    assert layer([[1.0, 2.0]]).numpy().tolist() == [[3.0, 5.0]]


def test_files_that_are_missing_are_named_in_the_place_of_the_code(tmp_path):
    path = producers.half_plus_one(tmp_path / "model")
    (tmp_path / "model" / "variables" / "variables.index").unlink()
    info = inspect_module.inspect(path)
    assert (info.fine_tunable, info.code) == (False, "(files are missing: variables/variables.index)")
    assert info.callable


class Pair(NamedTuple):
    left: object
    right: object


ROW = tf.TensorSpec((None, 1))


def saved(directory, call=None, **signatures):
    """A SavedModel of a function without variables."""
    root = tf.train.Checkpoint()
    if call is not None:
        root.__call__ = call
    return producers.save(root, directory, signatures=signatures)


def test_a_named_tuple_of_inputs_is_a_list_of_them(tmp_path):
    path = saved(tmp_path / "model", tf.function(lambda x: Pair(x.left - x.right, x.left), [Pair(ROW, ROW)]))
    info = inspect_module.inspect(path)
    assert info == inspect_module.inspect(load_module.load(path))
    assert info.traces[0].inputs == info.traces[0].outputs == [FLOAT, FLOAT]
    layer = layers.HubLayer(path)
    for inputs in ([[[3.0]], [[1.0]]], Pair(tf.constant([[3.0]]), tf.constant([[1.0]]))):
        difference, left = layer(inputs)
        assert (float(difference[0, 0]), float(left[0, 0])) == (2.0, 3.0)


@pytest.mark.parametrize(
    "spec", [tf.data.DatasetSpec(ROW), tf.OptionalSpec(ROW), None], ids=["dataset", "optional", "nothing"]
)
def test_signatures_that_take_no_tensors_cannot_be_used_and_say_so(tmp_path, spec):
    function = tf.function(lambda *x: {"y": tf.ones((1,))}, [] if spec is None else [spec])
    path = saved(tmp_path / "model", function if spec is not None else None, serving_default=function)
    info = inspect_module.inspect(path)
    assert info == inspect_module.inspect(load_module.load(path))
    assert (info.callable, info.code[:36]) == (False, "(its signatures take no tensors: no ")
    with pytest.raises(errors.InterfaceError, match=r"(?s)signature takes no tensors.*Received: signature='serving"):
        layers.HubLayer(path, signature="serving_default", output_key="y")


def test_what_takes_its_input_by_name_only_cannot_be_called_with_one(tmp_path):
    def double(*, x):
        return 2 * x

    function = tf.function(double)
    function.get_concrete_function(x=ROW)
    path = saved(tmp_path / "model", function)
    info = inspect_module.inspect(path)
    assert info == inspect_module.inspect(load_module.load(path))
    assert not info.callable
    for handle in (path, double):
        with pytest.raises(errors.InterfaceError, match=r"or some by name \(also \['x'\]\)"):
            layers.HubLayer(handle)


def test_variables_of_no_fixed_shape_are_not_trained(tmp_path):
    root = tf.train.Checkpoint(w=tf.Variable([1.0], shape=[None], name="w"))
    root.__call__ = tf.function(lambda x: x * root.w, input_signature=[ROW])
    root.variables = root.trainable_variables = [root.w]
    info = inspect_module.inspect(producers.save(root, tmp_path / "model"))
    assert (info.fine_tunable, info.reason) == (False, "it publishes no trainable variables of a fixed shape")


def test_a_flag_of_another_name_for_training_comes_with_the_argument_that_sets_it(tmp_path):
    root = tf.train.Checkpoint(w=tf.Variable(2.0, name="w"))
    root.__call__ = producers.traced(
        lambda x, is_training=False: x * root.w * (10.0 if is_training else 1.0),
        *[(ROW, {"is_training": mode}) for mode in (True, False)],
    )
    root.variables = root.trainable_variables = [root.w]
    path = producers.save(root, tmp_path / "model")
    reason = inspect_module.inspect(path).reason
    assert reason.endswith("'is_training' is no `training`: arguments={'is_training': True} sets it for good")
    assert float(layers.HubLayer(path, arguments={"is_training": True})([[1.0]])[0, 0]) == 20.0


def test_the_interface_of_a_layer_is_what_inspect_says_of_it(produced):
    layer = layers.HubLayer(produced(producers.half_plus_one))
    assert inspect_module.inspect(layer) == layer.interface


@pytest.mark.parametrize("value", [None, 3, b"", [], object(), tf.ones((1,)), layers.HubLayer])
def test_what_is_neither_a_handle_nor_an_object_lists_the_forms(value):
    with pytest.raises(errors.HandleError, match="one of these forms"):
        inspect_module.inspect(value)


def test_a_layer_of_keras_3_is_to_be_used_itself():
    assert inspect_module.inspect(keras.layers.Dense(1)).code.startswith("(it is a layer of Keras 3: use itself")


def test_nothing_is_loaded(produced, monkeypatch):
    path = produced(producers.half_plus_one, True)
    monkeypatch.setattr(tf.saved_model, "load", None)
    assert inspect_module.inspect(path).fine_tunable


def test_passwords_are_not_shown(produced):
    obj = load_module.load_directory(produced(producers.plus_one), handle="https://user:secret@example.org/m")
    info = inspect_module.inspect(obj)
    assert "secret" not in str(info) + json.dumps(info.to_dict())


def masked(directory):
    """Keras 2: x (None, 3, 2) times its mask (None, 3), y = 2·x·mask; the only trace has the mask."""

    class Masked(tf_keras.Model):
        def __init__(self):
            super().__init__()
            self.w = self.add_weight(name="w", shape=(), initializer=tf_keras.initializers.Constant(2.0))

        def call(self, x, mask=None):
            return self.w * x * (1.0 if mask is None else tf.cast(mask, tf.float32)[..., None])

    model = Masked()
    model(tf.ones((2, 3, 2)), mask=tf.ones((2, 3), tf.bool))
    return producers.save(model, directory)


def test_a_tensor_by_name_is_among_the_inputs_and_the_code_takes_it(tmp_path):
    path = masked(tmp_path / "model")
    info = inspect_module.inspect(path)
    assert info == inspect_module.inspect(load_module.load(path))
    for trace in info.traces:
        assert set(trace.inputs) == {"x", "mask"}
        assert (trace.inputs["mask"].dtype, trace.arguments) == ("bool", {})
    assert info.fine_tunable
    layer = eval(info.code, {"HubLayer": layers.HubLayer})
    x, mask = tf.ones((1, 3, 2)), tf.constant([[True, False, True]])
    assert layer({"x": x, "mask": mask}).numpy().tolist() == [[[2.0, 2.0], [0.0, 0.0], [2.0, 2.0]]]
