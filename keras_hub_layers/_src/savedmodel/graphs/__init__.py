"""What a graph says without being run."""
