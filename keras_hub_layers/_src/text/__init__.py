"""Words and tables. Plain."""
