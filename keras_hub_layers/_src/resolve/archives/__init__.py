"""Archives from untrusted sources: their readers, their limits, and the directory that they become. Plain."""
