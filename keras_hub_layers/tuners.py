"""KerasTuner: handles, trainable and learning rates as hyperparameters."""

from keras_hub_layers._src import saved_classes as _saved_classes  # noqa: F401
from keras_hub_layers._src.tuners.arms.plot_search import plot_search
from keras_hub_layers._src.tuners.candidate import Candidate
from keras_hub_layers._src.tuners.export_best import export_best
from keras_hub_layers._src.tuners.hub_choice import hub_choice
from keras_hub_layers._src.tuners.hypermodel import HubHyperModel
from keras_hub_layers._src.tuners.preflight import PreflightError, preflight
from keras_hub_layers._src.tuners.search import search
from keras_hub_layers._src.tuners.trainable_choice import trainable_choice
from keras_hub_layers._src.tuners.training import Training
from keras_hub_layers._src.tuners.trial_model import TrialModel as TrialModel  # pickles name it

__all__ = [
    "Candidate", "HubHyperModel", "PreflightError", "Training", "export_best", "hub_choice", "plot_search", "preflight",
    "search", "trainable_choice",
]  # fmt: skip
