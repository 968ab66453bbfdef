"""Where features are kept, and the digests by which they are found again."""
