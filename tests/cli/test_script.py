"""doctor FILE.py finds the handles of a script without running it, and checks each."""

import json

import producers
import pytest

from keras_hub_layers import errors
from keras_hub_layers._src.cli import main
from keras_hub_layers._src.cli.doctor import script

SCRIPT = """\
import json
import keras_hub_layers as khl
import tensorflow_hub as hub
from keras_hub_layers import layers, tuners
from keras_hub_layers.layers import HubLayer as Layer

raise SystemExit("it was run")
HANDLE = "one"
MANY = ["two", "three"]
twice = "lost"
twice = HANDLE + "x"
json.load("not a handle")
a = layers.HubLayer(HANDLE, trainable=True)
b = Layer(
    handle="four",
)
khl.inspect("five"), khl.load("one"), khl.resolve(twice)
tuners.HubHyperModel(MANY, head=None, loss="mse"), tuners.hub_choice(hp, ["six"])
hub.KerasLayer("seven", trainable=True)
layers.HubLayer("https://me:secret@host/m")
"""


def write(folder, text):
    path = folder / "train.py"
    path.write_text(text, "utf-8")
    return str(path)


def test_handles_are_read_from_calls_names_and_lists_each_once(tmp_path):
    found = script.read(write(tmp_path, SCRIPT))
    assert [(mention.line, mention.handle) for mention in found.mentions] == [
        (13, "one"), (14, "four"), (17, "five"), (18, "two"), (18, "three"), (18, "six"), (19, "seven"),
        (20, "https://me:secret@host/m"),
    ]  # fmt: skip
    assert found.mentions[-1].code == 'layers.HubLayer("https://***@host/m")'
    assert found.mentions[1].code == 'Layer( handle="four", )'


def test_a_layer_of_keras_2_is_told_with_the_line_that_replaces_it(tmp_path):
    (only,) = script.read(write(tmp_path, SCRIPT)).findings
    assert only.text.startswith("line 19: hub.KerasLayer is a layer of Keras 2")
    assert only.fix == 'layers.HubLayer("seven", trainable=True)'


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("layers.HubLayer(path)", "calls whose handle is computed"),
        ("print(1)", "no such call"),
        ("HubLayer('a'", "line 1"),
    ],
)
def test_a_script_without_a_handle_to_read_sends_to_doctor_of_a_handle(text, said, tmp_path):
    with pytest.raises(errors.HandleError, match=said):
        script.read(write(tmp_path, text))


def test_doctor_checks_each_handle_of_a_script(produced, tmp_path, capsys):
    good = produced(producers.half_plus_one, True)
    path = write(tmp_path, f"from keras_hub_layers.layers import HubLayer\nHubLayer({good!r})\nHubLayer('no/such')\n")
    assert main.main(["doctor", path]) == 1
    printed = capsys.readouterr().out
    assert f"line 2: HubLayer({good!r})\n\nok       parse " in printed
    assert "line 3: HubLayer('no/such')\n\nok       parse " in printed
    assert "There is nothing at this path." in printed
    assert main.main(["doctor", path, "--json"]) == 1
    data = json.loads(capsys.readouterr().out)
    assert (data["script"], data["ok"]) == (path, False)
    assert [(found["line"], found["handle"]) for found in data["handles"]] == [(2, good), (3, "no/such")]
    assert main.main(["doctor", write(tmp_path, "print(1)")]) == 1
    assert "What to do: keras-hub-layers doctor HANDLE" in capsys.readouterr().err
