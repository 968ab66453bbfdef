"""HubLayer, Keras model or loaded object -> Reusable SavedModel. Keras and TensorFlow."""
