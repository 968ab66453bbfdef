"""Findings are words, a level and a fix; errors become findings without what libraries write around them."""

from keras_hub_layers import errors
from keras_hub_layers._src.cli.doctor import finding
from keras_hub_layers._src.cli.doctor.finding import OK, PROBLEM, WARNING, Finding

FOUND = [
    Finding("Keras", OK, "3.15"),
    Finding("cache", WARNING, "one\ntwo", "export A=1"),
    Finding("GPU", PROBLEM, "x"),
]


def test_the_table_shows_level_topic_text_and_fix():
    assert str(finding.table(FOUND)) == (
        "ok       Keras  3.15\n"
        "warning  cache  one\n"
        "                two\n"
        "                export A=1\n"
        "problem  GPU    x"
    )  # fmt: skip


def test_only_a_problem_counts_as_one():
    assert finding.has_problem(FOUND)
    assert not finding.has_problem(FOUND[:2])
    assert finding.summary(FOUND) == "1 problem, 1 warning"
    assert finding.summary([]) == "no problems, no warnings"


def test_the_last_part_of_an_error_is_the_fix():
    error = errors.ResolveError("It failed.", expected="a", received="b\nc", where="d", fix="line one\nline two")
    assert finding.of_error(error, "resolve") == Finding(
        "resolve", PROBLEM, "It failed.\nExpected: a\nReceived: b\nc\nWhere: d", "line one\nline two"
    )


def test_of_other_errors_the_reason_stays():
    text = (
        "Exception encountered when calling HubLayer.call().\n\n\x1b[1mGraph execution error:\n\n"
        'Detected at node x defined at (most recent call last):\n  File "/a/b.py", line 4, in <module>\n\n'
        "indices[0] = [1,1] is out of bounds\n\t [[{{node x}}]] [Op:__inference_1]\x1b[0m\n\n"
        "Arguments received by HubLayer.call():\n  • inputs=1"
    )
    found = finding.of_error(ValueError(text), "call", WARNING)
    assert found == Finding("call", WARNING, "ValueError: indices[0] = [1,1] is out of bounds")
