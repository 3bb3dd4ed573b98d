"""The run itself: experiment, model, Trainer, encoder cache, run folder."""
