"""Training on several workers: `fit` under their strategies, a loop of its own, and what has to be equal on them."""
