"""Which trace answers a call is decided on forms alone: no tensor, and no backend, is needed to test it."""

import numpy as np
import pytest

from keras_hub_layers._src.executors.matching import Form, Matcher, Mismatch, Step, TraceForm, cast_cost, pack
from keras_hub_layers._src.executors.trace_arguments import TraceArguments

KEEP = Step(None, False)


def form(dtype, *shape, kind="dense", ragged_rank=0):
    return Form(shape, dtype, kind, ragged_rank)


def look(value, wanted):
    """The forms are the values here."""
    return value, value


def fits(given, *traces):
    return Matcher(traces).fits(given, range(len(traces)), look)


def test_the_trace_that_loses_the_least_comes_first_and_says_what_to_cast():
    traces = [form(dtype, None) for dtype in ("float16", "int32", "float32", "float64")]
    found = fits(form("float32", 2), *traces)
    assert [(fit.trace, fit.steps[0].dtype) for fit in found] == [(2, None), (3, "float64"), (0, "float16")]
    found = fits(form("int64", 2), *traces)
    assert [fit.trace for fit in found] == [1, 0, 2, 3]


def test_keys_are_ordered_and_pruned_and_tuples_are_lists():
    nest = {"b": form("float32"), "a": (form("int32"), form("string"))}
    given = {"a": [form("int64"), form("string")], "other": object(), "b": form("float32")}
    (fit,) = fits(given, nest)
    assert fit.steps == (KEEP, Step("int32", False), KEEP)
    assert pack(nest, iter(fit.leaves)) == {"b": given["b"], "a": tuple(given["a"])}


def test_traces_of_different_structures_are_told_apart():
    plain, named = form("float32", None, 3), {"x": form("float32", None, 3), "mask": form("bool", None)}
    assert [fit.trace for fit in fits(form("float32", 2, 3), plain, named)] == [0]
    assert [fit.trace for fit in fits({"mask": form("bool", 2), "x": form("float32", 2, 3)}, named)] == [0]


def test_of_the_traces_only_those_that_come_into_question_are_looked_at():
    matcher = Matcher([form("float32", None), form("float32", None)])
    assert [fit.trace for fit in matcher.fits(form("float32", 2), (1,), look)] == [1]
    assert [fit.trace for fit in matcher.fits(form("float32", 2), (0,), look)] == [0]


def test_a_length_that_is_fixed_and_not_known_yet_is_to_be_checked_later():
    assert fits(form("float32", None, 3), form("float32", 1, 3))[0].steps == (Step(None, True),)
    assert fits(form("float32", None, 3), form("float32", None, 3))[0].steps == (KEEP,)


@pytest.mark.parametrize(
    ("given", "nest", "reason"),
    [
        (form("float32", 2), form("int32", None), "int32 is expected, float32 given, and that cast would change value"),
        (form("string", 2), form("float32", None), "float32 is expected, string given"),
        (form("bool", 2), form("int32", None), "int32 is expected, bool given"),
        (form("float32", 2, 4), form("float32", None, 3), r"the shape \(None, 3\) is expected, \(2, 4\) given"),
        (form("float32", 2), form("float32", 2, kind="ragged", ragged_rank=1), "a ragged tensor is expected"),
        (form("float32", 2, kind="ragged", ragged_rank=1), form("float32", 2), "expected, a ragged one given"),
        (form("string", 2), form("float32", 2, kind="sparse"), "a sparse tensor is expected"),
        ({"x": form("float32")}, {"x": form("float32"), "y": form("float32")}, r"the keys \['y'\] are missing"),
        (form("float32"), {"x": form("float32")}, r"a dict with the keys \['x'\] is expected, a Form given"),
        ([form("float32")], [form("float32")] * 2, "a list of 2 tensors is expected, one of 1 given"),
        ({"x": [form("float32")]}, {"x": [form("int32")]}, r"^at 'x': at 0: int32 is expected"),
    ],
)
def test_what_does_not_fit_says_why(given, nest, reason):
    with pytest.raises(Mismatch, match=reason):
        fits(given, nest)


@pytest.mark.parametrize("given", ["float16", "float32", "float64", "int8", "uint8", "int32", "int64"])
@pytest.mark.parametrize("wanted", ["float16", "float32", "float64", "int8", "uint8", "int32", "int64"])
def test_a_cast_costs_more_the_more_it_may_lose(given, wanted):
    if given == wanted:
        assert cast_cost(given, wanted) == 0
    elif given.startswith("float") and "int" in wanted:
        with pytest.raises(Mismatch, match="would change values"):
            cast_cost(given, wanted)
    elif given.startswith("float") == wanted.startswith("float"):
        assert (cast_cost(given, wanted) == 1) == np.can_cast(given, wanted, "safe")
    else:
        assert cast_cost(given, wanted) == 100


def test_traces_are_chosen_by_their_arguments_and_the_defaults_of_all_others():
    x = form("float32", None)
    traces = [
        TraceForm(x, {"training": mode, "k": k, "a": form("float32")}) for k in (3, 4) for mode in (True, False, None)
    ]
    arguments = TraceArguments(traces, {"training": None, "k": 3, "a": 1.0})
    assert arguments.find_accepting({"training": True}) == (0,)
    assert arguments.find_accepting({"training": False}) == (1, 2)
    assert arguments.find_accepting({"training": False, "k": 4}) == (4, 5)
    assert arguments.find_accepting({"training": False, "k": 5}) == ()
    assert arguments.infers({"k": 4})
    assert not arguments.infers({"k": 5})
