"""One GET over HTTP: what it may take, whom it trusts, where it may lead, and what is said of its answer. Plain."""
