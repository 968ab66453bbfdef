"""What of a SavedModel can be used and fine-tuned, and how."""
