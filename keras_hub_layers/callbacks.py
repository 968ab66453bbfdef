"""Callbacks that export what was trained, unfreeze it step by step, keep an unfinished `fit`, or report a loss."""

from keras_hub_layers._src import saved_classes as _saved_classes  # noqa: F401
from keras_hub_layers._src.callbacks.backup import Backup
from keras_hub_layers._src.callbacks.export_finetuned import ExportFinetuned
from keras_hub_layers._src.callbacks.export_piece import ExportPiece
from keras_hub_layers._src.finetuning.data_loss import DataLoss
from keras_hub_layers._src.finetuning.unfreeze_callback import Unfreeze

__all__ = ["Backup", "DataLoss", "ExportFinetuned", "ExportPiece", "Unfreeze"]
