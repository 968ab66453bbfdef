"""Training on several workers: `fit` under their strategies, a training loop, and checks that workers agree."""
