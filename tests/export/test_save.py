"""Files without the optimizer are as small as the weights, and saving disturbs nobody."""

import os

import keras
import numpy as np
import pytest

import keras_hub_layers as khl
from keras_hub_layers import errors
from keras_hub_layers._src.export.save import save

X, Y = np.ones((8, 64), "float32"), np.ones((8, 64), "float32")


@keras.saving.register_keras_serializable("tests")
class Subclassed(keras.Model):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.dense = keras.layers.Dense(64)

    def build(self, shape):
        self.dense.build(shape)

    def call(self, x):
        return self.dense(x)


def functional():
    x = keras.Input((64,))
    return keras.Model(x, keras.layers.Dense(64)(keras.layers.Dense(256)(x)))


def sequential():
    return keras.Sequential([keras.Input((64,)), keras.layers.Dense(256), keras.layers.Dense(64)])


def with_a_compiled_model_inside():
    inner = trained(sequential())
    x = keras.Input((64,))
    return keras.Model(x, keras.layers.Dense(64)(inner(x)))


def trained(model):
    model.compile("adam", "mse")
    model.fit(X, Y, verbose=0)
    return model


BUILDERS = [functional, sequential, Subclassed, with_a_compiled_model_inside]


@pytest.mark.parametrize("suffix", [".keras", ".weights.h5"])
@pytest.mark.parametrize("build", BUILDERS)
def test_a_file_has_hardly_more_bytes_than_the_weights(tmp_path, build, suffix):
    model = trained(build())
    weights = sum(np.asarray(weight).nbytes for weight in model.weights)
    small = os.path.getsize(save(model, tmp_path / f"small{suffix}"))
    large = os.path.getsize(save(model, tmp_path / f"large{suffix}", include_optimizer=True))
    assert small <= 1.1 * weights + 32_000  # tiny models: HDF5 and zip have headers
    assert large - small > 1.8 * weights


@pytest.mark.parametrize("build", BUILDERS)
def test_the_file_predicts_the_same_and_the_model_trains_on(tmp_path, build):
    model = trained(build())
    optimizer, steps = model.optimizer, int(model.optimizer.iterations.numpy())
    again = keras.saving.load_model(khl.save(model, tmp_path / "model.keras"))
    np.testing.assert_allclose(again(X), model(X), rtol=1e-5)
    assert not again.compiled
    assert model.optimizer is optimizer
    assert model.compiled
    model.fit(X, Y, verbose=0)
    assert int(optimizer.iterations.numpy()) == steps + 1


@pytest.mark.filterwarnings("ignore")  # Keras calls the format legacy
def test_the_old_h5_format_is_written_without_optimizer(tmp_path):
    model = trained(functional())
    again = keras.saving.load_model(save(model, tmp_path / "model.h5"))
    np.testing.assert_allclose(again(X), model(X), rtol=1e-5)
    assert not again.compiled


def test_weights_alone_can_be_loaded_into_the_same_architecture(tmp_path):
    model, other = trained(functional()), functional()
    other.load_weights(save(model, tmp_path / "model.weights.h5"))
    np.testing.assert_allclose(other(X), model(X), rtol=1e-5)


def test_an_error_keeps_the_old_file_and_gives_the_optimizer_back(tmp_path, monkeypatch):
    model = trained(functional())
    path = save(model, tmp_path / "model.keras")
    before, optimizer = (tmp_path / "model.keras").read_bytes(), model.optimizer

    def full(self, target):
        with open(target, "w") as file:
            file.write("half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(keras.Model, "save", full)
    with pytest.raises(errors.ExportWriteError, match="No space left"):
        save(model, path)
    assert (tmp_path / "model.keras").read_bytes() == before
    assert os.listdir(tmp_path) == ["model.keras"]
    assert (model.optimizer, model.compiled) == (optimizer, True)


def test_a_remote_path_is_written_through_a_local_file():
    model = trained(functional())
    assert save(model, "ram://saving/model.weights.h5") == "ram://saving/model.weights.h5"


@pytest.mark.parametrize(
    ("model", "name", "match"),
    [
        (functional, "model.tf", r"the path '.*model\.tf'"),
        (Subclassed, "model.keras", "never built"),
        (lambda: keras.layers.Dense(2), "model.keras", "an object of type Dense"),
    ],
)
def test_what_cannot_be_saved_is_named(tmp_path, model, name, match):
    with pytest.raises(errors.ExportError, match=match):
        save(model(), tmp_path / name)
    assert os.listdir(tmp_path) == []


def test_a_directory_is_not_replaced_by_a_file(tmp_path):
    (tmp_path / "model.keras").mkdir()
    with pytest.raises(errors.ExportError, match="is a directory"):
        save(trained(functional()), tmp_path / "model.keras")
