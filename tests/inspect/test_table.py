"""The table of an Interface says in words what its fields say as data."""

import dataclasses

import producers
import pytest
import tensorflow as tf

from keras_hub_layers._src.inspect import inspect as inspect_module
from keras_hub_layers._src.inspect import table
from keras_hub_layers._src.inspect.records import SignatureInfo
from keras_hub_layers._src.inspect.specs import Spec


def rows(info):
    """Label of each row -> its lines."""
    found, label = {}, ""
    for row in table.table(info).rows:
        label = row.label or label
        found.setdefault(label, []).extend(row.lines)
    return found


@pytest.mark.parametrize(
    ("producer", "label", "lines"),
    [
        (producers.tensor_training, "training", ["a tensor: both modes"]),
        (producers.scaled, "training", ["no such argument: one mode for training and inference"]),
        (producers.batch_norm, "training", ["traced for False and True"]),
        (producers.with_pieces, "call", ["it cannot be called itself"]),
        (producers.with_pieces, "pieces", ["encoder, text.length, text.tokenize"]),
        (producers.text_classifier, "assets", ["vocabulary.txt"]),
        (producers.text_classifier, "strings", ["taken by the call, the signature 'serving_default'"]),
        (producers.ragged_sum, "call", ["float32 (None, None) ragged -> float32 (None, 1)"]),
        (producers.shared_loss, "losses", ["2 for regularization"]),
        (producers.tf1, "strings", ["no input takes strings"]),
        (
            producers.sum_and_difference,
            "call",
            [
                "x  float32 (None, 1)",
                "y  float32 (None, 1)",
                "-> float32 (None, 2)",
                "  with return_dict=False",
                "x  float32 (None, 1)",
                "y  float32 (None, 1)",
                "-> delta  float32 (None, 1)",
                "   sigma  float32 (None, 2)",
                "  with return_dict=True",
            ],
        ),
    ],
)
def test_each_fact_has_its_words(produced, producer, label, lines):
    assert rows(inspect_module.inspect(produced(producer)))[label] == lines


def test_a_signature_with_many_inputs_is_folded(produced):
    info = inspect_module.inspect(produced(producers.two_positional))
    many = {f"x{number}": Spec((None,), "float32") for number in range(40)}
    info = dataclasses.replace(info, signatures={"serving_default": SignatureInfo(many, {"y": Spec((), "int32")})})
    lines = rows(info)["signatures"]
    assert lines[:2] == ["serving_default", "  x0   float32 (None,)"]
    assert "  … 29 more" in lines
    assert lines[-1] == "  -> y  int32 ()"
    assert len(lines) == 14


def test_the_references_of_a_tf1_graph_are_listed(zoo):
    found = rows(inspect_module.inspect(zoo / "serving_half_plus_two_v1"))
    assert [line.split() for line in found["variables"][:2]] == [
        [name, "float32", "()", "not", "published"] for name in "ab"
    ]


def test_an_object_of_this_process_has_a_table_too():
    root = tf.Module()
    root.v = tf.Variable(1.0, name="v")
    assert rows(inspect_module.inspect(root))["handle"] == ["(an object in this process)"]


def test_megabytes_are_millions_of_bytes():
    assert [table.megabytes(size) for size in (0, 1, 9_999, 10_000, 1_234_567_890)] == [
        "0.00",
        "<0.01",
        "<0.01",
        "0.01",
        "1,234.57",
    ]


def test_a_long_name_is_shortened_in_its_middle(produced):
    info = inspect_module.inspect(produced(producers.half_plus_one))
    long = dataclasses.replace(info.variables[0], name="a" * 100 + "/kernel")
    line = rows(dataclasses.replace(info, variables=(long,)))["variables"][0]
    assert line.startswith("a" * 32 + " … ")
    assert "/kernel  float32 (1, 1)" in line
