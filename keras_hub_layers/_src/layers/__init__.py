"""Interface -> HubLayer. Keras, no TensorFlow."""
