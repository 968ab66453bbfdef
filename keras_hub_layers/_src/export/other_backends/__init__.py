"""The export of Keras models from JAX and PyTorch."""
