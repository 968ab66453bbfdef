"""Variables fall into groups by their names alone; `test_grouping` shows it for whole layers."""

from types import SimpleNamespace

from keras_hub_layers import naming


def test_each_numbered_block_is_a_group_between_stem_and_head():
    names = ["conv/w", "block_1/w", "block_1/b", "pool/w", "block_2/w", "top/w"]
    assert naming.partition(names) == {"stem": [0], "block_1": [1, 2, 3], "block_2": [4], "head": [5]}


def test_without_numbered_blocks_each_layer_is_a_group():
    assert naming.partition(["a/kernel", "b/kernel", "a/bias", "v"]) == {"a": [0, 2], "b": [1], "v": [3]}
    assert naming.partition([]) == {}


def test_the_state_of_a_random_generator_goes_with_what_stands_before_it():
    state = "seed_generator/seed_generator_state"
    names = ["block_1/w", "block_1/seed_generator_state", "block_2/w", state]
    assert naming.partition(names) == {"block_1": [0, 1], "block_2": [2, 3]}
    assert naming.partition([state, "a/kernel", "b/kernel"]) == {"a": [0, 1], "b": [2]}
    assert naming.partition([state]) == {"seed_generator": [0]}


def test_numbers_count_upwards():
    assert list(naming.partition(["layer_0/w", "layer_10/w", "layer_9/w"])) == ["layer_0", "layer_9", "layer_10"]


def test_the_longest_trace_says_the_order_and_what_is_unused_comes_last():
    a, b, c, d = (object() for _ in range(4))
    traces = [SimpleNamespace(variables=(c,)), SimpleNamespace(variables=(b, a))]
    assert naming.in_order_of_use([a, d, c, b], traces) == [b, a, c, d]
