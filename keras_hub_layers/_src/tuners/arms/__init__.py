"""The arms of a search: each is tried, and each has a row in a table. Keras, no TensorFlow."""
