"""directory -> loaded object, and what its files, graph and checkpoint say. TensorFlow, no Keras."""
