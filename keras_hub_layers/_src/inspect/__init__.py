"""loaded object or files -> Interface. TensorFlow, no Keras."""
