"""Figures: predictions, metrics, calibration, familiarity, robustness, the report of a run, and the gate of a push."""
