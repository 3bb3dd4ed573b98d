"""Classifies a whole library of recordings on Ray Data, on one machine or many: `python -m service.library`."""
