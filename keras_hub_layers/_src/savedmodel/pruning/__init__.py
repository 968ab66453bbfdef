"""Loads only the used part of a SavedModel. The rest is loaded when somebody asks for it."""
