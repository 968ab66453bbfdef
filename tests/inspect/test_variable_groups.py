"""Variables fall into groups by their names alone; `test_grouping` shows it for whole layers."""

from types import SimpleNamespace

from keras_hub_layers._src.inspect import variable_groups


def test_each_numbered_block_is_a_group_between_stem_and_head():
    names = ["conv/w", "block_1/w", "block_1/b", "pool/w", "block_2/w", "top/w"]
    assert variable_groups.partition(names) == {"stem": [0], "block_1": [1, 2, 3], "block_2": [4], "head": [5]}


def test_without_numbered_blocks_each_layer_is_a_group():
    assert variable_groups.partition(["a/kernel", "b/kernel", "a/bias", "v"]) == {"a": [0, 2], "b": [1], "v": [3]}
    assert variable_groups.partition([]) == {}


def test_the_state_of_a_random_generator_goes_with_what_stands_before_it():
    state = "seed_generator/seed_generator_state"
    names = ["block_1/w", "block_1/seed_generator_state", "block_2/w", state]
    assert variable_groups.partition(names) == {"block_1": [0, 1], "block_2": [2, 3]}
    assert variable_groups.partition([state, "a/kernel", "b/kernel"]) == {"a": [0, 1], "b": [2]}
    assert variable_groups.partition([state]) == {"seed_generator": [0]}


def test_numbers_count_upwards():
    assert list(variable_groups.partition(["layer_0/w", "layer_10/w", "layer_9/w"])) == [
        "layer_0",
        "layer_9",
        "layer_10",
    ]


def test_stacks_that_count_alike_are_told_apart():
    names = [f"net/{stack}/block_{number}/w" for stack in ("encoder", "decoder") for number in (0, 2, 1)]
    assert variable_groups.partition(["net/emb/w", *names, "net/top/w"]) == {
        "stem": [0], "encoder_block_0": [1], "encoder_block_1": [3], "encoder_block_2": [2],
        "decoder_block_0": [4], "decoder_block_1": [6], "decoder_block_2": [5], "head": [7],
    }  # fmt: skip
    assert list(variable_groups.partition([f"stack_{a}/block_{b}/w" for a in (0, 1) for b in (0, 1)])) == [
        "stack_0_block_0", "stack_0_block_1", "stack_1_block_0", "stack_1_block_1"
    ]  # fmt: skip


def test_names_of_hugging_face_have_dots_before_their_numbers():
    names = ["bert/embeddings/w", "bert/encoder/layer_._0/dense/w", "bert/encoder/layer_._1/w", "bert/pooler/w"]
    assert list(variable_groups.partition(names)) == ["embeddings", "layer_0", "layer_1", "pooler"]


def test_the_longest_trace_says_the_order_and_what_is_unused_comes_last():
    a, b, c, d = (object() for _ in range(4))
    traces = [SimpleNamespace(variables=(c,)), SimpleNamespace(variables=(b, a))]
    assert variable_groups.in_order_of_use([a, d, c, b], traces) == [b, a, c, d]
