"""Every error is caught by the built-in its user knows, and survives what Keras and multiprocessing do to it."""

import inspect
import pickle

import pytest

from keras_hub_layers import errors

TREE = [getattr(errors, name) for name in errors.__all__ if inspect.isclass(getattr(errors, name))]
ERRORS = [error for error in TREE if issubclass(error, Exception) and not issubclass(error, Warning)]


@pytest.mark.parametrize("error", ERRORS)
def test_an_error_pickles_and_can_be_built_from_one_message(error):
    first = error("what happened")
    again = pickle.loads(pickle.dumps(type(first)(str(first))))
    assert type(again) is error
    assert str(again) == "what happened"


@pytest.mark.parametrize("error", [e for e in ERRORS if e is not errors.HubError])
def test_an_error_is_a_hub_error_and_a_builtin_that_a_user_would_catch(error):
    builtin = (ValueError, OSError, TypeError, ImportError, RuntimeError, NotImplementedError)
    assert issubclass(error, errors.HubError)
    assert issubclass(error, builtin)


def test_the_tree_in_the_docstring_is_the_tree():
    for error in ERRORS:
        assert error.__name__ in (errors.__doc__ or "")


def test_an_error_words_its_parts_in_order():
    text = str(errors.InputError("It broke.", expected="a", received="b", where="c", fix="d\ne"))
    assert text.splitlines() == [
        "It broke.", "  Expected: a", "  Received: b", "  Where: c", "  What to do: d", "    e",
    ]  # fmt: skip
