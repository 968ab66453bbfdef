"""Export during `fit`. Keras, no TensorFlow."""
