"""Long work says what it does while it goes on."""

import keras
import keras_tuner
import numpy as np
import producers
import pytest
from terminals import Terminal

import keras_hub_layers as khl
from keras_hub_layers import callbacks, finetuning, layers, tuners
from keras_hub_layers._src.cli import terminal as command_terminal
from keras_hub_layers._src.text import progress
from keras_hub_layers._src.tuners import preflight as preflight_module


@pytest.fixture
def terminal(monkeypatch):
    """A terminal on which each line is shown at once."""
    monkeypatch.setattr(progress, "AFTER", 0)
    with progress.write_to(Terminal()) as terminal:
        yield terminal


def test_unpacking_loading_features_and_exports_are_told(produced, terminal, tmp_path):
    x = np.ones((3, 1), "float32")
    archive = khl.pack(produced(producers.half_plus_one, True), tmp_path / "half.tar.gz")
    layer = layers.HubLayer(archive, name="hub")
    finetuning.features(layer, x)
    khl.export(layer, tmp_path / "export")
    said = terminal.getvalue()
    for text in (
        f"unpacking {tmp_path.name}/half.tar.gz  0:00",
        f"loading {tmp_path.name}/half.tar.gz  0:00",
        "reading the data  ",
        "computing the features of hub  ",
        "writing the export of HubLayer 'hub'  0:00",
        "verifying the export of HubLayer 'hub': it is read back and run  0:00",
    ):
        assert text in said
    assert terminal.screen() == ""


def test_an_export_at_the_end_of_fit_is_told_unless_the_callback_is_silent(produced, terminal, tmp_path):
    model = keras.Sequential([keras.Input((1,)), layers.HubLayer(produced(producers.half_plus_one, True), True)])
    model.compile("sgd", "mse")
    for verbose in (0, 1):
        export = callbacks.ExportFinetuned(tmp_path / "export", verbose=verbose)
        export.set_model(model)
        export.export()
        assert ("writing the export" in terminal.getvalue()) == bool(verbose)


def test_the_arms_that_are_tried_are_counted_unless_the_search_is_silent(terminal, monkeypatch):
    monkeypatch.setattr(preflight_module, "free_memory", lambda: None)

    class Arms(keras_tuner.HyperModel):
        def arms(self):
            return [{"size": 1}, {"size": 2}]

        def build(self, hp):
            return object()  # nothing that is trained

    for verbose in (0, "auto"):
        tuners.preflight(Arms(), np.ones((1, 1)), verbose=verbose)
        assert ("trying each arm of the search on a batch  0 arms" in terminal.getvalue()) == (verbose == "auto")


def test_lines_are_shown_while_the_standard_error_is_kept_back(capfd, monkeypatch):
    with capfd.disabled():  # the real one, which is no terminal here
        monkeypatch.setattr(command_terminal.sys.stderr, "isatty", lambda: True)
        with command_terminal.hold_stderr():
            assert progress._stream is not None
            assert progress._stream.fileno() != 2
    assert progress._stream is None
