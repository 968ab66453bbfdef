"""How much the demo trains, and what it accepts."""

OLD = 7  # the digits 0 to 6 are for pretraining, 7 to 9 for fine-tuning

NEW = 10 - OLD

PER_CLASS = 5  # labelled examples of each new digit

PRETRAINING = 8  # epochs

EPOCHS = 12  # of the frozen stage, and as many of the fine-tuning; from scratch gets both

SEEDS = (0, 1, 2)

TOLERANCE = 1e-5  # between logits, or features, that come from the same weights
