"""Graphs of a model: where they are found, how they are made, and how OpenVINO runs them, the encoder in tiles."""
