"""A model card says what is known, and a card that somebody edited is theirs."""

import dataclasses
import math

import keras
import numpy as np
import producers

import keras_hub_layers as khl
from keras_hub_layers import callbacks, layers
from keras_hub_layers._src.export import model_card

L = keras.layers
FACTS = model_card.Facts(
    title="half_plus_one",
    origin="owner/half_plus_one/2",
    inputs={"x": "float32 (None, 1)"},
    outputs={"y": "float32 (None, 1)"},
    traces=("training=False",),
    fine_tunable=True,
    reason="1 of 2 variables are trainable",
    losses=1,
)


def test_a_card_says_what_is_known_and_leaves_out_what_is_not():
    text = model_card.make_card(FACTS, model_card.Training({"val_loss": 0.123456789}))
    for line in ["# half_plus_one", "Fine-tuned from `owner/half_plus_one/2`.", "- `x`: float32 (None, 1)",
                 "- yes: 1 of 2 variables are trainable", "- regularization losses: 1", "- val_loss: 0.123457",
                 'layer = layers.HubLayer("path/to/this/directory", trainable=True)']:  # fmt: skip
        assert line in text.splitlines(), line
    assert "## Assets" not in text
    assert "## Notes" not in text


def test_the_head_names_the_base_model_and_its_licence_for_the_hubs(tmp_path):
    facts = dataclasses.replace(
        FACTS, origin="hf://owner/repo", parts=("hf://owner/other/folder",), licences=("mit", "")
    )
    assert model_card.make_card(facts, model_card.Training()).startswith(
        "---\nlibrary_name: tensorflow\ntags: [saved-model, keras-hub-layers]\n"
        "base_model:\n- owner/repo\n- owner/other\nlicense: mit\n---\n"
    )
    (tmp_path / model_card.NAME).write_text("---\nlicense: apache-2.0\ntags: [x]\n---\n# Title\nlicense: none\n")
    assert model_card.licence_of(str(tmp_path)) == "apache-2.0"
    assert model_card.licence_of(str(tmp_path / "nothing")) == ""


def test_a_handle_that_is_none_any_more_does_not_stop_the_card():
    facts = dataclasses.replace(FACTS, origin="no scheme://of any kind", parts=("hf://owner/repo",))
    text = model_card.make_card(facts, model_card.Training())
    assert "Fine-tuned from `no scheme://of any kind`." in text
    assert "base_model:\n- owner/repo\n" in text


def test_licences_that_differ_are_left_to_the_author():
    facts = dataclasses.replace(FACTS, licences=("mit", "gpl-3.0"))
    assert "license:" not in model_card.make_card(facts, model_card.Training())


def test_the_epochs_are_a_table_with_a_curve():
    epochs = [{"loss": 4.0 - number, "mae": math.nan} for number in range(4)]
    text = model_card.make_card(FACTS, model_card.Training(epochs[-1], epochs, {"optimizer": "Adam"}), 2_500_000)
    for line in [
        "- optimizer: Adam",
        "| epoch | loss | mae |",
        "| 1 | 4 | nan |",
        "| 4 | 1 | nan |",
        "|  | █▅▃▁ | ···· |",
    ]:
        assert line in text.splitlines(), line
    assert "2.5 MB, written with keras_hub_layers" in text


def test_of_many_epochs_the_first_and_the_last_are_shown():
    text = model_card.make_card(FACTS, model_card.Training({}, [{"loss": float(number)} for number in range(100)]))
    rows = [line for line in text.splitlines() if line.startswith("|")][2:]
    assert len(rows) == 10 + 1 + 10 + 1
    assert (rows[9], rows[10], rows[11]) == ("| 10 | 9 |", "| … | … |", "| 91 | 90 |")
    assert len(rows[-1]) == len("|  |  |") + 20


def test_an_edit_is_noticed():
    text = model_card.make_card(FACTS, model_card.Training())
    assert model_card.is_untouched(text)
    assert not model_card.is_untouched(text.replace("half_plus_one", "my model"))
    assert not model_card.is_untouched("# My model\n")


def test_an_export_has_a_card_with_preprocessing_and_pieces(tmp_path):
    image = keras.Input((8, 8, 3), name="image")
    h = L.GlobalAveragePooling2D(name="pool")(L.Rescaling(1 / 255)(image))
    model = keras.Model(image, L.Dense(2, name="logits")(h), name="photos")
    path = khl.export(model, tmp_path / "out", assets={"head": model.get_layer("logits")})
    text = (tmp_path / "out" / model_card.NAME).read_text()
    for part in ["# photos", "`image`: float32 (None, 8, 8, 3)", "`logits`: float32 (None, 2)",
                 "pixels go in as 0 to 255",                 "- `head`", "yes: 2 of 2"]:  # fmt: skip
        assert part in text
    assert model_card.is_untouched(text)
    assert layers.HubLayer(path).handle == path


def test_the_card_of_a_callback_has_the_handle_and_the_metrics(tmp_path):
    source = producers.half_plus_one(tmp_path / "source")
    model = keras.Sequential([keras.Input((1,)), layers.HubLayer(source, trainable=True)])
    model.compile("sgd", "mse")
    history = model.fit(np.ones((4, 1)), np.ones((4, 1)), verbose=0,
                        callbacks=[callbacks.ExportFinetuned(tmp_path / "out", verbose=0)])  # fmt: skip
    text = (tmp_path / "out" / model_card.NAME).read_text()
    assert f"Fine-tuned from `{source}`." in text
    assert f"- loss: {history.history['loss'][0]:.6g}" in text
    assert "- optimizer: SGD\n- learning rate at the end: 0.01\n- loss: mse\n- epochs: 1" in text


def test_the_card_of_a_model_names_the_savedmodels_in_it_and_is_not_called_sequential(tmp_path):
    source = producers.half_plus_one(tmp_path / "source")
    (tmp_path / "source" / model_card.NAME).write_text("---\nlicense: mit\n---\n")
    khl.export(keras.Sequential([keras.Input((1,)), layers.HubLayer(source)]), tmp_path / "numbers", trainable=False)
    text = (tmp_path / "numbers" / model_card.NAME).read_text()
    assert "# numbers\n" in text
    assert f"## Contains\n\n- `{source}`\n" in text
    assert "license: mit" in text


def test_a_card_of_the_source_or_the_destination_is_never_overwritten(tmp_path):
    source = producers.half_plus_one(tmp_path / "source")
    loaded = khl.load(source)
    path = tmp_path / "out"
    khl.export(loaded, path)
    assert model_card.is_untouched((path / model_card.NAME).read_text())
    (path / model_card.NAME).write_text("# Edited\n")
    khl.export(loaded, path)
    assert (path / model_card.NAME).read_text() == "# Edited\n"
    (tmp_path / "source" / model_card.NAME).write_text("# By its maker\n")
    khl.export(loaded, path)
    assert (path / model_card.NAME).read_text() == "# Edited\n"
    khl.export(loaded, tmp_path / "other")
    assert (tmp_path / "other" / model_card.NAME).read_text() == "# By its maker\n"


def test_a_generated_card_is_renewed_with_the_next_export(tmp_path):
    first = khl.export(khl.load(producers.half_plus_one(tmp_path / "source")), tmp_path / "first")
    second = khl.export(khl.load(first), tmp_path / "second")
    assert f"Fine-tuned from `{first}`." in (tmp_path / "second" / model_card.NAME).read_text()
    assert second != first
