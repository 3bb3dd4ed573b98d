"""Output of a run: the parts in which rows are written, progress, and the summary."""
