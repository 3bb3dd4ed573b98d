"""Classifies recordings: admission, windows, aggregation, several at a time; golden clips, and the swap of models."""
