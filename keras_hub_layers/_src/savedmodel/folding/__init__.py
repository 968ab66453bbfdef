"""Inference with fewer operations: batch normalization as a part of the convolutions."""
