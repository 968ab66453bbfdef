"""Loading of a SavedModel only what is used of it; the rest follows when somebody asks for it."""
