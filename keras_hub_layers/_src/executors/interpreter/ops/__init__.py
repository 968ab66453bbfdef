"""The op table, by family: what computes each TensorFlow op in keras.ops."""
