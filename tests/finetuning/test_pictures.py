"""Pictures of what a SavedModel holds, and of what a model predicts: what is in them, and the same as text."""

import html
import re
import sys

import keras
import matplotlib as mpl
import numpy as np
import producers
import pytest
import tensorflow as tf

import keras_hub_layers as khl
from keras_hub_layers import errors, finetuning, layers
from keras_hub_layers._src.finetuning import summary as summary_module
from keras_hub_layers._src.inspect import picture

mpl.use("agg")
LOGITS = np.float32([[4, 0, 0], [0, 1, 0], [3, 0, 0], [0, 0, 2]])
TARGETS = np.array([0, 1, 2, 2])  # the third is wrong, by 3 logits


# -- groups ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def layer(produced):
    """y = a·x + b, of which a is trained, with two losses."""
    return layers.HubLayer(produced(producers.shared_loss), trainable=True, unfreeze="scale/", name="hub")


def test_the_picture_has_a_box_for_each_group_as_wide_as_it_is_large(layer, monkeypatch):
    sizes = {"first": (300, 100), "second": (600, 0)}
    boxes = tuple(picture.Box(name, *size) for name, size in sizes.items())
    shown = picture.Picture("title", ("float32 (None, 4)",), boxes, ("float32 (None, 2)",), 3)
    monkeypatch.setattr("keras_hub_layers._src.finetuning.pictures.plot_groups.picture_of", lambda layer: shown)
    ax = finetuning.plot_groups(layer)
    colours = {text.get_text(): handle.get_facecolor() for text, handle in legend_of(ax)}
    assert list(colours) == ["trained", "frozen"]
    bars = [(bar.get_width(), bar.get_facecolor()) for bar in ax.patches if bar.get_width()]
    unit = bars[2][0] / 600
    assert bars == [
        (pytest.approx(100 * unit), colours["trained"]),
        (pytest.approx(200 * unit), colours["frozen"]),
        (pytest.approx(600 * unit), colours["frozen"]),
    ]
    texts = [text.get_text() for text in ax.texts if text.get_text()]
    assert texts == [
        "float32 (None, 4)", "first", "100 of 300", "second", "600", "float32 (None, 2)",
        "+ 3 losses for regularization",
    ]  # fmt: skip
    assert ax.get_title() == "title"


def legend_of(ax):
    return zip(ax.get_legend().get_texts(), ax.get_legend().legend_handles, strict=True)


