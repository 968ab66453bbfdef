"""KerasTuner searches. Keras, no TensorFlow."""
