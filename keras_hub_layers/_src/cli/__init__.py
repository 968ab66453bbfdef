"""The command line, with `doctor` and `demo`."""
