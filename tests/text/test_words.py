"""Lists, sizes and near names read as a person would write them."""

import pytest

from keras_hub_layers._src.text import words


def test_of_many_names_the_first_are_shown_and_the_others_are_counted():
    assert words.join_names(["a", "b"]) == "a, b"
    assert words.join_names(list("abcdefg")) == "a, b, c, d, e and 2 more"
    assert words.join_names(list("abcd"), 3) == "a, b, c and 1 more"


def test_the_nearest_names_come_first_and_only_if_they_are_near_enough():
    assert words.nearest_names("encodr", ["decoder", "encoder", "head"], 2) == ["encoder", "decoder"]
    assert words.nearest("encodr", ["decoder", "encoder"]) == "encoder"
    assert words.nearest("encodr", ["xyz"], 0.6) is None
    assert words.nearest("encodr", ["xyz"]) == "xyz"
    assert words.nearest("encodr", []) is None


@pytest.mark.parametrize(
    ("size", "text"), [(7, "7 B"), (1500, "1.5 kB"), (2e6, "2.0 MB"), (3.25e9, "3.2 GB"), (4e12, "4.0 TB")]
)
def test_a_size_has_the_unit_that_keeps_it_short(size, text):
    assert words.readable(size) == text


@pytest.mark.parametrize(("value", "meant"), [("False", False), ("no", False), (0, False), ("0.0", False), (1, True)])
def test_a_text_that_means_no_is_false(value, meant):
    assert words.flag_meant(value) is meant


def test_a_long_text_loses_its_middle():
    assert words.shorten("short", 10) == "short"
    assert words.shorten("a" * 30 + "b" * 30, 30) == "a" * 20 + " … " + "b" * 10
