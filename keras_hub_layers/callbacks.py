"""Callbacks that export what was trained, or unfreeze it step by step."""

from keras_hub_layers._src.callbacks.export_finetuned import ExportFinetuned
from keras_hub_layers._src.callbacks.export_piece import ExportPiece
from keras_hub_layers._src.finetuning.unfreeze import Unfreeze

__all__ = ["ExportFinetuned", "ExportPiece", "Unfreeze"]
