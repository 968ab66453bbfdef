"""Exports in a real server: REST and gRPC, versions that are swapped and rolled back under load.

The server is NVIDIA's Triton. It watches a directory of numbered versions as TensorFlow Serving does. TensorFlow's
loader in C++, which TensorFlow Serving uses too, loads each version. `python3 dev.py serving` installs the server.
"""

import contextlib
import importlib.util
import shutil

import keras
import numpy as np
import producers
import pytest
import servers
from servers import Grpc, Rest

import keras_hub_layers as khl
from keras_hub_layers import callbacks, layers

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("pytriton") is None, reason="needs a server: python3 dev.py serving"
)

X = np.linspace(-1, 1, 8, dtype="float32")[:, None]
TEXTS = np.array([b"hello world", b"good", "grüße".encode(), b""], object)


def fit(model, folder):
    """Train a model, and export it as the next version of a folder."""
    export = callbacks.ExportPiece(folder, versioned=True, verbose=0)
    model.fit(X, 3 * X, batch_size=4, verbose=0, callbacks=[export])
    return export.exported, np.asarray(model(X))


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """A server of a model of numbers and of one of texts; the models, and the folder of their versions."""
    folder = tmp_path_factory.mktemp("serving")
    repository = folder / "repository"
    hub = layers.HubLayer(producers.shared_loss(folder / "scale"), trainable=True)
    numbers = keras.Sequential([keras.Input((1,), name="x"), hub, keras.layers.Dense(1, name="y")])
    numbers.compile(keras.optimizers.SGD(0.01), "mse")
    paths, first = fit(numbers, repository / "numbers")
    assert paths == [str(repository / "numbers" / "1")]
    texts = layers.HubLayer(producers.text_classifier(folder / "classifier"))
    khl.export(texts, repository / "texts" / "1")
    shapes = {"input": "x", "input_type": "FP32", "input_shape": [-1, 1], "output": "y"}
    servers.configure(repository / "numbers", **shapes, output_type="FP32", output_shape=[-1, 1])
    servers.configure(
        repository / "texts", input="texts", input_type="STRING", input_shape=[-1], output="output_0",
        output_type="FP32", output_shape=[-1, 2],
    )  # fmt: skip
    shutil.copytree(repository / "numbers", repository / "swapped")  # whose versions a test changes
    with servers.started(repository, folder) as ports:
        yield ports, repository, numbers, first, texts


@pytest.mark.parametrize("client", [Rest, Grpc])
def test_the_server_answers_what_the_model_computes(served, client):
    ports, _, _, first, texts = served
    questions = [("numbers", "x", X, "y", first), ("texts", "texts", TEXTS, "output_0", texts(TEXTS.tolist()))]
    for model, name, inputs, output, expected in questions:
        with contextlib.closing(client(ports, model)) as asking:
            version, outputs = asking.ask(name, inputs)
        assert (version, list(outputs)) == (1, [output])
        np.testing.assert_allclose(outputs[output], expected, rtol=1e-6)


def test_versions_are_swapped_and_rolled_back_under_load_without_a_failed_request(served, tmp_path):
    ports, repository, numbers, first, _ = served
    clients = [Rest(ports, "swapped"), Rest(ports, "swapped"), Grpc(ports, "swapped")]
    with servers.Load(clients, "x", X) as load:
        load.wait_for(1)
        _, second = fit(numbers, repository / "swapped")
        load.wait_for(2)
        (repository / "swapped" / "2").rename(tmp_path / "withdrawn")
        load.wait_for(1)
        _, third = fit(numbers, repository / "swapped")
        load.wait_for(2)
    assert not np.allclose(first, second)
    for answers in load.answers.values():
        assert len(answers) > 100
        for version, outputs in answers:
            assert version is not None, outputs  # the error of a request
            expected = [first] if version == 1 else [second, third]
            assert any(np.allclose(outputs["y"], each, rtol=1e-6) for each in expected)
