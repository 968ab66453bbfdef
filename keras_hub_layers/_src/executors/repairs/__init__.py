"""The lines of code that make inputs match a trace. TensorFlow and Keras."""
