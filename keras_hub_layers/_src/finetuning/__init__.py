"""What is trained, when, and how fast. Keras, no TensorFlow."""
