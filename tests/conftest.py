"""What every test starts from: fixed seeds, a cache of its own, and the zoo of real SavedModels where it is present."""

import gc
import os
import sys
from pathlib import Path

os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")

import pytest

ZOO = Path(__file__).resolve().parents[2] / "shared" / "zoo"
SETTINGS = (
    "COLUMNS",
    "TFHUB_CACHE_DIR",
    "TFHUB_DOWNLOAD_PROGRESS",
    "TFHUB_MODEL_LOAD_FORMAT",
    "TFHUB_DISABLE_CERT_VALIDATION",
    "KERAS_HUB_LAYERS_OFFLINE",
    "KERAS_HUB_LAYERS_MIRRORS",
    "KERAS_HUB_LAYERS_TIMEOUT",
    "KERAS_HUB_LAYERS_MIN_SPEED",
    "KERAS_HUB_LAYERS_MAX_BYTES",
    "KERAS_HUB_LAYERS_MAX_MEMBERS",
    "KERAS_HUB_LAYERS_PRUNE",
    "KERAS_HUB_LAYERS_SHARE",
    "KAGGLEHUB_CACHE",
    "HF_HUB_OFFLINE",
)


@pytest.fixture(autouse=True, scope="module")
def _quick_collections():
    """What earlier tests have left is not looked at again by each of the many collections of garbage in a search."""
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    """No test reads or writes the user's cache or settings."""
    for name in SETTINGS:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("KERAS_HUB_LAYERS_CACHE", str(tmp_path / "cache"))


@pytest.fixture(autouse=True)
def _same_seed():
    """Random numbers are the same in every order of the tests; frameworks are seeded only where they are in use."""
    if "keras" in sys.modules:
        sys.modules["keras"].utils.set_random_seed(0)


@pytest.fixture(autouse=True)
def _no_figures_left():
    """Pictures of a test end with it: matplotlib warns of more than twenty."""
    yield
    if "matplotlib.pyplot" in sys.modules:
        sys.modules["matplotlib.pyplot"].close("all")


@pytest.fixture(scope="session")
def produced(tmp_path_factory):
    """Make a SavedModel of `producers` once per session, for tests that only read it: produced(producer, *args)."""
    made = {}

    def make(producer, *args, **kwargs):
        key = (producer.__name__, args, tuple(sorted(kwargs.items())))
        if key not in made:
            made[key] = producer(tmp_path_factory.mktemp(producer.__name__) / "model", *args, **kwargs)
        return made[key]

    return make


@pytest.fixture
def zoo():
    """The directory of third-party SavedModels; tests that need it are skipped where it is absent."""
    if not ZOO.is_dir():
        pytest.skip(f"the zoo of third-party SavedModels is not at {ZOO}")
    return ZOO
