"""Points of the curves: seconds by the number of functions, of variables, of layers and of trials."""

import os
import tempfile
from collections.abc import Callable
from typing import Any

import common
import loops

# Kind -> the numbers, what is counted on the x axis, and what takes the seconds of the y axis.
CURVES = {
    "layers": ((5, 20, 50, 100), "functions in the SavedModel", "load"),
    "variables": ((100, 300, 1000, 3000), "variables", "load, freeze and train again"),
    "hub_layers": ((1, 5, 10, 20), "copies of a SavedModel in one model", "loads, model, first step"),
    "trials": ((2, 5, 10, 20), "trials", "search with KerasTuner"),
}


def point(side: str, kind: str, number: int, clock: Callable[[], float]) -> dict[str, float]:
    """The x and y of one point: of the raw object, or of `HubLayer`."""
    name = f"{kind}-{number}" if kind in ("layers", "variables") else "tiny"
    directory = common.model(name)
    work = {"layers": _load, "variables": _toggle, "hub_layers": _several, "trials": _search}[kind]
    _load("raw" if side == "raw" else "ours", common.model("tiny"), 1)  # what is imported once does not count
    start = clock()
    work(side, directory, number)
    return {"x": _functions(directory) if kind == "layers" else number, "seconds": clock() - start}


def _load(side: str, directory: str, number: int) -> Any:
    return loops.Raw(directory) if side == "raw" else loops.Ours(directory, trainable=True)


def _toggle(side: str, directory: str, number: int) -> None:
    loaded = _load(side, directory, number)
    for trainable in (False, True):
        loaded.train(trainable)


def _several(side: str, directory: str, number: int) -> None:
    """One model with several layers, each with weights of its own, and its first training step."""
    import keras

    inputs = x = keras.Input((8,))
    for _ in range(number):
        x = _layer(side, True)(x)
    model = keras.Model(inputs, keras.layers.Dense(10)(x))
    model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    model.train_on_batch(*common.batch("tiny"))


def _layer(side: str, trainable: bool) -> Any:
    return (loops.Raw if side == "raw" else loops.Ours)("tiny").layer(trainable)


def _search(side: str, directory: str, number: int) -> None:
    """Trials of one epoch of a frozen SavedModel: each loads it, or they share what `HubHyperModel` loads."""
    import keras
    import keras_tuner

    from keras_hub_layers import tuners

    x, y = (tensor.numpy() for tensor in common.batch("tiny"))
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)

    def build(hp: Any) -> Any:
        model = keras.Sequential([keras.Input((8,)), _layer("raw", False), keras.layers.Dense(10)])
        model.compile(keras.optimizers.Adam(hp.Float("rate", 1e-4, 1e-2, sampling="log")), loss)
        return model

    if side == "raw":
        space: Any = build
    else:
        candidates = [tuners.Candidate(directory, input_shape=(8,), label="tiny")]
        space = tuners.HubHyperModel(candidates, lambda hp, features: keras.layers.Dense(10)(features), loss=loss)
        space.checked = True
    with tempfile.TemporaryDirectory() as folder:
        tuner = keras_tuner.RandomSearch(
            space, "loss", max_trials=number, seed=1, directory=folder, project_name="search"
        )
        tuner.search(x, y, epochs=1, verbose=0)


def _functions(directory: str) -> int:
    from tensorflow.core.protobuf import saved_model_pb2

    with open(os.path.join(directory, "saved_model.pb"), "rb") as file:
        saved = saved_model_pb2.SavedModel.FromString(file.read())
    return len(saved.meta_graphs[0].graph_def.library.function)