def test_the_text_says_the_same_without_matplotlib(layer, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    model = keras.Sequential([keras.Input((1,)), layer])
    assert finetuning.plot_groups(model, as_text=True).splitlines() == [
        "inputs   float32 (None, 1)",
        "scale    ████████████████████  1  trained",
        "shift    ░░░░░░░░░░░░░░░░░░░░  1  frozen",
        "outputs  float32 (None, 1)",
        "losses   2 for regularization",
    ]
    with pytest.raises(errors.MissingPackageError, match=r"(?s)needs matplotlib.*keras-hub-layers\[plots\]"):
        finetuning.plot_groups(layer)


def test_of_a_handle_and_an_interface_it_shows_what_can_be_trained(produced):
    handle = produced(producers.shared_loss)
    text = finetuning.plot_groups(handle, as_text=True)
    assert re.findall(r"^(scale|shift) +█{20}  1  (.+)$", text, re.MULTILINE) == [
        ("scale", "trainable"), ("shift", "trainable")
    ]  # fmt: skip
    assert finetuning.plot_groups(khl.inspect(handle), as_text=True) == text
    assert [text.get_text() for text, _ in legend_of(finetuning.plot_groups(handle))] == ["trainable", "not trainable"]


@pytest.mark.parametrize("producer", [producers.tf1, producers.raw_module, producers.with_pieces, producers.two_lists])
def test_every_kind_of_savedmodel_has_a_picture(produced, producer):
    assert "outputs  " in finetuning.plot_groups(produced(producer), as_text=True)
    assert finetuning.plot_groups(produced(producer)).texts


def test_of_many_groups_those_in_the_middle_are_one_box():
    boxes = tuple(picture.Box(f"block_{number}", 10, number % 2) for number in range(50))
    folded = picture.folded(boxes)
    assert len(folded) == 30
    assert folded[20] == picture.Box("… 21 groups", 210, 10)
    assert sum(box.parameters for box in folded) == 500
    assert sum(box.trained for box in folded) == 25


def test_what_has_no_groups_is_answered_with_a_line(layer):
    with pytest.raises(errors.TrainingError, match=r"(?s)This is no Keras layer.*finetuning\.plot_groups\(layer\)"):
        finetuning.plot_groups(3)


def test_a_notebook_shows_groups_and_summary_as_tables(layer, monkeypatch, capsys):
    finetuning.summary(layer)
    printed = capsys.readouterr().out
    text = html.unescape(re.sub("<[^>]*>", "", finetuning.groups(layer)._repr_html_()))
    assert [line.split() for line in text.splitlines()] == [line.split() for line in printed.splitlines()[1:]]
    assert finetuning.groups(layer) == [*finetuning.groups(layer)]
    shown = []
    monkeypatch.setattr(summary_module, "in_notebook", lambda: True)
    monkeypatch.setattr(summary_module, "display", shown.append)
    finetuning.summary(layer)
    assert capsys.readouterr().out == ""
    assert shown[0]["text/plain"] + "\n" == printed
    assert "HubLayer" in shown[0]["text/html"]


# -- predictions -------------------------------------------------------------------------------------------------------


def compiled(outputs_of, loss, shape=(3,)):
    """A model that computes a function of its inputs."""
    inputs = keras.Input(shape)
    model = keras.Model(inputs, keras.layers.Lambda(outputs_of)(inputs))
    model.compile("sgd", loss)
    return model


@pytest.fixture(scope="module")
def logits_model():
    """The inputs are the logits."""
    return compiled(lambda x: x, keras.losses.SparseCategoricalCrossentropy(from_logits=True))


def rows_of(text):
    """(number, loss, words) of each example of a table."""
    return [
        (int(number), float(loss), said.split("  ")[0])
        for number, loss, said in re.findall(r"^  #(\d+) +loss (\S+) +(\S.*)$", text, re.MULTILINE)
    ]


def test_the_text_has_the_first_examples_and_those_with_the_highest_loss(logits_model):
    text = finetuning.plot_predictions(logits_model, LOGITS, TARGETS, count=2, class_names="abc", as_text=True)
    shares = np.exp(LOGITS) / np.exp(LOGITS).sum(-1, keepdims=True)
    losses = -np.log(shares[np.arange(4), TARGETS])
    assert rows_of(text) == [
        (0, pytest.approx(losses[0], rel=1e-2), f"a ({shares[0, 0]:.0%})"),
        (1, pytest.approx(losses[1], rel=1e-2), f"b ({shares[1, 1]:.0%})"),
        (2, pytest.approx(losses[2], rel=1e-2), f"a ({shares[2, 0]:.0%}), is c"),
        (1, pytest.approx(losses[1], rel=1e-2), f"b ({shares[1, 1]:.0%})"),
    ]
    assert text.splitlines()[0] == "the first 2 of 4"
    assert text.splitlines()[-1] == "right: 3 of 4 = 75.0%"


@pytest.mark.parametrize(
    ("loss", "outputs", "targets", "said"),
    [
        ("categorical_crossentropy", [[0.9, 0.1], [0.8, 0.2]], [[1, 0], [0, 1]], ["0 (80%), is 1", "0 (90%)"]),
        (keras.losses.BinaryCrossentropy(), [[0.9], [0.8]], [1, 0], ["1 (80%), is 0", "1 (90%)"]),
        ("binary_crossentropy", [[0.4], [0.8]], [0.0, 0.0], ["1 (80%), is 0", "0 (60%)"]),
        (keras.losses.BinaryCrossentropy(from_logits=True), [[0.0], [0.4]], [0, 0], ["1 (60%), is 0", "0 (50%)"]),
        ("mse", [[1.5], [7.0]], [1.0, 3.0], ["7, is 3", "1.5, is 1"]),
        ("mae", [[1, 2], [3, 4]], [[1, 2], [3, 6]], ["3 4, is 3 6", "1 2, is 1 2"]),
        (lambda y, z: keras.ops.mean(keras.ops.abs(y - z), -1), [[1.5], [7]], [1, 3], ["7, is 3", "1.5, is 1"]),
    ],
)
def test_the_worst_are_those_of_the_compiled_loss_whatever_it_is(loss, outputs, targets, said):
    x, y = np.float32(outputs), np.array(targets)
    model = compiled(lambda x: x, loss, x.shape[1:])
    rows = rows_of(finetuning.plot_predictions(model, (x, y), as_text=True))[2:]
    assert [text for _, _, text in rows] == said
    assert np.mean([loss for _, loss, _ in rows]) == pytest.approx(model.evaluate(x, y, verbose=0), rel=1e-2)


def test_images_are_drawn_in_a_grid_with_what_is_said_above(logits_model):
    images = np.zeros((4, 2, 3, 1), "float32")
    images[:, 0, :, 0] = LOGITS / 4
    model = compiled(
        lambda x: 4 * x[:, 0, :, 0], keras.losses.SparseCategoricalCrossentropy(from_logits=True), (2, 3, 1)
    )
    axes = finetuning.plot_predictions(model, tf.data.Dataset.from_tensor_slices((images, TARGETS)).batch(3), count=3)
    assert [ax.get_title().split()[0] for ax in axes] == ["0", "1", "0", "0", "1", "2"]
    assert axes[3].get_title() == "0 (91%)\nis 2"
    assert [ax.title.get_color() for ax in axes] == ["tab:green", "tab:green", "tab:red", "tab:red", *["tab:green"] * 2]
    np.testing.assert_allclose(axes[3].get_images()[0].get_array(), images[2, :, :, 0])
    assert [ax.get_ylabel() for ax in axes if ax.get_ylabel()] == ["the first 3 of 4", "the worst 3 of 4"]


def test_texts_are_drawn_line_by_line(produced):
    model = keras.Sequential([keras.Input((1,), dtype="string"), layers.HubLayer(produced(producers.text_length))])
    model.compile("sgd", "sparse_categorical_crossentropy")  # 0.1 and 0.3 times the length
    first, worst = finetuning.plot_predictions(model, ([["no"], ["yes"]], [1, 0]), class_names=["bad", "good"])
    assert [text.get_text() for text in first.texts] == ["good (60%)", "'no'", "good (90%), is bad", "'yes'"]
    assert [text.get_text() for text in worst.texts] == ["good (90%), is bad", "'yes'", "good (60%)", "'no'"]
    assert worst.get_title(loc="left") == "the worst 2 of 2"


def test_a_loss_that_is_no_number_is_the_worst():
    model = compiled(lambda x: x, "mse", (1,))
    text = finetuning.plot_predictions(model, np.float32([[9], [np.nan]]), np.zeros(2), count=1, as_text=True)
    assert [number for number, _, _ in rows_of(text)] == [0, 1]


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (LOGITS, "have no targets"),
        ((LOGITS[:0], TARGETS[:0]), "no examples"),
        ((LOGITS, TARGETS[:2]), r"(?s)not arrays of one length.*plot_predictions\(model"),
    ],
)
def test_data_that_cannot_be_shown_are_answered(logits_model, data, problem):
    with pytest.raises(errors.TrainingError, match=problem):
        finetuning.plot_predictions(logits_model, data)


def test_models_that_cannot_be_shown_are_answered():
    with pytest.raises(errors.TrainingError, match="not compiled"):
        finetuning.plot_predictions(keras.Sequential([keras.Input((1,))]), LOGITS, TARGETS)
    two = keras.Model(x := keras.Input((3,)), [x, x])
    two.compile("sgd", ["mse", "mse"])
    with pytest.raises(errors.TrainingError, match="not compiled with one loss"):
        finetuning.plot_predictions(two, LOGITS, TARGETS)
    two.compile("sgd", "mse")
    with pytest.raises(errors.TrainingError, match=r"several outputs(.|\n)*keras\.Model\(model\.inputs"):
        finetuning.plot_predictions(two, LOGITS, TARGETS)
