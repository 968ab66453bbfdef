"""The weights of a SavedModel on disk."""
