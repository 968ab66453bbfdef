"""A model card says what is known, and a card that somebody edited is theirs."""

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
    tuning="yes: 1 of 2 variables are trainable",
    losses=1,
)


def test_a_card_says_what_is_known_and_leaves_out_what_is_not():
    text = model_card.make_card(FACTS, {"val_loss": 0.123456789})
    for line in ["# half_plus_one", "Fine-tuned from `owner/half_plus_one/2`.", "- `x`: float32 (None, 1)",
                 "- yes: 1 of 2 variables are trainable", "- regularization losses: 1", "- val_loss: 0.123457",
                 'layer = layers.HubLayer("path/to/this/directory", trainable=True)']:  # fmt: skip
        assert line in text.splitlines(), line
    assert "## Assets" not in text
    assert "## Notes" not in text


def test_an_edit_is_noticed():
    text = model_card.make_card(FACTS, {})
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
