"""A SavedModel's variables fall into groups by their names, in the order in which the graph uses them."""

import sys

import keras
import producers
import pytest
import tensorflow as tf

from keras_hub_layers import callbacks, errors, finetuning, layers
from keras_hub_layers._src.finetuning import groups
from keras_hub_layers._src.layers import access


def chain(directory, *names, used=None, rates=True):
    """y = x + Σ v over variables of the given names, each 1.0, used in the given order; all are published."""
    root = tf.train.Checkpoint()
    root.all = [tf.Variable(1.0, name=name) for name in names]
    by_name = dict(zip(names, root.all, strict=True))

    def call(x):
        for name in used or names:
            x = x + by_name[name]
        return x

    root.__call__ = tf.function(call, input_signature=[tf.TensorSpec((None, 1))])
    root.variables = root.trainable_variables = root.all
    return producers.save(root, directory)


def names_of(layer):
    return [group.name for group in finetuning.groups(layer)]


def trained(layer):
    names = access.weight_names(layer)
    return [names[weight.path] for weight in layer.trainable_weights]


MOBILE = ("Conv1/kernel", "block_1_expand/kernel", "block_1_BN/gamma", "block_2_expand/kernel", "Conv_1/kernel")


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (MOBILE, ["stem", "block_1", "block_2", "head"]),
        (
            ("word_embeddings/w", "encoder/layer_0/query/w", "encoder/layer_1/query/w", "pooler/w"),
            ["embeddings", "layer_0", "layer_1", "pooler"],
        ),
        (
            ("stem_conv/w", "block1a_dwconv/w", "block2a_dwconv/w", "block2b_dwconv/w", "top/w"),
            ["stem", "block1a", "block2a", "block2b", "head"],
        ),
        (
            ("block1/unit_1/w", "block1/unit_2/w", "block2/unit_1/w"),
            ["block1_unit_1", "block1_unit_2", "block2_unit_1"],
        ),
        (("conv2_block1_1_conv/w", "pool2_bn/gamma", "conv3_block1_1_conv/w"), ["conv2_block1", "conv3_block1"]),
        (("dense/kernel", "dense/bias", "dense_1/kernel"), ["dense", "dense_1"]),
    ],
)  # fmt: skip
def test_names_fall_into_groups_from_the_input_to_the_output(tmp_path, names, expected):
    assert names_of(layers.HubLayer(chain(tmp_path / "model", *names))) == expected


def test_without_numbered_blocks_the_order_is_that_of_use_in_the_graph(tmp_path):
    handle = chain(tmp_path / "model", "last/w", "first/w", "middle/w", used=("first/w", "middle/w", "last/w"))
    assert names_of(layers.HubLayer(handle)) == ["first", "middle", "last"]


def test_numbers_count_upwards_whatever_the_order_of_use(tmp_path):
    names = ("layer_0/w", "layer_10/w", "layer_9/w")
    assert names_of(layers.HubLayer(chain(tmp_path / "model", *names))) == ["layer_0", "layer_9", "layer_10"]


def test_a_group_says_what_is_in_it_and_what_of_it_is_trained(produced):
    layer = layers.HubLayer(produced(producers.small_image_model), trainable=True, unfreeze="norm/")
    conv, norm = finetuning.groups(layer)
    assert (conv.name, conv.variables, conv.trained) == ("conv", ("conv/kernel", "conv/bias"), 0)
    assert (conv.parameters, conv.size) == (40, 160)  # a 3 × 3 kernel of 4 filters and 4 biases, 4 bytes each
    assert norm.variables == ("norm/gamma", "norm/beta", "norm/moving_mean", "norm/moving_variance")
    assert norm.tunable == ("norm/gamma", "norm/beta")
    assert (norm.parameters, norm.trained) == (16, 8)


@pytest.mark.parametrize(
    ("which", "expected"),
    [
        (1, ["Conv_1/kernel"]),
        (2, ["block_2_expand/kernel", "Conv_1/kernel"]),
        ("block_1", ["block_1_expand/kernel", "block_1_BN/gamma"]),
        (["stem", "head"], ["Conv1/kernel", "Conv_1/kernel"]),
        ("block_[12]", ["block_1_expand/kernel", "block_1_BN/gamma", "block_2_expand/kernel"]),
        ("norms", ["block_1_BN/gamma"]),
        ("all", list(MOBILE)),
        ("ste[m]", ["Conv1/kernel"]),
        (None, []),
    ],
)
def test_what_is_trained_is_said_by_group_by_number_by_preset_or_by_pattern(tmp_path, which, expected):
    layer = layers.HubLayer(chain(tmp_path / "model", *MOBILE))
    finetuning.unfreeze(layer, which)
    assert trained(layer) == expected


