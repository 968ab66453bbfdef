"""directory -> archive, Kaggle, Hugging Face, or a hub of one's own. Plain."""
