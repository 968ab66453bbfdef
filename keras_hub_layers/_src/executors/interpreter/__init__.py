"""Computes the functions of a SavedModel in keras.ops, so that JAX and PyTorch can run and train them."""
