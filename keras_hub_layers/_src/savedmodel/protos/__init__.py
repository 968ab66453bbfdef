"""What the protobufs of a SavedModel say, without loading it."""
