"""A SavedModel's functions, computed in keras.ops: what lets JAX and PyTorch run and train them."""
