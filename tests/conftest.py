"""What every test starts from: fixed seeds, a cache of its own, and the zoo of real SavedModels where it is present."""

import os
from pathlib import Path

os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")

import pytest

ZOO = Path(__file__).resolve().parents[2] / "shared" / "zoo"
SETTINGS = (
    "TFHUB_CACHE_DIR",
    "TFHUB_DOWNLOAD_PROGRESS",
    "TFHUB_MODEL_LOAD_FORMAT",
    "TFHUB_DISABLE_CERT_VALIDATION",
    "KERAS_HUB_LAYERS_OFFLINE",
    "KERAS_HUB_LAYERS_MIRRORS",
)


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    """No test reads or writes the user's cache or settings."""
    for name in SETTINGS:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("KERAS_HUB_LAYERS_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def zoo():
    """The directory of third-party SavedModels; tests that need it are skipped where it is absent."""
    if not ZOO.is_dir():
        pytest.skip(f"the zoo of third-party SavedModels is not at {ZOO}")
    return ZOO
