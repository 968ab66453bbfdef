"""The demo: pretrain, export, load by URL, fine-tune, export again and reload a small model, on real data."""
