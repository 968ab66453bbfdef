"""How to fine-tune: groups of variables, schedules, layer-wise learning rates, cached features."""

from keras_hub_layers._src import saved_classes as _saved_classes  # noqa: F401
from keras_hub_layers._src.finetuning.features import features
from keras_hub_layers._src.finetuning.fine_tune import fine_tune
from keras_hub_layers._src.finetuning.groups import Group, groups
from keras_hub_layers._src.finetuning.layerwise import LayerwiseOptimizer, layerwise
from keras_hub_layers._src.finetuning.lr_find import lr_find
from keras_hub_layers._src.finetuning.patterns import patterns
from keras_hub_layers._src.finetuning.pictures.plot_groups import plot_groups
from keras_hub_layers._src.finetuning.pictures.plot_predictions import plot_predictions
from keras_hub_layers._src.finetuning.summary import summary
from keras_hub_layers._src.finetuning.unfreeze import unfreeze
from keras_hub_layers._src.plots.learning_rates import LearningRates
from keras_hub_layers._src.plots.plot_history import plot_history

__all__ = [
    "Group", "LayerwiseOptimizer", "LearningRates", "features", "fine_tune", "groups", "layerwise", "lr_find",
    "patterns", "plot_groups", "plot_history", "plot_predictions", "summary", "unfreeze",
]  # fmt: skip
