"""Pictures that one call draws: of what a SavedModel holds, and of what a model predicts. Keras, no TensorFlow."""
