"""The bridge to TensorFlow's own functions on the host, for layers on JAX and PyTorch."""
