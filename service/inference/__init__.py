"""Loads a model and computes windows: the engine and its backends."""
