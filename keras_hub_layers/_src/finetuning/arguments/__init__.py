"""What the tools of fine-tuning are given: data, models and layers. Keras, no TensorFlow."""
