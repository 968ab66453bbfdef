"""A file that names our classes loads after `import keras_hub_layers` alone, whatever was imported before it."""

import subprocess
import sys

import keras
import numpy as np
import producers
import pytest

from keras_hub_layers import finetuning, layers, tuners

X = np.ones((4, 1), "float32")


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A model that is compiled with `layerwise`, and one of a search."""
    folder = tmp_path_factory.mktemp("saved")
    handle = producers.half_plus_one(folder / "model")
    model = keras.Sequential([keras.Input((1,)), layers.HubLayer(handle, trainable=True)])
    model.compile(finetuning.layerwise(model, keras.optimizers.SGD(0.1)), "mse")
    model.fit(X, 0 * X, verbose=0)
    model.save(folder / "layerwise.keras")
    import keras_tuner

    hypermodel = tuners.HubHyperModel([handle], lambda hp, x: keras.layers.Dense(1)(x), loss="mse", trainable=True)
    trial = hypermodel.build(keras_tuner.HyperParameters())
    trial.save(folder / "trial.keras")
    np.save(folder / "expected.npy", np.stack([model.predict(X, verbose=0), trial.predict(X, verbose=0)]))
    return folder


@pytest.mark.parametrize(
    "imports",
    [
        "import keras_hub_layers; import keras",
        "import keras; import keras_hub_layers",
        "import tensorflow; import keras_hub_layers; import keras",
        "import keras_hub_layers; import tensorflow; import keras",
        "import keras_hub_layers; from keras.saving import load_model; import keras",
        "from keras_hub_layers import layers; import keras",
        "import keras_hub_layers as khl; khl.export; import keras",
        "import keras_hub_layers as khl; khl.inspect; import keras",
        "import keras_hub_layers as khl; khl.resolve; import keras",
        "import keras_hub_layers.finetuning; import keras",
    ],
)
def test_saved_models_load_in_a_new_process_whatever_the_order_of_imports(saved, imports):
    code = f"""
import sys
{imports}
import numpy as np
x, expected = np.ones((4, 1), "float32"), np.load(sys.argv[1] + "/expected.npy")
for name, right in zip(("layerwise", "trial"), expected):
    model = keras.saving.load_model(f"{{sys.argv[1]}}/{{name}}.keras", safe_mode=False)
    np.testing.assert_allclose(model.predict(x, verbose=0), right, rtol=1e-6)
    print(name, type(model.optimizer).__name__)
"""
    done = subprocess.run([sys.executable, "-c", code, str(saved)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-2:] == ["layerwise LayerwiseOptimizer", "trial LayerwiseOptimizer"]


def test_the_import_alone_brings_neither_keras_nor_tensorflow():
    code = "import sys, keras_hub_layers; print(sorted({'keras', 'tensorflow', 'h5py', 'numpy'} & sys.modules.keys()))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_an_import_of_keras_that_fails_is_tried_again_as_ever(tmp_path):
    """A folder named keras that cannot be imported stands before the real one, and is then removed."""
    (tmp_path / "keras").mkdir()
    (tmp_path / "keras" / "__init__.py").write_text("raise ImportError('broken')")
    code = """
import sys, shutil
import keras_hub_layers
sys.path.insert(0, sys.argv[1])
try:
    import keras
except ImportError as err:
    print(err)
sys.path.remove(sys.argv[1])
import keras
print("keras_hub_layers>LayerwiseOptimizer" in keras.saving.get_custom_objects())
"""
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["broken", "True"]


def test_our_classes_are_named_by_their_public_path():
    import keras_hub_layers._src.saved_classes as saved_classes

    for name in saved_classes.__all__:
        kind = getattr(saved_classes, name)
        assert getattr(sys.modules[kind.__module__], name) is kind
        assert "_src" not in kind.__module__
