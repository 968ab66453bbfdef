"""A part of a functional model as a model. Keras, no TensorFlow."""
