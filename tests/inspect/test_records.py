"""The parts of an Interface count what they hold."""

from keras_hub_layers._src.inspect.records import SignatureInfo, TraceInfo, VariableInfo
from keras_hub_layers._src.inspect.specs import Spec


def test_a_variable_knows_its_size():
    assert VariableInfo("w", (3, 4), "float32", True, True).parameters == 12
    assert VariableInfo("w", (3, 4), "float32", True, True).size == 48
    assert VariableInfo("w", (), "bfloat16", True, True).size == 2
    assert VariableInfo("w", (5,), "bool", True, True).size == 5


def test_what_has_no_known_size_counts_nothing():
    assert VariableInfo("w", None, "float32", True, True).size == 0
    assert VariableInfo("w", (None, 4), "float32", True, True).parameters == 0
    assert VariableInfo("w", (2,), "string", False, True).parameters == 2
    assert VariableInfo("w", (2,), "string", False, True).size == 0


def test_calls_are_shown_as_they_are_made():
    spec = Spec((None, 1), "float32")
    assert str(TraceInfo(spec, spec, True, {"k": 2})) == (
        "(float32 (None, 1), training=True, k=2) -> float32 (None, 1)"
    )
    assert str(SignatureInfo({"x": spec}, {"y": spec})) == "{'x': float32 (None, 1)} -> {'y': float32 (None, 1)}"
