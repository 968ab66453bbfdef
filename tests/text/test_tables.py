"""A table has the same characters everywhere; only a terminal gets colours."""

import io
import re

import pytest

from keras_hub_layers._src.text import tables
from keras_hub_layers._src.text.tables import Row, Table


@pytest.fixture
def table():
    return Table([Row("a", ("one", "two"), "good"), Row("longer", ("<three>",)), Row(""), Row("", ("four",), "code")])


def test_labels_stand_in_one_column(table):
    assert str(table) == "a       one\n        two\nlonger  <three>\n\n        four"


def test_a_notebook_gets_the_same_characters(table):
    text = table.html()
    assert "&lt;three&gt;" in text
    assert '<span style="font-weight:bold">longer  </span>' in text
    assert "<span" not in re.sub("<span[^>]*>", "", text)


def test_colours_go_to_a_terminal_and_nowhere_else(table, monkeypatch):
    from rich.console import Console

    for name in ("FORCE_COLOR", "NO_COLOR", "TTY_COMPATIBLE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")

    def printed(**options):
        file = io.StringIO()
        Console(file=file, **options).print(table.rich(), soft_wrap=True)
        return file.getvalue()

    plain = printed()
    assert [line.rstrip() for line in plain.splitlines()] == str(table).splitlines()
    assert "\x1b[32mone" in printed(force_terminal=True)
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b[3" not in printed(force_terminal=True)


def test_sentences_are_wrapped_and_words_stay_whole():
    assert tables.wrap("one two-three four", 9) == ("one", "two-three", "four")
    assert tables.wrap("a https://example.org/long b", 10, "  ") == (
        "a",
        "  https://example.org/long",
        "  b",
    )
    assert tables.wrap("", 9) == ("",)


def test_numbers_stand_to_the_right():
    assert tables.align_columns([("", "n"), ("a", "10"), ("bcd", "5")]) == ("      n", "a    10", "bcd   5")
    assert tables.align_columns([("a", "b"), ("long", "c")], left=2) == ("a     b", "long  c")


def test_many_lines_are_folded_in_the_middle():
    lines = [str(number) for number in range(20)]
    assert tables.fold(lines, 7, "more") == ("0", "1", "2", "3", "… 14 more", "18", "19")
    assert tables.fold(lines, 20, "more") == tuple(lines)
