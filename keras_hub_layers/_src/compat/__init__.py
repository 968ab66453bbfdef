"""Every private name of Keras and TensorFlow that the package touches: the version, the reason, a test."""