def test_biases_are_tuned_alone(produced):
    layer = layers.HubLayer(produced(producers.small_image_model))
    finetuning.unfreeze(layer, "biases")
    assert trained(layer) == ["conv/bias", "norm/beta"]


NAMES = (
    "LayerNorm_0/scale", "LayerNorm_0/bias", "encoder_norm/scale", "encoder.layer.0.norm1.weight", "norm/b_1",
    "encoder.layer.0.attn.qkv.bias", "bn2.weight", "ln_f/beta", "Dense_0/kernel", "Dense_0/in_proj_bias", "head/b",
    "layer_scale/gamma", "spectral_norm_dense/weight", "a/lora_b", "relative_attention_bias/w", "relative_bias",
)  # fmt: skip


@pytest.mark.parametrize(
    ("preset", "expected"),
    [
        ("norms", ["LayerNorm_0/scale", "LayerNorm_0/bias", "encoder_norm/scale", "encoder.layer.0.norm1.weight",
                   "bn2.weight", "ln_f/beta"]),
        ("biases", ["LayerNorm_0/bias", "encoder.layer.0.attn.qkv.bias", "ln_f/beta", "Dense_0/in_proj_bias",
                    "head/b"]),
    ],
)  # fmt: skip
def test_presets_know_the_names_of_several_frameworks_and_what_only_looks_like_them(tmp_path, preset, expected):
    layer = layers.HubLayer(chain(tmp_path / "model", *NAMES))
    finetuning.unfreeze(layer, preset)
    assert sorted(trained(layer)) == sorted(expected)


def test_variables_of_one_name_keep_their_depths_and_are_warned_of_where_a_pattern_takes_both(tmp_path):
    root = tf.train.Checkpoint()
    root.all = [tf.Variable(1.0, name=name) for name in ("dense/kernel", "block_1/w", "block_2/w", "dense/kernel")]
    root.__call__ = tf.function(lambda x: x + sum(root.all), input_signature=[tf.TensorSpec((None, 1))])
    root.variables = root.trainable_variables = root.all
    layer = layers.HubLayer(producers.save(root, tmp_path / "model"), name="hub")
    assert [groups.steps_from_output(layer)[weight.path] for weight in layer.weights] == [3, 2, 1, 0]
    with pytest.warns(errors.HubWarning, match=r"groups \['stem'\] have the same names as those in \['head'\]"):
        finetuning.unfreeze(layer, 1)


def test_a_model_without_variables_has_nothing_to_unfreeze(produced):
    layer = layers.HubLayer(produced(producers.plus_one))
    for which in (1, "all", "x"):
        with pytest.raises(errors.TrainingError, match=r"no variables[\s\S]*unfreeze\(layer, None\)"):
            finetuning.unfreeze(layer, which)


def test_patterns_can_be_given_to_the_constructor(tmp_path):
    handle = chain(tmp_path / "model", *MOBILE)
    chosen = finetuning.patterns(layers.HubLayer(handle), 1)
    assert trained(layers.HubLayer(handle, trainable=True, unfreeze=chosen)) == ["Conv_1/kernel"]


@pytest.mark.parametrize(
    ("which", "text"),
    [(5, r"1 to 4: \['stem', 'block_1', 'block_2', 'head'\]"), (0, "received: 0|Received: 0"), ("blok_1x", "nearest"),
     ("biases", "no variables that are biases")],
)  # fmt: skip
def test_a_selection_of_nothing_is_an_error_that_names_what_there_is(tmp_path, which, text):
    layer = layers.HubLayer(chain(tmp_path / "model", *MOBILE))
    with pytest.raises(errors.TrainingError, match=text):
        finetuning.unfreeze(layer, which)


def test_a_model_stands_for_its_only_hub_layer(tmp_path, capsys):
    layer = layers.HubLayer(chain(tmp_path / "model", *MOBILE), name="hub")
    model = keras.Sequential([keras.Sequential([layer]), keras.layers.Dense(1)])
    finetuning.unfreeze(model, "head")
    assert [weight.path for weight in layer.trainable_weights] == [layer.weights[-1].path]
    assert finetuning.groups(model) == finetuning.groups(layer)
    finetuning.summary(model)
    assert "HubLayer 'hub'" in capsys.readouterr().out


