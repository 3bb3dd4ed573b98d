"""Figures: predictions, metrics, calibration, robustness, and the report of a run."""
