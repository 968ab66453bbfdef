"""KerasTuner: handles, trainable and learning rates as hyperparameters."""

from keras_hub_layers._src.tuners.hypermodel import HubHyperModel
from keras_hub_layers._src.tuners.preflight import PreflightError, preflight
from keras_hub_layers._src.tuners.search import export_best, search
from keras_hub_layers._src.tuners.search_space import Candidate, Training, hub_choice, trainable_choice

__all__ = [
    "Candidate", "HubHyperModel", "PreflightError", "Training", "export_best", "hub_choice", "preflight", "search",
    "trainable_choice",
]  # fmt: skip