def test_a_model_of_several_or_no_hub_layers_is_an_error_that_names_them(tmp_path):
    path = chain(tmp_path / "model", *MOBILE)
    inputs = keras.Input((1,))
    two = keras.Model(inputs, layers.HubLayer(path, name="two")(layers.HubLayer(path, name="one")(inputs)))
    with pytest.raises(errors.TrainingError, match=r"\['one', 'two'\][\s\S]*model.get_layer\('one'\)"):
        finetuning.summary(two)
    for wrong in (keras.layers.Dense(1), "path"):
        with pytest.raises(errors.TrainingError, match=r"with the HubLayers \[\]"):
            finetuning.unfreeze(wrong, 1)


def test_the_summary_is_a_table_with_the_share_that_is_trained(tmp_path, capsys):
    layer = layers.HubLayer(chain(tmp_path / "model", *MOBILE), name="hub")
    finetuning.unfreeze(layer, 1)
    finetuning.summary(layer)
    printed = capsys.readouterr().out
    assert "HubLayer 'hub'" in printed
    assert "trained: 1 of 5 parameters = 20.00 %" in printed
    rows = {line.split()[0]: line.split() for line in printed.splitlines()[1:]}
    assert rows["block_1"] == ["block_1", "2", "2", "0.00", "no"]
    assert rows["head"][-1] == "1"
    lines = []
    finetuning.summary(layer, lines.append)
    assert "".join(lines) + "\n" == printed


def calls_of(action):
    """How many functions an action calls, those of C included."""
    count = 0

    def note(frame, event, argument):
        nonlocal count
        count += event in ("call", "c_call")

    sys.setprofile(note)
    try:
        action()
    finally:
        sys.setprofile(None)
    return count


@pytest.fixture(scope="module")
def wide(tmp_path_factory):
    """Handles of SavedModels of 60 and of 120 variables."""
    folder = tmp_path_factory.mktemp("wide")
    return [
        chain(folder / str(count), *(f"block_{n}/{name}" for n in range(count // 2) for name in ("kernel", "bias")))
        for count in (60, 120)
    ]


@pytest.mark.parametrize(
    "action",
    [
        lambda layer: finetuning.unfreeze(layer, "all"),
        lambda layer: finetuning.unfreeze(layer, 20),
        lambda layer: finetuning.unfreeze(layer, "biases"),
        lambda layer: setattr(layer, "unfreeze", finetuning.patterns(layer, "all")),
        lambda layer: layers.HubLayer(layer.handle, trainable=True, unfreeze=finetuning.patterns(layer, "all")),
    ],
    ids=["all", "number", "kind", "patterns", "constructor"],
)
def test_choosing_costs_in_proportion_to_the_number_of_variables(wide, action):
    few, many = (layers.HubLayer(handle) for handle in wide)
    action(few), action(many)  # what is done once in a process
    assert calls_of(lambda: action(many)) < 2.2 * calls_of(lambda: action(few))


def test_a_schedule_looks_up_each_variable_once_for_each_of_its_parts(wide):
    counts = []
    for handle in wide:
        model = keras.Sequential([keras.Input((1,)), layers.HubLayer(handle), keras.layers.Dense(1)])
        model.compile("sgd", "mse")
        schedule = callbacks.Unfreeze({0: None, 1: 20, 2: "all"}, verbose=0)
        schedule.set_model(model)
        schedule.on_train_begin()
        counts.append(calls_of(schedule.on_train_begin))
    assert counts[1] < 2.2 * counts[0]


def test_names_that_were_chosen_are_in_the_config_and_come_back_from_it(tmp_path):
    layer = layers.HubLayer(chain(tmp_path / "model", *MOBILE), name="hub")
    finetuning.unfreeze(layer, ["block_1", "Conv_[1]"])
    assert layer.unfreeze == [r"^block_1_expand/kernel$", r"^block_1_BN/gamma$", "Conv_[1]"]
    copy = layers.HubLayer.from_config(layer.get_config())
    assert trained(copy) == trained(layer) == ["block_1_expand/kernel", "block_1_BN/gamma", "Conv_1/kernel"]


def test_names_with_signs_of_regular_expressions_are_chosen_as_they_are(tmp_path):
    names = ("a.b/w", "axb/w", "a-b/w", "a>b/w", "aab/w")
    layer = layers.HubLayer(chain(tmp_path / "model", *names))
    for name in (group.name for group in finetuning.groups(layer)):
        finetuning.unfreeze(layer, name)
        assert trained(layer) == [given for given in names if given.rpartition("/")[0] == name]
        copy = layers.HubLayer(layer.handle, trainable=True, unfreeze=layer.unfreeze)
        assert trained(copy) == trained(layer)
