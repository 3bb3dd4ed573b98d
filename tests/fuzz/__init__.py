"""Mutated audio files against the decoder processes and the application."""
