"""A layer shows its handle, and what of it is trained: in its repr, and as a table in a notebook."""

import html
import re

import keras
import producers
import pytest

from keras_hub_layers import layers
from keras_hub_layers._src.layers.representation import Representation


def text_of(layer):
    return html.unescape(re.sub("<[^>]*>", "", layer._repr_html_()))


def test_the_repr_has_name_handle_and_the_share_that_is_trained(produced):
    handle = produced(producers.batch_norm)
    layer = layers.HubLayer(handle, name="hub")
    count = len(layer.weights)
    assert repr(layer) == f"<HubLayer name=hub, handle={handle!r}, trained 0 of {count} weights>"
    layer.trainable = True
    assert f"trained {len(layer.trainable_weights)} of {count} weights" in repr(layer)
    assert 0 < len(layer.trainable_weights) < count


def test_the_repr_of_a_layer_that_is_not_made_yet_is_that_of_keras():
    layer = layers.HubLayer.__new__(layers.HubLayer)
    keras.layers.Layer.__init__(layer, name="early")
    assert repr(layer) == "<HubLayer name=early, built=False>"


def test_a_handle_in_a_repr_has_no_password(produced, monkeypatch):
    layer = layers.HubLayer(produced(producers.half_plus_one))
    monkeypatch.setattr(type(layer), "handle", "https://ada:secret@example.org/m/1")
    assert "secret" not in repr(layer)


@pytest.mark.parametrize(
    ("producer", "options"),
    [
        (producers.text_classifier, {}),
        (producers.with_pieces, {"piece": "encoder"}),
        (producers.tf1, {"signature": "serving_default", "output_key": "y"}),
        (producers.raw_module, {}),
        (producers.two_lists, {}),
    ],
)
def test_a_notebook_shows_every_kind_of_layer(produced, producer, options):
    layer = layers.HubLayer(produced(producer), name="hub", **options)
    shown = text_of(layer)
    assert re.search(
        r"^HubLayer +hub\nhandle +'.*'\ntrained +0 of \d+ weights, 0 of [\d,]+ parameters\n\ninputs ", shown
    )
    assert re.search(r"\noutputs +\S", shown)
    assert isinstance(layer, Representation)


def test_a_notebook_shows_inputs_groups_outputs_and_losses(produced):
    layer = layers.HubLayer(produced(producers.shared_loss), trainable=True, name="hub", unfreeze="scale/")
    assert text_of(layer).splitlines()[2:] == [
        "trained   1 of 2 weights, 1 of 2 parameters",
        "",
        "inputs    float32 (None, 1)",
        "scale     ████████████████████  1  trained",
        "shift     ░░░░░░░░░░░░░░░░░░░░  1  frozen",
        "outputs   float32 (None, 1)",
        "losses    2 for regularization",
    ]
