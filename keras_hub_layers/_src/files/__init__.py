"""Directories and files: names, hashes, locks, atomic replacement. Plain."""
